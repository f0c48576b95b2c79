"""Messages of a feed other than events."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from service.schemas.fields import ResponseModel

_Position = Annotated[str, Field(examples=["k3f9q2xw-1042"])]


class Hello(ResponseModel):
    """The first event of every stream."""

    position: _Position
    """The stream tells what happened after this: the position asked for, or the head of the log if none was."""


class Keepalive(ResponseModel):
    """Sent every `ROSTER_SSE_KEEPALIVE_S`; its id and position move the reader on while no event of its own happens."""

    position: _Position
    """Up to here the stream was served."""


class Reset(ResponseModel):
    """Events were lost to this reader; the stream goes on from `position`."""

    reason: Annotated[Literal["trimmed", "epoch", "ahead", "rights", "invalid"], Field(examples=["trimmed"])]
    """`trimmed`: older than what is kept. `epoch`: of another life of the log. `ahead`: not written yet. `rights`: what may
    be read has changed. `invalid`: no position."""
    position: _Position
    """Where the stream goes on."""
    resync: Annotated[str, Field(examples=["/v1/users"])]
    """What to read again before."""


class Closing(ResponseModel):
    """The last event of a stream that the service ends."""

    reason: Annotated[str, Field(examples=["restart"])]
    """Why, as a word for programs."""
    reconnect_after_ms: Annotated[int | None, Field(examples=[2715])]
    """When to come back, in milliseconds; null when coming back makes no sense."""
