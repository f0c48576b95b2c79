"""Letters over SMTP, in conversations with a real server."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from pydantic import SecretStr

from service.config.secret_values import SmtpServer
from service.delivery.smtp import SmtpMailer, ehlo_name
from service.domain.errors import Unavailable
from service.domain.mail.mail import MailRefused, SenderRefused
from service.domain.mail.templates import RenderedEmail
from service.outbound.tls import create_context
from tests.support.certificates import ONE, TWO, server_tls
from tests.support.mail import mail_server, text_of
from tests.support.server import settings_for_tests
from tests.support.wait import BUSY_S

LETTER = RenderedEmail("ada@example.com", "Set a new password", "Grüße, Ada 🦊\n\n.\n\nLine of a dot above.\n")
NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)


def mailer(
    port: int, ca: Any = ONE, tls: Any = "none", login: Any = (None, None), timeout_s: float = 2, **more: Any
) -> SmtpMailer:
    server = SmtpServer("127.0.0.1", port, login[0], login[1] and SecretStr(login[1]), tls)
    return SmtpMailer(server, "Röster <roster@example.com>", timeout_s, create_context(str(ca)), lambda: NOW, **more)


@asynccontextmanager
async def stub(conversation: str) -> AsyncIterator[int]:
    """The port of a server that sends one reply, or none, to every client, and then reads."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(conversation.encode())
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def script(*lines: str) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that says each line in turn, once the client has said something, and what it heard; then it breaks off."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            for number, line in enumerate(lines):
                if number:
                    end = b"\r\n.\r\n" if lines[number - 1].startswith("354") else b"\r\n"
                    heard.append(await reader.readuntil(end))
                writer.write(line.encode())
            if not lines[-1]:
                await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], heard
    finally:
        server.close()
        await server.wait_closed()


async def test_letter_arrives_as_it_was_written() -> None:
    """Text in UTF-8 and lines of any length arrive; headers name the sender and the date, and ask machines not to answer."""
    async with mail_server() as server:
        await mailer(server.port).send(LETTER)
    (letter,) = server.letters

    assert text_of(letter) == LETTER.text
    assert (letter["From"], letter["To"], letter["Subject"]) == (
        "Röster <roster@example.com>",
        "ada@example.com",
        "Set a new password",
    )
    assert letter.get_content_type() == "text/plain"
    assert letter.get_content_charset() == "utf-8"
    assert letter["Auto-Submitted"] == "auto-generated"
    assert parsedate_to_datetime(letter["Date"]) == NOW
    assert letter["Message-ID"].endswith("@example.com>")
    assert server.recipients == ["ada@example.com"]


async def test_password_goes_behind_starttls() -> None:
    """Once the conversation is encrypted a password is sent, whatever letters it has."""
    async with mail_server(server_tls(ONE), login=True) as server:
        await mailer(server.port, tls="starttls", login=("roster", "s3cret/@:")).send(LETTER)

    assert server.seen == [(True, b"roster")]


async def test_conversation_is_encrypted_from_the_first_byte() -> None:
    """Where the server speaks TLS at once (RFC 8314)."""
    async with mail_server(server_tls(ONE), implicit=True) as server:
        await mailer(server.port, tls="implicit").send(LETTER)
        with pytest.raises(Unavailable):
            await mailer(server.port, timeout_s=0.2).send(LETTER)

    assert len(server.letters) == 1


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
async def test_foreign_certificate_is_not_believed(tls: Any) -> None:
    """A server that cannot prove who it is gets no letter."""
    async with mail_server(server_tls(TWO), implicit=tls == "implicit") as server:
        with pytest.raises(Unavailable):
            await mailer(server.port, tls=tls).send(LETTER)
    assert server.letters == []


async def test_letter_does_not_go_in_the_open() -> None:
    """Where STARTTLS is asked for and the server does not offer it, nothing is sent."""
    async with mail_server() as server:
        with pytest.raises(Unavailable):
            await mailer(server.port, tls="starttls").send(LETTER)
    assert server.letters == []


