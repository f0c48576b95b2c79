"""Letters over SMTP (RFC 5321), each in a conversation of its own."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from contextlib import suppress
from datetime import timedelta
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid
from typing import Final

import aiosmtplib
from aiosmtplib import (
    SMTPDataError,
    SMTPException,
    SMTPHeloError,
    SMTPRecipientRefused,
    SMTPResponseException,
    SMTPServerDisconnected,
    SMTPStatus,
)
from aiosmtplib.email import flatten_message
from email_validator import validate_email

from service.config.secret_values import SmtpServer
from service.delivery.smtp_replies import classify_message_refusal, classify_recipient_refusal, describe_reply
from service.domain.errors import Unavailable
from service.domain.mail.mail import MailRefused, SenderRefused
from service.domain.mail.templates import RenderedEmail
from service.domain.ports import Clock

# The steps before the message have one deadline together, as so many times the timeout of a step.
_STEPS: Final = 3
# A server that has the whole message may deliver it before it answers: giving up earlier sends the mail twice.
_FINAL_REPLY_S: Final = 600.0  # RFC 5321, 4.5.3.2.6
_DOT: Final = re.compile(rb"^\.", re.MULTILINE)
_DOMAIN: Final = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})+\Z", re.ASCII)


class SmtpMailer:
    """Keeps `Mailer` with a server that relays for us.

    Args:
        sender: what stands in `From`: an address, alone or with a name before it.
        timeout_s: for each step of a conversation before the message.
        tls: whom to believe; no conversation goes on in the open unless the server's settings say so.
        final_reply_s: for the reply to the whole message.
    """

    def __init__(
        self,
        server: SmtpServer,
        sender: str,
        timeout_s: float,
        tls: ssl.SSLContext,
        clock: Clock,
        final_reply_s: float = _FINAL_REPLY_S,
    ) -> None:
        self._server = server
        self._sender = sender
        self._timeout_s = timeout_s
        self._tls = tls
        self._clock = clock
        self._final_reply_s = final_reply_s

    @property
    def longest(self) -> timedelta:
        return timedelta(seconds=(_STEPS + 1) * self._timeout_s + self._final_reply_s)

    async def send(self, letter: RenderedEmail) -> None:
        message, sender, to = self._message(letter)
        client = self._client()
        try:
            async with asyncio.timeout(_STEPS * self._timeout_s):
                await self._greet(client)
                body = await _send_envelope(client, message, sender, to)
            await self._send_body(client, body)
            with suppress(SMTPException, OSError):  # the server has accepted the message
                await client.quit()
        except SMTPRecipientRefused as error:
            raise classify_recipient_refusal(error.code, error.message) from error
        except SMTPDataError as error:
            raise classify_message_refusal(error.code, error.message) from error
        except SMTPResponseException as error:
            said = describe_reply(error.code, error.message)
            raise SenderRefused(said) if error.code >= 500 else Unavailable(1, said) from error
        except (SMTPException, OSError) as error:  # TimeoutError and SSLError are OSErrors
            raise Unavailable(1, f"the mail server cannot be used: {str(error) or type(error).__name__}") from error
        finally:
            client.close()

    def _client(self) -> aiosmtplib.SMTP:
        server = self._server
        return aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            local_hostname="localhost",  # replaced before it is sent, once the connection tells our address
            timeout=self._timeout_s,
            use_tls=server.tls == "implicit",
            start_tls=False,
            tls_context=None if server.tls == "none" else self._tls,
        )

    async def _greet(self, client: aiosmtplib.SMTP) -> None:
        """Connect, encrypt and log in, as the settings say."""
        server = self._server
        await client.connect()
        client.local_hostname = ehlo_name(socket.gethostname(), client.get_transport_info("sockname"))
        if server.tls == "starttls":
            await client.starttls(tls_context=self._tls)
        if server.username is not None and server.password is not None:
            await client.login(server.username, server.password.get_secret_value())
        if client.is_ehlo_or_helo_needed:
            try:
                await client.ehlo()
            except SMTPHeloError:
                await client.helo()

    async def _send_body(self, client: aiosmtplib.SMTP, body: bytes) -> None:
        """Send the message and wait for the verdict, which the server may give after it has delivered it."""
        protocol = client.protocol
        if protocol is None:
            raise SMTPServerDisconnected("Connection lost")
        protocol.write(_DOT.sub(b"..", body) + b".\r\n")
        try:
            reply = await protocol.read_response(timeout=self._final_reply_s)
        except (SMTPException, OSError) as error:
            raise Unavailable(
                1, "the mail server has the message and does not say whether it takes it; it may arrive twice"
            ) from error
        if reply.code != SMTPStatus.completed:
            raise SMTPDataError(reply.code, reply.message)

    def _message(self, letter: RenderedEmail) -> tuple[EmailMessage, str, str]:
        to = _for_the_wire(letter.to)
        # The policy refuses line breaks in headers, and writes what is not ASCII as RFC 2047 has it.
        message = EmailMessage(policy=SMTP)
        message["From"] = self._sender
        message["To"] = to
        message["Subject"] = letter.subject
        message["Date"] = format_datetime(self._clock())
        sender = message["From"].addresses[0]
        message["Message-ID"] = make_msgid(domain=str(sender.domain))
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834, 5: no holiday notices in return
        message.set_content(letter.text)
        return message, str(sender.addr_spec), to


def ehlo_name(hostname: str, address: tuple[str, int] | None) -> str:
    """The argument of EHLO (RFC 5321, 4.1.1.1): a name with a dot, or the address of our end of the connection.

    A host name without a dot, as containers have, is refused by many servers (504).
    """
    if _DOMAIN.match(hostname):
        return hostname
    if address is None:
        return "[127.0.0.1]"
    host = address[0].partition("%")[0]
    return f"[IPv6:{host}]" if ":" in host else f"[{host}]"


async def _send_envelope(client: aiosmtplib.SMTP, message: EmailMessage, sender: str, to: str) -> bytes:
    """Say from whom and to whom the message is, and begin it; the bytes that the server waits for then."""
    utf8 = not (sender.isascii() and to.isascii())
    if utf8 and not client.supports_extension("smtputf8"):
        text = "the server takes no addresses that are not ASCII (SMTPUTF8)"
        raise SenderRefused(text) if to.isascii() else MailRefused(text)
    eight = client.supports_extension("8bitmime")
    options = [*(("SMTPUTF8",) if utf8 else ()), *(("BODY=8BITMIME",) if eight else ())]
    encoding = "utf-8" if utf8 else "ascii"
    await client.mail(sender, options=options, encoding=encoding)
    await client.rcpt(to, encoding=encoding)
    reply = await client.execute_command(b"DATA")
    if reply.code != SMTPStatus.start_input:
        raise SMTPDataError(reply.code, reply.message)
    return flatten_message(message, utf8=utf8, cte_type="8bit" if eight else "7bit")


def _for_the_wire(address: str) -> str:
    """With its domain as DNS has it; servers without SMTPUTF8 take no other."""
    return validate_email(address, check_deliverability=False).ascii_email or address
