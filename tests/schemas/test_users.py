"""Users as they come in and go out."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from service.domain.users.accounts import NewUser
from service.domain.users.user import User
from service.schemas.users import (
    PendingRegistration,
    Registration,
    UserAnswer,
    UserCreate,
    UserFilter,
    UserJsonCache,
    UserList,
    UserPatch,
    UserReplace,
    user_answer,
    user_json,
    users_json,
)
from tests.support.domain import a_user

ADA = {"username": "ada", "email": "ada@example.com"}
PASSWORD = "correct horse battery staple"
READ_ONLY = ("id", "created_at", "updated_at", "version", "password_hash", "is_admin", "__proto__", "constructor")


def wrong(model: type[BaseModel], body: object) -> list[tuple[tuple[int | str, ...], str]]:
    """Where a body breaks a rule, and which."""
    with pytest.raises(ValidationError) as refused:
        model.model_validate(body)
    return [(error["loc"], error["type"]) for error in refused.value.errors()]


# Going out


def test_answer_has_the_fields_of_a_user_in_order() -> None:
    """The JSON of a user has the domain's fields, field for field: it is written without the model."""
    assert list(UserAnswer.model_fields) == [field.name for field in fields(User)]


def test_user_is_written_as_its_model_says() -> None:
    """The text of a user is what the model writes, times in UTC with a Z and as precise as they are kept."""
    user = a_user(
        name="Zoë 🦊",
        age=0,
        created_at=datetime(2026, 11, 21, 9, 30, 0, 123456, UTC),
        updated_at=datetime(2026, 1, 1, tzinfo=UTC),
    ).at(7)
    written = json.loads(user_json(user))

    assert user_json(user) == UserAnswer.model_validate(user, from_attributes=True).model_dump_json().encode()
    assert user_json(user) == user_answer(user).model_dump_json().encode()
    assert (written["created_at"], written["updated_at"]) == ("2026-11-21T09:30:00.123456Z", "2026-01-01T00:00:00Z")
    assert (written["id"], written["age"], written["version"]) == (str(user.id), 0, 7)
    assert user_json(user.at(8)) != user_json(user)


def test_cached_json_follows_the_user() -> None:
    """The same object is encoded once; its successor and an equal copy are encoded again."""
    cache, user = UserJsonCache(), a_user().at(7)
    first = cache.encode(user)
    assert first == user_json(user)
    assert cache.encode(user) is first
    copy = replace(user)
    assert (cache.encode(copy), cache.encode(copy) is first) == (first, False)
    assert cache.encode(user.at(8)) == user_json(user.at(8))


@pytest.mark.parametrize("following", [None, "6JbtyTlAx4_-"])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_page_is_written_as_its_model_says(count: int, following: str | None) -> None:
    """Users and the cursor of the next page, without going through the model."""
    users = [a_user(name='Zoë "🦊"').at(number) for number in range(count)]
    page = UserList(items=[user_answer(user) for user in users], next=following)

    assert users_json(users, following) == page.model_dump_json().encode()


def test_no_secret_is_shown() -> None:
    """Neither password nor hash has a field."""
    assert not [name for name in UserAnswer.model_fields if "password" in name or "secret" in name]


# Coming in


@pytest.mark.parametrize("model", [Registration, UserCreate, UserReplace, UserPatch])
@pytest.mark.parametrize("name", READ_ONLY)
def test_read_only_and_unknown_fields_are_refused(model: type[BaseModel], name: str) -> None:
    """No body may name what only the service sets, or what is not there at all."""
    body = ADA | ({"password": PASSWORD} if model is Registration else {})

    assert wrong(model, body | {name: "x"}) == [((name,), "extra_forbidden")]


@pytest.mark.parametrize("name", ["role", "active"])
def test_registration_takes_no_rights(name: str) -> None:
    """A registration can set neither role nor activity, not even to the default."""
    value: Any = {"role": "member", "active": True}[name]

    assert wrong(Registration, ADA | {"password": PASSWORD, name: value}) == [((name,), "extra_forbidden")]


