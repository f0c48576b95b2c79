"""What a client sends that no handler sees is counted before it is parsed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from service.realtime.frame_limit import FrameCounter, FrameLimit
from tests.support.frames import CLOSE, CONTINUATION, PING, PONG, TEXT, frame


class Recorder:
    """Instead of a parser: keeps what it is given."""

    def __init__(self) -> None:
        self.data = b""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.data += data
        return False, b""

    def feed_eof(self) -> None:
        self.data += b"EOF"


class Counted:
    """A counter with its parser, and what it has called."""

    def __init__(self, per_s: int) -> None:
        self.calls: list[str] = []
        self.parser = Recorder()
        self.limit = FrameLimit(per_s)
        self.counter = FrameCounter(
            self.parser, self.limit, lambda: self.calls.append("flood"), lambda: self.calls.append("stop")
        )


frames = st.lists(
    st.sampled_from(
        [
            frame(TEXT, "x" * 10),
            frame(TEXT, "x" * 300),
            frame(TEXT, "x" * 70_000),
            frame(TEXT, "x", fin=False) + frame(CONTINUATION, b"y", fin=False) + frame(CONTINUATION),
            frame(PING, b"1"),
            frame(PONG),
        ]
    ),
    max_size=8,
)


@given(frames, st.lists(st.integers(1, 70_000), max_size=20))
def test_what_is_within_the_limit_reaches_the_parser_as_it_came(sent: list[bytes], cuts: list[int]) -> None:
    """However the bytes are cut, the parser is given all of them in their order, as soon as a head is whole."""
    data, counted = b"".join(sent) + frame(CLOSE), Counted(1_000)
    rest = data
    for cut in cuts:
        counted.counter.feed_data(rest[:cut])
        rest = rest[cut:]
    for place in range(0, len(rest), 1 if len(rest) < 500 else 501):
        counted.counter.feed_data(rest[place : place + (1 if len(rest) < 500 else 501)])
    counted.counter.feed_eof()

    assert counted.parser.data == data + b"EOF"
    assert counted.calls == []


def test_control_frames_and_empty_fragments_count_as_messages() -> None:
    """The one that is too many is not parsed, nor is what follows; the close frame is."""
    for flood in (frame(PING), frame(PONG, b"x"), frame(TEXT, fin=False), frame(CONTINUATION, fin=False)):
        counted = Counted(10)
        counted.counter.feed_data(flood * 10)
        assert counted.calls == []
        counted.counter.feed_data(flood * 3 + frame(TEXT, "x"))
        assert (counted.calls, counted.limit.exceeded) == (["flood"], True)
        counted.counter.feed_data(frame(TEXT, "x") + frame(CLOSE, b"\x03\xe8"))

        assert counted.parser.data == flood * 10 + frame(CLOSE, b"\x03\xe8")


def test_fragments_count_as_a_sixteenth() -> None:
    """A message of 64 KiB may come in pieces of 1 KiB; pieces of a byte exceed the limit."""
    counted = Counted(50)
    counted.counter.feed_data(frame(TEXT, b"x" * 1024, fin=False) + frame(CONTINUATION, b"x" * 1024, fin=False) * 62)
    assert counted.calls == []
    counted.counter.feed_data(frame(CONTINUATION, b"x", fin=False) * 900)
    assert counted.calls == ["flood"]


def test_client_that_goes_on_sending_is_read_no_further() -> None:
    """Above the limit 256 frames are discarded while the close frame is waited for; what follows costs nothing."""
    counted = Counted(10)
    counted.counter.feed_data(frame(PING) * 11)
    counted.counter.feed_data(frame(TEXT, b"x") * 256)
    assert counted.calls == ["flood"]
    counted.counter.feed_data(frame(TEXT, b"x") + frame(CLOSE))
    counted.counter.feed_data(frame(CLOSE))

    assert counted.calls == ["flood", "stop", "stop"]
    assert counted.parser.data == frame(PING) * 10
