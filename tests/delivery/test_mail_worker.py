"""The delivery of mails, from the store to the mailer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from service.delivery.mail_worker import MailWorker
from service.domain.errors import Unavailable
from service.domain.mail.mail import (
    Mail,
    MailKind,
    MailRefused,
    SenderRefused,
    parse_token,
)
from service.domain.mail.templates import RenderedEmail, TemplateContext
from service.domain.ports import Store, Transaction
from service.http.services import SERVICES
from service.server.tasks import Tasks
from service.store.memory.store import MemoryStore
from service.telemetry.metrics import Metrics
from tests.support.certificates import ONE, server_tls
from tests.support.clock import ManualClock
from tests.support.domain import BY, a_user, keep
from tests.support.mail import mail_server, text_of, token_in
from tests.support.server import PASSWORD, serve
from tests.support.wait import until

HOUR = timedelta(hours=1)


class Carrier:
    """Keeps `Mailer`. `fails`: what it raises next, in order; then it takes every letter, once `hold` is set."""

    longest = timedelta(minutes=10)

    def __init__(self) -> None:
        self.fails: list[Exception] = []
        self.letters: list[RenderedEmail] = []
        self.tried: list[RenderedEmail] = []
        self.hold: asyncio.Event | None = None
        self.begun = 0

    async def send(self, letter: RenderedEmail) -> None:
        self.begun += 1
        self.tried.append(letter)
        if self.hold is not None:
            await self.hold.wait()
        if self.fails:
            raise self.fails.pop(0)
        self.letters.append(letter)


class World:
    """A store with one user, and a postbox that is not running."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store: Store = MemoryStore(self.clock)
        self.carrier = Carrier()
        self.tasks = Tasks()
        self.metrics = Metrics()
        self.postbox = self.another()
        self.ada = a_user(email="ada@example.com")

    def another(self) -> MailWorker:
        """Another one beside it, as in another process."""
        head = TemplateContext("", "", {"verify": HOUR, "reset": HOUR})
        return MailWorker(self.store, self.carrier, self.clock, head, self.tasks, self.metrics)

    async def put(self, kind: MailKind = "reset", email: str = "ada@example.com") -> None:
        now = self.clock()

        async def work(transaction: Transaction) -> None:
            await transaction.mails.enqueue(Mail(kind, email, now, now + 24 * HOUR))

        await self.store.write(work, BY)

    async def waiting(self) -> list[Mail]:
        found = await self.store.mails.list_due(self.clock() + 1000 * HOUR, 1000)
        return [mail for mail in found if mail.state != "sent"]

    def counted(self, outcome: str, kind: str = "reset") -> float:
        return self.metrics.registry.get_sample_value("roster_emails_total", {"kind": kind, "outcome": outcome}) or 0

    @asynccontextmanager
    async def running(self, *postboxes: MailWorker) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(postbox.run()) for postbox in postboxes or (self.postbox,)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.tasks.close(1)


@pytest.fixture
async def world() -> World:
    world = World()
    await keep(world.store, world.ada)
    return world


async def test_mail_that_waits_is_sent_once(world: World) -> None:
    """Those of before are sent at the start, others when the bell rings, and none stays."""
    await world.put()
    async with world.running():
        await until(lambda: len(world.carrier.letters) == 1)
        await world.put("changed")
        world.postbox.wake()
        await until(lambda: len(world.carrier.letters) == 2)
        await until(lambda: world.counted("sent", "changed") == 1)

    assert [letter.subject for letter in world.carrier.letters] == ["Set a new password", "Your password was changed"]
    assert await world.waiting() == []


async def test_two_do_not_send_the_same(world: World) -> None:
    """Of several processes that look at the same store one sends a mail."""
    others = [world.another() for _ in range(3)]
    for number in range(10):
        await keep(world.store, a_user(email=f"user-{number}@example.com"))
        await world.put(email=f"user-{number}@example.com")
    async with world.running(world.postbox, *others):
        await until(lambda: world.counted("sent") == 10)

    assert len({letter.to for letter in world.carrier.letters}) == len(world.carrier.letters) == 10


async def test_mail_that_fails_is_tried_again_later(world: World) -> None:
    """It comes due again after a minute, then after longer, with another token, until it is too old."""
    world.carrier.fails = [Unavailable(), Unavailable()]
    await world.put()
    async with world.running():
        for failed, seconds in ((1, 60), (2, 300)):
            await until(partial(lambda count: world.counted("failed") == count, failed))
            (mail,) = await world.waiting()
            assert (mail.tries, mail.due_at) == (failed, world.clock() + timedelta(seconds=seconds))
            world.clock.advance(seconds)
            world.postbox.wake()
        await until(lambda: world.counted("sent") == 1)
    shown = parse_token(token_in(world.carrier.letters[0].text))

    assert shown is not None
    assert await world.store.mail_tokens.find("reset", shown) is not None
    assert await world.waiting() == []


