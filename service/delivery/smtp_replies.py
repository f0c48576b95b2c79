"""Which party a refusal by a mail server is about: the recipient, or this service and its mail server.

A wrong verdict costs differently. A mail that is given up is lost; a mail that is retried only waits until it expires. So a
refusal is about the recipient only where the reply says so.
"""

from __future__ import annotations

import re
from typing import Final

from service.domain.errors import Unavailable
from service.domain.mail.mail import MailRefused, SenderRefused

_PERMANENT: Final = 500  # RFC 5321, 4.2.1
# RFC 5321, 4.2.3 and 4.3.2: mailbox unavailable, not local, full, name not allowed; RFC 7504: the domain accepts no mail.
_MAILBOX_CODES: Final = frozenset((550, 551, 552, 553, 556))
# RFC 3463: address and mailbox, except for 5.1.7 and 5.1.8, which are about the sender's address; 5.4 is the way to the
# recipient's domain; RFC 6531, 3.5 and RFC 6710: 5.6.7, an address that needs SMTPUTF8.
_RECIPIENT_STATUS: Final = re.compile(r"5\.(1\.(?![78]\b)|2\.|4\.|6\.7\b)")
_STATUS: Final = re.compile(r"([245]\.\d{1,3}\.\d{1,3})\b")
# Servers without enhanced status codes answer 550 for these as well.
_ABOUT_SENDER: Final = re.compile(r"relay|authenticat|sender|helo|ehlo|blocked|blacklist|spam", re.IGNORECASE)
_ADDRESS: Final = re.compile(r"<[^>]*>|[^\s<>]+@[^\s<>]+")
_TEXT_MAX: Final = 200


def classify_recipient_refusal(code: int, text: str) -> Exception:
    """The error for a refusal of the recipient (RCPT): `MailRefused`, `SenderRefused`, or `Unavailable` for 4xx."""
    status = _STATUS.match(text)
    if status is not None and not status[1].endswith(".0.0"):
        about_recipient = _RECIPIENT_STATUS.match(text) is not None
    else:
        about_recipient = code in _MAILBOX_CODES and _ABOUT_SENDER.search(text) is None
    return _error(code, text, about_recipient)


def classify_message_refusal(code: int, text: str) -> Exception:
    """The error for a refusal of the message (DATA): it says the same for every recipient unless its status names one."""
    return _error(code, text, re.match(r"5\.(1\.(?![78]\b)|2\.)", text) is not None)


def describe_reply(code: int, text: str) -> str:
    """A reply for the log, without addresses and on one line."""
    words = " ".join(_ADDRESS.sub("…", text).split())
    return f"{code} {words}"[:_TEXT_MAX].rstrip()


def _error(code: int, text: str, about_recipient: bool) -> Exception:
    said = describe_reply(code, text)
    if code < _PERMANENT:
        return Unavailable(1, f"the mail server says: {said}")
    return MailRefused(said) if about_recipient else SenderRefused(said)
