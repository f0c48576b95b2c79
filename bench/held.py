"""Connections that are opened, and then only held: idle readers, or readers of what seldom comes."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

from bench.fetch import Target, WrongAnswer
from bench.serve import HOST

_TIMEOUT_S: Final = 10
_BLOCK: Final = 65_536
_UPGRADE: Final = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
_EVENT_STREAM: Final = {"Accept": "text/event-stream"}


class Stream:
    """One open stream.

    Attributes:
        received: what came and was not taken out yet, as it came: with its frames or chunks.
    """

    def __init__(self, target: Target, *, websocket: bool) -> None:
        self.received = b""
        headers = {"Host": f"{HOST}:{target.port}", **(_UPGRADE if websocket else _EVENT_STREAM), **target.headers}
        lines = [f"GET {target.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        self._socket = socket.create_connection((HOST, target.port), timeout=_TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall("\r\n".join(lines).encode("ascii"))

    def send_text(self, text: bytes) -> None:
        """Send one short WebSocket frame, masked with zeros."""
        if len(text) > 125:
            raise ValueError("too long for a short frame")
        self._socket.sendall(bytes((0x81, 0x80 | len(text))) + bytes(4) + text)

    def wait_for(self, sign: bytes) -> None:
        """Read until this has come; raises `WrongAnswer`."""
        while sign not in self.received:
            try:
                block = self._socket.recv(_BLOCK)
            except OSError as error:
                raise WrongAnswer(f"{error!r} instead of {sign!r} after {self.received[-300:]!r}") from None
            if not block:
                raise WrongAnswer(f"the end of a stream instead of {sign!r} after {self.received[-300:]!r}")
            self.received += block

    def take(self) -> bytes:
        """The bytes that have arrived, without waiting; raises `WrongAnswer` when the stream has ended."""
        self._socket.settimeout(0)
        try:
            while block := self._socket.recv(_BLOCK):
                self.received += block
            raise WrongAnswer(f"a stream has ended after {self.received[-300:]!r}")
        except BlockingIOError:
            pass
        except OSError as error:
            raise WrongAnswer(f"a stream has ended: {error!r}") from None
        finally:
            self._socket.settimeout(_TIMEOUT_S)
        taken, self.received = self.received, b""
        return taken

    def close(self) -> None:
        self._socket.close()


@contextmanager
def held(targets: Sequence[Target], *, websocket: bool, then: bytes = b"", sign: bytes) -> Iterator[list[Stream]]:
    """Open a stream to each target, and hold all of them until the block ends.

    Args:
        then: text frame that each WebSocket sends.
        sign: a stream is open when this has come.

    Raises `WrongAnswer`.
    """
    streams: list[Stream] = []
    with ExitStack() as stack:
        for target in targets:
            try:
                stream = Stream(target, websocket=websocket)
            except OSError as error:
                raise WrongAnswer(f"connection {len(streams) + 1} of {len(targets)}: {error!r}") from None
            stack.callback(stream.close)
            streams.append(stream)
        if then:
            # Not with the request: what comes before the answer to an upgrade is no part of the WebSocket yet.
            for stream in streams:
                stream.wait_for(b"\r\n\r\n")
                stream.send_text(then)
        for stream in streams:
            stream.wait_for(sign)
            stream.received = b""
        yield streams
