"""`roster keys …`: the keys that sign access tokens."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from service.cli.running import run_to_end
from service.domain.auth.signing_key import (
    ALGORITHMS,
    Algorithm,
    SigningKey,
    checks_until,
    signer,
)

# SQLAlchemy and cryptography are imported only where one of these commands runs.
if TYPE_CHECKING:
    from service.config.settings import Settings
    from service.store.maintenance.database import Database

# Twice the time for which other services may cache the public keys.
_LEAD_S: Final = 600
# Running services reload the keys every two seconds.
_LEAST_LEAD_S: Final = 10


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add these commands to the parser."""
    parser = commands.add_parser("keys", help="list and rotate the keys that sign access tokens")
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)
    actions.add_parser("list", help="list the keys with the present use of each")
    rotate = actions.add_parser("rotate", help="create the next key; safe while the service runs")
    rotate.add_argument(
        "--algorithm", choices=ALGORITHMS, help="algorithm of the key (default: that of the present key)"
    )
    when = rotate.add_mutually_exclusive_group()
    when.add_argument(
        "--lead",
        type=_lead,
        default=_LEAD_S,
        metavar="SECONDS",
        help=f"time before the key signs, in which other services learn of it; at least {_LEAST_LEAD_S} (default: {_LEAD_S})",
    )
    when.add_argument(
        "--at-once",
        action="store_true",
        help="sign with the key now and delete all others, because one was stolen; clients must refresh every access token",
    )


def _lead(text: str) -> int:
    seconds = int(text)
    if seconds < _LEAST_LEAD_S:
        raise argparse.ArgumentTypeError(f"running services need {_LEAST_LEAD_S} seconds to learn of a key")
    return seconds


def run(chosen: argparse.Namespace) -> str | None:
    """Run the chosen command. Returns None on success, else the error message for exit code 1."""
    return run_to_end(_ACTIONS[chosen.action](chosen))


async def _list(_: argparse.Namespace) -> None:
    from service.config.load import load

    settings = load()
    now = datetime.now(UTC)
    keys = await known_keys(settings)
    signing = signer(keys, now)
    for key in keys:
        state = _state(key, keys, now, timedelta(seconds=settings.access_ttl_s), signs=key == signing)
        _say(key, state)


async def _rotate(chosen: argparse.Namespace) -> str | None:
    from service.config.load import load
    from service.security.keys import keys_from_settings

    settings = load()
    if keys_from_settings(settings):
        return (
            "roster: ROSTER_JWT_SECRET and ROSTER_JWT_PRIVATE_KEY set the keys: add the next key after them, restart "
            "every process, then move it to the front."
        )
    key, signs = await rotate(settings, chosen.algorithm, chosen.lead, at_once=chosen.at_once)
    _say(key, "signs" if signs else f"signs from {_moment(key.signs_from)}")
    return None


async def rotate(
    settings: Settings, algorithm: Algorithm | None, lead_s: float, *, at_once: bool = False
) -> tuple[SigningKey, bool]:
    """Create the next key in the store, and delete those whose tokens have all expired.

    Returns the key, and whether it signs already. Raises `Unavailable`.

    Args:
        algorithm: None for that of the key that signs now.
        lead_s: seconds after which the key signs; the first key of a store signs at once.
        at_once: whether the key signs now and all others are deleted.
    """
    from service.security.keys import generate_key
    from service.store.maintenance import locations
    from service.store.maintenance.audit import record_audit
    from service.store.sql.keys import DELETE_SIGNING_KEY, INSERT_SIGNING_KEY, SIGNING_KEY

    database = locations.locate_database(settings.store_url.get_secret_value())
    present = await _kept_keys(database)
    now = datetime.now(UTC)
    signing = signer(present, now)
    signs = at_once or signing is None
    key = generate_key(
        algorithm or (signing.algorithm if signing else "HS256"), now, now + timedelta(seconds=0 if signs else lead_s)
    )
    async with database.open_writer() as writer:
        await writer.rows(INSERT_SIGNING_KEY, **SIGNING_KEY.to_row(key))
        for other in present:
            until = checks_until(other, present, timedelta(seconds=settings.access_ttl_s))
            if at_once or (until is not None and until <= now):
                await writer.rows(DELETE_SIGNING_KEY, kid=other.kid)
        await record_audit(writer, "keys.rotated", {"kid": key.kid, "at_once": at_once})
    return key, signs


_ACTIONS: Final[Mapping[str, Callable[[argparse.Namespace], Coroutine[Any, Any, str | None]]]] = {
    "list": _list,
    "rotate": _rotate,
}


async def known_keys(settings: Settings) -> list[SigningKey]:
    """The keys that a service with these settings uses. Raises `SettingsError` and `Unavailable`."""
    from service.security.keys import keys_from_settings
    from service.store.maintenance import locations

    return keys_from_settings(settings) or await _kept_keys(
        locations.locate_database(settings.store_url.get_secret_value())
    )


async def _kept_keys(database: Database) -> list[SigningKey]:
    from service.store.maintenance.copying import require_current_tables
    from service.store.sql.keys import SIGNING_KEY, SIGNING_KEYS

    async with database.open_reader() as reader:
        await require_current_tables(reader, database.name)
        return [SIGNING_KEY.from_row(row, database.dialect) for row in await reader.rows(SIGNING_KEYS)]


def _state(key: SigningKey, keys: list[SigningKey], now: datetime, ttl: timedelta, *, signs: bool) -> str:
    if signs:
        return "signs"
    if key.signs_from is None:
        return "checks"
    if key.signs_from > now:
        return f"signs from {_moment(key.signs_from)}"
    until = checks_until(key, keys, ttl)
    if until is None or until > now:
        return f"checks until {_moment(until)}"
    return "expired; the next rotation forgets it"


def _moment(moment: datetime | None) -> str:
    return "" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _say(key: SigningKey, state: str) -> None:
    sys.stdout.write(f"{key.kid:<43}  {key.algorithm:<5}  {state}\n")
    sys.stdout.flush()
