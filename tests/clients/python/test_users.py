"""Users through the client: the calls of its README, and the errors that they raise."""

from __future__ import annotations

import asyncio

import pytest
from roster_client import AlreadyExists, AsyncRoster, HttpProblem, InvalidFields, NotFound, User, VersionMismatch
from roster_client.models import UserChanges


async def test_user_is_created_changed_and_deleted(admin: AsyncRoster) -> None:
    """Each call returns the user as the service has it now."""
    ada = await admin.users.create("ada", "ada@example.com")
    ada = await admin.users.update(ada, name="Ada Lovelace", age=36)
    assert (ada.name, ada.age) == ("Ada Lovelace", 36)
    ada = await admin.users.replace(ada.id, "ada", "lovelace@example.com", etag=ada.etag)
    assert (ada.email, ada.age) == ("lovelace@example.com", None)
    assert await admin.users.get(ada.id) == ada
    await admin.users.delete(ada)
    with pytest.raises(NotFound) as missing:
        await admin.users.get(ada.id)
    assert missing.value.request_id


async def test_list_reads_every_page(admin: AsyncRoster) -> None:
    """A list yields each user once, whatever the size of a page, and with the ETag that a read returns."""
    for number in range(7):
        await admin.users.create(f"user{number}", f"user{number}@example.com")
    found = [user async for user in admin.users.list(q="user", sort="-username", page_size=3)]
    assert [user.username for user in found] == [f"user{number}" for number in reversed(range(7))]
    assert found[0].etag == (await admin.users.get(found[0].id)).etag
    assert [user async for user in admin.users.list(active=False)] == []


async def test_outdated_user_is_not_changed(admin: AsyncRoster) -> None:
    """An update of a user that changed meanwhile raises `VersionMismatch` with the user as it is now."""
    old = await admin.users.create("ada", "ada@example.com")
    new = await admin.users.update(old.id, name="Ada")
    with pytest.raises(VersionMismatch) as mismatch:
        await admin.users.update(old, name="Augusta")
    assert mismatch.value.current == new
    with pytest.raises(VersionMismatch):
        await admin.users.delete(old)


async def test_change_begins_again_after_a_mismatch(admin: AsyncRoster) -> None:
    """Changes of one user at the same time are all made: each is chosen again for the user that it finds."""
    ada = await admin.users.create("ada", "ada@example.com", age=0)
    await asyncio.gather(*(admin.users.change(ada.id, grow) for _ in range(4)))
    assert (await admin.users.get(ada.id)).age == 4


def grow(user: User) -> UserChanges:
    return {"age": (user.age or 0) + 1}


async def test_errors_name_the_fields(admin: AsyncRoster) -> None:
    """A refused value is found in `errors`."""
    await admin.users.create("ada", "ada@example.com")
    with pytest.raises(AlreadyExists) as taken:
        await admin.users.create("ada", "other@example.com")
    assert taken.value.errors[0]["pointer"] == "/username"
    with pytest.raises(InvalidFields) as invalid:
        await admin.users.create("grace", "no address")
    assert invalid.value.errors[0]["pointer"] == "/email"


async def test_id_cannot_leave_its_segment(admin: AsyncRoster) -> None:
    """An id with slashes is one segment of the path, so that it reaches no other resource."""
    with pytest.raises(HttpProblem) as refused:
        await admin.users.get("../sessions")
    assert refused.value.status in (400, 404)
