"""The promises of every store about its lists of users."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from service.domain.users.query import Sort, UserQuery
from service.domain.users.user import Role, User, sort_key
from tests.support.clock import ManualClock
from tests.support.domain import a_user, keep
from tests.support.drawn import examples
from tests.support.stores import Opener, erase


def matches(user: User, q: str | None, role: Role | None, active: bool | None) -> bool:
    text = (user.username, user.email.casefold(), user.name.casefold())
    return (
        role in (None, user.role)
        and active in (None, user.active)
        and (q is None or any(q.casefold() in t for t in text))
    )


LISTED = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["", "Ada", "Zoë", "ADA KING"]),
            "role": st.sampled_from(["member", "admin"]),
            "active": st.booleans(),
            "age": st.integers(0, 3),  # seconds after the first at which it was made: many at the same time
        }
    ),
    max_size=15,
)
SORTS = st.sampled_from(["created_at", "-created_at", "username", "-username"])


@examples(60)
@given(data=st.data(), rows=LISTED, sort=SORTS)
async def test_list_is_the_sorted_whole_in_pages(
    opener: Opener, data: st.DataObject, rows: list[dict[str, Any]], sort: Sort
) -> None:
    """Pages of any size, in any order and with any filter, joined are what sorting all that matches gives."""
    clock = ManualClock()
    usernames = data.draw(st.permutations(range(len(rows))))
    users = [
        a_user(
            username=f"user{number:02}",
            email=f"straße{number:02}@example.com",
            created_at=clock() + timedelta(seconds=row["age"]),
            **row,
        )
        for number, row in zip(usernames, rows, strict=True)
    ]
    limit = data.draw(st.integers(1, 20))
    q = data.draw(st.none() | st.sampled_from(["ada", "ZOË", "user0", "@EXAMPLE", "STRASSE", "absent", "%", "_"]))
    role: Role | None = data.draw(st.sampled_from([None, "member", "admin"]))
    active = data.draw(st.none() | st.booleans())
    async with opener(clock) as store:
        await keep(store, *users)
        found: list[User] = []
        after: tuple[str, uuid.UUID] | None = None
        while True:
            page = (await store.users.list_page(UserQuery(limit, sort, after, q, role, active))).value
            assert len(page) <= limit
            found += page
            assert len(found) <= len(users)
            if len(page) < limit:
                break
            after = (sort_key(page[-1], sort.removeprefix("-")), page[-1].id)

        def key(user: User) -> tuple[object, uuid.UUID]:
            return (user.username if sort.endswith("username") else user.created_at), user.id

        expected = sorted((user.at(n) for n, user in enumerate(users, 1)), key=key, reverse=sort.startswith("-"))
        assert found == [user for user in expected if matches(user, q, role, active)]


@examples(40)
@given(data=st.data(), sort=SORTS)
async def test_list_that_changes_between_pages_repeats_and_skips_nothing(
    opener: Opener, data: st.DataObject, sort: Sort
) -> None:
    """Users come and go between pages, also the one at the page's end: a user who stays is seen once, and none twice."""
    clock = ManualClock()
    seconds = st.integers(0, 3)

    def newcomer() -> User:
        number = data.draw(st.integers(0, 10**6))
        return a_user(
            username=f"u{number}x{uuid.uuid4().hex[:8]}", created_at=clock() + timedelta(seconds=data.draw(seconds))
        )

    async with opener(clock) as store:
        here = [newcomer() for _ in range(data.draw(st.integers(1, 10)))]
        await keep(store, *here)
        stayed = {user.id for user in here}
        seen: list[User] = []
        after: tuple[str, uuid.UUID] | None = None
        while page := (await store.users.list_page(UserQuery(3, sort, after))).value:
            seen += page
            after = (sort_key(page[-1], sort.removeprefix("-")), page[-1].id)
            if len(seen) > 30:
                break  # enough came; who was there from the beginning is still ahead or was seen
            for gone in data.draw(st.lists(st.sampled_from(here), unique_by=lambda user: user.id, max_size=3)):
                if gone.id in stayed:
                    stayed.discard(gone.id)
                    await erase(store, gone)
            if data.draw(st.booleans()):
                await keep(store, newcomer())

        ids = [user.id for user in seen]
        assert len(ids) == len(set(ids))
        assert stayed <= set(ids) or len(seen) > 30
