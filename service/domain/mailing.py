"""From a mail that waits to the letter that is sent."""

from __future__ import annotations

from typing import NamedTuple

from service.domain.audit import MAIL
from service.domain.letters import Letter, Letterhead, write
from service.domain.mail import Mail, MailToken, Purpose, new_token
from service.domain.ports import Clock, Store, Transaction
from service.domain.users import User


class Ready(NamedTuple):
    """A mail that nobody else sends now. `letter` is None where there is nothing to say any more."""

    mail: Mail
    letter: Letter | None


async def make_ready(store: Store, clock: Clock, mail: Mail, head: Letterhead) -> Ready | None:
    """Claim a mail and write its letter; None when somebody else is at it.

    It comes due again by itself: who fails, or dies, has nothing to do. Its token is made here, and ends the one before.
    """

    async def work(transaction: Transaction) -> Ready | None:
        now = clock()
        claimed = await transaction.claim_mail(mail, now + mail.next_due)
        if claimed is None:
            return None
        if claimed.expires_at <= now:
            return Ready(claimed, None)
        return Ready(claimed, await _letter(transaction, clock, claimed, head))

    return (await store.write(work, MAIL)).value


async def drop(store: Store, mail: Mail) -> None:
    """Forget a mail that was sent, or never will be."""

    async def work(transaction: Transaction) -> None:
        await transaction.drop_mail(mail)

    await store.write(work, MAIL)


async def _letter(transaction: Transaction, clock: Clock, mail: Mail, head: Letterhead) -> Letter | None:
    user = await _user_of(transaction, mail)
    match mail.kind:
        case "taken" | "moved":
            return write(head, mail.kind, mail.email)
        case "changed" | "totp_on" | "totp_off" | "new_codes" | "code_used":
            # Also where the account has moved since; and without its name, because the address may be another's by then.
            return write(head, mail.kind, mail.email)
        case _ if user is None:
            return None  # the account has gone, or has another address
        case "move":
            return await _with_token(transaction, clock, user, "move", mail.email, head)
        case "verify":
            if user.active or await transaction.mail_token(user.id, "verify") is None:
                return None
            return await _with_token(transaction, clock, user, "verify", mail.email, head)
        case "reset":
            return await _with_token(transaction, clock, user, "reset", mail.email, head) if user.active else None
        case "known":
            return write(head, mail.kind, mail.email, user.username)


async def _user_of(transaction: Transaction, mail: Mail) -> User | None:
    """Whom a mail is about: who has its address, or would have it."""
    if mail.kind == "move":
        token = await transaction.mail_token_to(mail.email, "move")
        user = None if token is None else await transaction.user(token.user_id)
        return user if user is not None and user.active else None
    found = await transaction.holders((), (), (mail.email,))
    return found[0].user if found else None


async def _with_token(
    transaction: Transaction, clock: Clock, user: User, purpose: Purpose, email: str, head: Letterhead
) -> Letter:
    text, digest = new_token(user.id)
    await transaction.put_mail_token(MailToken(user.id, purpose, email, clock() + head.ttls[purpose], digest))
    return write(head, purpose, email, user.username, text)
