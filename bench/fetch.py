"""One request and its whole answer, for what surrounds a measurement: login, checks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPMessage
from typing import Any, Final

from bench.serve import HOST

_TIMEOUT_S: Final = 10


class WrongAnswer(Exception):
    """A server answered, but not as it must to be measured; `str()` says what came instead."""


@dataclass(frozen=True, slots=True)
class Target:
    """The request that is measured."""

    port: int
    path: str
    headers: Mapping[str, str]


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


def _ask(method: str, target: Target, body: bytes | None) -> Answer:
    connection = HTTPConnection(HOST, target.port, timeout=_TIMEOUT_S)
    try:
        kind = {} if body is None else {"Content-Type": "application/json"}
        connection.request(method, target.path, body, {**kind, **target.headers})
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    except (OSError, HTTPException) as error:
        raise WrongAnswer(f"{method} {target.path} on port {target.port}: {error!r}") from None
    finally:
        connection.close()
