"""The errors of a body that breaks a rule."""

from __future__ import annotations

import contextlib
import re
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from service.domain.audit import ACTIONS
from service.domain.errors import FieldError
from service.realtime.frames import Frame, Join
from service.schemas.aggregate import Sources
from service.schemas.audit import AuditFilter
from service.schemas.auth import Forgotten, PasswordReset
from service.schemas.errors import field_errors
from service.schemas.events import EventListQuery
from service.schemas.fields import Body, Query
from service.schemas.imports import UserImport
from service.schemas.tokens import TokenCreate
from service.schemas.users import Registration, UserPatch


def told(body: object, model: Any = Registration) -> list[FieldError]:
    try:
        model.model_validate(body)
    except ValidationError as error:
        return field_errors(error)
    raise AssertionError("nothing was wrong")


def test_each_field_has_a_pointer_a_code_and_a_sentence() -> None:
    """Each broken rule is reported with its place, its code and a sentence."""
    errors = told({"username": "ada", "email": "ada@example.com", "password": "x", "age": 151})

    assert [(error.pointer, error.code) for error in errors] == [
        ("/password", "too_short"),
        ("/age", "less_than_equal"),
    ]
    assert all(error.detail for error in errors)


def test_values_are_never_repeated() -> None:
    """The sent values may be secret: no message contains them."""
    secret = "hunter2"  # seven characters: too short
    errors = told({"username": secret + " ", "email": secret, "password": secret, "name": [secret]})

    assert {error.pointer for error in errors} == {"/username", "/email", "/password", "/name"}
    assert secret not in str(errors)


def test_whole_body_has_the_empty_pointer() -> None:
    """A body that is no object at all is pointed at by the empty pointer (RFC 6901, 5)."""
    assert [error.pointer for error in told([], UserPatch)] == [""]


def test_names_in_a_pointer_are_escaped() -> None:
    """A name with a slash or a tilde is written as RFC 6901, 3 wants it."""
    assert [error.pointer for error in told({"a/b~c": 1}, UserPatch)] == ["/a~1b~0c"]


def test_answer_stays_small() -> None:
    """However many names a client invents, and however long, fifty short errors are returned."""
    errors = told({f"{number}{'x' * 10_000}": 1 for number in range(200)}, UserPatch)

    assert len(errors) == 50
    assert all(len(error.pointer) <= 200 and len(error.detail) <= 300 for error in errors)


