"""Bodies and responses of the second factor."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from service.domain.users.user import PASSWORD_MAX
from service.schemas.fields import OTP_MAX, Body, Otp, ResponseModel

_SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"

PresentPassword = Annotated[str, Field(max_length=PASSWORD_MAX, examples=["correct horse battery staple"])]


class TotpBegin(Body):
    """The password, to set up a second factor."""

    password: PresentPassword
    """The present one."""


class TotpConfirm(Body):
    """A code, which proves that the app has the secret."""

    otp: Annotated[str, Field(min_length=1, max_length=OTP_MAX, examples=["123456"])]
    """The code that the app shows."""


class TotpProof(Body):
    """The password and a code, because a stolen session has neither."""

    password: PresentPassword
    """The present one."""
    otp: Otp | None = None


class TotpStatus(ResponseModel):
    """Whether a second factor is on, and how many recovery codes are left."""

    enabled: Annotated[bool, Field(examples=[True])]
    """Whether a login takes a code; not yet where one was only begun."""
    since: Annotated[datetime | None, Field(examples=["2026-11-21T09:30:00.123456Z"])]
    """When it was turned on, in UTC; null when it is off."""
    recovery_codes_left: Annotated[int, Field(examples=[10])]
    """How many have not been used."""


class TotpSecret(ResponseModel):
    """The secret for an authenticator app; shown once."""

    secret: Annotated[str, Field(examples=[_SECRET])]
    """In base32, to be typed."""
    uri: Annotated[str, Field(examples=[f"otpauth://totp/Roster:ada?secret={_SECRET}&issuer=Roster"])]
    """The same as apps read it from a QR code."""


class RecoveryCodeSet(ResponseModel):
    """The recovery codes; shown once."""

    recovery_codes: Annotated[list[str], Field(examples=[["0f3k9d-7yw2hm-c4x8pa-6tq1nz", "b5r0ve-…"]])]
    """Each is good once, in the place of a code."""
