"""Results of the ports, and the clock that use cases read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar

from service.domain.events.event import Event
from service.domain.events.position import Position
from service.domain.idempotency.claims import StoredResponse

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Clock = Callable[[], datetime]
"""Now, in UTC."""


class Snapshot(NamedTuple, Generic[T]):
    """A value and the position at which it is true: both were read at once."""

    value: T
    position: Position


@dataclass(frozen=True, slots=True)
class Written(Generic[T_co]):
    """The result of a committed write, and the position after it.

    Attributes:
        value: what the work returned.
        events: what it appended, in order, with their seqs; empty when it changed nothing.
        position: at or after the last of them.
    """

    value: T_co
    events: tuple[Event, ...]
    position: Position


Render = Callable[[Written[Any]], StoredResponse]
"""Renders the response to a write. It must depend on nothing else and change nothing; it may run in any thread."""
