"""From what pydantic finds to what a caller is told."""

from __future__ import annotations

from pydantic import ValidationError

from service.domain.errors import FieldError


def field_errors(error: ValidationError, prefix: str) -> list[FieldError]:
    """What pydantic found, without the values: they may be secrets."""
    found = []
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        path = "/".join(str(part).replace("~", "~0").replace("/", "~1") for part in problem["loc"])
        # A whole body that is no object has the empty pointer; a name that the caller made up may be long.
        found.append(FieldError((prefix + path if path else "")[:200], problem["type"], problem["msg"][:300]))
    return found[:50]
