"""permessage-deflate (RFC 7692) where it is switched on: what inflates, what does not, and what inflates too far."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support.frames import CLOSE, CONTINUATION, PING, PONG, TEXT, frame, head
from tests.support.hostile import assert_serves
from tests.support.peer import RawPeer, raw_peer
from tests.support.server import Login, Server, serve

MOST = 65_536
RSV1 = 4
OFFER = "Sec-WebSocket-Extensions: permessage-deflate"


@pytest.fixture(scope="module")
async def deflating() -> AsyncIterator[Server]:
    """A service that agrees on compression."""
    async with serve(ws_deflate=True) as running:
        yield running


@pytest.fixture(scope="module")
async def ada(deflating: Server) -> Login:
    return await deflating.member()


def echo(data: object) -> bytes:
    return json.dumps({"type": "echo", "data": data}).encode()


def deflated(payload: bytes, *, flush: int = zlib.Z_SYNC_FLUSH, level: int = 6, window: bytes = b"") -> bytes:
    """A message without the four bytes that RFC 7692, 7.2.1 leaves out; with `Z_FINISH` as in 7.2.3.4.

    `window` is what it refers back to, as if that had been said before.
    """
    compressor = zlib.compressobj(level, wbits=-15, zdict=window)
    data = compressor.compress(payload) + compressor.flush(flush)
    return data + b"\x00" if flush == zlib.Z_FINISH else data.removesuffix(b"\x00\x00\xff\xff")


class Inflating:
    """A client that keeps its window from one message to the next, as it may wherever it did not ask otherwise."""

    def __init__(self, peer: RawPeer) -> None:
        self.peer = peer
        self._inflater = zlib.decompressobj(-15)

    async def next(self) -> tuple[int, bytes]:
        """Opcode and payload of the next frame, inflated."""
        first, second = await self.peer.reader.readexactly(2)
        size = second & 0x7F
        if size >= 126:
            size = int.from_bytes(await self.peer.reader.readexactly(2 if size == 126 else 8), "big")
        payload = await self.peer.reader.readexactly(size)
        if first & 0x40:
            payload = self._inflater.decompress(payload + b"\x00\x00\xff\xff")
        return first & 0x0F, payload


@asynccontextmanager
async def connected(server: Server, by: Login, path: str = "/v1/ws", offer: str = OFFER) -> AsyncIterator[Inflating]:
    async with raw_peer(server.port) as peer:
        assert (await peer.upgrade(path, f"Authorization: Bearer {by.access_token}", offer)).status == 101
        client = Inflating(peer)
        if path == "/v1/ws":
            assert json.loads((await client.next())[1])["type"] == "hello"
        yield client


_LETTERS = "".join(map(chr, range(33, 33 + 5_000)))  # compresses badly, so it is cut in the middle of something


@pytest.mark.parametrize(
    ("data", "answers"),
    [
        pytest.param(frame(TEXT, deflated(echo("hi")), rsv=RSV1), ["hi"], id="compressed"),
        pytest.param(frame(TEXT, echo("hi")), ["hi"], id="not compressed"),
        pytest.param(frame(TEXT, deflated(echo("hi"), level=0), rsv=RSV1), ["hi"], id="stored blocks"),
        pytest.param(
            frame(TEXT, deflated(echo("one"), flush=zlib.Z_FINISH), rsv=RSV1)
            + frame(TEXT, deflated(echo("two"), flush=zlib.Z_FINISH), rsv=RSV1),
            ["one", "two"],
            id="final blocks (7.2.3.4)",
        ),
        pytest.param(
            frame(TEXT, deflated(echo("one"), flush=zlib.Z_FULL_FLUSH), rsv=RSV1)
            + frame(TEXT, echo("two"))
            + frame(TEXT, deflated(echo("three")), rsv=RSV1),
            ["one", "two", "three"],
            id="one that is not between two that are",
        ),
        pytest.param(
            frame(TEXT, deflated(echo(_LETTERS))[:500], rsv=RSV1, fin=False)
            + frame(PING, b"p")
            + frame(CONTINUATION, fin=False)
            + frame(CONTINUATION, deflated(echo(_LETTERS))[500:]),
            [b"p", _LETTERS],
            id="fragments with a ping and an empty one between",
        ),
    ],
)
async def test_message_inflates(deflating: Server, ada: Login, data: bytes, answers: list[str | bytes]) -> None:
    """However it was compressed and cut, and whatever is spoken plainly between."""
    async with connected(deflating, ada) as client:
        await client.peer.send(data)
        for answer in answers:
            opcode, payload = await client.next()
            assert (opcode, payload if opcode == PONG else json.loads(payload)["data"]) == (
                PONG if isinstance(answer, bytes) else TEXT,
                answer,
            )


@pytest.mark.parametrize("path", ["/v1/ws", "/v1/echo"])
@pytest.mark.parametrize(
    ("code", "data"),
    [
        pytest.param(1002, frame(TEXT, b"\xff\xff\xff\xff", rsv=RSV1), id="no deflate"),
        pytest.param(
            1002, frame(TEXT, deflated(echo(_LETTERS), window=echo(_LETTERS)), rsv=RSV1), id="before the window"
        ),
        pytest.param(1002, frame(TEXT, zlib.compress(echo("hi")), rsv=RSV1), id="with zlib's header"),
        pytest.param(1002, frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"b", rsv=RSV1), id="RSV1 in a fragment"),
        pytest.param(1002, frame(TEXT, deflated(b"a"), rsv=RSV1 | 2), id="RSV2 beside it"),
        pytest.param(1007, frame(TEXT, deflated(b"\xff\xfe"), rsv=RSV1), id="inflates to no UTF-8"),
        pytest.param(1009, frame(TEXT, deflated(b"\x00" * (MOST + 2)), rsv=RSV1), id="inflates a little too far"),
        pytest.param(1009, frame(TEXT, deflated(b"\x00" * (64 << 20)), rsv=RSV1), id="bomb of 64 MB in 64 KB"),
        pytest.param(1009, head(TEXT, MOST + 1, rsv=RSV1), id="too long before it inflates"),
    ],
)
async def test_message_that_does_not_inflate_ends_the_connection(
    deflating: Server, ada: Login, path: str, code: int, data: bytes
) -> None:
    """With the code of what is wrong with it; a bomb is not inflated beyond the size of a message."""
    async with connected(deflating, ada, path) as client:
        await client.peer.send(data)
        opcode, payload = await client.next()
        assert opcode == CLOSE
        assert struct.unpack("!H", payload[:2]) == (code,)
        assert await client.peer.is_closed()
    await assert_serves(deflating)


@pytest.mark.parametrize(
    ("offer", "agreed"),
    [
        ("permessage-deflate", "permessage-deflate"),
        ("permessage-deflate; client_max_window_bits", "permessage-deflate"),
        ("permessage-deflate; client_no_context_takeover", "permessage-deflate"),
        ("permessage-deflate; server_no_context_takeover", "permessage-deflate; server_no_context_takeover"),
        ("permessage-deflate; server_max_window_bits=9", "permessage-deflate; server_max_window_bits=9"),
        ("permessage-deflate; server_max_window_bits=15", "permessage-deflate; server_max_window_bits=15"),
        (
            'permessage-deflate; client_max_window_bits=10; server_max_window_bits="10"; server_no_context_takeover',
            "permessage-deflate; server_max_window_bits=10; server_no_context_takeover",
        ),
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; server_max_window_bits=15; server_max_window_bits=15", None),
        ("permessage-deflate; server_no_context_takeover=1", None),
        ("permessage-deflate; client_max_window_bits=7", None),
        ("permessage-deflate; server_max_window_bits=8", None),
        ("permessage-deflate; server_max_window_bits=99", None),
        (
            "permessage-deflate; server_max_window_bits=9, permessage-deflate",
            "permessage-deflate; server_max_window_bits=9",
        ),
        ("permessage-deflate; mystery", None),
        ("permessage-deflate; mystery, permessage-deflate", "permessage-deflate"),
        ("x-webkit-deflate-frame", None),
    ],
)
async def test_offer_is_answered_with_what_is_kept(
    deflating: Server, ada: Login, offer: str, agreed: str | None
) -> None:
    """Offers that cannot be met are declined, and messages arrive uncompressed."""
    async with raw_peer(deflating.port) as peer:
        offered = f"Sec-WebSocket-Extensions: {offer}"
        answer = await peer.upgrade("/v1/ws", f"Authorization: Bearer {ada.access_token}", offered)
        assert (answer.status, answer.headers.get("sec-websocket-extensions")) == (101, agreed)
        client = Inflating(peer)
        await client.next()
        await peer.send(frame(TEXT, echo(_LETTERS)))
        assert json.loads((await client.next())[1])["data"] == _LETTERS


async def test_window_that_is_kept_does_not_confuse(deflating: Server, ada: Login) -> None:
    """A client that keeps its window reads the framework's compressed `authenticated`, then ours, large and small."""
    async with raw_peer(deflating.port) as peer:
        assert (await peer.upgrade("/v1/ws", OFFER)).status == 101
        client = Inflating(peer)
        token = {"type": "auth", "token": ada.access_token}
        await peer.send(frame(TEXT, deflated(json.dumps(token).encode()), rsv=RSV1))
        assert [json.loads((await client.next())[1])["type"] for _ in range(2)] == ["authenticated", "hello"]
        for data in (_LETTERS, "small", _LETTERS, _LETTERS[::-1], "small"):
            await peer.send(frame(TEXT, deflated(echo(data)), rsv=RSV1))
            assert json.loads((await client.next())[1])["data"] == data
