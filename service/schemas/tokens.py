"""Requests and responses of API tokens."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from service.domain.auth import scopes
from service.domain.auth.api_token import ApiToken
from service.domain.auth.scopes import Grantable
from service.schemas.fields import Body, Life, Query, ResponseModel, TokenName

DEFAULT_TTL_S = 2_592_000
_WHEN = "2026-11-21T09:30:00.123456Z"

Scopes = Annotated[
    list[Grantable],
    Field(
        min_length=1,
        max_length=len(scopes.GRANTABLE),
        description="The scopes of the token. It never has more rights than its user.",
        examples=[["users:read", "events:read"]],
    ),
]


class TokenCreate(Body):
    """A token for a program."""

    name: TokenName
    scopes: Scopes
    expires_in: Life | None = DEFAULT_TTL_S
    """Its life, in seconds, up to `ROSTER_API_TOKEN_TTL_S`. Null is for ever, where that allows it."""


class TokenAnswer(ResponseModel):
    """An API token without its secret."""

    id: Annotated[UUID, Field(examples=["0193a5c8-7b1e-7c3a-9f52-3d1f0a6b8c11"])]
    """UUIDv7; `token_id` of an event calls it by this."""
    name: TokenName
    prefix: Annotated[str, Field(examples=["roster_Xq3f"])]
    """How it begins, to know it again by."""
    scopes: Scopes
    created_at: Annotated[datetime, Field(examples=[_WHEN])]
    """When it was made, in UTC."""
    expires_at: Annotated[datetime | None, Field(examples=["2026-12-21T09:30:00.123456Z"])]
    """When it ends by itself; null for never."""
    last_used_at: Annotated[datetime | None, Field(examples=[_WHEN])]
    """When it was last used, to the minute; null before the first time."""


class TokenMade(TokenAnswer):
    """A new API token with its secret."""

    token: Annotated[str, Field(examples=["roster_Xq3f…"])]
    """Goes into `Authorization: Bearer …`. Shown this once: keep it as you keep a password."""


class TokenList(ResponseModel):
    """A user's API tokens."""

    items: list[TokenAnswer]
    """Those that have not ended, the oldest first."""


class TokenFilter(Query):
    """The user whose tokens to return."""

    user: Annotated[UUID, Field(examples=["0193a5c8-7b1e-7c3a-9f52-3d1f0a6b8c11"])] | None = None
    """Another user's, for administrators; left out: your own."""


def token_answer(token: ApiToken) -> TokenAnswer:
    return TokenAnswer.model_construct(**_fields(token))


def token_made(token: ApiToken, text: str) -> TokenMade:
    return TokenMade.model_construct(**_fields(token), token=text)


def _fields(token: ApiToken) -> dict[str, Any]:
    return {
        "id": token.id,
        "name": token.name,
        "prefix": token.prefix,
        "scopes": scopes.in_order(token.scopes),
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "last_used_at": token.last_used_at,
    }
