"""An API token: what a program has instead of a login."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from service.domain.auth.scopes import Scopes

# Per user. A program that creates a token in each run must not fill the store, and a person cannot manage more.
MOST_TOKENS: Final = 100
NAME_MAX: Final = 100
# To tell the last use costs a write.
USE_TOLD_EVERY: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class ApiToken:
    """One API token, as it is kept: the token itself is shown once and cannot be found again.

    Attributes:
        name: for people, to tell it from others.
        digest: SHA-256 of the token. It has 238 random bits, so that nothing slower is needed.
        prefix: how it begins, to know it again by.
        scopes: what it was made for; its user's role may allow less.
        expires_at: when it ends by itself; None for never.
        last_used_at: None before the first use; late by up to `USE_TOLD_EVERY`.
    """

    id: UUID
    user_id: UUID
    name: str
    digest: bytes
    prefix: str
    scopes: Scopes
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = None

    def lives(self, now: datetime) -> bool:
        return self.expires_at is None or now < self.expires_at
