"""Any writes, those that fail among them, against a model of what a store holds."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.auth.sessions import Session, rotated
from service.domain.errors import AlreadyExists
from service.domain.events.event import Event
from service.domain.ports import Store, Transaction
from service.domain.users.query import UserQuery
from service.domain.users.user import Credentials, User
from tests.support.clock import ManualClock
from tests.support.domain import BY, a_user, created, updated
from tests.support.drawn import examples
from tests.support.stores import Broken, Opener, a_session, ask, whole_log


@dataclass
class Model:
    """A plain model of a store."""

    users: dict[uuid.UUID, User] = field(default_factory=dict)
    passwords: dict[uuid.UUID, str] = field(default_factory=dict)
    sessions: dict[uuid.UUID, Session] = field(default_factory=dict)
    log: list[Event] = field(default_factory=list)

    def append(self, event: Event) -> None:
        event = event.at(len(self.log) + 1)
        self.log.append(event)
        if event.user is not None:
            self.users[event.subject] = event.user
        if event.type == "user.deleted":
            self.log = [replace(each, user=None) if each.subject == event.subject else each for each in self.log]


SLOTS = [uuid.UUID(int=number) for number in range(1, 4)]
NAMES = st.sampled_from(["ada", "bob", "eve"])
STEPS = st.one_of(
    st.tuples(
        st.just("put"), st.sampled_from(SLOTS), NAMES, NAMES, st.sampled_from(["member", "admin"]), st.booleans()
    ),
    st.tuples(st.just("password"), st.sampled_from(SLOTS)),
    st.tuples(st.just("delete"), st.sampled_from(SLOTS)),
    st.tuples(st.just("open"), st.sampled_from(SLOTS), st.sampled_from(SLOTS)),
    st.tuples(st.just("rotate"), st.sampled_from(SLOTS)),
    st.tuples(st.just("end"), st.sampled_from(SLOTS)),
    st.tuples(st.just("fail")),
)


async def take(step: tuple[Any, ...], model: Model, transaction: Transaction, now: datetime) -> None:
    """Take one step in the model and in the store."""
    match step:
        case ("put", slot, username, email, role, active):
            user = replace(a_user(id=slot), username=username, email=f"{email}@example.com", role=role, active=active)
            others = [other for other in model.users.values() if other.id != slot]
            fields = {"username", "email"}
            clash = {name for name in fields for other in others if getattr(other, name) == getattr(user, name)}
            if clash:
                with pytest.raises(AlreadyExists) as refused:
                    await transaction.users.save(user)
                assert set(refused.value.fields) == clash
                raise refused.value
            await transaction.users.save(user)
            event = updated(user, "username") if slot in model.users else created(user)
            await transaction.events.append(event)
            model.append(event)
        case ("password", slot) if slot in model.users:
            model.passwords[slot] = f"hash {len(model.passwords)}"
            await transaction.users.set_password(slot, model.passwords[slot])
        case ("delete", slot) if slot in model.users:
            for session in await transaction.sessions.list_of_user(slot):
                await transaction.sessions.delete(session.id)
                del model.sessions[session.id]
            await transaction.users.delete(slot)
            del model.users[slot]
            model.passwords.pop(slot, None)
            event = Event("user.deleted", now, None, slot)
            await transaction.events.append(event)
            model.append(event)
        case ("open", number, slot) if slot in model.users and number not in model.sessions:
            model.sessions[number] = a_session(model.users[slot], now, id=number)
            await transaction.sessions.save(model.sessions[number])
        case ("rotate", number) if number in model.sessions:
            model.sessions[number] = rotated(model.sessions[number], now)
            await transaction.sessions.save(model.sessions[number])
        case ("end", number) if number in model.sessions:
            session = model.sessions.pop(number)
            await transaction.sessions.delete(number)
            event = Event("session.ended", now, None, session.user_id, session_id=number, reason="logout")
            await transaction.events.append(event)
            model.append(event)
        case ("fail",):
            raise Broken
        case _:
            pass  # there is no user to act on


async def same(store: Store, model: Model) -> None:
    """The store holds what the model holds, however it is asked."""
    assert (await store.events.read_position()).seq == len(model.log)
    assert await whole_log(store) == model.log
    listed = (await store.users.list_page(UserQuery(100, "username"))).value
    assert list(listed) == sorted(model.users.values(), key=lambda user: user.username)
    for slot in SLOTS:
        user, session = model.users.get(slot), model.sessions.get(slot)
        assert (await store.users.find(slot)).value == user
        assert await store.sessions.find_with_user(slot) == (
            None if session is None else (session, model.users[session.user_id])
        )
        assert await whole_log(store, subject=slot) == [event for event in model.log if event.subject == slot]

        async def sessions(transaction: Transaction, slot: uuid.UUID = slot) -> Sequence[Session]:
            return await transaction.sessions.list_of_user(slot)

        expected = [session for session in model.sessions.values() if session.user_id == slot]
        assert sorted(await ask(store, sessions), key=lambda session: session.id) == sorted(
            expected, key=lambda session: session.id
        )
    for name in ("ada", "bob", "eve"):
        by_username = [user for user in model.users.values() if user.username == name]
        by_email = [user for user in model.users.values() if user.email == f"{name}@example.com"]
        for login, found in ((name, by_username), (f"{name}@example.com", by_email)):
            assert await store.users.find_by_login(login) == (
                Credentials(found[0], model.passwords.get(found[0].id)) if found else None
            )

    async def admins(transaction: Transaction) -> int:
        return await transaction.users.count_active_admins()

    assert await ask(store, admins) == sum(user.is_active_admin for user in model.users.values())


@examples(100)
@given(st.lists(st.lists(STEPS, max_size=5), max_size=8))
async def test_failed_writes_leave_no_trace(opener: Opener, writes: list[list[tuple[Any, ...]]]) -> None:
    """After any writes a store holds what those that succeeded did, and nothing of those that failed."""
    clock = ManualClock()
    model = Model()
    async with opener(clock) as store:
        for steps in writes:

            async def work(
                transaction: Transaction, steps: list[tuple[Any, ...]] = steps, before: Model = model
            ) -> Model:
                attempt = copy.deepcopy(before)  # here, because a store may run a write again
                for step in steps:
                    await take(step, attempt, transaction, clock())
                return attempt

            with suppress(Broken, AlreadyExists):
                model = (await store.write(work, BY)).value
            clock.advance(1)
        await same(store, model)
