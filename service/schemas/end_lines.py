"""The last line of an NDJSON response. Without this line the response is incomplete."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from service.domain.events.position import Position
from service.schemas.fields import ResponseModel

_FIELDS: Final = {"end", "users", "position"}


class ExportEnd(ResponseModel):
    """Last line of an export of users; an import takes it and compares the count."""

    end: Literal[True]
    users: Annotated[int, Field(ge=0, strict=True, examples=[60504])]
    """How many lines stand before it, one for each user."""
    position: Annotated[str, Field(max_length=64, examples=["k3f9q2xw-1042"])] = ""
    """The position at which the users are as the lines say."""


def is_end(value: Any) -> bool:
    """Whether a parsed line is the end line of an export rather than a user."""
    return isinstance(value, dict) and "end" in value and value.keys() <= _FIELDS


def users_end(users: int, position: Position) -> bytes:
    return b'{"end":true,"users":%d,"position":"%b"}\n' % (users, str(position).encode())


def audit_end(entries: int) -> bytes:
    return b'{"end":true,"entries":%d}\n' % entries
