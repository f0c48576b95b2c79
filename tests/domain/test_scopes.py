"""The table of scopes, and how they are written."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.auth import scopes
from service.domain.auth.scopes import GRANTABLE, MEANINGS, Scope
from service.domain.errors import Forbidden, InsufficientScope
from service.domain.users.user import Role

subsets = st.frozensets(st.sampled_from(get_args(Scope)))


def test_every_scope_has_a_meaning() -> None:
    """Every scope has its line in the table, and no credentials have an unknown one."""
    assert list(MEANINGS) == list(get_args(Scope))
    assert scopes.of("admin") == MEANINGS.keys()
    assert scopes.of("member") <= scopes.of("admin")


def test_sessions_are_for_logins_alone() -> None:
    """An API token may have every scope but the one that ends sessions and opens streams in their name."""
    assert MEANINGS.keys() - GRANTABLE == {"sessions"}


def test_refusal_says_whether_other_credentials_would_do() -> None:
    """Those of an administrator can be made with every scope, those of a member not."""
    assert type(scopes.refusal(["users:read", "audit:read"], "admin")) is InsufficientScope
    assert type(scopes.refusal(["users:read", "audit:read"], "member")) is Forbidden
    assert str(scopes.refusal(["users:read"], "member")).endswith(" users:read.")


@given(subsets)
def test_what_is_written_is_read_again(some: frozenset[Scope]) -> None:
    """Scopes survive as text, in the order of the table, each once."""
    text = scopes.written(some)

    assert scopes.read(text, "admin") == some
    assert text.split() == scopes.in_order(some)


@pytest.mark.parametrize("role", get_args(Role))
@given(text=st.text(max_size=50))
def test_words_that_are_no_scope_mean_nothing(role: Role, text: str) -> None:
    """Credentials never get a scope that their role lacks, whatever the text."""
    assert scopes.read(text, role) <= scopes.of(role)
    assert scopes.read("users:read  USERS:WRITE users:* *", role) == {"users:read"}


@given(subsets, subsets)
def test_what_is_missing_is_named(wanted: frozenset[Scope], has: frozenset[Scope]) -> None:
    """All that is wanted and not there, and nothing else."""
    assert set(scopes.missing(wanted, has)) == wanted - has
