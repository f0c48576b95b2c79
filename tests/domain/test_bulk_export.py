"""The audit entry of an export."""

from __future__ import annotations

from typing import get_args

import pytest

from service.domain.audit import AuditQuery
from service.domain.users.bulk_export import Exported, Sent, record_export
from tests.support.domain import BY
from tests.support.member import Member

ACTIONS: tuple[Exported, ...] = get_args(Exported)


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("sent", [Sent(), Sent(19_700), Sent(60_504, complete=True)])
async def test_export_is_recorded_with_what_was_sent(action: Exported, sent: Sent) -> None:
    """The entry names the administrator, the count that was sent and whether it was all, and it is no event."""
    member = await Member().create()
    position = await member.store.events.read_position()
    await record_export(member.store, BY, member.ada.id, action, sent)
    (entry,) = await member.store.audit.list_page(AuditQuery(limit=2, action=action))
    assert (entry.actor, entry.subject, entry.by) == (member.ada.id, None, BY)
    assert entry.details == {"count": sent.count, "complete": sent.complete}
    assert await member.store.events.read_position() == position
