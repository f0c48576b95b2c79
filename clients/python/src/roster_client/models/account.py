"""Sessions, API tokens and the second factor."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from roster_client.models.decode import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTokens(Model):
    """The tokens of a login. `expires_in`: seconds of the access token."""

    access_token: str = field(repr=False)
    token_type: str
    expires_in: int
    refresh_token: str = field(repr=False)
    session_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Session(Model):
    """A login. `client` is the address of its last refresh."""

    id: str
    current: bool
    created_at: datetime
    refreshed_at: datetime
    expires_at: datetime
    client: str | None
    user_agent: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Token(Model):
    """An API token, without its secret."""

    id: str
    name: str
    prefix: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenMade(Token):
    """A new API token. `token` is the secret, which the service does not show again."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TotpStatus(Model):
    """Whether the account has a second factor."""

    enabled: bool
    since: datetime | None
    recovery_codes_left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TotpSecret(Model):
    """The secret for an authenticator app, also as the address of a QR code."""

    secret: str = field(repr=False)
    uri: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedTicket(Model):
    """A single-use credential in the address of a stream. `expires_in` is in seconds."""

    ticket: str = field(repr=False)
    expires_in: int
