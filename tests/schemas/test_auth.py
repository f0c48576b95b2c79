"""The bodies and responses of login."""

from __future__ import annotations

import json
import uuid

import pytest
from pydantic import ValidationError

from service.schemas.auth import IssuedTicket, LoginRequest, Refresh, SessionTokens


@pytest.mark.parametrize(("login", "password"), [("a", "b"), ("x" * 254, "y" * 1024), ("ada@example.com", " ")])
def test_login_takes_anything_that_may_be_one(login: str, password: str) -> None:
    """A login and a password are only bounded: all wrong ones get the same response."""
    taken = LoginRequest.model_validate({"login": login, "password": password})

    assert (taken.login, taken.password) == (login, password)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"login": "ada"},
        {"login": "", "password": "x"},
        {"login": "ada", "password": ""},
        {"login": "x" * 255, "password": "x"},
        {"login": "ada", "password": "x" * 1025},
        {"login": ["ada"], "password": "x"},
        {"login": "ada", "password": 12345678},
        {"login": "ada", "password": "x", "otp": 123456},
        {"login": "ada", "password": "x", "otp": ""},
        {"login": "ada", "password": "x", "totp": "123456"},
    ],
)
def test_other_logins_are_refused(body: object) -> None:
    """A missing, empty, too long, wrongly typed or unknown field is refused before anything is hashed."""
    with pytest.raises(ValidationError):
        LoginRequest.model_validate(body)


@pytest.mark.parametrize("token", ["", "x" * 201, None, 1])
def test_refresh_token_is_a_short_text(token: object) -> None:
    """A refresh token is text of 200 characters at most."""
    with pytest.raises(ValidationError):
        Refresh.model_validate({"refresh_token": token})


def test_tokens_are_of_type_bearer() -> None:
    """The answer to a login says how to use the token and for how long."""
    tokens = SessionTokens(access_token="a", expires_in=900, refresh_token="r", session_id=uuid.UUID(int=1))

    assert json.loads(tokens.model_dump_json()) == {
        "access_token": "a",
        "token_type": "Bearer",
        "expires_in": 900,
        "refresh_token": "r",
        "session_id": str(uuid.UUID(int=1)),
    }
    assert json.loads(IssuedTicket(ticket="t", expires_in=30).model_dump_json()) == {"ticket": "t", "expires_in": 30}
