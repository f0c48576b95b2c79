"""Errors of calls. Every one is a `RosterError`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

__all__ = [
    "AlreadyExists",
    "Conflict",
    "ConnectionFailed",
    "Forbidden",
    "HttpProblem",
    "Incomplete",
    "InsufficientScope",
    "InvalidCredentials",
    "InvalidFields",
    "InvalidGrant",
    "InvalidOtp",
    "InvalidToken",
    "LastAdmin",
    "NotFound",
    "OtpRequired",
    "PositionUnavailable",
    "RateLimited",
    "RosterError",
    "ServiceUnavailable",
    "TimedOut",
    "Unauthenticated",
    "VersionMismatch",
]


class RosterError(Exception):
    """The base of all errors of this package.

    Attributes:
        request_id: the name of the request in the service's log; None if no response arrived.
    """

    request_id: str | None = None


class ConnectionFailed(RosterError):
    """No connection could be opened, or it broke before the response was complete."""


class TimedOut(RosterError):
    """The total timeout of the call passed."""


class Incomplete(RosterError):
    """The response ended early, or is not what its header announces."""


class HttpProblem(RosterError):
    """A response with a status of 400 or above (RFC 9457).

    Attributes:
        status: the HTTP status.
        slug: the last part of the problem's `type`; empty if the response is no problem document.
        detail: one sentence about this case.
        errors: the fields that break a rule, as `{"pointer", "code", "detail"}`.
        retry_after_s: seconds of `Retry-After`; None if the response has none.
        maybe_applied: True if an earlier attempt of the same call lost its response, and may have been executed.
        document: the whole problem document.
    """

    def __init__(self, status: int, document: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        self.status = status
        self.document = document
        self.slug = _slug(document)
        self.detail = _text(document, "detail") or _text(document, "title") or f"HTTP status {status}"
        self.errors: tuple[Mapping[str, str], ...] = tuple(_objects(document.get("errors")))
        self.request_id = _text(document, "request_id") or headers.get("X-Request-ID")
        self.retry_after_s = parse_retry_after(headers.get("Retry-After"))
        self.authenticate = headers.get("WWW-Authenticate", "")
        self.maybe_applied = False
        fields = "".join(f" {error.get('pointer')}: {error.get('detail')}" for error in self.errors)
        kind = f"{status} {self.slug}" if self.slug else f"{status}"
        super().__init__(f"{kind}: {self.detail}{fields}")


class Unauthenticated(HttpProblem):
    """The request has no credentials, or they are not accepted."""


class InvalidToken(Unauthenticated):
    """The access token or API token is expired, revoked or malformed."""


class InvalidCredentials(Unauthenticated):
    """Login and password do not match an active account."""


class OtpRequired(Unauthenticated):
    """The account has a second factor, and the request has no code."""


class InvalidOtp(Unauthenticated):
    """The code of the second factor is wrong or was used before."""


class InvalidGrant(HttpProblem):
    """The refresh token is not accepted. Log in again."""


class Forbidden(HttpProblem):
    """The account may not do this."""


class InsufficientScope(Forbidden):
    """The credentials lack a scope, which `scope` names."""

    @property
    def scope(self) -> str:
        """The scopes that the operation needs, separated by spaces (RFC 6750, section 3)."""
        _, _, rest = self.authenticate.partition('scope="')
        return rest.partition('"')[0]


class NotFound(HttpProblem):
    """The resource does not exist, or is not visible to this account."""


class Conflict(HttpProblem):
    """The current state does not allow the request."""


class AlreadyExists(Conflict):
    """A value is in use by another account; `errors` names the fields."""


class LastAdmin(Conflict):
    """The change would leave no active administrator."""


class PositionUnavailable(HttpProblem):
    """The log does not contain the events after this position. Read `resync` again, then continue at `position`."""

    @property
    def reason(self) -> str:
        """`trimmed`, `epoch` or `ahead`."""
        return _text(self.document, "reason")

    @property
    def position(self) -> str:
        return _text(self.document, "position")

    @property
    def resync(self) -> str:
        return _text(self.document, "resync")


class VersionMismatch(HttpProblem):
    """The resource changed since its ETag was read.

    Attributes:
        current: the resource as it is now, if the client read it again; else None.
    """

    current: Any = None


class InvalidFields(HttpProblem):
    """Fields break a rule; `errors` names each."""


class RateLimited(HttpProblem):
    """Too many requests. `retry_after_s` says how long to wait."""


class ServiceUnavailable(HttpProblem):
    """The service cannot serve the request now."""


_BY_SLUG: Final[Mapping[str, type[HttpProblem]]] = {
    "already-exists": AlreadyExists,
    "conflict": Conflict,
    "forbidden": Forbidden,
    "insufficient-scope": InsufficientScope,
    "invalid-credentials": InvalidCredentials,
    "invalid-fields": InvalidFields,
    "invalid-grant": InvalidGrant,
    "invalid-otp": InvalidOtp,
    "invalid-token": InvalidToken,
    "last-admin": LastAdmin,
    "not-found": NotFound,
    "otp-required": OtpRequired,
    "position-unavailable": PositionUnavailable,
    "precondition-failed": VersionMismatch,
    "request-in-progress": Conflict,
    "service-unavailable": ServiceUnavailable,
    "too-many-requests": RateLimited,
    "unauthenticated": Unauthenticated,
}

# For responses of a proxy, which are no problem documents.
_BY_STATUS: Final[Mapping[int, type[HttpProblem]]] = {
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: VersionMismatch,
    429: RateLimited,
    502: ServiceUnavailable,
    503: ServiceUnavailable,
    504: ServiceUnavailable,
}


def create_problem(status: int, document: Mapping[str, Any], headers: Mapping[str, str]) -> HttpProblem:
    """The error of a response: by the slug of its problem type, else by its status."""
    kind = _BY_SLUG.get(_slug(document)) or _BY_STATUS.get(status, HttpProblem)
    return kind(status, document, headers)


def parse_retry_after(value: str | None) -> float | None:
    """The seconds of a `Retry-After` header (RFC 9110, section 10.2.3); None for a date and for anything else."""
    if value is not None and value.isascii() and value.isdigit():
        return float(value)
    return None


def _slug(document: Mapping[str, Any]) -> str:
    _, found, slug = _text(document, "type").rpartition("/problems/")
    return slug if found else ""


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    return value if isinstance(value, str) else ""


def _objects(value: Any) -> list[Mapping[str, str]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
