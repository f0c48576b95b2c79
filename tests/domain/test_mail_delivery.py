"""From a mail that waits to the letter that is sent, on the memory store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from service.domain.mail import delivery
from service.domain.mail.delivery import ClaimedEmail
from service.domain.mail.mail import (
    RESEND_INTERVAL,
    Mail,
    MailKind,
    MailToken,
    Notice,
    Purpose,
    parse_token,
)
from service.domain.mail.templates import TemplateContext
from tests.support.domain import BY, keep
from tests.support.mail import token_in
from tests.support.member import Member
from tests.support.stores import erase

LEASE = timedelta(minutes=2)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
HEAD = TemplateContext("", "", {"verify": DAY, "move": DAY, "reset": HOUR})
NOTICES: Sequence[Notice] = ("changed", "moved", "totp_on", "totp_off", "new_codes", "code_used")


class World(Member):
    """The account `ada`, and the mail worker's steps."""

    async def enqueue(self, kind: MailKind = "changed", email: str = "ada@example.com", ttl: timedelta = DAY) -> Mail:
        mail = Mail(kind, email, self.clock(), self.clock() + ttl)
        await self.store.write(lambda write: write.mails.enqueue(mail), BY)
        return mail

    async def due(self) -> list[Mail]:
        return list(await self.store.mails.list_due(self.clock(), 10))

    async def claim_and_render(self, mail: Mail) -> ClaimedEmail | None:
        return await delivery.claim_and_render(self.store, self.clock, mail, HEAD, LEASE)

    async def claim(self, mail: Mail) -> Mail:
        ready = await self.claim_and_render(mail)
        assert ready is not None
        return ready.mail


@pytest.fixture
async def world() -> World:
    world = World()
    await world.create()
    return world


# Claims


async def test_mail_is_claimed_by_one_process(world: World) -> None:
    """Of two processes that read the same mail, the second gets nothing, and the mail is not due during the lease."""
    mail = await world.enqueue()
    assert (await world.claim(mail)).tries == 1
    assert await world.claim_and_render(mail) is None
    assert await world.due() == []


async def test_claim_lapses_with_its_lease(world: World) -> None:
    """A mail whose process died is due again when the lease ends, and no earlier."""
    await world.claim(await world.enqueue())
    world.clock.now += LEASE - timedelta(microseconds=1)
    assert await world.due() == []
    world.clock.now += timedelta(microseconds=1)
    (mail,) = await world.due()
    assert (await world.claim(mail)).tries == 2


async def test_late_process_does_not_undo_the_claim_of_another(world: World) -> None:
    """A process whose lease has lapsed neither delays, nor finishes, nor deletes the mail that another process now sends."""
    slow = await world.claim(await world.enqueue())
    world.clock.now += LEASE
    (mail,) = await world.due()
    claimed = await world.claim(mail)
    await delivery.release(world.store, world.clock, slow)
    await delivery.finish(world.store, world.clock, slow)
    await delivery.drop(world.store, slow)
    world.clock.now += LEASE
    assert await world.due() == [claimed]


async def test_expired_mail_has_no_letter(world: World) -> None:
    """A mail is not sent from the moment at which it expires."""
    mail = await world.enqueue(ttl=HOUR)
    world.clock.now += HOUR
    ready = await world.claim_and_render(mail)
    assert ready is not None
    assert ready.letter is None


# Retries


@pytest.mark.parametrize(("tries", "wait_s"), [(1, 60), (2, 300), (3, 900), (4, 3600), (5, 3600)])
async def test_released_mail_waits_longer_after_each_try(world: World, tries: int, wait_s: float) -> None:
    """The delay before the next try grows to an hour."""
    await world.enqueue(ttl=timedelta(days=9))
    released = world.clock()
    for _ in range(tries):
        (mail,) = await world.due()
        claimed = await world.claim(mail)
        await delivery.release(world.store, world.clock, claimed)
        released = world.clock()
        world.clock.now += claimed.next_due
    (mail,) = await world.due()
    assert (mail.state, mail.tries, mail.due_at - released) == ("waiting", tries, timedelta(seconds=wait_s))


