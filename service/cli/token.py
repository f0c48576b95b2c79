"""`roster token check`: what a token is, and why the service refuses it."""

from __future__ import annotations

import argparse
import base64
import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from service.cli.running import run_to_end

# Everything else is imported only where the command runs.
if TYPE_CHECKING:
    from service.config.settings import Settings
    from service.domain.auth.api_token import ApiToken
    from service.domain.auth.sessions import Session
    from service.domain.users.user import User
    from service.security.session_secrets import Grant
    from service.store.sql.dialects import Dialect, Statement
    from service.store.sql.row_mapper import Row


_HINT: Final = "If the service has another ROSTER_STORE_URL, set it here as well."


class _KeptInMemory(Exception):
    """The look-up needs the memory of another process."""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this command to the parser."""
    parser = commands.add_parser("token", help="explain a token")
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)
    check = actions.add_parser("check", help="print what a token is, and why it is refused; exit 0 if it is accepted")
    check.add_argument(
        "token", help="an access, refresh or API token, or a stream cookie; - reads it from standard input"
    )


def run(chosen: argparse.Namespace) -> str | None:
    """Run the command. Returns None if the token is accepted, else the error message for exit code 1."""
    return run_to_end(_check(chosen))


async def _check(chosen: argparse.Namespace) -> str | None:
    from service.config.load import load
    from service.security import api_token_secret, session_secrets

    # Standard input as well: every user of this machine can read the arguments of a process.
    token = (sys.stdin.read() if chosen.token == "-" else chosen.token).strip()
    settings = load()
    grant = session_secrets.parse(token)
    try:
        if grant is not None:
            why = await _why_not_grant(settings, grant)
        elif token.startswith(api_token_secret.BEGINNING):
            why = await _why_not_api_token(settings, token)
        else:
            why = await _why_not_access(settings, token)
    except _KeptInMemory:
        return f"roster: cannot check: with memory:// the keys, sessions and API tokens are in the process of the service. {_HINT}"
    if why is not None:
        return f"roster: refused: {why}."
    _say("accepted", "if its session has not ended" if settings.store_kind == "memory" else "")
    return None


async def _why_not_access(settings: Settings, token: str) -> str | None:
    """Print the contents of an access token. Returns why it is refused; None if it is accepted."""
    from service.cli.keys import known_keys
    from service.security.access_tokens import AccessTokens, Rejected
    from service.security.keyring import Keyring
    from service.security.keys import keys_from_settings

    parts = _parts(token)
    if parts is None:
        return "it is neither an access, refresh or API token, nor a stream cookie"
    _say("access token", "")
    for name, part in zip(("header", "claims"), parts, strict=True):
        _say(name, json.dumps(part, ensure_ascii=True))
    if settings.store_kind == "memory" and not keys_from_settings(settings):
        raise _KeptInMemory
    keyring = Keyring(settings.access_ttl_s, lambda: datetime.now(UTC))
    keyring.use(await known_keys(settings))
    try:
        claims = AccessTokens(keyring, settings.issuer, settings.access_ttl_s).verify(token)
    except Rejected as error:
        return error.why
    if settings.store_kind == "memory":
        _say(
            "session", f"{claims.session_id}; only the process of the service can look it up, which keeps it in memory"
        )
        return None
    found = await _session(settings, claims.session_id)
    if found is None:
        return "its session has ended"
    session, user = found
    if user.id != claims.user_id:
        return "its session is another user's"
    return _why_not_session(session, user)


async def _why_not_grant(settings: Settings, grant: Grant) -> str | None:
    """As `_why_not_access`, for a refresh token or a stream cookie."""
    from service.domain.auth.sessions import RefreshTokenState, classify_refresh_token

    if settings.store_kind == "memory":
        _say("refresh token or stream cookie", f"of session {grant.session_id}")
        raise _KeptInMemory
    found = await _session(settings, grant.session_id)
    if found is None:
        _say("refresh token or stream cookie", "")
        return "its session has ended"
    session, user = found
    if grant.authentic("stream", session):
        _say("stream cookie", "")
        return _why_not_session(session, user)
    _say("refresh token", f"number {grant.generation} of {session.generation}")
    if not grant.authentic("refresh", session):
        return "its session did not make it"
    if classify_refresh_token(session, grant.generation, datetime.now(UTC)) is RefreshTokenState.REUSED:
        return "it was used before: sent to the service, it would end the session"
    return _why_not_session(session, user)


async def _why_not_api_token(settings: Settings, text: str) -> str | None:
    """As `_why_not_access`, for an API token."""
    from service.domain.auth import scopes
    from service.security import api_token_secret

    _say("API token", f"{api_token_secret.prefix(text)}…")
    digest = api_token_secret.checked_digest(text)
    if digest is None:
        return "it was mistyped or cut off: its checksum does not fit"
    if settings.store_kind == "memory":
        raise _KeptInMemory
    found = await _api_token(settings, digest)
    if found is None:
        return "it is unknown: it was revoked, its user was deleted, or this service did not create it"
    token, user = found
    _say("name", json.dumps(token.name, ensure_ascii=False))
    _say_user(user)
    _say("scopes", scopes.written(token.scopes))
    if unused := scopes.missing(token.scopes, scopes.of(user.role)):
        _say("", f"of these {user.role}s have no {scopes.written(unused)}")
    until = "without an end" if token.expires_at is None else f"ends {_moment(token.expires_at)}"
    _say("token", f"{token.id}, made {_moment(token.created_at)}, {until}")
    _say(
        "used",
        "never" if token.last_used_at is None else f"last {_moment(token.last_used_at)}, or up to a minute later",
    )
    if not token.lives(datetime.now(UTC)):
        return "it has expired"
    return None if user.active else "its user is not active"


def _why_not_session(session: Session, user: User) -> str | None:
    """Print the session. Returns why it is refused; None if it is accepted."""
    _say_user(user)
    _say("session", f"{session.id}, opened {_moment(session.created_at)}, ends {_moment(session.expires_at)}")
    if session.expires_at <= datetime.now(UTC):
        return "its session has expired"
    return None if user.active else "its user is not active"


async def _session(settings: Settings, session_id: UUID) -> tuple[Session, User] | None:
    """The stored session, expired or not, with its user."""
    from service.store.sql.sessions import SESSION, SESSION_WITH_USER
    from service.store.sql.user_statements import USER

    found = await _kept(settings, SESSION_WITH_USER, id=session_id)
    if found is None:
        return None
    row, dialect = found
    return SESSION.from_row(row, dialect), USER.from_row(row, dialect, len(SESSION.columns))


async def _api_token(settings: Settings, digest: bytes) -> tuple[ApiToken, User] | None:
    """The stored API token, expired or not, with its user."""
    from service.store.sql.api_tokens import TOKEN, TOKEN_WITH_USER
    from service.store.sql.user_statements import USER

    found = await _kept(settings, TOKEN_WITH_USER, digest=digest)
    if found is None:
        return None
    row, dialect = found
    return TOKEN.from_row(row, dialect), USER.from_row(row, dialect, len(TOKEN.columns))


async def _kept(settings: Settings, statement: Statement, **given: Any) -> tuple[Row, Dialect] | None:
    """The one row that a statement finds; None without one."""
    from service.store.maintenance import locations
    from service.store.maintenance.copying import require_current_tables

    database = locations.locate_database(settings.store_url.get_secret_value())
    async with database.open_reader() as reader:
        await require_current_tables(reader, database.name)
        found = await reader.rows(statement, **given)
    return (found[0], database.dialect) if found else None


def _parts(token: str) -> list[dict[str, Any]] | None:
    """Header and claims of a token, without any verification; None if it is not a JWT."""
    texts = token.split(".")
    if len(texts) != 3:
        return None
    try:
        parts = [json.loads(base64.urlsafe_b64decode(text + "==")) for text in texts[:2]]
    except (ValueError, RecursionError):
        return None
    return parts if all(isinstance(part, dict) for part in parts) else None


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _say_user(user: User) -> None:
    _say("user", f"{user.username}, {user.role}, {user.id}")


def _say(name: str, text: str) -> None:
    sys.stdout.write(f"{name:<8}  {text}".rstrip() + "\n")
    sys.stdout.flush()
