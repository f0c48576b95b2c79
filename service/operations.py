"""What a method of a view promises, said once: authentication, `openapi.yaml` and the tests read it."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel

from service.problems import Kind

F = TypeVar("F", bound=Callable[..., Any])


class Access(enum.Enum):
    """Who may call."""

    PUBLIC = "anybody"
    BEARER = "an access token"
    STREAM = "an access token, a ticket or the stream cookie"
    OPERATOR = "loopback or the metrics token"


@dataclass(frozen=True, slots=True)
class Reply:
    """A good answer.

    Attributes:
        model: of its JSON body; None for another or no body.
        media_type: of a body that is not JSON.
        example: of the body; None where the model's own examples say enough.
        headers: name to what it says.
    """

    description: str
    model: type[BaseModel] | None = None
    media_type: str | None = None
    example: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path.

    Attributes:
        limited: whether the request limits count it; health checks must get through.
        body: model of the JSON body, with the media types that are taken for it.
        headers: request headers that matter, name to what they do.
    """

    summary: str
    description: str
    tag: str
    access: Access
    replies: Mapping[int, Reply]
    refusals: Sequence[Kind]
    limited: bool = True
    body: type[BaseModel] | None = None
    body_types: Sequence[str] = ("application/json",)
    body_required: bool = True
    body_examples: Mapping[str, Any] = field(default_factory=dict)
    query: type[BaseModel] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def operation(promised: Operation) -> Callable[[F], F]:
    """Say what a method of a view promises."""

    def mark(method: F) -> F:
        method.__operation__ = promised  # type: ignore[attr-defined]  # functions have no declared attributes
        return method

    return mark


def operation_of(method: object) -> Operation | None:
    return getattr(method, "__operation__", None)
