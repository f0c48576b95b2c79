"""The lines of an import, and its summary."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from service.domain.auth import imported_hashes
from service.domain.auth.password_policy import reject_common
from service.domain.errors import FieldError, Invalid
from service.domain.users.bulk_import import ImportLine
from service.schemas.fields import Query, ResponseModel
from service.schemas.moments import Moment
from service.schemas.problems import FieldProblem, ImportProgress
from service.schemas.users import UserCreate

_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z", re.ASCII | re.IGNORECASE)
_OLDEST: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _identity(value: Any) -> Any:
    # As in a path: one spelling for one user.
    if isinstance(value, str):
        if _UUID.match(value) is None:
            raise PydanticCustomError("uuid_parsing", "Must be a UUID, with hyphens")
        return UUID(value)
    return value


def _since_1970(moment: datetime) -> datetime:
    if moment < _OLDEST:
        raise PydanticCustomError("datetime_parsing", "Must be a moment since 1970, as `2026-11-21T09:30:00.123456Z`")
    return moment


def _hash(text: str) -> str:
    fault = imported_hashes.fault(text)
    if fault is not None:
        raise PydanticCustomError("unfit_hash", "{fault}", {"fault": fault})
    return text


class UserImport(UserCreate):
    """One line of an import: what `POST /v1/users` takes, and what another system knows of an account. What
    `GET /v1/users/export` writes is such a line."""

    id: (
        Annotated[
            UUID,
            BeforeValidator(_identity),
            Field(description="Id of a new user.", examples=["0193a5c8-7b1e-7c3a-9f52-3d1f0a6b8c11"]),
        ]
        | None
    ) = None
    password_hash: (
        Annotated[
            str,
            AfterValidator(_hash),
            Field(
                max_length=255,
                examples=["$2b$12$WqLdB2txfX6kUhgqY4CF0OmbOPTGG/oIUn19UYpyYRHmyY1H74YE6"],
                json_schema_extra={"format": "password"},
            ),
        ]
        | None
    ) = None
    """Instead of `password`: an argon2 or bcrypt hash from another system. The next login replaces it."""
    created_at: Annotated[Moment, AfterValidator(_since_1970)] | None = None
    """Of a new user; a time in the future is replaced by the present."""
    updated_at: Annotated[Any, Field(examples=["2026-11-21T09:30:00.123456Z"])] = None
    """Ignored; an export contains it."""
    version: Annotated[Any, Field(examples=[1042])] = None
    """Ignored; it belongs to another event log."""

    def to_line(self, number: int) -> ImportLine:
        """Convert to a line of the domain; raises `Invalid`."""
        if self.password is not None and self.password_hash is not None:
            raise Invalid(FieldError("/password_hash", "not_both", "Must not stand beside a password"))
        if self.password is not None:
            reject_common(self.password, self.username, self.email, self.name)
        named = self.model_fields_set
        profile: dict[str, Any] = {name: getattr(self, name) for name in _PROFILE if name in named}
        return ImportLine(
            number,
            self.username,
            self.email,
            profile,
            self.id,
            self.created_at,
            self.password_hash,
            password=self.password,
        )


_PROFILE: Final = ("name", "age", "role", "active")


class ImportQuery(Query):
    """The treatment of lines about existing users."""

    on_conflict: Annotated[Literal["skip", "update", "error"], Field(examples=["skip"])] = "error"
    """For a line about an existing user: `skip` leaves the user, `update` changes the fields of the line, `error` refuses the line."""


class ImportSummary(ImportProgress):
    """First line of the response to an import."""

    omitted: Annotated[int, Field(examples=[0])]
    """Number of refused lines that the response does not list."""


class ImportRefusal(ResponseModel):
    """Each further line of the response: one refused line."""

    line: int
    type: str
    detail: str
    errors: list[FieldProblem]