async def test_sent_mail_is_remembered_for_ten_minutes(world: World) -> None:
    """A finished mail is not sent again; its row delays the next of its kind and is then deleted by the mail worker."""
    await delivery.finish(world.store, world.clock, await world.claim(await world.enqueue()))
    world.clock.now += RESEND_INTERVAL - timedelta(microseconds=1)
    assert await world.due() == []
    world.clock.now += timedelta(microseconds=1)
    (row,) = await world.due()
    assert row.state == "sent"
    assert await world.claim_and_render(row) is None
    assert await world.due() == []


async def test_row_of_a_sent_mail_is_gone_when_the_mail_has_expired(world: World) -> None:
    """A mail that expires within ten minutes delays the next one only until then."""
    await delivery.finish(world.store, world.clock, await world.claim(await world.enqueue(ttl=timedelta(minutes=3))))
    world.clock.now += timedelta(minutes=3)
    assert [mail.state for mail in await world.due()] == ["sent"]


async def test_dropped_mail_is_never_due(world: World) -> None:
    """A mail that its server refuses for good is deleted, and its row delays no other."""
    await delivery.drop(world.store, await world.claim(await world.enqueue()))
    world.clock.now += DAY
    assert await world.due() == []
    found = (await world.store.write(lambda write: write.mails.find("ada@example.com", "changed"), BY)).value
    assert found is None


# Letters


@pytest.mark.parametrize("kind", NOTICES)
async def test_notice_reaches_the_earlier_address_without_a_username(world: World, kind: Notice) -> None:
    """A notice is sent to the address it was enqueued for, although the account has moved; it does not name the account."""
    mail = await world.enqueue(kind)
    await keep(world.store, replace(world.ada, email="new@example.com", username="lovelace"))
    ready = await world.claim_and_render(mail)
    assert ready is not None
    assert ready.letter is not None
    assert ready.letter.to == "ada@example.com"
    assert "lovelace" not in ready.letter.text


@pytest.mark.parametrize("kind", ["reset", "verify", "known", "move"])
async def test_letter_about_an_account_that_has_gone_is_not_sent(world: World, kind: MailKind) -> None:
    """A deleted account is not written about."""
    mail = await world.enqueue(kind)
    await erase(world.store, world.ada)
    ready = await world.claim_and_render(mail)
    assert ready is not None
    assert ready.letter is None


async def test_letter_with_a_link_is_not_sent_to_an_earlier_address(world: World) -> None:
    """After the account has moved, its earlier address gets no link to a new password."""
    mail = await world.enqueue("reset")
    await keep(world.store, replace(world.ada, email="new@example.com"))
    ready = await world.claim_and_render(mail)
    assert ready is not None
    assert ready.letter is None


@pytest.mark.parametrize("kind", ["reset", "move"])
async def test_inactive_account_is_mailed_no_link(world: World, kind: Purpose) -> None:
    """A deactivated account gets no link, also where it was requested before."""
    email = "new@example.com" if kind == "move" else "ada@example.com"
    await world.mail_token(kind, email=email)
    mail = await world.enqueue(kind, email)
    await keep(world.store, replace(world.ada, active=False))
    ready = await world.claim_and_render(mail)
    assert ready is not None
    assert ready.letter is None


@pytest.mark.parametrize("active", [True, False])
async def test_account_without_a_registration_gets_no_link_to_confirm(world: World, active: bool) -> None:
    """Neither an active account nor one that an administrator deactivated can be confirmed."""
    if active:
        await world.mail_token("verify")
    await keep(world.store, replace(world.ada, active=active))
    ready = await world.claim_and_render(await world.enqueue("verify"))
    assert ready is not None
    assert ready.letter is None


async def test_link_of_each_try_is_another_and_all_are_valid(world: World) -> None:
    """Each try mails a new token for the full time, and those of earlier tries stay valid: one of them may have arrived."""
    await world.enqueue("reset")
    presented = []
    for _ in range(2):
        (mail,) = await world.due()
        ready = await world.claim_and_render(mail)
        assert ready is not None
        assert ready.letter is not None
        token = parse_token(token_in(ready.letter.text))
        assert token is not None
        assert token.expires_at == world.clock() + HOUR
        presented.append(token)
        await delivery.release(world.store, world.clock, ready.mail)
        world.clock.now += ready.mail.next_due
    assert len({token.digest for token in presented}) == 2
    kept: list[MailToken | None] = [await world.store.mail_tokens.find("reset", token) for token in presented]
    assert kept[0] is not None
    assert kept[0] == kept[1]
