"""The table of problem types. REST, SSE and WebSocket use it, and `/problems` lists it.

Statuses: 400 for malformed input, 422 for well-formed input that breaks a rule, 404 also for a resource that the caller may
not see (403 would reveal that it exists), 409 where another state would allow the request, 410 where the log no longer
contains the position, 412 for an outdated version, 429 where waiting helps, 503 for a fault of the service, and 507 where
the operator must free storage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from service.domain import errors
from service.domain.errors import DomainError, FieldError


@dataclass(frozen=True, slots=True)
class ProblemType:
    """A problem type (RFC 9457, 3.1.1).

    Attributes:
        slug: last part of the problem's `type`; with `_` for `-` it is the `code` of a WebSocket `error` frame.
        remedy: one or two sentences on what the caller can do.
    """

    slug: str
    status: int
    title: str
    remedy: str

    @property
    def code(self) -> str:
        return self.slug.replace("-", "_")

    @property
    def uri(self) -> str:
        """The `type` of a problem document (RFC 9457, 3.1.1): the path of the page that explains the problem."""
        return f"/problems/{self.slug}"


class HttpProblem(Exception):
    """An HTTP request that the transport refuses. `detail` is a sentence that is safe to show; None: the title."""

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
    """An import that ended before its last line.

    Attributes:
        reason: the error that ended it.
        progress: how much was committed.
    """

    def __init__(self, reason: DomainError | HttpProblem, progress: object) -> None:
        super().__init__(str(reason))
        self.reason = reason
        self.progress = progress


BAD_REQUEST: Final = ProblemType(
    "bad-request",
    400,
    "Malformed request",
    "Correct the header, parameter or path that `detail` and `errors` name.",
)
MALFORMED_JSON: Final = ProblemType(
    "malformed-json",
    400,
    "Malformed JSON",
    "Send one JSON text in UTF-8, without a byte order mark, NaN, Infinity or duplicate names in an object.",
)
INVALID_GRANT: Final = ProblemType(
    "invalid-grant",
    400,
    "Invalid refresh token",
    "Log in again. A refresh token is used once. Reuse of an older one revokes the session, because the token may have been stolen.",
)
INVALID_MAIL_TOKEN: Final = ProblemType(
    "invalid-mail-token",
    400,
    "Invalid or expired token from a mail",
    "Request another mail. A token works once, for the purpose of its mail. Each new mail revokes the token of the mail before it.",
)
UNAUTHENTICATED: Final = ProblemType(
    "unauthenticated",
    401,
    "Authentication required",
    "Send `Authorization: Bearer …` with an access token from POST /v1/auth/login.",
)
INVALID_CREDENTIALS: Final = ProblemType(
    "invalid-credentials",
    401,
    "Invalid login or password",
    "Check both. The response is the same for an inactive account.",
)
OTP_REQUIRED: Final = ProblemType(
    "otp-required",
    401,
    "Second-factor code required",
    "Ask the user for the code that the authenticator app shows, or for a recovery code. Log in again with it in `otp`.",
)
INVALID_OTP: Final = ProblemType(
    "invalid-otp",
    401,
    "Invalid second-factor code",
    "Send the code that the authenticator app shows now. Each code works once. If no code is accepted, check the clock of the phone.",
)
INVALID_TOKEN: Final = ProblemType(
    "invalid-token", 401, "Invalid access token", "Refresh it with POST /v1/auth/refresh, or log in again."
)
FORBIDDEN: Final = ProblemType(
    "forbidden", 403, "Forbidden", "Ask an administrator to do it, or to change the role of the account."
)
INSUFFICIENT_SCOPE: Final = ProblemType(
    "insufficient-scope",
    403,
    "Insufficient scope",
    "Use credentials that have the scopes in `WWW-Authenticate`: a login, or a token that was created with them. The scopes of a token "
    "cannot change.",
)
ORIGIN_NOT_ALLOWED: Final = ProblemType(
    "origin-not-allowed",
    403,
    "Origin not allowed",
    "The operator can add the origin of the page to ROSTER_CORS_ORIGINS, or set ROSTER_PUBLIC_URL to the public address of the service.",
)
NOT_FOUND: Final = ProblemType(
    "not-found",
    404,
    "Not found, or not visible to this account",
    "Check the path and the id. A resource that this account may not see returns 404 as well.",
)
METHOD_NOT_ALLOWED: Final = ProblemType(
    "method-not-allowed", 405, "Method not allowed", "Use a method that the `Allow` header lists."
)
TIMEOUT: Final = ProblemType(
    "request-timeout", 408, "Request body timed out", "Send the body again, faster or in smaller parts."
)
CONFLICT: Final = ProblemType(
    "conflict", 409, "Conflict with the current state", "Read the resource again before the next try."
)
ALREADY_EXISTS: Final = ProblemType(
    "already-exists",
    409,
    "Already exists",
    "Choose other values for the fields that `errors` names.",
)
LAST_ADMIN: Final = ProblemType(
    "last-admin", 409, "Last active administrator", "Give another active account the role `admin` first."
)
REQUEST_IN_PROGRESS: Final = ProblemType(
    "request-in-progress",
    409,
    "Request with this key in progress",
    "Send the same request with the same `Idempotency-Key` again after `Retry-After` seconds.",
)
POSITION_UNAVAILABLE: Final = ProblemType(
    "position-unavailable",
    410,
    "Position no longer available",
    "Read the resource that `resync` names, then continue from `position`.",
)
PRECONDITION_FAILED: Final = ProblemType(
    "precondition-failed",
    412,
    "Precondition failed",
    "Read the resource again, and repeat the change with the new `ETag` in `If-Match`.",
)
TOO_LARGE: Final = ProblemType(
    "payload-too-large", 413, "Request body too large", "Send a smaller body; `detail` names the limit."
)
UNSUPPORTED_MEDIA_TYPE: Final = ProblemType(
    "unsupported-media-type",
    415,
    "Unsupported media type",
    "Use a type or coding that the `Accept` or `Accept-Encoding` header of the response names.",
)
MISDIRECTED_REQUEST: Final = ProblemType(
    "misdirected-request",
    421,
    "Host not served",
    "Use the public name of the service, or ask the operator to add this name to ROSTER_ALLOWED_HOSTS.",
)
INVALID_FIELDS: Final = ProblemType("invalid-fields", 422, "Invalid fields", "Correct the fields that `errors` names.")
IDEMPOTENCY_KEY_REUSED: Final = ProblemType(
    "idempotency-key-reused",
    422,
    "Idempotency key reused",
    "Send a new `Idempotency-Key` with each new request. A key may be repeated only with the same body.",
)
UPGRADE_REQUIRED: Final = ProblemType(
    "upgrade-required",
    426,
    "Upgrade to WebSocket required",
    "Connect with a WebSocket client that uses version 13 (RFC 6455) over HTTP/1.1.",
)
TOO_MANY: Final = ProblemType(
    "too-many-requests",
    429,
    "Too many requests",
    "Wait for `Retry-After` seconds; `detail` names the limit. `RateLimit` shows how many requests are left. It does not cover the "
    "separate limits of failed logins, mails, tokens from mails and queued password hashes.",
)
INTERNAL: Final = ProblemType(
    "internal-error",
    500,
    "Internal server error",
    "Report the `request_id` to the operator. The log has the details.",
)
NOT_IMPLEMENTED: Final = ProblemType(
    "not-implemented", 501, "Not implemented", "Send the request without this method or transfer coding."
)
SERVICE_UNAVAILABLE: Final = ProblemType(
    "service-unavailable", 503, "Service unavailable", "Try again after `Retry-After` seconds."
)
INSUFFICIENT_STORAGE: Final = ProblemType(
    "insufficient-storage",
    507,
    "Insufficient storage",
    "Send the request again once the operator has freed storage. Reads still work.",
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
    """The problem type of the nearest base class in the table; `INTERNAL` for an unknown class."""
    if isinstance(error, HttpProblem):
        return error.kind
    for cls in type(error).__mro__:
        if (kind := _BY_ERROR.get(cls)) is not None:
            return kind
    return INTERNAL
