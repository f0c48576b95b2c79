"""Which passwords are taken."""

from __future__ import annotations

import pytest

from service.domain.auth import password_policy
from service.domain.errors import Invalid
from service.domain.users.user import PASSWORD_MIN

NAMES = ("ada", "ada.lovelace@example.com", "Ada Lovelace")


def refused(password: str, *names: str) -> bool:
    try:
        password_policy.reject_common(password, *names)
    except Invalid as error:
        return [(found.pointer, found.code) for found in error.errors] == [("/password", "password_too_common")]
    return False


def test_list_has_the_commonest_that_are_long_enough() -> None:
    """10,000 passwords, folded, none of which is too short anyway."""
    listed = password_policy._commonest() - {""}

    assert len(listed) == 10_000
    assert all(len(password) >= PASSWORD_MIN and password == password_policy._folded(password) for password in listed)


@pytest.mark.parametrize(
    "password",
    [
        "password",
        "PassWord",
        "12345678",
        "qwertyuiop",
        "trustno1",
        " iloveyou ",
        "\uff50\uff41\uff53\uff53word",
        "sunſhine",
    ],
)
def test_commonest_are_refused(password: str) -> None:
    """In whatever case or Unicode form, and with spaces around it."""
    assert refused(password)


@pytest.mark.parametrize(
    "password",
    [
        "lovelace",
        "Ada Lovelace",
        "ADA.LOVELACE@EXAMPLE.COM",
        "ada.lovelace",
        "ada12345",
        "adaadaada",
        "lovelace2026!",
        "adapassword",
        "roster123",
        "RosterRoster",
        "roster12345678",
        "example.com",
    ],
)
def test_own_names_are_refused(password: str) -> None:
    """Names of the owner or the service, alone, with a number, or with a password that is common by itself."""
    assert refused(password, *NAMES)


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery staple",
        "ada likes engines",
        "roster of my horses",
        "aaaaaaaab",
        "84629173",
        "пароль-и-соль",
        "x" * 1024,
    ],
)
def test_everything_else_is_taken(password: str) -> None:
    """There is no rule of what a password is made of, and a name in it does no harm."""
    assert not refused(password, *NAMES)


def test_short_names_are_no_names() -> None:
    """Short words that are part of many passwords do not count, nor do empty names."""
    assert not refused("jo8462917", "jo", "jo@ab.ch", "")


def test_error_names_the_field_that_was_sent() -> None:
    """A body may call it otherwise."""
    with pytest.raises(Invalid) as error:
        password_policy.reject_common("password", pointer="/new")
    assert error.value.errors[0].pointer == "/new"