@pytest.mark.parametrize(
    ("model", "body", "code", "detail"),
    [
        (Registration, [], "model_type", "Must be a JSON object."),
        (Forgotten, {}, "missing", "Must be there."),
        (UserPatch, {"id": 1}, "extra_forbidden", "Must not be there: nothing of that name is known here."),
        (UserPatch, {"name": 1}, "string_type", "Must be a text."),
        (UserPatch, {"active": 1}, "bool_type", "Must be true or false."),
        (UserPatch, {"age": "1"}, "int_type", "Must be a whole number."),
        (UserPatch, {"age": 1.5}, "int_type", "Must be a whole number."),
        (UserPatch, {"age": float("inf")}, "int_type", "Must be a whole number."),
        (UserPatch, {"age": -1}, "greater_than_equal", "Must be 0 or more."),
        (UserPatch, {"age": 151}, "less_than_equal", "Must be 150 or less."),
        (UserPatch, {"role": "x"}, "literal_error", "Must be 'member' or 'admin'."),
        (UserPatch, {"username": "A"}, "string_pattern_mismatch",
         "Must be 3 to 32 of a-z, 0-9, dot, hyphen and underscore."),
        (UserPatch, {"name": "x" * 101}, "too_long", "Must have at most 100 characters."),
        (UserPatch, {"name": "\n"}, "control_character", "Must not contain control characters or line separators."),
        (UserPatch, {"otp": ""}, "string_too_short", "Must not be empty."),
        (UserPatch, {"current_password": "x" * 1025}, "string_too_long", "Must have at most 1,024 characters."),
        (PasswordReset, {"token": "x", "password": "1234567"}, "too_short", "Must have at least 8 characters."),
        (Forgotten, {"email": "ada"}, "value_error", "Must be an e-mail address: An email address must have an @-sign."),
        (TokenCreate, {"name": "a", "scopes": []}, "too_short", "Must not be empty."),
        (TokenCreate, {"name": "a", "scopes": "profile"}, "list_type", "Must be a list."),
        (TokenCreate, {"name": "a", "scopes": ["profile"] * 10}, "too_long", "Must have at most 9 entries."),
        (UserImport, {"username": "ada", "email": "ada@example.com", "id": 1}, "is_instance_of",
         "Must be a UUID, as `0193a5c8-7b1e-7c3a-9f52-3d1f0a6b8c11`."),
        (AuditFilter, {"limit": "x"}, "int_parsing", "Must be a whole number."),
        (AuditFilter, {"limit": 1.5}, "int_from_float", "Must be a whole number."),
        (AuditFilter, {"actor": "x"}, "uuid_parsing", "Must be a UUID, as `0193a5c8-7b1e-7c3a-9f52-3d1f0a6b8c11`."),
        (AuditFilter, {"since": "x"}, "datetime_parsing", "Must be a moment, as `2026-11-21T09:30:00.123456Z`."),
        (AuditFilter, {"since": []}, "datetime_type", "Must be a moment, as `2026-11-21T09:30:00.123456Z`."),
        (AuditFilter, {"cursor": "%"}, "string_pattern_mismatch", "Must be a cursor that this list gave out."),
        (EventListQuery, {"types": "x"}, "string_pattern_mismatch",
         "Must be of user.created, user.updated, user.deleted, session.ended, token.ended, with commas between and no spaces."),
        (EventListQuery, {"after": "x"}, "string_pattern_mismatch",
         "Must be a position, as `k3f9q2xw-1042`, or `0` for the oldest that is kept."),
        (Sources, {"sources": "A"}, "string_pattern_mismatch",
         "Must be names of upstreams, 32 at most, with commas between and no spaces."),
        (Join, {"type": "join", "room": "A"}, "string_pattern_mismatch",
         "Must be 1 to 64 of a-z, 0-9, dot, hyphen and underscore, and begin with a letter or a digit."),
    ],
)  # fmt: skip
def test_sentence_is_one_for_people(model: type[BaseModel], body: Any, code: str, detail: str) -> None:
    """The message describes the requirement in JSON terms, not in Python terms."""
    (error,) = told(body, model)
    assert (error.code, error.detail) == (code, detail)


def test_every_value_of_an_enumeration_is_named() -> None:
    """However many there are, none is cut in two."""
    (error,) = told({"action": "foo"}, AuditFilter)
    assert re.findall("'([^']+)'", error.detail) == list(ACTIONS)
    assert error.detail.endswith(" or 'epoch.started'.")


WRONG: tuple[Any, ...] = (
    None,
    True,
    1.5,
    -1,
    10**12,
    float("nan"),
    "",
    "x",
    "x" * 2000,
    "a\0b",
    " " * 10,
    [],
    ["x"],
    ["x"] * 300,
    {"x": 1},
)


def models(base: type[BaseModel]) -> list[type[BaseModel]]:
    """All that come in by this name."""
    return [found for model in base.__subclasses__() for found in (model, *models(model))]


MODELS = [*models(Body), *models(Query), *models(Frame)]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_texts_of_the_library_are_not_shown(model: type[BaseModel]) -> None:
    """Whatever is wrong with whichever field of whatever comes in."""
    errors: list[FieldError] = []
    for body in ([], {}, {"zz": 1}, *({name: value} for name in model.model_fields for value in WRONG)):
        with contextlib.suppress(AssertionError):
            errors += told(body, model)
    assert errors
    for error in errors:
        assert re.fullmatch(r"Must (not )?(be|have|contain)\b.*\.", error.detail)
        assert not re.search(r"\^|instance|Input|another way", error.detail)
