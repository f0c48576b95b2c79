"""Letters over SMTP (RFC 5321), each in a conversation of its own."""

from __future__ import annotations

import asyncio
import socket
import ssl
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid
from typing import Final

import aiosmtplib
from aiosmtplib import SMTPDataError, SMTPException, SMTPNotSupported, SMTPRecipientRefused, SMTPRecipientsRefused
from email_validator import validate_email

from service.domain.errors import Unavailable
from service.domain.letters import Letter
from service.domain.mail import MailRefused
from service.domain.ports import Clock
from service.setting_values import SmtpServer

_LOST: Final = "The mail server does not take mails now."
# A conversation has about ten steps, of which each may take its time: all of them together take this many times that.
_STEPS: Final = 3
_FOR_GOOD: Final = 500  # RFC 5321, 4.2.1: from here on a reply says that the same command will never do


class SmtpMailer:
    """Keeps `Mailer` with a server that relays for us.

    Args:
        sender: what stands in `From`: an address, alone or with a name before it.
        timeout_s: for each step of a conversation.
        tls: whom to believe; no conversation goes on in the open unless the server's settings say so.
    """

    def __init__(self, server: SmtpServer, sender: str, timeout_s: float, tls: ssl.SSLContext, clock: Clock) -> None:
        self._server = server
        self._sender = sender
        self._timeout_s = timeout_s
        self._tls = tls
        self._clock = clock

    async def send(self, letter: Letter) -> None:
        server = self._server
        message, to = self._message(letter)
        try:
            async with asyncio.timeout(_STEPS * self._timeout_s):
                await aiosmtplib.send(
                    message,
                    recipients=[to],
                    hostname=server.host,
                    port=server.port,
                    username=server.username,
                    password=server.password,
                    local_hostname=socket.gethostname(),
                    timeout=self._timeout_s,
                    use_tls=server.tls == "implicit",
                    start_tls=server.tls == "starttls",
                    tls_context=None if server.tls == "none" else self._tls,
                )
        except SMTPRecipientsRefused as error:
            raise _of_reply(error.recipients[0].code) from error
        except (SMTPRecipientRefused, SMTPDataError) as error:
            raise _of_reply(error.code) from error
        except SMTPNotSupported as error:
            if to.isascii():
                raise Unavailable(1, _LOST) from error
            raise MailRefused("the server takes no addresses that are not ASCII (SMTPUTF8)") from error
        except (SMTPException, OSError) as error:  # TimeoutError and SSLError are OSErrors
            raise Unavailable(1, _LOST) from error

    def _message(self, letter: Letter) -> tuple[EmailMessage, str]:
        to = _for_the_wire(letter.to)
        # The policy refuses line breaks in headers, and writes what is not ASCII as RFC 2047 has it.
        message = EmailMessage(policy=SMTP)
        message["From"] = self._sender
        message["To"] = to
        message["Subject"] = letter.subject
        message["Date"] = format_datetime(self._clock())
        message["Message-ID"] = make_msgid(domain=str(message["From"].addresses[0].domain))
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834, 5: no holiday notices in return
        message.set_content(letter.text)
        return message, to


def _of_reply(code: int) -> Exception:
    """What a reply to this recipient, or to this letter, means; others are about us, and may be mended."""
    return Unavailable(1, _LOST) if code < _FOR_GOOD else MailRefused(f"the server refuses it ({code})")


def _for_the_wire(address: str) -> str:
    """With its domain as DNS has it; servers without SMTPUTF8 take no other."""
    return validate_email(address, check_deliverability=False).ascii_email or address