async def test_wrong_password_is_tried_again_later() -> None:
    """The operator must correct it; the mail is not at fault."""
    async with mail_server(server_tls(ONE), login=True) as server:
        with pytest.raises(SenderRefused, match="535"):
            await mailer(server.port, tls="starttls", login=("roster", "wrong")).send(LETTER)
    assert server.letters == []


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        ("550 no such user", MailRefused),
        ("553 what", MailRefused),
        ("550 5.1.1 <ada@example.com>: Recipient address rejected: User unknown", MailRefused),
        ("552 5.2.2 mailbox full", MailRefused),
        ("550 5.4.1 Recipient address rejected: Access denied", MailRefused),
        ("556 5.1.10 Recipient address has null MX", MailRefused),
        ("450 later", Unavailable),
        ("421 bye", Unavailable),
        ("504 5.5.2 <4f1c0a>: Helo command rejected: need fully-qualified hostname", SenderRefused),
        ("530 5.7.0 Must issue a STARTTLS command first", SenderRefused),
        ("530 Authentication required", SenderRefused),
        ("554 5.7.1 <ada@example.com>: Relay access denied", SenderRefused),
        ("550 5.7.1 Unable to relay", SenderRefused),
        ("550 relay not permitted", SenderRefused),
        ("550 5.1.8 Sender address rejected: Domain not found", SenderRefused),
        ("503 bad sequence of commands", SenderRefused),
        ("554 transaction failed", SenderRefused),
    ],
)
async def test_recipient_is_refused(reply: str, error: type[Exception]) -> None:
    """For good where the reply is about the recipient; what is about this service or for now is retried (RFC 3463)."""
    async with mail_server() as server:
        server.replies = [reply]
        with pytest.raises(Unavailable if error is Unavailable else error) as raised:
            await mailer(server.port).send(LETTER)
        assert isinstance(raised.value, SenderRefused) == (error is SenderRefused)
        assert "ada@" not in str(raised.value)
        await mailer(server.port).send(LETTER)
    assert len(server.letters) == 1


@pytest.mark.parametrize(
    ("verdict", "error"),
    [
        ("550 5.1.1 no such user", MailRefused),
        ("550 looks like spam", SenderRefused),
        ("554 5.7.1 rejected by policy", SenderRefused),
        ("552 5.3.4 message too big", SenderRefused),
        ("451 4.3.0 later", Unavailable),
    ],
)
async def test_message_is_refused(verdict: str, error: type[Exception]) -> None:
    """A verdict on the whole message is about this service, unless its status names the mailbox."""
    async with mail_server() as server:
        server.verdicts = [verdict]
        with pytest.raises(error) as raised:
            await mailer(server.port).send(LETTER)
        assert isinstance(raised.value, SenderRefused) == (error is SenderRefused)


async def test_final_reply_has_a_time_of_its_own() -> None:
    """A server that answers the message later than a step may take has not refused it."""
    async with mail_server() as server:
        server.verdict_delay_s = 0.3
        await mailer(server.port, timeout_s=0.2).send(LETTER)
        with pytest.raises(Unavailable, match="may arrive twice"):
            await mailer(server.port, timeout_s=0.2, final_reply_s=0.05).send(LETTER)
        assert mailer(server.port, timeout_s=10).longest.total_seconds() >= 3 * 10 + 600


