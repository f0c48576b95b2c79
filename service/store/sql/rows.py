"""Rows to the values of the domain, and back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from pydantic import TypeAdapter

from service.domain.audit import AuditEntry, AuditSource
from service.domain.auth import scopes
from service.domain.auth.api_token import ApiToken
from service.domain.auth.sessions import Origin, Session
from service.domain.auth.signing_key import SigningKey
from service.domain.auth.totp import SecondFactor
from service.domain.events.event import Event
from service.domain.idempotency.claims import Claim, StoredResponse
from service.domain.mail.mail import (
    Mail,
    MailToken,
    join_digests,
    split_digests,
)
from service.domain.users.user import Credentials, User
from service.store.sql.dialects import Dialect

Row = Sequence[Any]

_USER: Final = TypeAdapter(User)


def user_of(row: Row, dialect: Dialect) -> User:
    """From the columns of `statements.USER`."""
    moment = dialect.moment
    return User(
        dialect.identity(row[0]),
        row[1],
        row[2],
        row[3],
        row[4],
        row[5],
        bool(row[6]),
        moment(row[7]),
        moment(row[8]),
        row[9],
    )


def credentials_of(row: Row, dialect: Dialect) -> Credentials:
    """From the columns of `statements.USER`, then the hash of the password and those of `statements.SECOND_FACTOR`."""
    return Credentials(user_of(row, dialect), row[10], second_factor_of(row[11:], dialect))


def second_factor_of(row: Row, dialect: Dialect) -> SecondFactor | None:
    """From the columns of `statements.SECOND_FACTOR`."""
    secret, since, step = row
    return None if secret is None else SecondFactor(secret, None if since is None else dialect.moment(since), step)


def of_second_factor(factor: SecondFactor | None) -> dict[str, Any]:
    if factor is None:
        return {"secret": None, "since": None, "step": None}
    return {"secret": factor.secret, "since": factor.since, "step": factor.last_step}


def of_user(user: User) -> dict[str, Any]:
    return {
        "id": user.id,
        "username": user.username,
        "email": user.email,
        "name": user.name,
        "age": user.age,
        "role": user.role,
        "active": user.active,
        "created_at": user.created_at,
        "updated_at": user.updated_at,
        "version": user.version,
        "folded": folded(user),
    }


def folded(user: User) -> str:
    """The text that a search looks through. Line breaks, which none of the three has, keep a match inside one of them."""
    return f"{user.username}\n{user.email.casefold()}\n{user.name.casefold()}"


def session_of(row: Row, dialect: Dialect) -> Session:
    """From the columns of `statements.SESSION`."""
    moment = dialect.moment
    return Session(
        dialect.identity(row[0]),
        dialect.identity(row[1]),
        bytes(row[2]),
        moment(row[3]),
        moment(row[4]),
        moment(row[5]),
        row[6],
        None if row[7] is None else moment(row[7]),
        Origin(row[8], row[9]),
    )


def of_session(session: Session) -> dict[str, Any]:
    return {
        "id": session.id,
        "user_id": session.user_id,
        "secret": session.secret,
        "created_at": session.created_at,
        "expires_at": session.expires_at,
        "rotated_at": session.rotated_at,
        "generation": session.generation,
        "ends_by": session.absolute_expires_at,
        "client": session.origin.client,
        "agent": session.origin.agent,
    }


def signing_key_of(row: Row, dialect: Dialect) -> SigningKey:
    """From the columns of `statements.SIGNING_KEY`."""
    return SigningKey(row[0], row[1], row[2], dialect.moment(row[3]), dialect.moment(row[4]))


def of_signing_key(key: SigningKey) -> dict[str, Any]:
    return {
        "kid": key.kid,
        "algorithm": key.algorithm,
        "material": key.material,
        "created_at": key.created_at,
        "signs_from": key.signs_from,
    }


def token_of(row: Row, dialect: Dialect) -> ApiToken:
    """From the columns of `statements.TOKEN`."""
    moment = dialect.moment
    id_, user_id, name, digest, prefix, scope, created_at, expires_at, last_used_at = row
    return ApiToken(
        dialect.identity(id_),
        dialect.identity(user_id),
        name,
        bytes(digest),
        prefix,
        scopes.read(scope, "admin"),
        moment(created_at),
        None if expires_at is None else moment(expires_at),
        None if last_used_at is None else moment(last_used_at),
    )


def of_token(token: ApiToken) -> dict[str, Any]:
    return {
        "id": token.id,
        "user_id": token.user_id,
        "name": token.name,
        "digest": token.digest,
        "prefix": token.prefix,
        "scopes": scopes.written(token.scopes),
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "last_used_at": token.last_used_at,
    }


def mail_of(row: Row, dialect: Dialect) -> Mail:
    """From the columns of `mails`."""
    email, kind, due_at, expires_at, tries, state = row
    return Mail(kind, email, dialect.moment(due_at), dialect.moment(expires_at), tries, state)


def of_mail(mail: Mail) -> dict[str, Any]:
    return {
        "email": mail.email,
        "kind": mail.kind,
        "due_at": mail.due_at,
        "expires_at": mail.expires_at,
        "tries": mail.tries,
        "state": mail.state,
    }


def mail_token_of(row: Row, dialect: Dialect) -> MailToken:
    """From the columns of `mail_tokens`."""
    user_id, purpose, email, expires_at, digests = row
    return MailToken(
        dialect.identity(user_id),
        purpose,
        email,
        dialect.moment(expires_at),
        split_digests(None if digests is None else bytes(digests)),
    )


def of_mail_token(token: MailToken) -> dict[str, Any]:
    return {
        "user_id": token.user_id,
        "purpose": token.purpose,
        "email": token.email,
        "expires_at": token.expires_at,
        "digest": join_digests(token.digests),
    }


def event_of(row: Row, dialect: Dialect) -> Event:
    """From the columns of `statements.EVENT`."""
    seq, type_, time, actor, subject, user, changed, session_id, reason, token_id = row
    identity = dialect.identity
    return Event(
        type_,
        dialect.moment(time),
        None if actor is None else identity(actor),
        identity(subject),
        None if user is None else _USER.validate_json(user),
        tuple(changed.split(",")) if changed else (),
        None if session_id is None else identity(session_id),
        reason,
        seq,
        None if token_id is None else identity(token_id),
    )


def of_event(event: Event) -> dict[str, Any]:
    return {
        "seq": event.seq,
        "type": event.type,
        "time": event.time,
        "actor": event.actor,
        "subject": event.subject,
        "user": None if event.user is None else _USER.dump_json(event.user).decode(),
        "changed": ",".join(event.changed),
        "session_id": event.session_id,
        "reason": event.reason,
        "token_id": event.token_id,
    }


def entry_of(row: Row, dialect: Dialect) -> AuditEntry:
    """From the columns of `statements.ENTRY`."""
    place, action, actor, subject, client, request_id, session_id, token_id, part, details = row
    actor, subject, session_id, token_id = (
        None if one is None else dialect.identity(one) for one in (actor, subject, session_id, token_id)
    )
    by = AuditSource(client, request_id, session_id, token_id, part)
    return AuditEntry(action, actor, subject, by, None if details is None else json.loads(details), place)


def of_entry(entry: AuditEntry, place: int) -> dict[str, Any]:
    by = entry.by
    return {
        "place": place,
        "action": entry.action,
        "actor": entry.actor,
        "subject": entry.subject,
        "client": by.client,
        "request_id": by.request_id,
        "session_id": by.session_id,
        "token_id": by.token_id,
        "part": by.part,
        "details": None if entry.details is None else json.dumps(entry.details),
    }


def answer_of(row: Row, dialect: Dialect) -> StoredResponse:
    """From the columns of `statements.ANSWER` after the fingerprint."""
    status, headers, body, subject = row
    return StoredResponse(
        status, json.loads(headers), bytes(body), None if subject is None else dialect.identity(subject)
    )


def of_answer(claim: Claim, answer: StoredResponse) -> dict[str, Any]:
    return {
        "user_id": claim.user_id,
        "route": claim.route,
        "key": claim.key,
        "new_status": answer.status,
        "new_headers": json.dumps(dict(answer.headers)),
        "new_body": answer.body,
        "new_subject": answer.subject,
    }
