"""Event visibility: which events a user may read. It depends on the role, and a role can change."""

from __future__ import annotations

from uuid import UUID

from service.domain.ports import Store
from service.domain.users.accounts import Caller


def subject_of(caller: Caller) -> UUID | None:
    """Whose events a caller may read: an administrator all of them (None), a member those about itself."""
    return None if caller.is_admin else caller.id


def resync_of(caller: Caller) -> str:
    """The path of the resource that a caller must read again after a reset."""
    return "/v1/users" if caller.is_admin else "/v1/users/me"


async def changed_since(store: Store, user_id: UUID, seq: int) -> bool:
    """Whether a user's role has changed after a seq.

    A reader that read up to there with another role has not seen the same events, and cannot resume.
    """
    return await store.events.has_role_changed(user_id, seq)
