"""Credentials: an API token, a login, or a saved session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

Otp = str | Callable[[str], str]


@dataclass(frozen=True, slots=True)
class ApiToken:
    """An API token. It is never refreshed."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Login:
    """Login and password; the client logs in with its first request.

    Attributes:
        login: username or e-mail address.
        otp: the code of the second factor, or a function that returns it, such as `input`. The function is called with a prompt
            in a thread, and only if the account has a second factor.
    """

    login: str
    password: str = field(repr=False)
    otp: Otp | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Saved:
    """A session in a file of mode 0600, which several processes may share.

    Attributes:
        path: the file. A new pair of tokens is written there before it is used.
        login: how to open the session if the file does not exist or its session has ended; None raises `InvalidGrant` then.
    """

    path: str | Path
    login: Login | None = None


Credentials = ApiToken | Login | Saved
