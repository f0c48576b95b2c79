"""What a user may read of the log depends on its role, and a role can change."""

from __future__ import annotations

import asyncio
from typing import Final
from uuid import UUID

from service.domain.accounts import Caller
from service.domain.ports import Store
from service.domain.queries import EventQuery

_PAGE: Final = 100
_CHANGES: Final = frozenset({"user.updated"})


def subject_of(caller: Caller) -> UUID | None:
    """Whose events a caller may read: an administrator all of them (None), a member those about itself."""
    return None if caller.is_admin else caller.id


def resync_of(caller: Caller) -> str:
    """Path of what a caller has to read again where the log has left it behind."""
    return "/v1/users" if caller.is_admin else "/v1/users/me"


async def changed_since(store: Store, user_id: UUID, seq: int) -> bool:
    """Whether a user's role has changed behind a place in the log.

    Who read up to there with other rights has not seen the same of what lies before, and cannot go on as if it had.
    """
    while True:
        page = await store.events(EventQuery(seq, _PAGE, None, user_id, _CHANGES))
        if any("role" in event.changed for event in page.events):
            return True
        if page.seen >= page.position.seq or page.seen <= seq:
            return False
        seq = page.seen
        await asyncio.sleep(0)  # a store in memory never waits, and somebody may have changed its name 60,000 times
