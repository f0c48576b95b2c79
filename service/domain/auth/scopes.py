"""Scopes: what credentials may be used for. A role says what a user may do, a scope narrows it and never adds to it."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

from service.domain.errors import Forbidden, InsufficientScope
from service.domain.users.user import Role

Grantable = Literal[
    "profile",
    "users:read",
    "users:write",
    "events:read",
    "audit:read",
    "rooms:read",
    "rooms:write",
    "aggregate",
    "tokens",
]
"""Those that an API token may have."""

Scope = Literal[Grantable, "sessions"]

Scopes = frozenset[Scope]


@dataclass(frozen=True, slots=True)
class Meaning:
    """The description of a scope.

    Attributes:
        roles: the roles whose credentials may have it.
    """

    text: str
    roles: tuple[Role, ...] = ("member", "admin")


MEANINGS: Final[Mapping[Scope, Meaning]] = {
    "profile": Meaning("read your own account"),
    "users:read": Meaning("read the accounts that one may see: an administrator all, a member its own"),
    "users:write": Meaning("make, change and delete the accounts that one may"),
    "events:read": Meaning("read the log and follow the feed"),
    "audit:read": Meaning("read who did what; for administrators", ("admin",)),
    "rooms:read": Meaning("read rooms, their members and their messages"),
    "rooms:write": Meaning("send to rooms"),
    "aggregate": Meaning("ask other services"),
    "tokens": Meaning("list, make and revoke API tokens"),
    "sessions": Meaning(
        "list and end logins, log out, and get tickets for streams; of logins alone, no API token has it"
    ),
}

GRANTABLE: Final[frozenset[Grantable]] = frozenset(get_args(Grantable))


@functools.cache
def of(role: Role) -> Scopes:
    """All that is of use to a role: what a login may, and the most that an API token may."""
    return frozenset(scope for scope, meaning in MEANINGS.items() if role in meaning.roles)


def written(scopes: Collection[Scope]) -> str:
    """The scopes in the order of the table with spaces between, as `scope` has them (RFC 6749, 3.3)."""
    return " ".join(in_order(scopes))


def in_order(scopes: Collection[Scope]) -> list[Scope]:
    return [scope for scope in MEANINGS if scope in scopes]


@functools.lru_cache(1024)  # equal sets share one object: each cached token holds one
def read(text: str, role: Role) -> Scopes:
    """The scopes that such a text names, as far as they are of use to a role; other words mean nothing here."""
    return of(role).intersection(text.split(" "))


def refusal(lacking: Collection[Scope], role: Role) -> Forbidden:
    """Why credentials of a role without these scopes may not: others of that role could, or none."""
    if of(role).issuperset(lacking):
        return InsufficientScope(written(lacking))
    return Forbidden("Only administrators may do that.")


def missing(wanted: Iterable[Scope], has: Collection[Scope]) -> list[Scope]:
    """Those that are wanted and not there, in the order of the table."""
    return in_order(set(wanted).difference(has))
