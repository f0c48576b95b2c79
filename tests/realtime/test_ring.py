"""The ring against a plain list that keeps everything."""

from __future__ import annotations

import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.realtime.encoding import EncodedEntry
from service.realtime.ring import Ring


def entry(seq: int, size: int = 0) -> EncodedEntry:
    return EncodedEntry(seq, None, "message", f"e-{seq}", b"d" * size, b"")


def cost(one: EncodedEntry) -> int:
    """The size of an entry: its bytes and 280 for the objects around them."""
    return len(one.data) + len(one.frame) + 280


def overflows(kept: list[EncodedEntry], most_entries: int, most_bytes: int) -> bool:
    return len(kept) > most_entries or (len(kept) > 1 and sum(map(cost, kept)) > most_bytes)


@given(
    st.integers(0, 1000),
    st.integers(1, 12),
    st.integers(1, 4000),
    st.lists(st.integers(0, 900) | st.sampled_from(("drop", "clear")), max_size=60),
)
def test_ring_holds_the_newest_within_its_bounds(
    head: int, most_entries: int, most_bytes: int, steps: list[int | str]
) -> None:
    """After any appends and drops the ring holds the tail of all entries, dense, within count and bytes."""
    ring, model, dropped = Ring(head, most_entries, most_bytes), list[EncodedEntry](), head
    for step in steps:
        if isinstance(step, int):
            model.append(entry(head + len(model) + 1, step))
            ring.append(model[-1])
            while overflows(model[dropped - head :], most_entries, most_bytes):
                dropped += 1
        elif step == "clear":
            ring.clear()
            dropped = ring.head
        elif len(ring):
            ring.drop_oldest()
            dropped += 1
        kept = model[dropped - head :]

        assert (ring.head, ring.first, len(ring)) == (head + len(model), dropped + 1, len(kept))
        assert ring.bytes == sum(map(cost, kept))
        assert ring.after(dropped, 1 << 40) == kept
        for seq in range(max(head - 2, 0), ring.head + 1):
            assert ring.reaches(seq) == (seq >= dropped)


@given(st.lists(st.integers(0, 900), min_size=1, max_size=40), st.data())
def test_pages_from_any_place_join_without_gap_or_repeat(sizes: list[int], data: st.DataObject) -> None:
    """Read from any seq in pages of any size, the later entries come once each, in order, and never none."""
    ring = Ring(0, 1000, 1 << 30)
    for seq, size in enumerate(sizes, 1):
        ring.append(entry(seq, size))
    place = start = data.draw(st.integers(0, len(sizes)))
    most_bytes = data.draw(st.integers(1, 3000))
    read: list[int] = []
    while place < ring.head:
        page = ring.after(place, most_bytes)
        assert page
        assert len(page) == 1 or sum(map(cost, page)) <= most_bytes
        read += [one.seq for one in page]
        place = read[-1]

    assert read == list(range(start + 1, len(sizes) + 1))
    assert ring.after(ring.head, most_bytes) == []


def test_entry_that_does_not_follow_is_refused() -> None:
    """A hole or a repeat is a fault of the caller, found here and not by a reader."""
    ring = Ring(5, 10, 10_000)
    ring.append(entry(6))

    for seq in (6, 8):
        with pytest.raises(ValueError, match=f"entry {seq} does not follow 6"):
            ring.append(entry(seq))


def test_replaced_entry_is_found_in_its_place() -> None:
    """Another entry takes the place of the one with its seq; one that has gone is not brought back."""
    ring = Ring(0, 3, 10_000)
    for seq in range(1, 6):
        ring.append(entry(seq))

    ring.replace(entry(4, size=7))
    ring.replace(entry(1, size=7))

    assert [(one.seq, len(one.data)) for one in ring.after(2, 1 << 30)] == [(3, 0), (4, 7), (5, 0)]


def test_replacing_keeps_the_count_of_bytes() -> None:
    """The memory that a replaced entry frees is room for others, as if it had been so from the start."""
    ring = Ring(0, 100, 3 * 1280 + 5 * 100)
    for seq in range(1, 4):
        ring.append(entry(seq, size=1000))
    for seq in range(1, 4):
        ring.replace(entry(seq))
    for seq in range(4, 16):
        ring.append(entry(seq))

    assert (ring.first, len(ring)) == (1, 15)  # 280 each


class Position(str):
    """A text that can be watched."""


def test_ring_releases_an_entry_as_soon_as_it_does_not_count_it() -> None:
    """Entries dropped from the ring are freed at once: its counter is the memory that it holds."""
    ring = Ring(0, 100, 1 << 20)
    held: list[weakref.ref[Position]] = []
    for seq in range(1, 151):
        position = Position(f"e-{seq}")
        held.append(weakref.ref(position))
        ring.append(EncodedEntry(seq, None, "message", position, b"", b""))
        del position

    assert [watched() is not None for watched in held] == [False] * 50 + [True] * 100
