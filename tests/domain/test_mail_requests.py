"""Mails that anyone can request, and what happens to those that were mailed before."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from service.domain.audit import AuditQuery
from service.domain.auth import password_change
from service.domain.errors import InvalidMailToken
from service.domain.mail import delivery
from service.domain.mail.mail import Mail, MailTokenRef, parse_token
from service.domain.mail.notices import notify_owner
from service.domain.mail.templates import TemplateContext
from service.domain.users import email_change, registration
from service.domain.users.accounts import NewUser
from service.store.memory.store import MemoryStore
from tests.support.clock import ManualClock
from tests.support.domain import BY, PlainHasher, a_user, keep
from tests.support.mail import token_in

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
HEAD = TemplateContext("", "", {"verify": DAY, "move": DAY, "reset": HOUR})
PASSWORD = "correct horse battery staple"


class World:
    """A store with one member, and what was mailed."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.hasher = PlainHasher()
        self.ada = a_user(username="ada", email="ada@example.com")

    async def begin(self) -> World:
        await keep(self.store, self.ada)
        await self.store.write(lambda write: write.users.set_password(self.ada.id, f"hash of {PASSWORD}"), BY)
        return self

    async def claim(self) -> list[delivery.ClaimedEmail]:
        """Begin to send what is due, as a mail worker does."""
        due = await self.store.mails.list_due(self.clock(), 10)
        claimed = [await delivery.claim_and_render(self.store, self.clock, mail, HEAD, HOUR) for mail in due]
        return [ready for ready in claimed if ready is not None]

    async def send(self) -> list[str]:
        """Send what is due; the text of each letter."""
        sent = await self.claim()
        for ready in sent:
            await delivery.finish(self.store, self.clock, ready.mail)
        return [ready.letter.text for ready in sent if ready.letter is not None]

    async def forgot(self) -> None:
        await password_change.forgot(self.store, self.clock, BY, "ada@example.com", HOUR)

    async def register(self, username: str = "eve", email: str = "eve@example.com") -> None:
        await registration.register(self.store, self.clock, BY, NewUser(username, email), DAY)

    async def move(self, email: str = "new@example.com") -> None:
        await email_change.ask(self.store, self.clock, BY, self.ada.id, f"hash of {PASSWORD}", email, DAY)

    async def confirm(self, text: str) -> None:
        await email_change.confirm(self.store, self.hasher, self.clock, BY, token_of(text), "another good one")

    async def reset(self, text: str) -> None:
        await password_change.reset(self.store, self.hasher, self.clock, BY, token_of(text), "another good one")


def token_of(text: str) -> MailTokenRef:
    presented = parse_token(token_in(text))
    assert presented is not None
    return presented


@pytest.fixture
async def world() -> World:
    return await World().begin()


@pytest.mark.parametrize("kind", ["reset", "verify", "move", "known", "taken"])
async def test_request_that_is_repeated_mails_nothing_for_ten_minutes(world: World, kind: str) -> None:
    """Whatever a stranger can have mailed to another person; then one more."""
    requests: dict[str, Callable[[], Awaitable[None]]] = {
        "reset": world.forgot,
        "verify": world.register,
        "move": world.move,
        "known": lambda: world.register("eve", "ada@example.com"),
        "taken": lambda: world.register("ada", "eve@example.com"),
    }
    request = requests[kind]
    await request()
    assert len(await world.send()) == 1
    await request()
    world.clock.advance(599)
    await request()
    assert await world.send() == []

    world.clock.advance(1)
    await request()
    assert len(await world.send()) == 1


async def test_request_does_not_double_what_is_being_sent(world: World) -> None:
    """A server that takes minutes for one mail is not handed another of its kind."""
    await world.forgot()
    (sending,) = await world.claim()
    world.clock.advance(300)
    await world.forgot()
    assert await world.claim() == []

    await delivery.finish(world.store, world.clock, sending.mail)
    assert await world.send() == []


async def test_request_sends_what_waits_for_a_retry_at_once(world: World) -> None:
    """After an outage of the mail server its user need not wait for the next try."""
    await world.forgot()
    (failed,) = await world.claim()
    await delivery.release(world.store, world.clock, failed.mail)
    assert await world.send() == []
    await world.forgot()
    assert len(await world.send()) == 1


@pytest.mark.parametrize("older", [True, False])
async def test_every_mailed_link_to_a_new_password_lives_for_its_time(world: World, older: bool) -> None:
    """A stranger who has another one mailed ends none; using one ends the others."""
    await world.forgot()
    (first,) = await world.send()
    world.clock.advance(601)
    await world.forgot()
    (second,) = await world.send()

    await world.reset(first if older else second)
    for text in (first, second):
        with pytest.raises(InvalidMailToken):
            await world.reset(text)


