"""The last line of an export, and how an import knows it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from service.domain.events.position import Position
from service.schemas.end_lines import ExportEnd, audit_end, is_end, users_end


def test_written_end_is_read_again() -> None:
    """The line that an export of users writes is one that an import accepts, with its count and position."""
    line = users_end(60504, Position("k3f9q2xw", 1042))
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    value = json.loads(line)
    assert is_end(value)
    end = ExportEnd.model_validate(value)
    assert (end.users, end.position) == (60504, "k3f9q2xw-1042")


def test_end_of_an_audit_export_is_no_end_of_users() -> None:
    """The end of another export is not accepted as the end of an export of users."""
    value = json.loads(audit_end(7))
    assert value == {"end": True, "entries": 7}
    assert not is_end(value)


@pytest.mark.parametrize(
    "value", [{"end": True}, {"end": True, "users": 0}, {"end": False}, {"end": None, "position": ""}]
)
def test_object_with_the_fields_of_an_end_is_one(value: dict[str, Any]) -> None:
    """An object with `end` and no field of a user is an end, whether it is valid or not: so a broken end is reported."""
    assert is_end(value)


@pytest.mark.parametrize(
    "value",
    [{}, {"users": 1}, {"username": "end"}, {"end": True, "username": "ada"}, [], ["end"], "end", None, True, 1],
)
def test_anything_else_is_a_line_about_a_user(value: Any) -> None:
    """A line with a field of a user is no end: a user cannot be hidden by adding `end` to its line."""
    assert not is_end(value)


@pytest.mark.parametrize(
    "value",
    [
        {"end": True},
        {"end": False, "users": 1},
        {"end": True, "users": -1},
        {"end": True, "users": "1"},
        {"end": True, "users": 1.0},
        {"end": True, "users": True},
        {"end": True, "users": None},
        {"end": True, "users": 1, "position": "x" * 65},
    ],
)
def test_end_with_a_wrong_count_is_refused(value: dict[str, Any]) -> None:
    """The count is a whole number that is there; nothing is converted to one."""
    with pytest.raises(ValidationError):
        ExportEnd.model_validate(value)
