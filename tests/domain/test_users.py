"""A user, and the rules its fields keep."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.domain.users import user
from service.domain.users.user import (
    CHANGEABLE,
    User,
    changed_fields,
    has_control,
    normalise_email,
    sort_key,
)
from tests.support.domain import a_user

MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2999, 1, 1), timezones=st.just(UTC))
OTHER: dict[str, Any] = {
    "username": "grace",
    "email": "grace@example.com",
    "name": "Grace",
    "age": 36,
    "role": "admin",
    "active": False,
}


@given(st.sets(st.sampled_from(CHANGEABLE)))
def test_changed_fields_name_what_differs(names: set[str]) -> None:
    """The fields that differ are named once each, in the order in which users are written."""
    before = a_user()
    after = replace(before, **{name: OTHER[name] for name in names}, updated_at=datetime.now(UTC), version=7)

    assert changed_fields(before, after) == tuple(name for name in CHANGEABLE if name in names)


def test_changeable_fields_are_those_of_a_user() -> None:
    """Every field of a user may change except its id, its times and its version."""
    assert {*CHANGEABLE, "id", "created_at", "updated_at", "version"} == set(User.__dataclass_fields__)


@given(st.text())
@example("I\N{COMBINING DIAERESIS}\N{COMBINING ACUTE ACCENT}@example.com")
@example("Ϊ\N{COMBINING ACUTE ACCENT}@example.com")
def test_normal_address_stays_as_it_is(address: str) -> None:
    """Normalising twice is normalising once: the address that is shown is the address that logs in."""
    once = normalise_email(address)

    assert normalise_email(once) == once


@given(st.text(st.characters(max_codepoint=0x24F), max_size=20))
def test_canonical_spellings_are_one_address(address: str) -> None:
    """Composed and decomposed characters are one address."""
    assert normalise_email(unicodedata.normalize("NFD", address)) == normalise_email(address)


def test_case_does_not_tell_addresses_apart() -> None:
    """Upper and lower case are one address, before the @ and after it."""
    assert normalise_email("Ada.Lovelace@Example.COM") == "ada.lovelace@example.com"


@given(MOMENTS, MOMENTS)
def test_sort_key_orders_like_the_time_of_creation(one: datetime, other: datetime) -> None:
    """As texts, the keys of `created_at` sort as the times do, microseconds of 0 included."""
    keys = [sort_key(a_user(created_at=when), "created_at") for when in (one, other)]

    assert (keys[0] < keys[1]) == (one < other)
    assert (keys[0] == keys[1]) == (one == other)


def test_sort_key_of_a_name_is_the_name() -> None:
    """Users are listed by the username itself."""
    assert sort_key(a_user(username="ada"), "username") == "ada"


@pytest.mark.parametrize("character", ["\n", "\r", "\t", "\0", "\x1b", "\x7f", "\x85", "\u2028", "\u2029"])
def test_control_characters_are_found(character: str) -> None:
    """Whatever breaks a line, a log or a terminal is a control character."""
    assert has_control(f"a{character}b")


@pytest.mark.parametrize("text", ["", "Ada Lovelace", "Zoë 🦊", "א ב", "a\N{NO-BREAK SPACE}b"])
def test_text_for_people_has_no_control(text: str) -> None:
    """Spaces and letters of any script are no control characters."""
    assert not has_control(text)


@pytest.mark.parametrize(
    ("role", "active", "counts"), [("admin", True, True), ("admin", False, False), ("member", True, False)]
)
def test_active_admin_is_both(role: Any, active: bool, counts: bool) -> None:
    """Only an administrator who may log in keeps the service governable."""
    assert a_user(role=role, active=active).is_active_admin is counts


def test_version_is_that_of_the_event() -> None:
    """A user as an event left it has that event's seq as version and is otherwise the same."""
    user = a_user()

    assert user.at(7) == replace(user, version=7)


def test_limits_are_those_promised() -> None:
    """Username 3 to 32, e-mail 254, name 100, age 150, password 8 to 1,024."""
    limits = (user.EMAIL_MAX, user.NAME_MAX, user.AGE_MAX, user.PASSWORD_MIN, user.PASSWORD_MAX)

    assert limits == (254, 100, 150, 8, 1024)
    for length, fits in [(2, False), (3, True), (32, True), (33, False)]:
        assert (re.fullmatch(user.USERNAME_PATTERN, "a" * length) is not None) is fits