async def test_token_that_may_have_been_delivered_stays_valid(world: World) -> None:
    """A server that takes a mail and breaks off before it says so gets it again: the tokens of both mails are good."""
    world.carrier.fails = [Unavailable()]
    await world.put()
    async with world.running():
        await until(lambda: world.counted("failed") == 1)
        world.clock.advance(60)
        world.postbox.wake()
        await until(lambda: world.counted("sent") == 1)

    tokens = [parse_token(token_in(letter.text)) for letter in world.carrier.tried]
    assert len(tokens) == len(set(tokens)) == 2
    for token in tokens:
        assert token is not None
        assert await world.store.mail_tokens.find("reset", token) is not None


async def test_claim_outlasts_the_conversation(world: World) -> None:
    """While a server takes its time no other process sends the same mail."""
    world.carrier.hold = asyncio.Event()
    await world.put()
    async with world.running(world.postbox, world.another()):
        await until(lambda: world.carrier.begun)
        (mail,) = await world.waiting()
        assert mail.due_at > world.clock() + world.carrier.longest
        world.clock.advance(world.carrier.longest.total_seconds())
        world.postbox.wake()
        world.carrier.hold.set()
        await until(lambda: world.counted("sent") == 1)
    assert world.carrier.begun == 1


async def test_slow_verdict_delays_no_other_mail(world: World) -> None:
    """While the server takes minutes for one mail the others are sent; of one kind to one address one is under way."""
    slow, gate = world.carrier.send, asyncio.Event()

    async def send(letter: RenderedEmail) -> None:
        if letter.to == world.ada.email:
            await gate.wait()
        await slow(letter)

    world.carrier.send = send  # type: ignore[method-assign]  # of this one carrier
    await world.put("changed")
    async with world.running():
        await until(lambda: world.postbox._under_way)
        await world.put("changed")
        for number in range(30):
            await world.put("taken", f"user-{number}@example.com")
        world.postbox.wake()
        await until(lambda: world.counted("sent", "taken") == 30)
        assert world.counted("sent", "changed") == 0
        gate.set()
        await until(lambda: world.counted("sent", "changed") == 2)


