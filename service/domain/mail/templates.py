"""What the mails say. Plain text, with nothing in it that a stranger could have chosen, but for a username."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from service.domain.mail.mail import MailKind, Purpose


@dataclass(frozen=True, slots=True)
class RenderedEmail:
    """A mail as it is sent.

    Attributes:
        to: one address, alone.
        text: plain, lines end with a line feed.
    """

    to: str
    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class TemplateContext:
    """What letters say of this service.

    Attributes:
        public_url: where its API is; empty where nobody has said so.
        link_url: page of a front end that takes tokens; empty for none.
        ttls: how long the token for a purpose is worth something.
    """

    public_url: str
    link_url: str
    ttls: dict[Purpose, timedelta]


_SUBJECTS: Final[dict[MailKind, str]] = {
    "verify": "Confirm your address",
    "known": "You have an account already",
    "taken": "Choose another username",
    "reset": "Set a new password",
    "changed": "Your password was changed",
    "move": "Confirm your new address",
    "moved": "Your address was changed",
    "totp_on": "Your second factor was turned on",
    "totp_off": "Your second factor was turned off",
    "new_codes": "Your recovery codes were replaced",
    "code_used": "A recovery code of yours was used",
}


# Whoever did any of it knew the password; an administrator does without.
_SOMEBODY: Final = "somebody knows your password: ask for a new one at once, and tell whoever runs the service.\n"
_NOT_YOU: Final = f"If it was not you, {_SOMEBODY}"


def write(  # nosec B107  # the default is no password, but none
    head: TemplateContext, kind: MailKind, to: str, username: str = "", token: str = ""
) -> RenderedEmail:
    """The letter of a kind; `username` and `token` where it tells them."""
    return RenderedEmail(to, _SUBJECTS[kind], _text(head, kind, username, token))


def _text(head: TemplateContext, kind: MailKind, username: str, token: str) -> str:
    where = f" at {head.public_url}" if head.public_url else ""
    match kind:
        case "verify":
            return (
                f"You, or someone using your address, registered the account {username}{where}.\n\n"
                f"To confirm it, choose its password. {_way(head, 'verify', token)}\n"
                "If it was not you, do nothing: the account cannot be used without this step, and is deleted.\n"
            )
        case "known":
            return (
                f"Somebody, you perhaps, wanted this address for an account{where}. It has one already, whose username is "
                f"{username}; no address has two.\n\n"
                "If it was you, log in to that one; where the password is forgotten, ask for a new one. If not, nothing has happened.\n"
            )
        case "taken":
            return (
                f"Somebody, you we hope, registered{where} with this address and a username that another account has.\n\n"
                "Register again with another one. If it was not you, nothing has happened.\n"
            )
        case "reset":
            return (
                f"Somebody, you we hope, asked for a new password for the account {username}{where}.\n\n"
                f"{_way(head, 'reset', token)}\n"
                "If it was not you, do nothing: the password stays as it is.\n"
            )
        case "changed":
            return (
                f"The password of the account of this address{where} was changed, and other logins have ended.\n\n"
                "If it was not you, ask for a new password at once, and tell whoever runs the service.\n"
            )
        case "move":
            return (
                f"Somebody, you we hope, wants the account {username}{where} to have this address.\n\n"
                f"{_way(head, 'move', token)}\n"
                "If it was not you, do nothing: the account keeps the address that it has.\n"
            )
        case "moved":
            return (
                f"The account{where} that had this address has another one now. Nothing more comes here.\n\n"
                "If it was not you, tell whoever runs the service at once.\n"
            )
        case "totp_on":
            return (
                f"The account of this address{where} has a second factor now: to log in takes a code as well. Other logins have "
                f"ended.\n\n{_NOT_YOU}"
            )
        case "totp_off":
            return (
                f"The account of this address{where} has no second factor any more: the password alone logs in. Other logins "
                f"have ended.\n\nIf neither you nor an administrator whom you asked did it, {_SOMEBODY}"
            )
        case "new_codes":
            return f"The account of this address{where} has new recovery codes; those of before are worth nothing.\n\n{_NOT_YOU}"
        case "code_used":
            return (
                f"A recovery code of the account of this address{where} was used in the place of a code of the app, and cannot be "
                f"used again.\n\n{_NOT_YOU}"
            )


def _way(head: TemplateContext, purpose: Purpose, token: str) -> str:
    """How to use a token, once."""
    within = _spelled(head.ttls[purpose])
    # Whether the address is a first one or another, it is confirmed in one way.
    step = "reset" if purpose == "reset" else "verify"
    link = ""
    if head.link_url:
        # Behind the # a browser keeps it to itself: it stands in no log on the way, and in no Referer.
        link = f"Open this within {within}:\n\n  {head.link_url}#{step}={token}\n\nOr, for programs, send"
    body = {
        "verify": '{"token": "…", "password": "yours"}',
        "reset": '{"token": "…", "password": "the new one"}',
        "move": '{"token": "…"}',
    }[purpose]
    call = f"POST {head.public_url}/v1/auth/{step}"
    return f"{link or f'Within {within}, send'} {body} to {call}, with this token:\n\n  {token}\n"


def _spelled(ttl: timedelta) -> str:
    minutes = max(round(ttl.total_seconds() / 60), 1)
    for size, unit in ((1440, "day"), (60, "hour")):
        if minutes % size == 0:
            return f"{minutes // size} {unit}{'s' if minutes > size else ''}"
    return f"{minutes} minute{'s' if minutes > 1 else ''}"
