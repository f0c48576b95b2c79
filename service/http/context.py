"""The context of one request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from service.domain.errors import TooMany
from service.http.operations import Operation
from service.security.authenticator import Principal


class Limit(Protocol):
    """A request limit, with its `RateLimit` and `RateLimit-Policy` headers."""

    terms: str

    def header(self, used_s: float) -> str: ...


@dataclass(slots=True)
class Context:
    """The results of the middleware, for later steps and the view. One object costs less than a key for each result.

    Attributes:
        began: when the request head had been parsed, in seconds of a monotonic clock.
        request_id: the id in the response, the log and problems.
        client: address of the client, as trusted proxies report it.
        operation: the operation of the view for this method; None for an unknown path or method.
        principal: the authenticated caller; None before authentication.
        limit: the tightest limit that counts the request; None without a limit.
        used_s: how many seconds of that limit are used up.
        rate_limited: the limit that a feed has reached; the view reports it in the stream. None below the limit.
        streamed_bytes: bytes that a stream sent; None for other responses.
        authenticated_user: id of the user whom a login or a refresh authenticated; None for other requests.
        problem: slug of the problem in the response; None without a problem.
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
    authenticated_user: str | None = None
    problem: str | None = None
