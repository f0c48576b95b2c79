"""What a caller is told of a body that breaks a rule."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from service.domain.errors import FieldError
from service.schemas.errors import field_errors
from service.schemas.users import Registration, UserPatch


def told(body: object, model: Any = Registration, prefix: str = "/") -> list[FieldError]:
    try:
        model.model_validate(body)
    except ValidationError as error:
        return field_errors(error, prefix)
    raise AssertionError("nothing was wrong")


def test_each_field_has_a_pointer_a_code_and_a_sentence() -> None:
    """Each broken rule is told with where, which, and in a sentence."""
    errors = told({"username": "ada", "email": "ada@example.com", "password": "x", "age": 151})

    assert [(error.pointer, error.code) for error in errors] == [
        ("/password", "too_short"),
        ("/age", "less_than_equal"),
    ]
    assert all(error.detail for error in errors)


def test_values_are_never_repeated() -> None:
    """What was sent may be a secret: no sentence holds it."""
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
    """However many names somebody makes up, and however long, fifty short errors are told."""
    errors = told({f"{number}{'x' * 10_000}": 1 for number in range(200)}, UserPatch)

    assert len(errors) == 50
    assert all(len(error.pointer) <= 200 and len(error.detail) <= 300 for error in errors)