async def test_later_mail_prolongs_no_earlier_link(world: World) -> None:
    """An hour after it was mailed a link has ended, and the one that was mailed later has not."""
    await world.forgot()
    (first,) = await world.send()
    world.clock.advance(3000)
    await world.forgot()
    (second,) = await world.send()
    world.clock.advance(600)

    with pytest.raises(InvalidMailToken):
        await world.reset(first)
    await world.reset(second)


async def test_link_that_was_used_makes_room_for_the_next(world: World) -> None:
    """A password that is reset and forgotten again within minutes needs another mail, which is delayed."""
    await world.forgot()
    (first,) = await world.send()
    await world.reset(first)
    await world.send()
    for seconds in (0, 599):
        world.clock.advance(seconds)
        await world.forgot()
        assert await world.send() == []
    world.clock.advance(1)
    (second,) = await world.send()
    await world.reset(second)


async def test_repeated_registration_keeps_the_first_and_its_link(world: World) -> None:
    """A stranger who registers the address again, with any username, changes nothing; a later mail is about the same account."""
    await world.register("eve")
    (first,) = await world.send()
    world.clock.advance(600)
    await world.register("mallory")
    (second,) = await world.send()

    assert "the account eve" in first
    assert "the account eve" in second
    assert await world.store.users.find_by_login("mallory") is None
    await world.confirm(first)
    found = await world.store.users.find_by_login("eve@example.com")
    assert found is not None
    assert (found.user.username, found.user.active) == ("eve", True)
    reasons = [
        entry.details
        for entry in await world.store.audit.list_page(AuditQuery(limit=9, action="registration.repeated"))
    ]
    assert reasons == [{"reason": "pending"}]


async def test_registration_gives_way_to_another_username_after_a_day(world: World) -> None:
    """Also where it was repeated meanwhile: an address is not held without being confirmed."""
    await world.register("mallory")
    await world.send()
    world.clock.advance(12 * 3600)
    await world.register("mallory")
    await world.send()
    world.clock.advance(12 * 3600)
    await world.register("eve")
    (mail,) = await world.send()
    await world.confirm(mail)

    found = await world.store.users.find_by_login("eve@example.com")
    assert found is not None
    assert found.user.username == "eve"


async def test_repeated_change_of_address_keeps_the_first_link(world: World) -> None:
    """To the same address; a request for another one ends it."""
    await world.move()
    (first,) = await world.send()
    world.clock.advance(600)
    await world.move()
    await world.send()
    await world.confirm(first)
    assert await world.store.users.find_by_login("new@example.com") is not None

    await world.move("third@example.com")
    third = (await world.send())[-1]
    await world.move("fourth@example.com")
    with pytest.raises(InvalidMailToken):
        await world.confirm(third)


async def test_requests_in_turn_fill_no_mailbox(world: World) -> None:
    """A member who asks for two addresses in turn, or ends what was mailed, has one mail sent to each in ten minutes."""
    await world.move("victim@example.com")
    await world.forgot()
    assert len(await world.send()) == 2
    for _ in range(3):
        world.clock.advance(60)
        await world.move("other@example.com")
        await world.send()
        await world.store.write(lambda write: write.mail_tokens.delete_of_user(world.ada.id), BY)
        await world.move("victim@example.com")
        await world.forgot()
        assert await world.send() == []


async def test_another_user_who_wants_the_same_address_is_mailed_as_well(world: World) -> None:
    """Later: the first user's request must not keep the owner of the address from moving there."""
    bob = a_user()
    await keep(world.store, bob)
    await world.store.write(lambda write: write.users.set_password(bob.id, "a hash"), BY)
    await world.move()
    await world.send()
    world.clock.advance(1)
    await email_change.ask(world.store, world.clock, BY, bob.id, "a hash", "new@example.com", DAY)
    assert await world.send() == []
    world.clock.advance(600)
    (mail,) = await world.send()
    await world.confirm(mail)
    moved = (await world.store.users.find(bob.id)).value
    assert moved is not None
    assert moved.email == "new@example.com"


async def test_notice_of_a_change_that_is_repeated_is_delayed(world: World) -> None:
    """Changing an account again and again fills no mailbox, and the last change is mailed as well, ten minutes after the first."""

    async def change() -> None:
        await world.store.write(lambda write: notify_owner(write, world.clock, "ada@example.com", "changed"), BY)

    await change()
    (sending,) = await world.claim()
    await change()
    assert await world.claim() == []
    await delivery.finish(world.store, world.clock, sending.mail)
    for seconds in (0, 300, 299):
        world.clock.advance(seconds)
        await change()
        assert await world.send() == []

    world.clock.advance(1)
    assert len(await world.send()) == 1
    world.clock.advance(300)
    await change()
    assert await world.send() == []
    world.clock.advance(300)
    assert len(await world.send()) == 1


async def test_mail_of_a_kind_that_waits_is_one(world: World) -> None:
    """However often it is requested before it is sent."""
    for _ in range(3):
        await world.forgot()
    assert [type(mail) for mail in await world.store.mails.list_due(world.clock(), 10)] == [Mail]
