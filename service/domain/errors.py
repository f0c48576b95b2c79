"""The errors of the domain. They know no HTTP: `service/http/problems.py` maps each to a status.

DomainError
├── Invalid                      fields that break a rule
│   ├── PasswordFieldMissing     the current password is required
│   ├── WrongPassword            the current password does not match
│   ├── OtpFieldMissing          the password matches; the second-factor code is missing
│   └── OtpFieldWrong            the password matches; the second-factor code does not
├── BadRequest                   malformed input
│   ├── InvalidPosition
│   └── InvalidCursor
├── Unauthenticated              the caller is unknown
│   ├── InvalidCredentials
│   │   └── InvalidOtp           the password matches; the second-factor code does not
│   ├── OtpRequired              the password matches; the account has a second factor
│   └── InvalidToken
├── InvalidGrant                 the refresh token is not valid
│   └── RefreshTokenReused       it was used before, and its session was revoked; carries the session
├── InvalidMailToken             the token from a mail is not valid
├── Forbidden                    the caller is known and lacks the right
│   ├── RegistrationClosed
│   └── InsufficientScope        the credentials lack a scope; carries the required scopes
├── NotFound
├── Conflict                     the current state does not allow the request
│   ├── AlreadyExists            another account has this username or e-mail address
│   ├── IdDeleted                an account with this id was deleted, and the log still holds events about it
│   ├── OwnCredentials           an import must not change the e-mail address or password of the caller
│   ├── LastAdmin
│   ├── RequestInProgress        a request with this key is in progress; carries the time to retry
│   └── ResponseExpired          a request with this key succeeded, and its response is no longer stored
├── IdempotencyKeyReused         the key was used for another request
├── VersionMismatch              the version of the caller is not the current one
├── PositionUnavailable          the log no longer contains the position
├── TooMany                      a limit was reached; carries the time to retry
│   └── TooManyFailures          the limit of wrong passwords and codes
└── Unavailable                  a resource that the response needs is unavailable now
    └── StorageFull
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal
from uuid import UUID


@dataclass(frozen=True, slots=True)
class FieldError:
    """One broken rule.

    Attributes:
        pointer: JSON pointer to the field, as `/email`; empty for the whole body.
        code: stable word for programs, as `too_long`.
        detail: one sentence for people; never repeats the value.
    """

    pointer: str
    code: str
    detail: str


FailureKind = Literal["password", "code"]
"""The wrong part of a failed login. With a wrong code the password was right, or the request needed none."""


class DomainError(Exception):
    """A request that the rules refuse; `str()` is one sentence that is safe to show the caller.

    Attributes:
        failure_kind: set if the error counts as a failed login.
    """

    sentence = "The request was refused."
    failure_kind: ClassVar[FailureKind | None] = None

    def __init__(self, sentence: str | None = None) -> None:
        super().__init__(sentence or self.sentence)


class Invalid(DomainError):
    sentence = "Some fields are invalid; `errors` names each."

    def __init__(self, *errors: FieldError) -> None:
        super().__init__()
        self.errors = errors


class PasswordFieldMissing(Invalid):
    def __init__(self, pointer: str = "/current_password") -> None:
        super().__init__(FieldError(pointer, "password_required", "Must be there: this takes the current password."))


class WrongPassword(Invalid):
    failure_kind = "password"

    def __init__(self, pointer: str = "/current_password") -> None:
        super().__init__(FieldError(pointer, "wrong_password", "Must be the current password."))


class OtpFieldWrong(Invalid):
    """`begun`: whether the second factor is not on yet, and so has no recovery codes."""

    failure_kind = "code"

    def __init__(self, *, begun: bool = False) -> None:
        sentence = (
            "Must be the code that the app shows now; where none is taken, look whether the phone's clock is right."
            if begun
            else "Must be the code that the app shows now, or a recovery code; each is good once."
        )
        super().__init__(FieldError("/otp", "wrong_otp", sentence))


class OtpFieldMissing(Invalid):
    def __init__(self) -> None:
        super().__init__(FieldError("/otp", "otp_required", "Must be there: this account has a second factor."))


class BadRequest(DomainError):
    sentence = "The request is malformed."


class InvalidPosition(BadRequest):
    sentence = "A position is written `<epoch>-<seq>`, as in the `Roster-Position` header."


class InvalidCursor(BadRequest):
    sentence = "The cursor is not one that this list gave out for this query; start again without it."


class Unauthenticated(DomainError):
    sentence = "Send an access token as `Authorization: Bearer …`; POST /v1/auth/login gives one."


class InvalidCredentials(Unauthenticated):
    sentence = "The login or the password is wrong."
    failure_kind: ClassVar[FailureKind | None] = "password"


class InvalidOtp(InvalidCredentials):
    sentence = "The code is wrong, too old or used already; send the one that the app shows now, or a recovery code."
    failure_kind = "code"


class OtpRequired(Unauthenticated):
    sentence = "This account has a second factor: send its code in `otp`, beside the login and the password."


class InvalidToken(Unauthenticated):
    sentence = "The access token is malformed, expired or revoked; refresh it or log in again."


class InvalidGrant(DomainError):
    sentence = "The refresh token is malformed, expired, used or revoked; log in again."


class RefreshTokenReused(InvalidGrant):
    """Says no more than other errors, because the client may be the thief; carries the revoked session."""

    def __init__(self, session_id: UUID, user_id: UUID) -> None:
        super().__init__()
        self.session_id = session_id
        self.user_id = user_id


class InvalidMailToken(DomainError):
    sentence = "The token is malformed, expired or used; request another mail."


class Forbidden(DomainError):
    sentence = "This account may not do that."


class RegistrationClosed(Forbidden):
    sentence = "Registration is closed here; ask an administrator for an account."


class InsufficientScope(Forbidden):
    """Carries the scopes, written with spaces between, that these credentials do not have."""

    def __init__(self, scope: str) -> None:
        super().__init__(f"These credentials were not made for this: it needs the scope {scope}.")
        self.scope = scope


class NotFound(DomainError):
    sentence = "Not found, or not visible to this account."


class Conflict(DomainError):
    sentence = "The current state does not allow this request."


class AlreadyExists(Conflict):
    """Carries the fields, `username` or `email`, that another account already has."""

    def __init__(self, *fields: str) -> None:
        super().__init__(f"Another account already has this {' and this '.join(fields)}.")
        self.fields = fields


class IdDeleted(Conflict):
    sentence = (
        "An account with this id was deleted, and the log still holds its events; leave `id` out to get a new one."
    )


class OwnCredentials(Conflict):
    sentence = (
        "An import does not change your own e-mail address or password, because neither asks for your current password; use "
        "PATCH /v1/users/me and POST /v1/auth/password."
    )


class LastAdmin(Conflict):
    sentence = "The last active administrator cannot be deleted, demoted or deactivated."


class RequestInProgress(Conflict):
    """`retry_after_s`: seconds until it may be done."""

    sentence = "The request with this Idempotency-Key is still in progress; send it again shortly."
    retry_after_s = 1.0


class ResponseExpired(Conflict):
    sentence = "The request with this Idempotency-Key succeeded, but the resource it created is gone. Its response cannot be repeated."


class IdempotencyKeyReused(DomainError):
    sentence = "This Idempotency-Key was used with another body; a new request needs a new key."


class VersionMismatch(DomainError):
    sentence = "The user has changed since; read it again and repeat the change with its new ETag."


class PositionUnavailable(DomainError):
    """The log no longer reaches back to the place named.

    Attributes:
        reason: `trimmed` (older than what is kept), `epoch` (another life of the log) or `ahead` (not written yet).
        position: where to go on after reading the state again.
        resync: path of that state; None for the accounts.
    """

    def __init__(self, reason: str, position: str, resync: str | None = None) -> None:
        super().__init__(
            f"The log cannot be read from there ({reason}); read the state again, then go on from `position`."
        )
        self.reason = reason
        self.position = position
        self.resync = resync


class TooMany(DomainError):
    """A limit was reached. `retry_after_s`: seconds until another try can succeed."""

    def __init__(self, retry_after_s: float, sentence: str = "Too many requests; come back later.") -> None:
        super().__init__(sentence)
        self.retry_after_s = retry_after_s


class TooManyFailures(TooMany):
    """Too many passwords or codes were wrong."""


class Unavailable(DomainError):
    """Something the answer depends on is not there now. `retry_after_s`: seconds until a try is worth it."""

    def __init__(self, retry_after_s: float = 1, sentence: str = "The service is busy; come back shortly.") -> None:
        super().__init__(sentence)
        self.retry_after_s = retry_after_s


class StorageFull(Unavailable):
    """The store is full: writes fail until an operator frees space, reads succeed."""

    def __init__(self) -> None:
        super().__init__(30, "The storage is full. Reads still work; writes fail until the operator frees storage.")
