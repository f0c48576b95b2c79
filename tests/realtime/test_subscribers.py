"""Readers that want the same."""

from __future__ import annotations

from service.realtime.broadcast_log import BroadcastLog
from service.realtime.encoding import WireEncoding
from service.realtime.reader import Reader
from service.realtime.ring import Ring
from service.realtime.subscribers import EventFilter, SubscriberGroup
from tests.support.streams import FakeStream, an_entry


def no_trim() -> None:
    raise AssertionError("nothing was trimmed")


async def test_what_is_handed_out_counts_as_sent() -> None:
    """However it was sent, by the reader or for all at once, before it fell behind or after it was closed."""
    log, stream = BroadcastLog("epoch", Ring(0, 100, 1 << 30)), FakeStream()
    log.append(an_entry(1))
    stream.readers.append(reader := Reader(log, stream, EventFilter(), 0, no_trim))
    while not reader.live:
        await reader.step()
    for seq in (2, 3):
        log.append(an_entry(seq))
        log.flush()
        assert stream.sent_bytes == len(stream.buffered)

    reader.on_detached(3)
    assert stream.sent_bytes == len(stream.buffered)
    await reader.step()
    log.append(an_entry(4))
    log.flush()
    assert reader.live
    reader.close()
    reader.close()
    log.append(an_entry(5))
    log.flush()
    assert stream.written_seqs == [1, 2, 3, 4]
    assert stream.sent_bytes == len(stream.buffered)


async def test_lane_without_readers_is_gone() -> None:
    """Encodings without a reader are not produced."""
    log, stream = BroadcastLog("epoch", Ring(0, 100, 1 << 30)), FakeStream(encoding=WireEncoding.CHUNKED)
    audience, reader = SubscriberGroup(EventFilter()), Reader(log, stream, EventFilter(), 0, no_trim)
    audience.add(reader)
    assert list(audience.by_encoding) == [WireEncoding.CHUNKED]
    audience.discard(reader)
    audience.discard(reader)
    assert not audience.by_encoding
