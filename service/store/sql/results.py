"""The results of writes that ran in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from service.domain.events.event import Event
from service.domain.events.position import Position
from service.domain.idempotency.claims import Claim
from service.domain.ports import Render
from service.store.recording import Recording


@dataclass(slots=True)
class WriteSuccess:
    """A write that succeeded.

    Attributes:
        value: returned by the work.
        events: its events, with their seqs once they are appended.
        claimed: the idempotency key that it took, and the renderer of the response to be stored with it.
    """

    value: Any
    recording: Recording
    claimed: tuple[Claim, Render] | None
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class WriteFailure:
    """A write that changed nothing, and the error for its caller."""

    error: Exception


@dataclass(frozen=True, slots=True)
class WriteRetry:
    """A write that changed nothing and is to run in a later transaction.

    Attributes:
        error: for its caller, if it was tried `most_tries` times.
        most_tries: None where this try does not count: nothing was wrong with the write.
    """

    error: Exception | None = None
    most_tries: int | None = None


Result = WriteSuccess | WriteFailure | WriteRetry


@dataclass(frozen=True, slots=True)
class WriteBatch:
    """Works that ran in one transaction.

    Attributes:
        results: one for each work.
        position: of the log after it; None where the transaction has to be rolled back. Then no work is a `WriteSuccess`.
    """

    results: Sequence[Result]
    position: Position | None
