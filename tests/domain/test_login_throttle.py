"""Which results of an attempt count as a failure, and which as a success."""

from __future__ import annotations

import uuid

import pytest

from service.domain.auth.login_throttle import run_throttled
from service.domain.errors import (
    DomainError,
    InvalidCredentials,
    InvalidOtp,
    InvalidToken,
    NotFound,
    OtpFieldMissing,
    OtpFieldWrong,
    OtpRequired,
    PasswordFieldMissing,
    TooMany,
    Unavailable,
    WrongPassword,
)
from tests.support.domain import OpenThrottle

ADA = uuid.uuid4()


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (InvalidCredentials(), "password"),
        (WrongPassword(), "password"),
        (InvalidOtp(), "code"),
        (OtpFieldWrong(), "code"),
        (OtpRequired(), "neither"),
        (OtpFieldMissing(), "neither"),
        (PasswordFieldMissing(), "neither"),
        (InvalidToken(), "neither"),
        (NotFound(), "neither"),
        (TooMany(1), "neither"),
        (Unavailable(), "neither"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
async def test_only_wrong_password_or_code_is_a_failure(error: DomainError, end: str) -> None:
    """A wrong password or code is a failure; a missing one and every other error is neither failure nor success."""
    throttle = OpenThrottle()

    async def work() -> None:
        raise error

    with pytest.raises(type(error)):
        await run_throttled(throttle, ADA, "192.0.2.1", work)
    assert throttle.ended == [(ADA, end)]


@pytest.mark.parametrize(("proves", "end"), [(True, "succeeded"), (False, "neither")])
async def test_only_work_that_always_checks_is_a_success(proves: bool, end: str) -> None:
    """Work that can return without a check of the password clears no failures."""
    throttle = OpenThrottle()

    async def work() -> str:
        return "done"

    assert await run_throttled(throttle, ADA, "192.0.2.1", work, proves=proves) == "done"
    assert throttle.ended == [(ADA, end)]
