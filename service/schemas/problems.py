"""Problem documents (RFC 9457)."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from service.schemas.fields import ResponseModel


class FieldProblem(ResponseModel):
    """One field that breaks a rule."""

    pointer: Annotated[str, Field(examples=["/email"])]
    """JSON pointer to the field; empty for the whole body. For a query parameter `/` and its name."""
    code: Annotated[str, Field(examples=["too_long"])]
    """Stable word for programs."""
    detail: Annotated[str, Field(examples=["Must not be longer than 254 bytes."])]
    """One sentence for people."""


class ImportProgress(ResponseModel):
    """How far an import got."""

    lines: Annotated[int, Field(examples=[12500])]
    """Number of the last line that was processed; later lines changed nothing."""
    created: Annotated[int, Field(examples=[12497])]
    """Users made."""
    updated: Annotated[int, Field(examples=[0])]
    """Users changed."""
    skipped: Annotated[int, Field(examples=[1])]
    """Lines whose user was left as it was, because that was asked for or because it is as the line says."""
    refused: Annotated[int, Field(examples=[2])]
    """Lines that break a rule or want what is taken; nothing was done for them."""
    position: Annotated[str, Field(examples=["k3f9q2xw-13539"])]
    """Position in the log after the import."""


class Problem(ResponseModel):
    """The reason why a request failed, and what to do."""

    # What a kind of problem does not have is left out, never null.
    model_config = ConfigDict(json_schema_serialization_defaults_required=False)

    type: Annotated[str, Field(examples=["/problems/invalid-fields"])]
    """Address of a page about this kind of problem; stable."""
    title: Annotated[str, Field(examples=["Invalid fields"])]
    """The kind, for people."""
    status: Annotated[int, Field(examples=[422])]
    """The HTTP status of the answer."""
    detail: Annotated[str, Field(examples=["Some fields are invalid; `errors` names each."])]
    """This case, for people."""
    instance: Annotated[str, Field(examples=["/v1/users"])]
    """The path that was asked for."""
    request_id: Annotated[str, Field(examples=["0c41b2c9-2a"])]
    """Name of this request in the logs."""
    errors: list[FieldProblem] | SkipJsonSchema[None] = None
    """For fields and parameters: each broken rule."""
    reason: Annotated[str, Field(examples=["trimmed"])] | SkipJsonSchema[None] = None
    """For a lost position: `trimmed`, `epoch` or `ahead`."""
    position: Annotated[str, Field(examples=["k3f9q2xw-1042"])] | SkipJsonSchema[None] = None
    """For a lost position: where to go on."""
    resync: Annotated[str, Field(examples=["/v1/users"])] | SkipJsonSchema[None] = None
    """For a lost position: what to read again before."""
    progress: ImportProgress | SkipJsonSchema[None] = None
    """For an import that was cut short: how far it got."""