async def test_refusal_of_this_service_is_an_error_of_ours(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The mail is retried, and the log tells the operator what the server said."""
    world.carrier.fails = [SenderRefused("554 5.7.1 Relay access denied")]
    await world.put()
    async with world.running():
        await until(lambda: world.counted("failed") == 1)

    assert [mail.state for mail in await world.waiting()] == ["waiting"]
    assert (
        "email delivery failed; the mail server refuses this service; will retry: 554 5.7.1 Relay access denied"
        in caplog.text
    )
    assert [record.levelname for record in caplog.records if "refuses this service" in record.message] == ["ERROR"]


async def test_fault_in_a_letter_does_not_hold_it_until_the_claim_lapses(world: World) -> None:
    """An unexpected error releases the mail for its next try."""
    world.carrier.fails = [ValueError("a fault")]
    await world.put()
    async with world.running():
        await until(lambda: world.carrier.begun)
    (mail,) = await world.waiting()
    assert (mail.state, mail.due_at) == ("waiting", world.clock() + timedelta(seconds=60))


async def test_mail_that_was_sent_makes_room_after_a_while(world: World) -> None:
    """Its row, which delays another of its kind, goes away by itself."""
    await world.put()
    async with world.running():
        await until(lambda: world.counted("sent") == 1)
        (kept,) = await world.store.mails.list_due(world.clock() + HOUR, 10)
        assert (kept.kind, kept.state, kept.due_at) == ("reset", "sent", world.clock() + timedelta(minutes=10))
        world.clock.advance(600)
        world.postbox.wake()

        async def nothing_is_left() -> bool:
            return not await world.store.mails.list_due(world.clock() + HOUR, 10)

        await until(nothing_is_left)
    assert len(world.carrier.letters) == 1


async def test_mail_that_is_too_old_is_given_up(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """An expired mail is not sent, and the log says so."""
    await world.put()
    world.clock.advance(24 * 3600)
    async with world.running():
        await until(lambda: world.counted("expired") == 1)

    assert (world.carrier.letters, await world.waiting()) == ([], [])
    assert "email delivery failed permanently; the mail has expired" in caplog.text


async def test_mail_that_is_refused_is_given_up(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A permanently refused mail is not retried; the log says why, and not to whom."""
    world.carrier.fails = [MailRefused("the server refuses it (550)")]
    await world.put()
    async with world.running():
        await until(lambda: world.counted("refused") == 1)

    assert await world.waiting() == []
    assert "(550)" in caplog.text
    assert "ada@" not in caplog.text


async def test_server_that_is_gone_is_not_asked_for_each(world: World) -> None:
    """After three failures in a row the others wait for the next round, but for those that were under way."""
    for number in range(10):
        await keep(world.store, a_user(email=f"user-{number}@example.com"))
        await world.put(email=f"user-{number}@example.com")
    world.carrier.fails = [Unavailable() for _ in range(10)]
    async with world.running():
        await until(lambda: world.counted("failed") >= 3)
        await until(lambda: world.counted("failed") == world.carrier.begun)
        assert 3 <= world.carrier.begun <= 6


async def test_who_is_stopped_in_the_middle_sends_it_again(world: World) -> None:
    """A mail that was being sent when the process ended comes due again, and then is sent."""
    world.carrier.hold = asyncio.Event()
    await world.put()
    async with world.running():
        await until(lambda: world.carrier.begun)
    world.carrier.hold = None
    world.clock.advance(60)
    async with world.running(world.another()):
        await until(lambda: world.counted("sent") == 1)


@pytest.mark.parametrize("kind", ["verify", "reset", "move", "known"])
async def test_mail_about_a_missing_user_is_dropped(world: World, kind: MailKind) -> None:
    """The account has gone, or was never there: there is nothing to say."""
    await world.put(kind, "absent@example.com")
    async with world.running():
        await until(lambda: world.counted("needless", kind) == 1)

    assert (world.carrier.letters, await world.waiting()) == ([], [])


async def test_too_much_at_once_is_refused(world: World) -> None:
    """Requests for mails wait in a bounded queue; when it is full they get 503, and later ones are accepted again."""
    gate, ran = asyncio.Event(), 0

    async def work() -> None:
        nonlocal ran
        await gate.wait()
        ran += 1

    for _ in range(256):
        world.postbox.later(work(), "test")
    with pytest.raises(Unavailable):
        world.postbox.later(work(), "test")
    gate.set()
    await until(lambda: ran == 256)
    await asyncio.sleep(0)
    world.postbox.later(work(), "test")
    await world.tasks.close(1)
    assert ran == 257


async def test_what_fails_behind_the_answer_is_heard_of(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A failed background request is logged, because no caller waits for it; its place is free again."""

    async def work() -> None:
        raise Unavailable(1, "The store is gone.")

    for _ in range(300):
        world.postbox.later(work(), "test")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    await world.tasks.close(1)
    assert "The store is gone." in caplog.text


# The whole way


async def test_service_sends_by_its_mail_server() -> None:
    """With `ROSTER_SMTP_URL` set, a registration is confirmed by what the server got over an encrypted connection."""
    async with mail_server(server_tls(ONE), login=True) as mail:
        url = f"smtp://roster:s3cret%2F%40%3A@127.0.0.1:{mail.port}"
        settings: dict[str, Any] = {"smtp_url": url, "mail_from": "roster@example.com", "outbound_ca_file": str(ONE)}
        async with serve(registration="verify", **settings) as server:
            body = {"username": "ada", "email": "ada@example.com", "password": PASSWORD}
            await server.json("POST", "/v1/auth/register", status=202, json=body)
            await until(lambda: mail.letters)
            token = token_in(text_of(mail.letters[0]))
            await server.json("POST", "/v1/auth/verify", status=204, json={"token": token, "password": PASSWORD})
            await server.log_in("ada")
            assert server.app[SERVICES].metrics.registry.get_sample_value(
                "roster_emails_total", {"kind": "verify", "outcome": "sent"}
            )
    assert mail.seen == [(True, b"roster")]


async def test_mails_outlive_the_process(tmp_path: Any) -> None:
    """What was asked for while the mail server was gone is sent by the process that comes next."""
    store_url = f"sqlite:///{tmp_path}/roster.db"
    gone: dict[str, Any] = {"smtp_url": "smtp://127.0.0.1:1", "smtp_starttls": False, "mail_from": "roster@example.com"}
    async with serve(registration="verify", store_url=store_url, **gone) as server:
        body = {"username": "ada", "email": "ada@example.com", "password": PASSWORD}
        await server.json("POST", "/v1/auth/register", status=202, json=body)
        registry = server.app[SERVICES].metrics.registry
        failed = {"kind": "verify", "outcome": "failed"}
        await until(lambda: registry.get_sample_value("roster_emails_total", failed))
    async with mail_server() as mail:
        there = gone | {"smtp_url": f"smtp://127.0.0.1:{mail.port}"}
        async with serve(registration="verify", store_url=store_url, **there) as server:
            store, clock = server.app[SERVICES].store, server.app[SERVICES].clock
            (waiting,) = await store.mails.list_due(clock() + HOUR, 10)

            async def sooner(transaction: Transaction) -> None:
                assert await transaction.mails.claim(waiting, clock()) is not None

            await store.write(sooner, BY)
            server.app[SERVICES].mail_worker.wake()
            await until(lambda: mail.letters)
            token = token_in(text_of(mail.letters[0]))
            await server.json("POST", "/v1/auth/verify", status=204, json={"token": token, "password": PASSWORD})
            await server.log_in("ada")
