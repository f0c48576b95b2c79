"""Every way in which Roster says no, in one table: REST, SSE and WebSocket read it, `/problems` lists it.

Why each status: 400 when the question cannot be understood, 422 when it can and breaks a rule, 404 also for what the
caller may not see (a 403 would say that it exists), 409 when another state would allow it, 410 when the log no longer
reaches back, 412 when the caller's version is not the present one, 429 when waiting helps, 503 when it is not the
caller's doing, 507 when the operator has to make room first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from service.domain import errors
from service.domain.errors import DomainError, FieldError


@dataclass(frozen=True, slots=True)
class ProblemType:
    """One kind of problem.

    Attributes:
        slug: last part of the problem's `type`; with `_` for `-` it is the `code` of a WebSocket `error` frame.
        remedy: what the caller can do, in a sentence or two.
    """

    slug: str
    status: int
    title: str
    remedy: str

    @property
    def code(self) -> str:
        return self.slug.replace("-", "_")


class HttpProblem(Exception):
    """A refusal of the transport itself, of a kind of this page; `detail` is a sentence that is safe to show."""

    def __init__(
        self,
        kind: ProblemType,
        detail: str | None = None,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[FieldError] = (),
    ) -> None:
        super().__init__(detail or kind.title + ".")
        self.kind = kind
        self.headers = headers or {}
        self.errors = errors


class ImportAborted(Exception):
    """A long request that ended before it was done.

    Attributes:
        reason: why, which the answer tells like any other.
        progress: how far it got.
    """

    def __init__(self, reason: DomainError | HttpProblem, progress: object) -> None:
        super().__init__(str(reason))
        self.reason = reason
        self.progress = progress


BAD_REQUEST: Final = ProblemType(
    "bad-request",
    400,
    "The request cannot be understood",
    "Read `detail` and `errors`: a header, parameter or path is not what it must be.",
)
MALFORMED_JSON: Final = ProblemType(
    "malformed-json",
    400,
    "The body is not JSON",
    "Send one JSON text in UTF-8 without a byte order mark, without NaN or Infinity, and with no name twice in an object.",
)
INVALID_GRANT: Final = ProblemType(
    "invalid-grant",
    400,
    "The refresh token renews nothing",
    "Log in again. A refresh token is used once. Reuse of an older one revokes the session, because the token may have been stolen.",
)
INVALID_MAIL_TOKEN: Final = ProblemType(
    "invalid-mail-token",
    400,
    "The token from the mail does nothing",
    "Ask for another mail. A token is used once, for what it was sent for, and each mail ends the token of the one before.",
)
UNAUTHENTICATED: Final = ProblemType(
    "unauthenticated",
    401,
    "Credentials are needed",
    "Send `Authorization: Bearer …` with an access token from POST /v1/auth/login.",
)
INVALID_CREDENTIALS: Final = ProblemType(
    "invalid-credentials",
    401,
    "The login or the password is wrong",
    "Check both. An inactive account gets the same answer.",
)
OTP_REQUIRED: Final = ProblemType(
    "otp-required",
    401,
    "A code of the second factor is needed",
    "Ask for the code that the app shows, or a recovery code, and log in again with it in `otp`.",
)
INVALID_OTP: Final = ProblemType(
    "invalid-otp",
    401,
    "The code of the second factor is wrong",
    "Send the code that the app shows now; each is good once. If none is taken, look whether the phone's clock is right.",
)
INVALID_TOKEN: Final = ProblemType(
    "invalid-token", 401, "The access token is not valid", "Refresh it with POST /v1/auth/refresh, or log in again."
)
FORBIDDEN: Final = ProblemType(
    "forbidden", 403, "Not allowed", "Ask an administrator: this account has no right to it."
)
INSUFFICIENT_SCOPE: Final = ProblemType(
    "insufficient-scope",
    403,
    "The credentials were not made for this",
    "Use credentials that have the scopes in `WWW-Authenticate`: a login, or a token that was created with them. The scopes of a token "
    "cannot change.",
)
ORIGIN_NOT_ALLOWED: Final = ProblemType(
    "origin-not-allowed",
    403,
    "Pages of this origin may not connect",
    "Have the operator add the page's origin to ROSTER_CORS_ORIGINS, or set ROSTER_PUBLIC_URL to where the service is reached.",
)
NOT_FOUND: Final = ProblemType(
    "not-found",
    404,
    "There is nothing here",
    "Check the path and the id. A resource that this account may not see returns 404 as well.",
)
METHOD_NOT_ALLOWED: Final = ProblemType(
    "method-not-allowed", 405, "This method is not known here", "The `Allow` header lists those that are."
)
TIMEOUT: Final = ProblemType(
    "request-timeout", 408, "The body took too long", "Send it again, faster or in smaller pieces."
)
CONFLICT: Final = ProblemType(
    "conflict", 409, "The present state does not allow this", "Read the state again, then decide."
)
ALREADY_EXISTS: Final = ProblemType(
    "already-exists",
    409,
    "Another account has this already",
    "Choose another value for the fields that `errors` names.",
)
LAST_ADMIN: Final = ProblemType(
    "last-admin", 409, "The last administrator must stay", "Make another active administrator first."
)
REQUEST_IN_PROGRESS: Final = ProblemType(
    "request-in-progress",
    409,
    "The request with this key is still being carried out",
    "Send it again, with the same `Idempotency-Key`, after as many seconds as `Retry-After` says.",
)
POSITION_UNAVAILABLE: Final = ProblemType(
    "position-unavailable",
    410,
    "The log cannot be read from there",
    "Read what `resync` names again, then go on from `position`.",
)
PRECONDITION_FAILED: Final = ProblemType(
    "precondition-failed",
    412,
    "The version is not the present one",
    "Read it again and repeat the change with the new `ETag` in `If-Match`.",
)
TOO_LARGE: Final = ProblemType(
    "payload-too-large", 413, "The body is too large", "Send less; the limit is in `detail`."
)
UNSUPPORTED_MEDIA_TYPE: Final = ProblemType(
    "unsupported-media-type",
    415,
    "The body is not of a type that is read here",
    "Send what the `Accept` or `Accept-Encoding` header of the answer names.",
)
MISDIRECTED_REQUEST: Final = ProblemType(
    "misdirected-request",
    421,
    "This host is not served here",
    "Use the name under which the service is reached, or have the operator add it to ROSTER_ALLOWED_HOSTS.",
)
INVALID_FIELDS: Final = ProblemType(
    "invalid-fields", 422, "Some fields break a rule", "`errors` names each field and rule."
)
IDEMPOTENCY_KEY_REUSED: Final = ProblemType(
    "idempotency-key-reused",
    422,
    "The key stands for another request",
    "Send a new `Idempotency-Key` with a new request; the same one goes with the same body only.",
)
UPGRADE_REQUIRED: Final = ProblemType(
    "upgrade-required",
    426,
    "This is a WebSocket",
    "Connect with a WebSocket client that speaks version 13 (RFC 6455) over HTTP/1.1.",
)
TOO_MANY: Final = ProblemType(
    "too-many-requests",
    429,
    "Too many requests",
    "Wait as long as `Retry-After` says; `detail` tells which limit it is. Where requests are limited, `RateLimit` tells how many "
    "are left; failed logins, mails, tokens from mails and waiting passwords have limits of their own, of which it says nothing.",
)
INTERNAL: Final = ProblemType(
    "internal-error",
    500,
    "Something broke here",
    "Not your doing. Tell the operator the `request_id`; the log has the rest.",
)
NOT_IMPLEMENTED: Final = ProblemType(
    "not-implemented", 501, "This is not understood here", "Send the request without that method or transfer coding."
)
SERVICE_UNAVAILABLE: Final = ProblemType(
    "service-unavailable", 503, "Not available now", "Come back after as many seconds as `Retry-After` says."
)
INSUFFICIENT_STORAGE: Final = ProblemType(
    "insufficient-storage",
    507,
    "There is no room to keep this",
    "The operator must free space; then repeat the request. Reads work meanwhile.",
)

PROBLEM_TYPES: Final[Mapping[str, ProblemType]] = {
    kind.slug: kind for kind in list(vars().values()) if isinstance(kind, ProblemType)
}

_BY_ERROR: Final[Mapping[type[Exception], ProblemType]] = {
    errors.Invalid: INVALID_FIELDS,
    errors.BadRequest: BAD_REQUEST,
    errors.Unauthenticated: UNAUTHENTICATED,
    errors.InvalidCredentials: INVALID_CREDENTIALS,
    errors.OtpRequired: OTP_REQUIRED,
    errors.InvalidOtp: INVALID_OTP,
    errors.InvalidToken: INVALID_TOKEN,
    errors.InvalidGrant: INVALID_GRANT,
    errors.InvalidMailToken: INVALID_MAIL_TOKEN,
    errors.Forbidden: FORBIDDEN,
    errors.InsufficientScope: INSUFFICIENT_SCOPE,
    errors.NotFound: NOT_FOUND,
    errors.Conflict: CONFLICT,
    errors.AlreadyExists: ALREADY_EXISTS,
    errors.LastAdmin: LAST_ADMIN,
    errors.RequestInProgress: REQUEST_IN_PROGRESS,
    errors.IdempotencyKeyReused: IDEMPOTENCY_KEY_REUSED,
    errors.PositionUnavailable: POSITION_UNAVAILABLE,
    errors.VersionMismatch: PRECONDITION_FAILED,
    errors.TooMany: TOO_MANY,
    errors.Unavailable: SERVICE_UNAVAILABLE,
    errors.StorageFull: INSUFFICIENT_STORAGE,
}


def find_problem_type(error: BaseException) -> ProblemType:
    """The kind of a refusal, by the nearest class in the table; anything else is our fault."""
    if isinstance(error, HttpProblem):
        return error.kind
    for cls in type(error).__mro__:
        if (kind := _BY_ERROR.get(cls)) is not None:
            return kind
    return INTERNAL