async def test_message_that_was_accepted_is_not_sent_again() -> None:
    """A server that breaks off after its 250, instead of answering QUIT, has the message."""
    lines = ("220 mail\r\n", "250-mail\r\n250 8BITMIME\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "250 taken\r\n")
    async with script(*lines) as (port, heard):
        await mailer(port).send(LETTER)
    assert heard[-1].endswith(b"\r\n..\r\n\r\nLine of a dot above.\r\n.\r\n")


async def test_data_that_is_not_answered_is_given_up_as_a_step() -> None:
    """Only the reply to the message may take long: before it nothing can have been delivered."""
    began = asyncio.get_running_loop().time()
    async with script("220 mail\r\n", "250 mail\r\n", "250 ok\r\n", "250 ok\r\n", "") as (port, _):
        with pytest.raises(Unavailable) as raised:
            await mailer(port, timeout_s=0.1).send(LETTER)
    assert "twice" not in str(raised.value)
    assert asyncio.get_running_loop().time() - began < 2 + BUSY_S


@pytest.mark.parametrize(
    ("hostname", "address", "name"),
    [
        ("roster.example.com", ("192.0.2.1", 50001), "roster.example.com"),
        ("4f1c0a9b", ("172.17.0.2", 50001), "[172.17.0.2]"),
        ("4f1c0a9b", ("fe80::1%eth0", 50001), "[IPv6:fe80::1]"),
        ("under_score.example", ("172.17.0.2", 50001), "[172.17.0.2]"),
        ("localhost", None, "[127.0.0.1]"),
    ],
)
def test_name_in_ehlo_has_a_dot_or_is_an_address(hostname: str, address: Any, name: str) -> None:
    """As RFC 5321, 4.1.1.1 wants it: a container's bare name is refused by many servers (504)."""
    assert ehlo_name(hostname, address) == name


async def test_ehlo_names_this_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before and after STARTTLS."""
    monkeypatch.setattr(socket, "gethostname", lambda: "4f1c0a9b")
    async with mail_server(server_tls(ONE), login=True) as server:
        await mailer(server.port, tls="starttls", login=("roster", "s3cret/@:")).send(LETTER)
    assert server.greeted == ["[127.0.0.1]"]


async def test_domain_goes_as_dns_has_it() -> None:
    """A server that takes ASCII alone is given an address with an international domain all the same."""
    async with mail_server(utf8=False) as server:
        await mailer(server.port).send(RenderedEmail("ada@bücher.example.com", "s", "t\n"))
        with pytest.raises(MailRefused, match="SMTPUTF8"):
            await mailer(server.port).send(RenderedEmail("zoë@example.com", "s", "t\n"))
    assert server.recipients == ["ada@xn--bcher-kva.example.com"]


async def test_private_domain_is_up_to_the_mail_server() -> None:
    """An address of a private network is handed over as any other."""
    async with mail_server() as server:
        await mailer(server.port).send(RenderedEmail("ada@corp.local", "s", "t\n"))
    assert server.recipients == ["ada@corp.local"]


async def test_address_that_is_not_ascii_goes_where_it_is_taken() -> None:
    """With SMTPUTF8 (RFC 6531)."""
    async with mail_server() as server:
        await mailer(server.port).send(RenderedEmail("zoë@example.com", "s", "t\n"))
    assert server.recipients == ["zoë@example.com"]


async def test_line_breaks_do_not_get_into_headers() -> None:
    """A letter whose subject would become another header is not sent."""
    async with mail_server() as server:
        with pytest.raises(ValueError, match=r"linefeed|newline|carriage"):
            await mailer(server.port).send(RenderedEmail("ada@example.com", "s\r\nBcc: eve@example.com", "t\n"))
    assert server.letters == []


@pytest.mark.parametrize(
    "says", ["", "220 mail.example.com\r\n", "554 not here\r\n", "GET / HTTP/1.1\r\n\r\n", "220-" + "x" * 9000]
)
async def test_server_that_is_none_is_given_up(says: str) -> None:
    """Silence, half a conversation, another protocol: later, within the timeout."""
    began = asyncio.get_running_loop().time()
    async with stub(says) as port:
        with pytest.raises(Unavailable):
            await mailer(port, timeout_s=0.1).send(LETTER)
    assert asyncio.get_running_loop().time() - began < 2 + BUSY_S


async def test_server_that_is_not_there_is_tried_later() -> None:
    """No server listens on port 1."""
    with pytest.raises(Unavailable):
        await mailer(1).send(LETTER)


def test_trust_is_the_files_and_the_systems() -> None:
    """The authorities of the setting are believed beside those of the system."""
    assert create_context("").verify_mode is ssl.CERT_REQUIRED
    assert len(create_context(str(ONE)).get_ca_certs()) == len(create_context("").get_ca_certs()) + 1


@pytest.mark.parametrize(
    ("url", "starttls", "server"),
    [
        ("smtp://mail.example.com", True, SmtpServer("mail.example.com", 587, None, None, "starttls")),
        ("smtp://127.0.0.1:25", False, SmtpServer("127.0.0.1", 25, None, None, "none")),
        (
            "smtps://u%40x:p%2Fw%3A@mail.example.com",
            True,
            SmtpServer("mail.example.com", 465, "u@x", SecretStr("p/w:"), "implicit"),
        ),
        ("smtp://u:p@[::1]:2525/", True, SmtpServer("::1", 2525, "u", SecretStr("p"), "starttls")),
    ],
)
def test_server_is_named_by_a_url(url: str, starttls: bool, server: SmtpServer) -> None:
    """Scheme, port and percent encoding mean what they do elsewhere."""
    assert settings_for_tests(smtp_url=url, smtp_starttls=starttls, mail_from="a@example.com").smtp == server
