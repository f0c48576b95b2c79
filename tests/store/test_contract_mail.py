"""The promises of every store about waiting mails, and their tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pytest

from service.domain.mail.mail import (
    Mail,
    MailToken,
    MailTokenRef,
    Purpose,
)
from service.domain.ports import Store, Transaction
from service.domain.users.user import User
from tests.support.clock import ManualClock
from tests.support.domain import BY, a_user, keep
from tests.support.stores import Broken, ask, erase

T = TypeVar("T")

HOUR = timedelta(hours=1)


async def do(store: Store, step: Callable[[Transaction], Awaitable[T]]) -> T:
    return (await store.write(step, BY)).value


async def put(store: Store, *waiting: Mail | MailToken) -> None:
    """Have the store hold these, each by a write of its own."""
    for one in waiting:

        async def work(transaction: Transaction, one: Mail | MailToken = one) -> None:
            await (transaction.mails.enqueue(one) if isinstance(one, Mail) else transaction.mail_tokens.save(one))

        await store.write(work, BY)


def a_mail(clock: ManualClock, email: str = "ada@example.com") -> Mail:
    return Mail("reset", email, clock(), clock() + HOUR)


@pytest.fixture
async def ada(store: Store) -> User:
    """The user of tokens."""
    await keep(store, ada := a_user())
    return ada


def a_token(user: User, clock: ManualClock, *digests: bytes) -> MailToken:
    return MailToken(user.id, "reset", user.email, clock() + HOUR, digests or (b"d" * 32,))


def shown(user: User, digest: bytes = b"d" * 32) -> MailTokenRef:
    """A token with this hash, as a client sends it."""
    return MailTokenRef(user.id, digest, datetime(2100, 1, 1, tzinfo=UTC))


# Mails


async def test_mail_is_due_from_its_moment_on(store: Store, clock: ManualClock) -> None:
    """Mails that are due come back as they went in, the longest due first, as many as are asked for."""
    later, earlier, not_yet = (a_mail(clock, f"zoë{number}@example.com") for number in range(3))
    later = replace(later, due_at=clock() - timedelta(microseconds=1), tries=3)
    earlier = replace(earlier, due_at=clock() - HOUR, kind="verify")
    not_yet = replace(not_yet, due_at=clock() + timedelta(microseconds=1))
    await put(store, later, not_yet, earlier)

    assert list(await store.mails.list_due(clock(), 10)) == [earlier, later]
    assert list(await store.mails.list_due(clock(), 1)) == [earlier]
    assert list(await store.mails.list_due(not_yet.due_at, 10)) == [earlier, later, not_yet]


async def test_mail_of_a_kind_is_one_for_an_address(store: Store, clock: ManualClock) -> None:
    """Asking again replaces what waits; another kind or address is another mail."""
    first = a_mail(clock)
    again = replace(first, due_at=clock() - HOUR)
    others = [replace(first, kind="verify"), replace(first, email="bob@example.com")]
    await put(store, first, *others, again)

    found = await store.mails.list_due(clock(), 10)
    assert sorted(found, key=str) == sorted([again, *others], key=str)


async def test_mail_is_claimed_by_one(store: Store, clock: ManualClock) -> None:
    """Of several who would send it at once one gets it, and the others leave it alone until it is due again."""
    mail = a_mail(clock)
    await put(store, mail)
    until = clock() + timedelta(minutes=1)
    claims = await asyncio.gather(
        *(do(store, lambda transaction: transaction.mails.claim(mail, until)) for _ in range(5))
    )

    claimed = replace(mail, due_at=until, tries=1, state="sending")
    assert sorted(claims, key=str) == sorted([claimed, None, None, None, None], key=str)
    assert list(await store.mails.list_due(clock(), 10)) == []
    assert list(await store.mails.list_due(until, 10)) == [claimed]


async def test_mail_that_was_sent_is_dropped(store: Store, clock: ManualClock) -> None:
    """Unless another was asked for in its place meanwhile, which stays."""
    mail = a_mail(clock)
    await put(store, mail)
    claimed = await do(store, lambda transaction: transaction.mails.claim(mail, clock() + HOUR))
    assert claimed is not None
    await put(store, mail)
    assert not await do(store, lambda transaction: transaction.mails.delete_unchanged(claimed))
    assert list(await store.mails.list_due(clock(), 10)) == [mail]
    assert await ask(store, lambda transaction: transaction.mails.find(mail.email, mail.kind)) == mail
    assert await ask(store, lambda transaction: transaction.mails.find(mail.email, "verify")) is None

    assert await do(store, lambda transaction: transaction.mails.delete_unchanged(mail))
    assert list(await store.mails.list_due(clock() + HOUR, 10)) == []


async def test_mail_commits_with_its_change(store: Store, clock: ManualClock) -> None:
    """What is done with mails and tokens in a write that fails has not happened."""
    mail, ada = a_mail(clock), a_user()
    await keep(store, ada)
    await put(store, mail)
    await put(store, a_token(ada, clock))

    async def fails(transaction: Transaction) -> None:
        await transaction.mails.enqueue(replace(mail, kind="verify"))
        await transaction.mails.claim(mail, clock() + HOUR)
        await transaction.mails.delete_unchanged(replace(mail, due_at=clock() + HOUR, tries=1, state="sending"))
        await transaction.mail_tokens.save(a_token(ada, clock, b"e" * 32))
        await transaction.mail_tokens.consume("reset", shown(ada, b"e" * 32))
        await transaction.mail_tokens.save(replace(a_token(ada, clock), purpose="verify"))
        await transaction.mail_tokens.delete_of_user(ada.id)
        raise Broken

    with pytest.raises(Broken):
        await store.write(fails, BY)
    assert list(await store.mails.list_due(clock(), 10)) == [mail]
    assert await store.mail_tokens.find("reset", shown(ada)) == a_token(ada, clock)
    assert await ask(store, lambda transaction: transaction.mail_tokens.find(ada.id, "verify")) is None


# Tokens


async def test_token_is_taken_once(store: Store, clock: ManualClock, ada: User) -> None:
    """It is found by its user, purpose and hash as often as one looks, and taken by the first who does, at once or not."""
    token, sent = a_token(ada, clock), shown(ada)
    await put(store, token)
    assert await store.mail_tokens.find("reset", sent) == await store.mail_tokens.find("reset", sent) == token

    taken = await asyncio.gather(
        *(do(store, lambda transaction: transaction.mail_tokens.consume("reset", sent)) for _ in range(5))
    )
    assert sorted(taken, key=str) == sorted([token, None, None, None, None], key=str)
    assert await store.mail_tokens.find("reset", sent) is None


async def test_token_serves_its_purpose_alone(store: Store, clock: ManualClock, ada: User) -> None:
    """Another purpose, hash or user finds nothing and uses nothing up."""
    token = a_token(ada, clock)
    await put(store, token)
    await keep(store, bob := a_user())
    right = shown(ada)
    wrong: list[tuple[Purpose, MailTokenRef]] = [
        ("verify", right),
        ("reset", shown(ada, b"e" * 32)),
        ("reset", shown(ada, b"")),
        ("reset", shown(bob)),
    ]
    for purpose, sent in wrong:
        assert await store.mail_tokens.find(purpose, sent) is None

        async def take(transaction: Transaction, purpose: Purpose = purpose, sent: MailTokenRef = sent) -> object:
            return await transaction.mail_tokens.consume(purpose, sent)

        assert await ask(store, take) is None
    assert await store.mail_tokens.find("reset", right) == token


async def test_tokens_of_a_purpose_are_taken_together(store: Store, clock: ManualClock, ada: User) -> None:
    """A user has one row of tokens for a purpose: each of them finds it, and taking one uses up all of them."""
    none, both = replace(a_token(ada, clock), digests=()), a_token(ada, clock, b"e" * 32, b"d" * 32)
    for token in (none, both):
        await put(store, token)
        assert await ask(store, lambda transaction: transaction.mail_tokens.find(ada.id, "reset")) == token
        for digest in (b"d" * 32, b"e" * 32):
            assert await store.mail_tokens.find("reset", shown(ada, digest)) == (token if token is both else None)
    assert await store.mail_tokens.find("reset", shown(ada, b"d" * 16 + b"e" * 16)) is None

    assert await do(store, lambda transaction: transaction.mail_tokens.consume("reset", shown(ada))) == both
    assert await store.mail_tokens.find("reset", shown(ada, b"e" * 32)) is None


async def test_token_is_found_by_where_it_is_sent(store: Store, clock: ManualClock, ada: User) -> None:
    """The newest of a purpose, of whichever user."""
    await keep(store, bob := a_user())
    older = replace(a_token(ada, clock), purpose="move", email="new@example.com")
    newer = replace(older, user_id=bob.id, expires_at=older.expires_at + HOUR)
    await put(store, newer, older, replace(a_token(ada, clock), email="new@example.com"))

    async def to(email: str) -> MailToken | None:
        return await ask(store, lambda transaction: transaction.mail_tokens.find_next_for_address(email, "move"))

    assert await to("new@example.com") == newer
    assert await to(ada.email) is None


async def test_user_who_was_mailed_no_token_comes_first(store: Store, clock: ManualClock, ada: User) -> None:
    """Of users who want one address, those without a mail precede repeated requests, in the order of their requests."""
    await keep(store, bob := a_user(), eve := a_user())
    wanted = replace(a_token(ada, clock), digests=(), purpose="move", email="new@example.com")
    later = replace(wanted, user_id=bob.id, expires_at=wanted.expires_at + HOUR)
    again = replace(wanted, user_id=eve.id, expires_at=wanted.expires_at + 2 * HOUR, digests=(b"d" * 32,))
    await put(store, later, again, wanted)

    async def first() -> MailToken | None:
        return await ask(
            store, lambda transaction: transaction.mail_tokens.find_next_for_address("new@example.com", "move")
        )

    assert await first() == wanted
    await do(store, lambda transaction: transaction.mail_tokens.delete_of_user(ada.id))
    assert await first() == later
    await do(store, lambda transaction: transaction.mail_tokens.delete_of_user(bob.id))
    assert await first() == again


async def test_tokens_of_one_purpose_are_forgotten_alone(store: Store, clock: ManualClock, ada: User) -> None:
    """The others of the user are worth what they were."""
    reset = a_token(ada, clock)
    await put(store, reset, replace(reset, purpose="move"))
    await do(store, lambda transaction: transaction.mail_tokens.delete_of_user(ada.id, "move"))

    assert list(await store.mail_tokens.list_expired(clock() + 2 * HOUR, 10)) == [reset]


async def test_tokens_end_with_their_user(store: Store, clock: ManualClock, ada: User) -> None:
    """They are forgotten for a reason, all at once, and when the user is deleted."""
    tokens = [a_token(ada, clock), replace(a_token(ada, clock), purpose="verify")]
    ends: list[Callable[[], Awaitable[object]]] = [
        lambda: do(store, lambda transaction: transaction.mail_tokens.delete_of_user(ada.id)),
        lambda: erase(store, ada),
    ]
    for end in ends:
        await put(store, *tokens)
        await end()
        assert list(await store.mail_tokens.list_expired(clock() + 2 * HOUR, 10)) == []


async def test_expired_tokens_are_listed(store: Store, clock: ManualClock) -> None:
    """From the moment at which they expire, the oldest first; none of them is gone by that."""
    tokens = []
    for hours in (3, 1, 2):
        await keep(store, user := a_user())
        tokens.append(replace(a_token(user, clock), expires_at=clock() + hours * HOUR))
        await put(store, tokens[-1])

    assert list(await store.mail_tokens.list_expired(clock() + 2 * HOUR, 10)) == [tokens[1], tokens[2]]
    assert list(await store.mail_tokens.list_expired(clock() + 2 * HOUR, 1)) == [tokens[1]]
    assert list(await store.mail_tokens.list_expired(clock() + HOUR - timedelta(microseconds=1), 10)) == []
