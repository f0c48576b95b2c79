"""Requests and their whole answers, one after another, for what surrounds a measurement: logins, checks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPMessage
from typing import Any, Final

from bench.serve import HOST

_TIMEOUT_S: Final = 10


class WrongAnswer(Exception):
    """A server answered, but not as it must to be measured; `str()` says what came instead."""


@dataclass(frozen=True, slots=True)
class Target:
    """The request that is measured.

    Attributes:
        body: JSON to POST, in which each `%` becomes a word that no other request has; None to GET.
    """

    port: int
    path: str
    headers: Mapping[str, str]
    body: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def get(target: Target) -> Answer:
    """Ask once, on a connection of its own; raises `WrongAnswer` when none comes."""
    return _ask("GET", target, None)


def post(target: Target, value: object) -> Answer:
    """Send a value as JSON."""
    return _ask("POST", target, json.dumps(value).encode())


def expect(answer: Answer, status: int, what: str) -> Answer:
    """The answer itself if it has that status; else raises `WrongAnswer`."""
    if answer.status != status:
        raise WrongAnswer(f"{what}: {answer.status} instead of {status}: {answer.body[:300]!r}")
    return answer


class Client:
    """Asks over one connection, which is kept as long as the server keeps it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection = HTTPConnection(HOST, port, timeout=_TIMEOUT_S)

    def ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None) -> Answer:
        """Send one request, with JSON if it has a body; raises `WrongAnswer` when no answer comes."""
        kind = {} if body is None else {"Content-Type": "application/json"}
        try:
            self._connection.request(method, path, body, {**kind, **headers})
            response = self._connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        except (OSError, HTTPException) as error:
            raise WrongAnswer(f"{method} {path} on port {self._port}: {error!r}") from None

    def close(self) -> None:
        self._connection.close()


def _ask(method: str, target: Target, body: bytes | None) -> Answer:
    with closing(Client(target.port)) as client:
        return client.ask(method, target.path, target.headers, body)
