"""Making API tokens and ending them. Each function is one use case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import uuid_utils.compat

from service.domain.audit import AuditSource
from service.domain.auth import scopes
from service.domain.auth.api_token import MOST_TOKENS, ApiToken
from service.domain.auth.revocation import revoke_token
from service.domain.auth.scopes import Scopes
from service.domain.errors import Conflict, InvalidToken, NotFound
from service.domain.ports import Clock, Store, Transaction
from service.domain.users.accounts import Caller
from service.domain.users.user import Role


@dataclass(frozen=True, slots=True)
class Maker:
    """The credentials with which a user creates a token.

    Attributes:
        credential: id of the session, or of the API token where `token` says that it is one.
        scopes: what they may be used for: no more can be handed on.
        expires_at: when they end, if they are an API token that does; nothing they make outlives them.
    """

    user_id: UUID
    role: Role
    credential: UUID
    scopes: Scopes
    is_token: bool = False
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token to be made; its fields have passed the field rules. `expires_at`: None for never."""

    name: str
    digest: bytes
    prefix: str
    scopes: Scopes
    expires_at: datetime | None


async def make(store: Store, clock: Clock, by: AuditSource, maker: Maker, new: NewToken) -> ApiToken:
    """Make an API token of the caller's own.

    Raises `InsufficientScope` for a scope that the credentials lack, `Forbidden` for a scope that the role lacks,
    `Conflict` over `MOST_TOKENS`, `InvalidToken` when the credentials were revoked meanwhile: nothing that they create may
    outlive their revocation.
    """
    if lacking := scopes.missing(new.scopes, maker.scopes):
        raise scopes.refusal(lacking, maker.role)
    now = clock()
    ends = [moment for moment in (new.expires_at, maker.expires_at) if moment is not None]
    token = ApiToken(
        id=uuid_utils.compat.uuid7(),
        user_id=maker.user_id,
        name=new.name,
        digest=new.digest,
        prefix=new.prefix,
        scopes=new.scopes,
        created_at=now,
        expires_at=min(ends, default=None),
    )

    async def work(transaction: Transaction) -> None:
        user = await transaction.users.find(maker.user_id)
        known = transaction.api_tokens.find if maker.is_token else transaction.sessions.find
        if user is None or not user.active or await known(maker.credential) is None:
            raise InvalidToken()
        living = [kept for kept in await transaction.api_tokens.list_of_user(user.id) if kept.lives(now)]
        if len(living) >= MOST_TOKENS:
            raise Conflict(f"A user may have {MOST_TOKENS} API tokens; revoke one first.")
        await transaction.api_tokens.create(token)
        made = {"token_id": str(token.id), "scopes": scopes.in_order(token.scopes)}
        await transaction.audit.record("token.created", user.id, user.id, made)

    await store.write(work, by)
    return token


async def tokens_of(store: Store, clock: Clock, caller: Caller, user_id: UUID) -> Sequence[ApiToken]:
    """A user's living API tokens, the oldest first. Raises `NotFound`, also for another's unless the caller is an administrator."""
    if not caller.can_view(user_id) or (await store.users.find(user_id)).value is None:
        raise NotFound()
    now = clock()
    return [token for token in await store.api_tokens.list_of_user(user_id) if token.lives(now)]


async def revoke(store: Store, clock: Clock, by: AuditSource, caller: Caller, token_id: UUID) -> None:
    """End an API token. Raises `NotFound`, also for another's unless the caller is an administrator."""

    async def work(transaction: Transaction) -> None:
        token = await transaction.api_tokens.find(token_id)
        if token is None or not caller.can_view(token.user_id):
            raise NotFound()
        await revoke_token(transaction, clock, caller.id, token, "revoked")

    await store.write(work, by)
