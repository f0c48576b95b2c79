"""Requests that no client library would send, and what came of them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from tests.support.peer import Answer, RawPeer, raw_peer
from tests.support.server import Server

HOST = "Host: 127.0.0.1"
PROBE = f"GET /health/live HTTP/1.1\r\n{HOST}\r\n\r\n".encode()


def message(
    method: str = "GET",
    target: str = "/health/live",
    *headers: str,
    host: str | None = HOST,
    version: str = "HTTP/1.1",
    body: str | bytes = b"",
) -> bytes:
    """The bytes of a request, nothing added: text goes out one byte a character."""
    lines = [f"{method} {target} {version}", *([] if host is None else [host]), *headers]
    head = "".join(f"{line}\r\n" for line in lines) + "\r\n"
    return head.encode("latin-1") + (body.encode("latin-1") if isinstance(body, str) else body)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The response.

    Attributes:
        answer: to the first request; None where the connection ended without one.
        goes_on: whether a second request on the same connection was answered.
    """

    answer: Answer | None
    goes_on: bool

    @property
    def status(self) -> int | None:
        return None if self.answer is None else self.answer.status


async def exchange(server: Server, data: bytes) -> Outcome:
    """Send these bytes on a connection of their own, and after the response a well-formed request."""
    async with raw_peer(server.port) as peer:
        answer = await _answer(peer, data)
        if answer is None or answer.status == 101:
            return Outcome(answer, goes_on=False)
        return Outcome(answer, goes_on=await _answer(peer, PROBE) is not None)


async def assert_serves(server: Server) -> None:
    """Whatever was sent, the next one who asks is answered."""
    async with raw_peer(server.port) as peer:
        answer = await _answer(peer, PROBE)
    assert answer is not None
    assert answer.status == 200


async def _answer(peer: RawPeer, data: bytes) -> Answer | None:
    try:
        await peer.send(data)
        head = data.startswith(b"HEAD ")
        while (answer := await peer.answer(head=head)).status == 100:
            pass
        return answer
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
