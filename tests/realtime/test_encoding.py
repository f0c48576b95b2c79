"""Bytes on the wire, read back by decoders that were written from the standards and know nothing of the encoders."""

from __future__ import annotations

import json
import struct
import zlib
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.realtime.encoding import (
    EncodedEntry,
    WireEncoding,
    chunk,
    close_frame,
    compact,
    deflated_frame,
    render,
    sse,
    sse_ping,
    text_frame,
)

words = st.from_regex(r"[a-z]{1,10}\.[a-z]{1,10}", fullmatch=True)
positions = st.from_regex(r"[a-z2-7]{8}-(0|[1-9][0-9]{0,17})", fullmatch=True)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


class Dispatched(NamedTuple):
    """The events that a browser would dispatch to a page."""

    event: str
    data: str
    last_id: str


def read_frames(data: bytes) -> list[tuple[int, bytes]]:
    """Opcodes and payloads of whole, unmasked frames (RFC 6455, 5.2)."""
    found = []
    while data:
        first, size = data[0], data[1]
        assert first & 0x80, "the last fragment"
        assert not first & 0x70, "no extension was negotiated"
        assert not size & 0x80, "a server does not mask"
        offset = 2
        if size == 126:
            (size,) = struct.unpack_from("!H", data, 2)
            assert size > 125, "the shortest length that does must be used"
            offset = 4
        elif size == 127:
            (size,) = struct.unpack_from("!Q", data, 2)
            assert size > 65_535, "the shortest length that does must be used"
            offset = 10
        assert len(data) >= offset + size
        found.append((first & 0x0F, data[offset : offset + size]))
        data = data[offset + size :]
    return found


def read_chunks(data: bytes) -> list[bytes]:
    """The chunks of a body that has not ended (RFC 9112, 7.1)."""
    found = []
    while data:
        line, _, rest = data.partition(b"\r\n")
        size = int(line, 16)
        assert size, "this would be the end of the body"
        assert rest[size : size + 2] == b"\r\n"
        found.append(rest[:size])
        data = rest[size + 2 :]
    return found


def read_events(stream: bytes, last_id: str = "") -> tuple[list[Dispatched], str]:
    """What EventSource dispatches, and its last event id (WHATWG HTML, 9.2.6)."""
    found = []
    event, data = "", ""
    text = stream.decode().replace("\r\n", "\n").replace("\r", "\n")
    for line in text.split("\n")[:-1]:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                found.append(Dispatched(event or "message", data.removesuffix("\n"), last_id))
            event, data = "", ""
        elif name == "event":
            event = value
        elif name == "data":
            data += value + "\n"
        elif name == "id" and "\0" not in value:
            last_id = value
    return found, last_id


def entry(seq: int, event: str, value: object) -> EncodedEntry:
    data = compact(value)
    return EncodedEntry(seq, None, event, f"e-{seq}", data, b'{"event":' + data + b"}")


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_text_frames_hold_their_payloads(payloads: list[bytes]) -> None:
    """Each payload comes back from its frame, in order, and nothing is left between them."""
    assert read_frames(b"".join(text_frame(payload) for payload in payloads)) == [(1, payload) for payload in payloads]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 70_000])
def test_frame_names_its_size_in_the_shortest_way(size: int) -> None:
    """At every edge of the three lengths of RFC 6455 the frame is read back whole."""
    assert read_frames(text_frame(b"x" * size)) == [(1, b"x" * size)]


@given(st.integers(1000, 4999), st.text(max_size=30))
def test_close_frame_carries_code_and_reason(code: int, reason: str) -> None:
    """A close frame is opcode 8 with the code in two bytes and the reason after it."""
    assert read_frames(close_frame(code, reason)) == [(8, struct.pack("!H", code) + reason.encode())]


@given(words, values, st.none() | positions)
def test_event_is_dispatched_with_what_was_put_in(event: str, value: object, position: str | None) -> None:
    """EventSource sees one event of that name with that JSON; the id moves only where one is given."""
    dispatched, last_id = read_events(sse(event, compact(value), position), "before")

    assert [(found.event, json.loads(found.data)) for found in dispatched] == [(event, value)]
    assert dispatched[0].last_id == last_id == (position or "before")


@given(positions)
def test_ping_moves_the_id_and_has_a_name_and_data(position: str) -> None:
    """A ping is an event of its own name with JSON: clients that pass on what has no data find nothing empty in it."""
    ping = Dispatched("ping", json.dumps({"position": position}, separators=(",", ":")), position)
    assert read_events(sse_ping(position), "before") == ([ping], position)


@given(
    words, st.lists(st.sampled_from(["a", "é", "\x85", "\u2028", "\u2029", "\n", "\r", "\x0b", "\x1e"])).map("".join)
)
def test_event_is_cut_by_no_line_separator(event: str, text: str) -> None:
    """Also to clients that split at every line end of Unicode, as `str.splitlines` does, an event has its three lines."""
    written = sse(event, compact({"text": text}), "e-1").decode()

    head, name, data, end = written.splitlines()
    assert (head, name, end) == ("id: e-1", f"event: {event}", "")
    assert json.loads(data.removeprefix("data: ")) == {"text": text}


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=5))
def test_chunks_hold_their_data(pieces: list[bytes]) -> None:
    """Each piece is one chunk, and none of them ends the body."""
    assert read_chunks(b"".join(chunk(piece) for piece in pieces)) == pieces


@given(values)
def test_compact_is_json_in_one_line(value: object) -> None:
    """JSON as we write it means the same to any reader and has no line break in it."""
    written = compact(value)

    assert json.loads(written.decode()) == value
    assert b"\n" not in written
    assert b"\r" not in written


@given(st.lists(st.tuples(words, values), min_size=1, max_size=5))
def test_all_forms_carry_the_same_entries(entries: list[tuple[str, object]]) -> None:
    """A WebSocket and an event stream with and without chunks receive the same, in the same order."""
    made = [entry(seq, event, value) for seq, (event, value) in enumerate(entries, 1)]

    plain, last_id = read_events(render(made, WireEncoding.PLAIN))
    (chunked,) = read_chunks(render(made, WireEncoding.CHUNKED))
    frames = read_frames(render(made, WireEncoding.WEBSOCKET))

    assert [(one.event, json.loads(one.data)) for one in plain] == entries
    assert [one.last_id for one in plain] == [one.position for one in made]
    assert last_id == made[-1].position
    assert chunked == render(made, WireEncoding.PLAIN)
    assert [json.loads(payload)["event"] for _, payload in frames] == [value for _, value in entries]


@given(st.lists(st.binary(max_size=3000) | st.integers(0, 70_000).map(lambda size: b"ab" * size), max_size=4))
def test_deflated_frames_are_what_went_in(payloads: list[bytes]) -> None:
    """Read in a row by one inflater that keeps its window (RFC 7692, 7.2.2); short ones are plain."""
    inflater = zlib.decompressobj(wbits=-15)
    for payload in payloads:
        frame = deflated_frame(payload)
        deflated = bool(frame[0] & 0x40)
        ((opcode, body),) = read_frames(bytes((frame[0] & ~0x40,)) + frame[1:])
        assert opcode == 1
        assert deflated is (len(payload) >= 512)
        assert (inflater.decompress(body + b"\x00\x00\xff\xff") if deflated else body) == payload
