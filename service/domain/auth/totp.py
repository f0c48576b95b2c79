"""Codes that change with the time (TOTP, RFC 6238), as apps on phones make them: six digits, SHA-1, thirty seconds.

These are the values that every app knows; some ignore what a URI says otherwise.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from pyotp import TOTP, random_base32
from pyotp.exceptions import OTPVerificationError

STEP_S: Final = 30
SECRET_MAX: Final = 32  # letters of base32: 160 bits, as RFC 4226, 4 (R6) recommends

# A phone's clock may be a little off, and typing takes a while: RFC 6238, 5.2 allows one step.
_WINDOW: Final = 1
_CODE: Final = re.compile(r"[0-9]{6}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class SecondFactor:
    """The secret that an account shares with an authenticator app.

    Attributes:
        secret: in base32. To check a code takes the secret itself; no hash of it would do.
        since: when it was confirmed; None while it is only begun, and then nothing asks for it.
        last_step: of the newest code that was taken; 0 before the first.
    """

    secret: str = field(repr=False)
    since: datetime | None = None
    last_step: int = 0


def new_secret() -> str:
    return random_base32(SECRET_MAX)


def uri(secret: str, issuer: str, account: str) -> str:
    """What apps read from a QR code, `otpauth://totp/issuer:account?…`."""
    return TOTP(secret).provisioning_uri(name=account, issuer_name=issuer)


def step_of(secret: str, text: str, now: datetime) -> int | None:
    """The step that this text is the code of, counted from 1970, if that is the present one or beside it; else None.

    A code may stand as apps show it, `123 456`.
    """
    code = text.replace(" ", "")
    if _CODE.match(code) is None:
        return None  # the library also takes the digits of other scripts
    try:
        return TOTP(secret, interval=STEP_S).verify_and_get_timecode(code, for_time=now, valid_window=_WINDOW)
    except OTPVerificationError:
        return None
