"""Places in a log: `<epoch>-<seq>`.

The epoch names one life of the log, the seq counts in it from 1 in commit order; seq 0 is the place before the
first event. The same text is the ETag, the SSE id, the WebSocket position and the cursor of a webhook.
"""

from __future__ import annotations

import re
import secrets
from typing import Final, Literal, NamedTuple

from service.domain.errors import InvalidPosition

Lost = Literal["epoch", "ahead", "trimmed"]
"""Why a log cannot be read on from a place."""

_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz234567"
# \Z, not $: a trailing newline must not pass. 18 digits stay inside a signed 64-bit integer.
_POSITION: Final = re.compile(r"([a-z0-9]{1,32})-(0|[1-9][0-9]{0,17})\Z", re.ASCII)


class Position(NamedTuple):
    """A place in the log of one epoch: a reader at it has read everything up to and including `seq`."""

    epoch: str
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.seq}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """Read `<epoch>-<seq>`; raises `InvalidPosition` on anything else."""
        match = _POSITION.match(text)
        if match is None:
            raise InvalidPosition()
        return cls(match[1], int(match[2]))


def lost(place: Position, head: Position, first: int) -> Lost | None:
    """Why a log cannot be read on from a place; None when it can.

    Args:
        head: of the log.
        first: the lowest seq that it still holds; that of the head + 1 when it is empty.
    """
    if place.epoch != head.epoch:
        return "epoch"
    if place.seq > head.seq:
        return "ahead"
    return "trimmed" if place.seq + 1 < first else None


def new_epoch() -> str:
    """A random word of 8 letters and digits: two logs share one with a chance of 1 in 10^12."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(8))
