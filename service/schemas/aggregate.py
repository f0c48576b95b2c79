"""Query and response of the aggregator."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field

from service.schemas.fields import Query, ResponseModel

SOURCES_PATTERN: Final = r"^[a-z0-9][a-z0-9_-]{0,31}(,[a-z0-9][a-z0-9_-]{0,31}){0,31}$"


class Sources(Query):
    """The upstreams to fetch."""

    sources: Annotated[
        str,
        Field(pattern=SOURCES_PATTERN, examples=["weather,news"]),
    ]
    """Names from `ROSTER_UPSTREAMS`, with commas between; 32 at most."""


class UpstreamResponse(ResponseModel):
    """The response of an upstream."""

    status: Annotated[int, Field(examples=[200])]
    """Its HTTP status."""
    ms: Annotated[int, Field(examples=[12])]
    """How long it took, in milliseconds."""
    data: Annotated[Any, Field(examples=[{"temperature": 21}])]
    """Its JSON."""


class Failure(ResponseModel):
    """The reason why an upstream gave no response."""

    code: Annotated[str, Field(examples=["timeout"])]
    """Stable word for programs."""
    detail: Annotated[str, Field(examples=["The upstream did not answer in time."])]
    """One sentence for people."""


class Missing(ResponseModel):
    """An upstream without a response."""

    error: Failure


class AggregateAnswer(ResponseModel):
    """The results of all upstreams."""

    results: Annotated[
        dict[str, UpstreamResponse | Missing],
        Field(examples=[{"weather": {"status": 200, "ms": 12, "data": {"temperature": 21}}}]),
    ]
    """By name, in the order asked."""
    complete: Annotated[bool, Field(examples=[True])]
    """Whether every one answered."""
