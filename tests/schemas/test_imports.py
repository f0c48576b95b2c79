"""A line of an import as it comes in."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from service.domain.errors import Invalid
from service.schemas.imports import UserImport

ADA = {"username": "ada", "email": "ada@example.com"}
HASH = "$2b$12$WqLdB2txfX6kUhgqY4CF0OmbOPTGG/oIUn19UYpyYRHmyY1H74YE6"
ID = "0193a5c8-7b1e-7c3a-9f52-3d1f0a6b8c11"


def parse(**fields: Any) -> UserImport:
    return UserImport.model_validate({**ADA, **fields})


def test_line_says_only_what_it_names() -> None:
    """A field that is left out is left alone in an update, and one that is null or empty is set."""
    assert parse().to_line(3).profile == {}
    line = parse(name="", age=None, active=False).to_line(3)
    assert dict(line.profile) == {"name": "", "age": None, "active": False}
    assert (line.number, line.username, line.email) == (3, "ada", "ada@example.com")
    assert (line.id, line.created_at, line.password_hash, line.hash_skipped) == (None, None, None, False)


def test_fields_that_only_an_export_has_are_ignored() -> None:
    """Time of change and version of another log may be anything, so that an export can be imported."""
    line = parse(updated_at="2026-11-21T09:30:00.123456Z", version=1042, id=ID).to_line(1)
    assert line == parse(updated_at=[], version="x", id=ID).to_line(1)
    assert line.id == UUID(ID)


@pytest.mark.parametrize(
    "id", ["", ID.replace("-", ""), "{" + ID + "}", "urn:uuid:" + ID, ID + "\n", " " + ID, 7, [], "x"]
)
def test_id_has_one_spelling(id: Any) -> None:
    """An id is a UUID with hyphens, as in a path."""
    with pytest.raises(ValidationError) as refused:
        parse(id=id)
    assert refused.value.errors()[0]["loc"] == ("id",)


def test_case_of_an_id_makes_no_difference() -> None:
    """Capital letters name the same user."""
    assert parse(id=ID.upper()).id == UUID(ID)


@pytest.mark.parametrize(("moment", "good"), [("1970-01-01T00:00:00Z", True), ("1969-12-31T23:59:59.999999Z", False)])
def test_account_is_not_older_than_1970(moment: str, good: bool) -> None:
    """A time of creation before 1970 is refused."""
    if good:
        assert parse(created_at=moment).created_at is not None
    else:
        with pytest.raises(ValidationError):
            parse(created_at=moment)


def test_password_and_hash_exclude_each_other() -> None:
    """A line with both is refused at the hash: which of them is meant cannot be known."""
    with pytest.raises(Invalid) as refused:
        parse(password="correct horse battery staple", password_hash=HASH).to_line(1)
    assert [(error.pointer, error.code) for error in refused.value.errors] == [("/password_hash", "not_both")]


@pytest.mark.parametrize("password", ["password1", "ada@example.com"])
def test_common_password_is_refused(password: str) -> None:
    """An imported password keeps the rules of every other password."""
    with pytest.raises(Invalid) as refused:
        parse(password=password).to_line(1)
    assert [error.code for error in refused.value.errors] == ["password_too_common"]


@pytest.mark.parametrize("text", ["", "plain text password", "$1$abc$def", HASH[:-1], HASH + "\n", "x" * 256])
def test_hash_that_cannot_be_checked_is_refused(text: str) -> None:
    """A hash that no login could compare is refused, and the error does not repeat it."""
    with pytest.raises(ValidationError) as refused:
        parse(password_hash=text)
    (error,) = refused.value.errors(include_input=False, include_url=False)
    assert error["loc"] == ("password_hash",)
    assert not text or text not in error["msg"]
