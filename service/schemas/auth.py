"""Bodies and responses of login, sessions and tickets."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from service.domain.auth.sessions import Session
from service.domain.users.user import PASSWORD_MAX
from service.schemas.fields import Body, Email, Otp, Password, ResponseModel

_ACCESS = "eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiIwMTkz…"
_MAILED = "AZOlyHsefDqfUj0fCmuMEWmVDNBPb2s3Qk1yZ0x0eVd4R3pQdkNqTnVIc0RhRXJi"
_REFRESH = "0193a5c87b1e7c3a9f523d1f0a6b8c11.1.9mYV0Q4bTgK1p0…"


class LoginRequest(Body):
    """The credentials of a login. `Authorization: Basic` with an empty body is equivalent."""

    login: Annotated[str, Field(min_length=1, max_length=254, examples=["ada"])]
    """Username or e-mail address."""
    password: Annotated[str, Field(min_length=1, max_length=PASSWORD_MAX, examples=["correct horse battery staple"])]
    """The password."""
    otp: Otp | None = None


class Refresh(Body):
    """A refresh token, to be used once."""

    refresh_token: Annotated[str, Field(min_length=1, max_length=200, examples=[_REFRESH])]
    """The newest one of the session."""


MailedToken = Annotated[str, Field(min_length=1, max_length=200, examples=[_MAILED])]


class Verification(Body):
    """Proof of an address: the token that was mailed to it."""

    token: MailedToken
    """From the mail."""
    password: Password | None = None
    """Required for the token of a registration, whose account gets this password; ignored for that of an e-mail change."""


class AddressChange(Body):
    """A new e-mail address for the account."""

    email: Email
    """The new one; a mail to it carries a token for `POST /v1/auth/verify`."""
    current_password: Annotated[str, Field(max_length=PASSWORD_MAX, examples=["correct horse battery staple"])]
    """The present password."""
    otp: Otp | None = None


class Forgotten(Body):
    """The e-mail address of the account whose password is forgotten."""

    email: Email
    """Address of the account."""


class PasswordReset(Body):
    """A new password, with the token from the mail."""

    token: MailedToken
    """From the mail."""
    password: Password


class PasswordChange(Body):
    """A new password, with the current one."""

    current: Annotated[str, Field(max_length=PASSWORD_MAX, examples=["correct horse battery staple"])]
    """The present one."""
    new: Password
    otp: Otp | None = None


class Accepted(ResponseModel):
    """The response, which is the same for every address."""

    detail: Annotated[str, Field(examples=["If there is something to do, a mail tells the owner of the address."])] = (
        "If there is something to do, a mail tells the owner of the address."
    )
    """One sentence for people."""


class SessionTokens(ResponseModel):
    """A session's tokens."""

    access_token: Annotated[str, Field(examples=[_ACCESS])]
    """Goes into `Authorization: Bearer …`."""
    token_type: Literal["Bearer"] = "Bearer"
    expires_in: Annotated[int, Field(examples=[900])]
    """Life of the access token, in seconds."""
    refresh_token: Annotated[str, Field(examples=[_REFRESH])]
    """Gives the next pair; use it once and keep the new one."""
    session_id: Annotated[UUID, Field(examples=["0193a5c8-7b1e-7c3a-9f52-3d1f0a6b8c11"])]
    """Which session these belong to."""


class SessionAnswer(ResponseModel):
    """One session, with the details by which its user recognises it."""

    id: Annotated[UUID, Field(examples=["0193a5c8-7b1e-7c3a-9f52-3d1f0a6b8c11"])]
    """When it ends at the latest."""
    current: Annotated[bool, Field(examples=[True])]
    """Whether it is the one that asks."""
    created_at: Annotated[datetime, Field(examples=["2026-11-21T09:30:00.123456Z"])]
    """When it was opened, in UTC."""
    refreshed_at: Annotated[datetime, Field(examples=["2026-11-21T09:45:00.123456Z"])]
    """When its tokens were last handed out, in UTC."""
    expires_at: Annotated[datetime, Field(examples=["2026-12-05T09:45:00.123456Z"])]
    """When it ends unless it is refreshed before, in UTC."""
    client: Annotated[str | None, Field(examples=["192.0.2.17"])]
    """Address to which they were handed out; null when not known."""
    user_agent: Annotated[str | None, Field(examples=["Mozilla/5.0 (X11; Linux x86_64)"])]
    """The `User-Agent` of the client, which is not verified; null if unknown."""

    @classmethod
    def of(cls, session: Session, current: UUID) -> SessionAnswer:
        """A session as it looks from the `current` one."""
        return cls.model_construct(
            id=session.id,
            current=session.id == current,
            created_at=session.created_at,
            refreshed_at=session.rotated_at,
            expires_at=session.expires_at,
            client=session.origin.client,
            user_agent=session.origin.agent,
        )


class SessionList(ResponseModel):
    """All sessions of a user, at most a hundred."""

    items: list[SessionAnswer]
    """The oldest first."""


class IssuedTicket(ResponseModel):
    """A ticket, which opens one stream where a client cannot send `Authorization`, as in a browser."""

    ticket: Annotated[str, Field(examples=["pZc0mX8kQ2…"])]
    """Goes into `?ticket=` of a stream."""
    expires_in: Annotated[int, Field(examples=[30])]
    """Seconds within which it must be used."""
