"""A user, and the rules its fields keep."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from service.domain.auth.totp import SecondFactor

Role = Literal["member", "admin"]

USERNAME_PATTERN: Final = r"^[a-z0-9._-]{3,32}$"
USERNAME_MIN: Final = 3
USERNAME_MAX: Final = 32
EMAIL_MAX: Final = 254  # RFC 5321, 4.5.3.1.3: a path is at most 256 octets, its brackets included
NAME_MAX: Final = 100  # code points
AGE_MAX: Final = 150
PASSWORD_MIN: Final = 8  # code points, as the upper bound
PASSWORD_MAX: Final = 1024

# The fields that an event lists in `changed`; other fields never change, or follow from these.
CHANGEABLE: Final = ("username", "email", "name", "age", "role", "active")

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class User:
    """The public data of an account.

    Attributes:
        id: UUIDv7; made by the service, never changes.
        username: unique, see `USERNAME_PATTERN`.
        email: unique, normalised, so that two spellings of one address are equal.
        name: for people; may be empty.
        age: whole years, 0 to 150; None if unknown.
        role: `admin` may do everything, `member` reads and changes itself.
        active: an inactive account cannot log in and has no sessions.
        version: seq of the last `user.*` event about this user; 0 until that is committed.
    """

    id: UUID
    username: str
    email: str
    name: str
    age: int | None
    role: Role
    active: bool
    created_at: datetime
    updated_at: datetime
    version: int = 0

    def at(self, version: int) -> User:
        """The same user as committed by the event with that seq."""
        return User(
            self.id,
            self.username,
            self.email,
            self.name,
            self.age,
            self.role,
            self.active,
            self.created_at,
            self.updated_at,
            version,
        )

    @property
    def is_active_admin(self) -> bool:
        return self.active and self.role == "admin"


@dataclass(frozen=True, slots=True)
class Credentials:
    """The data needed for a login.

    Attributes:
        password_hash: None for an account made without a password.
        second_factor: None for an account without one; it may only be begun.
    """

    user: User
    password_hash: str | None
    second_factor: SecondFactor | None = None

    @property
    def asks_otp(self) -> bool:
        """Whether the password alone is not enough."""
        return self.second_factor is not None and self.second_factor.since is not None


def changed_fields(before: User, after: User) -> tuple[str, ...]:
    """The names of the fields that differ, in the order of `CHANGEABLE`."""
    return tuple(name for name in CHANGEABLE if getattr(before, name) != getattr(after, name))


def normalise_email(address: str) -> str:
    """One spelling for one mailbox: NFC and lower case.

    The part before the @ is case-sensitive by RFC 5321, 2.4, and case-insensitive at every provider people use:
    two accounts that differ by case alone would only help an impostor.
    """
    # NFC last: lower case can take a composed character apart, and what is shown must log in as it stands.
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", address).lower())


def has_control(text: str) -> bool:
    """Whether text holds a character that breaks a line, a log or a terminal."""
    return _CONTROL.search(text) is not None


def sort_key(user: User, column: str) -> str:
    """A text that sorts as `created_at` or `username` does; with the id it is a place in a list."""
    # Always with microseconds: isoformat() leaves them out when they are 0, and such a text sorts elsewhere.
    return user.username if column == "username" else user.created_at.isoformat(timespec="microseconds")
