"""The promises of every store about the audit."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.domain.audit import MAINTENANCE, AuditEntry, AuditQuery, AuditSource
from service.domain.events.event import Event
from service.domain.ports import Store, Transaction
from tests.support.clock import ManualClock
from tests.support.domain import BY, a_user, created, keep, updated
from tests.support.stores import Broken, Opener, erase, whole_log

PEOPLE = [UUID(int=number) for number in range(1, 4)]
ACTIONS = ["password.changed", "session.started", "token.created"]


async def entries(store: Store, **query: Any) -> list[AuditEntry]:
    """All that match, the oldest first."""
    return list(reversed(await store.audit.list_page(AuditQuery(limit=1_000, **query))))


async def record(store: Store, *recorded: tuple[Any, ...], by: AuditSource = BY) -> None:
    async def work(transaction: Transaction) -> None:
        for one in recorded:
            await transaction.audit.record(*one)

    await store.write(work, by)


async def test_event_is_kept_with_who_wrote_it(store: Store) -> None:
    """Each event leaves an entry with actor, subject, what it says beside the user, and the way it came."""
    by = AuditSource("2001:db8::7", "r-1", uuid.uuid4(), None)
    root, ada, session, token = a_user(role="admin"), a_user(), uuid.uuid4(), uuid.uuid4()

    async def work(transaction: Transaction) -> None:
        await transaction.users.save(root)
        await transaction.users.save(ada)
        await transaction.events.append(created(root))
        await transaction.events.append(created(ada, root.id))
        await transaction.events.append(updated(ada, "role", "name"), {"role": ["admin", "member"]})
        when = ada.created_at
        await transaction.events.append(Event("session.ended", when, None, ada.id, session_id=session, reason="reuse"))
        await transaction.events.append(Event("token.ended", when, root.id, ada.id, token_id=token, reason="revoked"))
        await transaction.events.append(Event("user.deleted", when, None, ada.id))

    await store.write(work, by)

    found = await entries(store)
    assert {entry.by for entry in found} == {by}
    assert [(entry.action, entry.actor, entry.subject, entry.details) for entry in found] == [
        ("user.created", root.id, root.id, {"role": "admin"}),
        ("user.created", root.id, ada.id, None),
        ("user.updated", ada.id, ada.id, {"changed": ["role", "name"], "role": ["admin", "member"]}),
        ("session.ended", None, ada.id, {"session_id": str(session), "reason": "reuse"}),
        ("token.ended", root.id, ada.id, {"token_id": str(token), "reason": "revoked"}),
        ("user.deleted", None, ada.id, None),
    ]


async def test_record_without_an_event_is_kept(store: Store) -> None:
    """Actions without an event are stored too, in their order, and with another source if one is given."""
    other, token = (
        AuditSource(client="198.51.100.0"),
        AuditSource(token_id=uuid.uuid4(), request_id="x" * 64, client="c" * 64),
    )
    await record(
        store, ("login.failed", None, None, {"failed": 3}, other), ("keys.rotated", None, None), by=MAINTENANCE
    )
    await record(store, ("token.created", PEOPLE[0], PEOPLE[0], {"scopes": ["profile"], "ünï": [None, 1.5]}), by=token)

    assert [(entry.action, entry.by, entry.details) for entry in await entries(store)] == [
        ("login.failed", other, {"failed": 3}),
        ("keys.rotated", MAINTENANCE, None),
        ("token.created", token, {"scopes": ["profile"], "ünï": [None, 1.5]}),
    ]
    assert (await store.events.read_position()).seq == 0


async def test_write_that_fails_leaves_no_entry(store: Store) -> None:
    """An entry commits with what it tells of or not at all."""

    async def fails(transaction: Transaction) -> None:
        await transaction.users.save(ada := a_user())
        await transaction.events.append(created(ada))
        await transaction.audit.record("password.changed", ada.id, ada.id)
        raise Broken

    with pytest.raises(Broken):
        await store.write(fails, BY)
    await record(store, ("keys.rotated", None, None))

    assert [entry.action for entry in await entries(store)] == ["keys.rotated"]


async def test_events_together_share_an_entry(store: Store) -> None:
    """Of events that are many and alike there is one entry that counts them and says where they are in the log."""
    await keep(store, a_user())
    root, users = uuid.uuid4(), [a_user() for _ in range(3)]

    async def work(transaction: Transaction) -> None:
        for user in users:
            await transaction.users.save(user)
            await transaction.events.append(created(user, root), together=True)
        await transaction.events.append(
            Event("session.ended", users[0].created_at, root, users[0].id, reason="password")
        )
        await transaction.events.append(
            Event("user.updated", users[0].created_at, root, users[0].id, users[0]), together=True
        )

    await store.write(work, BY)

    _, ended, written = await entries(store)
    assert (ended.action, written.action, written.actor, written.subject) == (
        "session.ended", "import.written", root, None,
    )  # fmt: skip
    assert written.details == {"user.created": 3, "user.updated": 1, "first": 2, "last": 6}
    assert (await whole_log(store))[1].subject == users[0].id


async def test_entries_outlive_their_user(store: Store) -> None:
    """Deleting a user takes nothing out of the audit."""
    ada = a_user()
    await keep(store, ada)
    before = await entries(store)
    await erase(store, ada)

    assert (await entries(store, subject=ada.id))[:1] == before


async def test_places_grow_with_commits(store: Store, clock: ManualClock) -> None:
    """Each is the moment of its commit, also where many come at once or the clock goes back: none is taken twice."""
    began = clock()
    await record(store, *[("keys.rotated", None, None)] * 3)
    clock.advance(-3600)
    await keep(store, a_user(), a_user())
    clock.advance(7200)
    await record(store, ("keys.rotated", None, None))

    found = await entries(store)
    assert all(one.sequence < next_.sequence for one, next_ in pairwise(found))
    assert all(abs(entry.at - began) < timedelta(milliseconds=1) for entry in found[:5])
    assert abs(found[-1].at - clock()) < timedelta(milliseconds=1)


async def test_old_entries_are_forgotten(opener: Opener, clock: ManualClock) -> None:
    """Entries older than a year are deleted by a later write; younger ones stay."""
    async with opener(clock) as store:
        await record(store, ("keys.rotated", None, None))
        clock.advance(360 * 86_400)
        await record(store, ("password.changed", None, None))
        clock.advance(6 * 86_400)

        async def nothing(_: Transaction) -> None: ...

        await store.write(nothing, BY)  # deletes old entries as well, although it adds none
        await store.write(nothing, BY)
        assert [entry.action for entry in await entries(store)] == ["password.changed"]


QUERIES = st.fixed_dictionaries(
    {"limit": st.integers(1, 6)},
    optional={
        "actor": st.sampled_from(PEOPLE),
        "subject": st.sampled_from(PEOPLE),
        "action": st.sampled_from(ACTIONS),
        "since": st.integers(-1, 9),
        "until": st.integers(-1, 9),
    },
)
KEPT = st.lists(
    st.tuples(st.sampled_from(ACTIONS), st.sampled_from([None, *PEOPLE]), st.sampled_from([None, *PEOPLE])), max_size=8
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kept=KEPT, asked=QUERIES)
async def test_pages_are_those_of_a_list(opener: Opener, kept: Sequence[Any], asked: dict[str, Any]) -> None:
    """For every filter, the pages together are the whole list, the newest first."""
    clock = ManualClock()
    began = clock()
    async with opener(clock) as store:
        for one in kept:
            await record(store, one)
            clock.advance(1)
        whole = await entries(store)
        query: dict[str, Any] = {
            name: began + timedelta(seconds=value) if name in ("since", "until") else value
            for name, value in asked.items()
        }
        found: list[AuditEntry] = []
        while page := await store.audit.list_page(AuditQuery(**query, before=found[-1].sequence if found else None)):
            assert len(page) <= asked["limit"]
            found += page

    assert found == [entry for entry in reversed(whole) if _matches(entry, query)]


def _matches(entry: AuditEntry, query: dict[str, Any]) -> bool:
    since: datetime | None = query.get("since")
    until: datetime | None = query.get("until")
    return (
        query.get("actor") in (None, entry.actor)
        and query.get("subject") in (None, entry.subject)
        and query.get("action") in (None, entry.action)
        and (since is None or entry.at >= since)
        and (until is None or entry.at < until)
    )
