"""The contract of a view's method. Authentication, `openapi.yaml` and the tests read it."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from pydantic import BaseModel

from service.domain.auth.scopes import Scope
from service.http import problems
from service.http.problems import ProblemType

F = TypeVar("F", bound=Callable[..., Any])


class Access(enum.Enum):
    """The credentials that an operation accepts."""

    PUBLIC = "none"
    BEARER = "an access token"
    STREAM = "an access token, a ticket or the stream cookie"
    OPERATOR = "the metrics token"


@dataclass(frozen=True, slots=True)
class Reply:
    """A good answer.

    Attributes:
        model: of its JSON body; None for another or no body.
        media_type: of a body without a model.
        example: of that body.
        lines: an example of the same as NDJSON, if the client may ask for it; empty if not.
        events: for an event stream, each name of an event with the model of its data.
        headers: those that come with it; `service/http/openapi/headers.py` says what each is.
    """

    description: str
    model: type[BaseModel] | None = None
    media_type: str | None = None
    example: Any = None
    lines: str = ""
    events: Mapping[str, type[BaseModel]] = field(default_factory=dict)
    headers: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path.

    Attributes:
        id: unique; what a generated client calls its function.
        scope: what the credentials must have been made for; None where there are none, and for the WebSocket, whose
            commands have theirs.
        refusals: what the view itself refuses with; `every_refusal` adds what follows from the rest.
        writes: whether it changes what the store keeps.
        limited: whether the request limits count it; health checks must get through.
        body: model of the JSON body, with the media types that are taken for it.
        body_in_lines: whether the body is many such, a line each: as a whole it has no bound.
        body_examples: by name; empty where the model's own examples say enough.
        headers: those of the request that matter; `service/http/openapi/headers.py` says what each does.
    """

    id: str
    summary: str
    description: str
    tag: str
    access: Access
    replies: Mapping[int, Reply]
    scope: Scope | None = None
    refusals: Sequence[ProblemType] = ()
    writes: bool = False
    limited: bool = True
    body: type[BaseModel] | None = None
    body_types: Sequence[str] = ("application/json",)
    body_required: bool = True
    body_in_lines: bool = False
    body_examples: Mapping[str, Any] = field(default_factory=dict)
    query: type[BaseModel] | None = None
    headers: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.access is Access.BEARER and self.scope is None:
            # Else whatever a token was made for would do.
            raise TypeError(f"{self.id} asks for credentials and names no scope")

    @property
    def every_refusal(self) -> frozenset[ProblemType]:
        """Every problem that a client must expect: the view's own, and those of the steps that read the request."""
        every = {*self.refusals, *_REFUSALS_OF_ACCESS[self.access]}
        if self.writes:
            every.update(_REFUSALS_OF_WRITES)
        if self.scope is not None:
            every.add(problems.INSUFFICIENT_SCOPE)
        if self.limited:
            every.add(problems.TOO_MANY)
        if self.query is not None:
            every.add(problems.BAD_REQUEST)
        if self.body is not None:
            every.update(_REFUSALS_OF_LINES if self.body_in_lines else _REFUSALS_OF_BODIES)
        if "Idempotency-Key" in self.headers:
            every.update(_REFUSALS_OF_KEYS)
        if self.is_feed:
            every -= _TOLD_IN_STREAMS
        return frozenset(every)

    @property
    def is_feed(self) -> bool:
        """Whether it answers with an event stream."""
        return any(reply.events for reply in self.replies.values())


_CREDENTIALS: Final = (problems.UNAUTHENTICATED, problems.INVALID_TOKEN)
_REFUSALS_OF_ACCESS: Final[Mapping[Access, Sequence[ProblemType]]] = {
    Access.PUBLIC: (),
    Access.BEARER: (
        *_CREDENTIALS,
        problems.SERVICE_UNAVAILABLE,
    ),  # without the log, a process cannot know whether a token was revoked
    # Credentials in two places; a cookie from a foreign page; a ticket that cannot be marked as used.
    Access.STREAM: (
        *_CREDENTIALS,
        problems.SERVICE_UNAVAILABLE,
        problems.BAD_REQUEST,
        problems.FORBIDDEN,
        problems.INSUFFICIENT_STORAGE,
    ),
    Access.OPERATOR: (*_CREDENTIALS, problems.NOT_FOUND),  # 404 while no token is set
}
_REFUSALS_OF_WRITES: Final = (problems.SERVICE_UNAVAILABLE, problems.INSUFFICIENT_STORAGE)
_REFUSALS_OF_BODIES: Final = (
    problems.BAD_REQUEST,
    problems.MALFORMED_JSON,
    problems.TIMEOUT,
    problems.TOO_LARGE,
    problems.UNSUPPORTED_MEDIA_TYPE,
    problems.INVALID_FIELDS,
)
_REFUSALS_OF_KEYS: Final = (
    problems.BAD_REQUEST,
    problems.CONFLICT,
    problems.REQUEST_IN_PROGRESS,
    problems.IDEMPOTENCY_KEY_REUSED,
)

# An event stream answers 200 and says these in `closing`: EventSource does not reconnect after another status.
_TOLD_IN_STREAMS: Final = frozenset((problems.TOO_MANY, problems.SERVICE_UNAVAILABLE, problems.INSUFFICIENT_STORAGE))

_REFUSALS_OF_LINES: Final = (problems.BAD_REQUEST, problems.TIMEOUT, problems.UNSUPPORTED_MEDIA_TYPE)


def operation(promised: Operation) -> Callable[[F], F]:
    """Say what a method of a view promises."""

    def mark(method: F) -> F:
        method.__operation__ = promised  # type: ignore[attr-defined]  # functions have no declared attributes
        return method

    return mark


def operation_of(method: object) -> Operation | None:
    return getattr(method, "__operation__", None)
