"""Responses and queries of the audit."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

from pydantic import Field, JsonValue

from service.domain.audit import Action, AuditEntry, Component
from service.schemas.fields import CURSOR_PATTERN, Limit, Query, ResponseModel
from service.schemas.moments import EXAMPLE, Moment

_AN_ID: Final = "0193a5c8-7b1e-7c3a-9f52-3d1f0a6b8c11"
_CURSOR: Final = "nzoce-JIDWWn8Buc3jSqUjE3OTUxNzM4MDAwMDAwMDA"
Who = Annotated[UUID, Field(examples=[_AN_ID])]


class EntryAnswer(ResponseModel):
    """One action that was recorded."""

    id: Annotated[int, Field(examples=[1795253400123456])]
    """Belongs to this entry alone; a later one has a higher one."""
    at: Annotated[datetime, Field(examples=[EXAMPLE])]
    """When it was committed, in UTC."""
    action: Annotated[Action, Field(examples=["user.updated"])]
    """The action."""
    actor: Who | None
    """The user who did it; null for the service itself, and for a client without valid credentials."""
    subject: Who | None
    """The user to whom it was done; null where it was not to one."""
    client: Annotated[str | None, Field(examples=["192.0.2.7"])]
    """The client's address; for failed logins its network. Null without a client."""
    request_id: Annotated[str | None, Field(examples=["0c41b2c9-2a"])]
    """Name of the request in the logs; null where there was none."""
    session_id: Who | None
    """The login that the request came with; null for none."""
    token_id: Who | None
    """The API token that the request came with; null for none."""
    component: Annotated[Component | None, Field(examples=["maintenance"])]
    """The component of the service that did it; null for requests."""
    details: Annotated[dict[str, JsonValue], Field(examples=[{"changed": ["role"], "role": ["member", "admin"]}])]
    """More of it, by action: names of fields, reasons, ids and counts."""


class EntryList(ResponseModel):
    """A page of the audit."""

    items: list[EntryAnswer]
    """The entries of this page, the newest first."""
    next: Annotated[str | None, Field(examples=[_CURSOR])]
    """Cursor of the page after this one; null when this is the last."""


class AuditFilter(Query):
    """The entries to return."""

    limit: Limit = 20
    cursor: Annotated[str, Field(max_length=1000, pattern=CURSOR_PATTERN, examples=[_CURSOR])] | None = None
    """`next` of the page before, asked with the same filters."""
    actor: Who | None = None
    """Only what this user did."""
    subject: Who | None = None
    """Only what was done to this user."""
    action: Annotated[Action, Field(examples=["login.failed"])] | None = None
    """Only this."""
    since: Moment | None = None
    """Only what was done then or later."""
    until: Moment | None = None
    """Only what was done before."""


def entry_answer(entry: AuditEntry) -> EntryAnswer:
    by = entry.by
    return EntryAnswer.model_construct(
        id=entry.sequence,
        at=entry.at,
        action=entry.action,
        actor=entry.actor,
        subject=entry.subject,
        client=by.client,
        request_id=by.request_id,
        session_id=by.session_id,
        token_id=by.token_id,
        component=by.component,
        details=dict(entry.details or {}),
    )


def entry_line(entry: AuditEntry) -> bytes:
    """An entry as a line of NDJSON."""
    return entry_answer(entry).model_dump_json().encode() + b"\n"
