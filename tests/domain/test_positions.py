"""Places in a log, as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.errors import InvalidPosition
from service.domain.events.position import Position, lost, new_epoch

EPOCHS = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=32)
SEQS = st.integers(0, 10**18 - 1)


@given(EPOCHS, SEQS)
def test_written_position_reads_back(epoch: str, seq: int) -> None:
    """Every position is read from its own text."""
    assert Position.parse(str(Position(epoch, seq))) == (epoch, seq)


@given(st.text(max_size=60) | st.from_regex(r"[a-z0-9]{0,40}-?[0-9+-]{0,25}\s?"))
def test_only_one_spelling_is_read(text: str) -> None:
    """A text is either the one spelling of a position or refused."""
    try:
        position = Position.parse(text)
    except InvalidPosition:
        return

    assert str(position) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "k3f9-",
        "-1",
        "k3f9",
        "k3f9-1\n",
        " k3f9-1",
        "k3f9-01",
        "k3f9-+1",
        "k3f9--1",
        "k3f9-1_0",
        "K3F9-1",
        "k3f9-١",
        "k3f9-1-1",
        "k" * 33 + "-1",
        "k3f9-" + "9" * 19,
        '"k3f9-1"',
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    """Signs, spaces, leading zeros, other scripts' digits and numbers past 64 bits are no positions."""
    with pytest.raises(InvalidPosition):
        Position.parse(text)


@given(EPOCHS, SEQS, SEQS)
def test_positions_of_one_log_compare_by_seq(epoch: str, left: int, right: int) -> None:
    """In one epoch the later position is the greater one."""
    assert (Position(epoch, left) < Position(epoch, right)) == (left < right)


def test_new_epochs_are_words_of_their_own() -> None:
    """A new log gets a word that no other has, and that can be written in a position."""
    epochs = {new_epoch() for _ in range(100)}

    assert len(epochs) == 100
    assert all(len(epoch) == 8 and Position.parse(f"{epoch}-0").epoch == epoch for epoch in epochs)


@given(st.integers(0, 9), st.integers(0, 9), st.integers(1, 10))
def test_place_is_lost_unless_the_log_has_everything_behind_it(seq: int, head: int, first: int) -> None:
    """A log reads on from a place of its own epoch, whose next event it still holds or has yet to get."""
    first = min(first, head + 1)
    kept = range(first, head + 1)
    behind = range(seq + 1, head + 1)

    assert lost(Position("b", seq), Position("a", head), first) == "epoch"
    assert (lost(Position("a", seq), Position("a", head), first) is None) == (seq <= head and set(behind) <= set(kept))
    assert (lost(Position("a", seq), Position("a", head), first) == "ahead") == (seq > head)
