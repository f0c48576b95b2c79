"""Mails as their readers get them."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any
from uuid import UUID

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from service.domain.mail.mail import MailToken, Purpose, new_token
from service.domain.ports import Transaction
from service.http.services import SERVICES
from tests.support.domain import BY
from tests.support.server import Server
from tests.support.wait import until

_TOKEN = re.compile(r"^  ([A-Za-z0-9_-]{64})$", re.MULTILINE)


def token_in(text: str) -> str:
    """The one token that a mail carries."""
    (token,) = _TOKEN.findall(text)
    assert isinstance(token, str)
    return token


def text_of(letter: EmailMessage) -> str:
    """The mail as a reader sees it: on the wire lines end otherwise."""
    text = letter.get_content()
    assert isinstance(text, str)
    return text.replace("\r\n", "\n")


@dataclass(frozen=True, slots=True)
class Shown:
    """A mail as the log shows it."""

    to: str
    subject: str
    text: str


class Mails:
    """The mails that a service without a mail server has logged."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    def to(self, address: str) -> list[Shown]:
        """Those to an address, the oldest first."""
        # A fixture may have had some sent, before the test or while it begins.
        all_records = [*self._caplog.get_records("setup"), *self._caplog.get_records("call")]
        records = [record for record in all_records if record.name == "roster.mail" and hasattr(record, "block")]
        mails = [Shown(vars(record)["to"], vars(record)["subject"], vars(record)["block"]) for record in records]
        return [mail for mail in mails if mail.to == address]

    async def newest(self, address: str, count: int = 1) -> Shown:
        """The last of so many to an address; waits for it."""
        await until(lambda: len(self.to(address)) >= count)
        found = self.to(address)
        assert len(found) == count, found
        return found[-1]


@dataclass
class MailServer:
    """An SMTP server on loopback, and what it got.

    Attributes:
        port: set while it is there.
        replies: what it answers to the next recipients, in order; then it takes them.
        verdicts: the same for letters.
        verdict_delay_s: how long it takes before it answers a letter.
        greeted: the names of EHLO, by conversation.
        seen: how each letter came: whether encrypted, and who had logged in.
    """

    port: int = 0
    replies: list[str] = field(default_factory=list)
    verdicts: list[str] = field(default_factory=list)
    verdict_delay_s: float = 0
    greeted: list[str] = field(default_factory=list)
    letters: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    seen: list[tuple[bool, Any]] = field(default_factory=list)

    async def handle_RCPT(  # aiosmtpd looks for this name
        self, _: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.replies:
            return self.replies.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _: SMTP, session: Session, envelope: Envelope) -> str:  # as above
        await asyncio.sleep(self.verdict_delay_s)
        if self.verdicts:
            return self.verdicts.pop(0)
        assert isinstance(envelope.content, bytes)
        letter = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(letter, EmailMessage)
        self.letters.append(letter)
        self.recipients += envelope.rcpt_tos
        self.greeted.append(str(session.host_name))
        self.seen.append((session.ssl is not None, session.authenticated and getattr(session.auth_data, "login", None)))
        return "250 OK"


def _check_login(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
    right = isinstance(data, LoginPassword) and (data.login, data.password) == (b"roster", b"s3cret/@:")
    return AuthResult(success=right, handled=False, auth_data=data)


@asynccontextmanager
async def mail_server(
    tls: ssl.SSLContext | None = None, *, implicit: bool = False, login: bool = False, utf8: bool = True
) -> AsyncIterator[MailServer]:
    """Run one until the end of the block.

    Args:
        tls: offered by STARTTLS, or spoken from the first byte where it is `implicit`; None for neither.
        login: whether it wants `roster` and the password `s3cret/@:`.
        utf8: whether it takes addresses that are not ASCII.
    """
    handler = MailServer()
    loop = asyncio.get_running_loop()

    def protocol() -> SMTP:
        return SMTP(
            handler,
            hostname="mail.example.com",
            enable_SMTPUTF8=utf8,
            tls_context=None if implicit else tls,
            require_starttls=tls is not None and not implicit,
            auth_required=login,
            authenticator=_check_login if login else None,
            loop=loop,
        )

    server = await loop.create_server(protocol, "127.0.0.1", 0, ssl=tls if implicit else None)
    handler.port = server.sockets[0].getsockname()[1]
    try:
        yield handler
    finally:
        server.close()
        await server.wait_closed()


async def mailed(server: Server, user: str, purpose: Purpose) -> str:
    """A token as a mail would bring it."""
    store, user_id = server.app[SERVICES].store, UUID(user)
    found = (await store.users.find(user_id)).value
    assert found is not None
    expires_at = server.app[SERVICES].clock() + timedelta(hours=1)
    text, digest = new_token(user_id, expires_at)
    token = MailToken(user_id, purpose, found.email, expires_at, (digest,))

    async def work(transaction: Transaction) -> None:
        await transaction.mail_tokens.save(token)

    await store.write(work, BY)
    return text
