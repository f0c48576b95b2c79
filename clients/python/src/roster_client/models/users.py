"""Users."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypedDict

from roster_client.models.decode import Model, local_field

Role = Literal["member", "admin"]


@dataclass(frozen=True, slots=True, kw_only=True)
class User(Model):
    """An account.

    Attributes:
        version: the seq of the last event about the user.
        etag: what `update` sends in `If-Match`; None if the user comes from an event.
    """

    id: str
    username: str
    email: str
    name: str
    age: int | None
    role: Role
    active: bool
    created_at: datetime
    updated_at: datetime
    version: int
    etag: str | None = local_field()


class UserChanges(TypedDict, total=False):
    """Changes of a user. Names that are left out stay as they are.

    `current_password` and `otp` are needed to change the e-mail address of the own account.
    """

    username: str
    email: str
    name: str | None
    age: int | None
    role: Role
    active: bool
    current_password: str
    otp: str
