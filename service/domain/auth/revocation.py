"""Ending sessions and API tokens, each with its event, as part of the change that is the reason for it."""

from __future__ import annotations

from uuid import UUID

from service.domain.auth.api_token import ApiToken
from service.domain.auth.sessions import Session
from service.domain.events.event import EndReason, Event
from service.domain.ports import Clock, Transaction


async def revoke_session(
    transaction: Transaction, clock: Clock, actor: UUID | None, session: Session, reason: EndReason
) -> None:
    await transaction.sessions.delete(session.id)
    await transaction.events.append(
        Event("session.ended", clock(), actor, session.user_id, session_id=session.id, reason=reason)
    )


async def revoke_token(
    transaction: Transaction, clock: Clock, actor: UUID | None, token: ApiToken, reason: EndReason
) -> None:
    await transaction.api_tokens.delete(token.id)
    await transaction.events.append(
        Event("token.ended", clock(), actor, token.user_id, token_id=token.id, reason=reason)
    )


async def revoke_sessions(
    transaction: Transaction,
    clock: Clock,
    actor: UUID | None,
    user_id: UUID,
    reason: EndReason,
    but: UUID | None = None,
) -> None:
    """End every session of a user `but` one.

    Mail tokens of the user are deleted as well: a password reset that was requested before must not undo the revocation.
    """
    await transaction.mail_tokens.delete_of_user(user_id)
    for session in await transaction.sessions.list_of_user(user_id):
        if session.id != but:
            await revoke_session(transaction, clock, actor, session, reason)


async def revoke_access(
    transaction: Transaction, clock: Clock, actor: UUID | None, user_id: UUID, reason: EndReason
) -> None:
    """End every session and every API token of a user."""
    await revoke_sessions(transaction, clock, actor, user_id, reason)
    for token in await transaction.api_tokens.list_of_user(user_id):
        await revoke_token(transaction, clock, actor, token, reason)
