"""The texts of mails. They are plain text, and contain no input of a stranger except a username."""

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
    """The values that templates need from the configuration.

    Attributes:
        public_url: origin of the API; empty if it is not configured.
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


# Each of these changes needed the password, unless an administrator made it.
_SOMEBODY: Final = (
    "another person knows your password. Reset your password now, and inform the administrator of the service.\n"
)
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
                f"You, or someone using your address, wanted to use this address for an account{where}. It has an account already; "
                f"its username is {username}.\n\n"
                "If it was you, log in to that account, or reset its password. If it was not you, you need not do anything.\n"
            )
        case "taken":
            return (
                f"You, or someone using your address, tried to register{where} with a username that another account has.\n\n"
                "Register again with another username. If it was not you, you need not do anything.\n"
            )
        case "reset":
            return (
                f"You, or someone using your address, requested a new password for the account {username}{where}.\n\n"
                f"{_way(head, 'reset', token)}\n"
                "If it was not you, do nothing: your password is unchanged.\n"
            )
        case "changed":
            return (
                f"The password of your account{where} was changed, and all other sessions have ended.\n\n"
                "If it was not you, reset your password now, and inform the administrator of the service.\n"
            )
        case "move":
            return (
                f"You, or someone using your address, requested to use this address for the account {username}{where}.\n\n"
                f"{_way(head, 'move', token)}\n"
                "If it was not you, do nothing: the account keeps its address.\n"
            )
        case "moved":
            return (
                f"The account{where} with this address has another address now. It sends no more mail here.\n\n"
                "If it was not you, inform the administrator of the service now.\n"
            )
        case "totp_on":
            return (
                f"Your account{where} has a second factor now: a login requires a code. All other sessions have "
                f"ended.\n\n{_NOT_YOU}"
            )
        case "totp_off":
            return (
                f"Your account{where} has no second factor any more: a login requires only the password. All other sessions "
                f"have ended.\n\nIf neither you nor your administrator did this, {_SOMEBODY}"
            )
        case "new_codes":
            return f"Your account{where} has new recovery codes. The old codes are invalid.\n\n{_NOT_YOU}"
        case "code_used":
            return (
                f"A recovery code of your account{where} was used for a login. It cannot be used again.\n\n{_NOT_YOU}"
            )


def _way(head: TemplateContext, purpose: Purpose, token: str) -> str:
    """How to use a token, once."""
    within = _spelled(head.ttls[purpose])
    # Whether the address is a first one or another, it is confirmed in one way.
    step = "reset" if purpose == "reset" else "verify"
    link = ""
    if head.link_url:
        # Browsers do not send the fragment, so the token is in no proxy log and in no Referer.
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
