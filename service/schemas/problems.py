"""Problem documents (RFC 9457)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from service.schemas.fields import Answer


class FieldProblem(Answer):
    """One field that breaks a rule."""

    pointer: Annotated[str, Field(examples=["/email"])]
    """JSON pointer to the field; empty for the whole body. For a query parameter its name."""
    code: Annotated[str, Field(examples=["too_long"])]
    """Stable word for programs."""
    detail: Annotated[str, Field(examples=["Must not be longer than 254 bytes"])]
    """One sentence for people."""


class Problem(Answer):
    """Why a request was refused, and what to do."""

    type: Annotated[str, Field(examples=["/problems/invalid-fields"])]
    """Address of a page about this kind of problem; stable."""
    title: Annotated[str, Field(examples=["Some fields break a rule"])]
    """The kind, for people."""
    status: Annotated[int, Field(examples=[422])]
    """The HTTP status of the answer."""
    detail: Annotated[str, Field(examples=["Some fields break a rule; `errors` names each."])]
    """This case, for people."""
    instance: Annotated[str, Field(examples=["/v1/users"])]
    """The path that was asked for."""
    request_id: Annotated[str, Field(examples=["q7x2-00002a"])]
    """Name of this request in the logs."""
    errors: list[FieldProblem] | None = None
    """For fields and parameters: each broken rule."""
    reason: Annotated[str | None, Field(examples=["trimmed"])] = None
    """For a lost position: `trimmed`, `epoch` or `ahead`."""
    position: Annotated[str | None, Field(examples=["k3f9q2xw-1042"])] = None
    """For a lost position: where to go on."""
    resync: Annotated[str | None, Field(examples=["/v1/users"])] = None
    """For a lost position: what to read again before."""
