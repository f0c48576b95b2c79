"""What a user may read of the log depends on its role, and a role can change."""

from __future__ import annotations

from uuid import UUID

from service.domain.ports import Store
from service.domain.users.accounts import Caller


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
    return await store.has_role_changed(user_id, seq)
