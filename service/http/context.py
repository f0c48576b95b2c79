"""The context of one request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from service.domain.errors import TooMany
from service.http.operations import Operation
from service.security.authenticator import Principal


class Limit(Protocol):
    """A request limit, as the `RateLimit-Policy` header tells it."""

    terms: str

    def header(self, used_s: float) -> str: ...


@dataclass(slots=True)
class Context:
    """One object for all that middleware finds out: a key for each would cost a look-up for each.

    Attributes:
        began: when its head had been read, in seconds of a monotonic clock.
        request_id: its name, in the answer, the log and problems.
        client: address of the client, behind trusted proxies.
        operation: what the view promises for this method; None for a path or method that is not there.
        principal: the authenticated caller; None before authentication.
        limit: the tightest that counts it; None when none does.
        used_s: how much of its time is used up.
        rate_limited: the limit that a feed has reached; the view reports it in the stream. None below the limit.
        streamed_bytes: what a stream sent; None for other answers.
        entered: id of a user who was authenticated by the request itself: a login or a refresh.
        problem: what was refused, as the last part of the type of its problem; None for other answers.
    """

    began: float
    request_id: str
    client: str
    operation: Operation | None = None
    principal: Principal | None = None
    limit: Limit | None = None
    used_s: float = 0.0
    rate_limited: TooMany | None = None
    streamed_bytes: int | None = None
    entered: str | None = None
    problem: str | None = None