def test_registration_needs_three_fields() -> None:
    """Username, address and password are needed; name and age are not, nor the password where the mail sets it."""
    assert wrong(PendingRegistration, {}) == [((name,), "missing") for name in ("username", "email")]
    assert wrong(Registration, {}) == [((name,), "missing") for name in ("username", "email", "password")]

    whole = Registration.model_validate(ADA | {"password": PASSWORD})
    assert (whole.name, whole.age) == ("", None)
    assert NewUser(**whole.model_dump()).role == "member"


def test_admin_may_leave_out_the_rest() -> None:
    """An administrator needs to name username and address; what is left out is a member without password."""
    made = UserCreate.model_validate(ADA)

    assert NewUser(**made.model_dump()) == NewUser("ada", "ada@example.com")
    assert wrong(UserCreate, {}) == [(("username",), "missing"), (("email",), "missing")]


def test_replacing_empties_what_is_left_out() -> None:
    """In a replacement name and age that are left out are emptied; role and activity are left as they are."""
    assert UserReplace.model_validate(ADA).fields() == ADA | {"name": "", "age": None}
    assert UserReplace.model_validate(ADA | {"age": 0, "role": "admin", "active": False}).fields() == ADA | {
        "name": "",
        "age": 0,
        "role": "admin",
        "active": False,
    }
    assert wrong(UserReplace, {}) == [(("username",), "missing"), (("email",), "missing")]


@pytest.mark.parametrize(
    ("body", "changes"),
    [
        ({}, {}),
        ({"name": "Ada"}, {"name": "Ada"}),
        ({"name": None}, {"name": ""}),
        ({"name": ""}, {"name": ""}),
        ({"age": None}, {"age": None}),
        ({"age": 0, "active": False}, {"age": 0, "active": False}),
        ({"email": "ADA@example.com", "current_password": PASSWORD}, {"email": "ada@example.com"}),
        ({"current_password": PASSWORD}, {}),
    ],
)
def test_patch_names_what_changes(body: dict[str, Any], changes: dict[str, Any]) -> None:
    """A merge patch changes what it names; null empties name and age."""
    assert UserPatch.model_validate(body).fields() == changes


@pytest.mark.parametrize("name", ["username", "email", "role", "active", "current_password"])
def test_null_removes_nothing_that_must_be_there(name: str) -> None:
    """A merge patch cannot take away what every user has."""
    assert [place for place, _ in wrong(UserPatch, {name: None})] == [(name,)]


@pytest.mark.parametrize("body", [None, [], [{"name": "x"}], "x", 1, True])
def test_patch_is_an_object(body: object) -> None:
    """RFC 7396 would replace the whole user by anything else: refused."""
    assert wrong(UserPatch, body) == [((), "model_type")]


def test_every_broken_rule_is_named() -> None:
    """All errors of a body are reported at once."""
    body = {"username": "A", "email": "x", "name": "x" * 101, "age": 151, "role": "owner", "active": "yes", "x": 1}

    assert {place for place, _ in wrong(UserCreate, body)} == {(name,) for name in body}


# Asking for lists


def test_filter_asks_for_the_first_twenty_by_default() -> None:
    """Without parameters a list begins with the twenty oldest users."""
    wanted = UserFilter()

    assert (wanted.limit, wanted.sort, wanted.cursor, wanted.q, wanted.role, wanted.active) == (
        20,
        "created_at",
        None,
        None,
        None,
        None,
    )


@pytest.mark.parametrize(
    "query",
    [
        {"sort": "email"},
        {"sort": "--username"},
        {"active": "1"},
        {"active": "True"},
        {"role": "owner"},
        {"q": ""},
        {"q": "x" * 101},
        {"q": "a\0b"},
        {"cursor": "x" * 1001},
        {"cursor": ""},
        {"limit": "101"},
        {"offset": "20"},
    ],
)
def test_other_questions_are_refused(query: dict[str, str]) -> None:
    """Unknown parameters, orders and values, and texts out of bounds are refused."""
    assert wrong(UserFilter, query)


def test_what_is_searched_for_is_composed_as_names_are() -> None:
    """A name that was typed with combining accents is found by them: both are compared in NFC."""
    assert UserFilter.model_validate({"q": "Zoe\N{COMBINING DIAERESIS}"}).q == "Zoë"
