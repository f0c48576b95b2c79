"""Converts pydantic's errors to the field errors of a problem."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from service.domain.errors import FieldError
from service.domain.events.event import EVENT_TYPES
from service.domain.rooms.rules import ROOM_NAME
from service.domain.users.user import USERNAME_PATTERN
from service.schemas.aggregate import SOURCES_PATTERN
from service.schemas.events import AFTER_PATTERN, TYPES_PATTERN
from service.schemas.fields import CURSOR_PATTERN

_MOST: Final = 50
_POINTER_MAX: Final = 200
_DETAIL_MAX: Final = 300

_UUID: Final = "Must be a UUID, as `0193a5c8-7b1e-7c3a-9f52-3d1f0a6b8c11`"
_MOMENT: Final = "Must be a moment, as `2026-11-21T09:30:00.123456Z`"
_WHOLE: Final = "Must be a whole number"
_OBJECT: Final = "Must be a JSON object"

# By pydantic's error type; pydantic's own messages are for Python developers.
_WORDS: Final[Mapping[str, str]] = {
    "missing": "Must be there",
    "extra_forbidden": "Must not be there: nothing of that name is known here",
    "model_type": _OBJECT,
    "dict_type": _OBJECT,
    "list_type": "Must be a list",
    "string_type": "Must be a text",
    "bool_type": "Must be true or false",
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_parsing_size": _WHOLE,
    "int_from_float": _WHOLE,
    "finite_number": _WHOLE,
    "greater_than_equal": "Must be {ge:,} or more",
    "less_than_equal": "Must be {le:,} or less",
    "uuid_type": _UUID,
    "uuid_parsing": _UUID,
    "is_instance_of": _UUID,
    "datetime_type": _MOMENT,
    "datetime_parsing": _MOMENT,
    "value_error": "Must be an e-mail address: {reason}",
}
# Fields that clients send where another operation takes them, by model.
_ELSEWHERE: Final[Mapping[tuple[str, str], str]] = {
    (model, "password"): "Must not be there: `POST /v1/auth/password` changes your own password"
    for model in ("UserPatch", "UserReplace")
}
# A regular expression is no sentence.
_PATTERNS: Final[Mapping[str, str]] = {
    USERNAME_PATTERN: "Must be 3 to 32 of a-z, 0-9, dot, hyphen and underscore",
    ROOM_NAME: "Must be 1 to 64 of a-z, 0-9, dot, hyphen and underscore, and begin with a letter or a digit",
    CURSOR_PATTERN: "Must be a cursor that this list gave out",
    AFTER_PATTERN: "Must be a position, as `k3f9q2xw-1042`, or `0` for the oldest that is kept",
    TYPES_PATTERN: f"Must be of {', '.join(EVENT_TYPES)}, with commas between and no spaces",
    SOURCES_PATTERN: "Must be names of upstreams, 32 at most, with commas between and no spaces",
}


def field_errors(error: ValidationError) -> list[FieldError]:
    """Pydantic's errors without the values, which may be secrets. A query parameter is a member of an object, as in a body."""
    found = []
    for problem in error.errors(include_url=False, include_input=False)[:_MOST]:
        path = "/".join(str(part).replace("~", "~0").replace("/", "~1") for part in problem["loc"])
        # A whole body that is no object has the empty pointer; a name that the caller made up may be long.
        pointer = ("/" + path if path else "")[:_POINTER_MAX]
        said = _ELSEWHERE.get((error.title, path), problem["msg"])
        found.append(FieldError(pointer, problem["type"], _sentence(problem["type"], said, problem.get("ctx"))))
    return found


def _sentence(kind: str, said: str, context: Mapping[str, Any] | None) -> str:
    # What our own rules say is meant for people.
    words = said if said.startswith("Must ") else _words(kind, said, context or {})
    return f"{words.removesuffix('.')}."


def _words(kind: str, said: str, context: Mapping[str, Any]) -> str:
    if kind in ("string_too_short", "too_short"):
        least = context["min_length"]
        return "Must not be empty" if least == 1 else f"Must have at least {least:,} {_units(context)}"
    if kind in ("string_too_long", "too_long"):
        return f"Must have at most {context['max_length']:,} {_units(context)}"
    if kind == "string_pattern_mismatch":
        return _PATTERNS.get(context["pattern"], "Must be written in another way")
    if kind == "literal_error":
        return f"Must be {context['expected']}"  # all of them: a partial list does not help
    try:
        words = _WORDS[kind].format_map(context)
    except KeyError:  # what no schema of today leads to
        words = said
    return textwrap.shorten(words, _DETAIL_MAX, placeholder=" …")


def _units(context: Mapping[str, Any]) -> str:
    # After a validator function, pydantic does not report that a length counts characters.
    return "entries" if context.get("field_type") == "List" else "characters"
