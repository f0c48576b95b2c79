"""Refresh tokens and stream cookies."""

from __future__ import annotations

import dataclasses
import secrets
from datetime import UTC, datetime, timedelta

import pytest
import uuid_utils.compat
from hypothesis import given
from hypothesis import strategies as st

from service.domain.auth.sessions import Session, rotated
from service.security import session_secrets
from service.security.session_secrets import Grant, Purpose
from tests.support.bent import bent

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)


def a_session() -> Session:
    return Session(
        id=uuid_utils.compat.uuid7(),
        user_id=uuid_utils.compat.uuid7(),
        secret=secrets.token_bytes(32),
        created_at=NOW,
        expires_at=NOW + timedelta(days=30),
        rotated_at=NOW,
    )


def read(text: str) -> Grant:
    grant = session_secrets.parse(text)
    assert grant is not None
    return grant


@pytest.mark.parametrize(("purpose", "other"), [("refresh", "stream"), ("stream", "refresh")])
def test_grant_is_good_for_its_session_and_purpose(purpose: Purpose, other: Purpose) -> None:
    """A text that a session issued for one purpose is authentic for that one, in that session, and for nothing else."""
    session = a_session()
    grant = read(session_secrets.issue(session, purpose))

    assert grant.session_id == session.id
    assert grant.authentic(purpose, session)
    assert not grant.authentic(other, session)
    assert not grant.authentic(purpose, a_session())
    assert not grant.authentic(purpose, dataclasses.replace(session, secret=secrets.token_bytes(32)))


def test_refresh_token_carries_its_generation() -> None:
    """Each rotation makes another refresh token, and the one before can be made again but not turned into it."""
    first = a_session()
    second = rotated(first, NOW)
    old, new = read(session_secrets.issue(first, "refresh")), read(session_secrets.issue(second, "refresh"))

    assert (old.generation, new.generation) == (1, 2)
    assert old.authentic("refresh", second)
    assert not dataclasses.replace(old, generation=2).authentic("refresh", second)
    assert session_secrets.issue(first, "refresh") == session_secrets.issue(first, "refresh")


def test_cookie_outlives_rotation() -> None:
    """The stream cookie is the same for the whole session, whatever its refresh tokens do."""
    session = a_session()

    assert session_secrets.issue(session, "stream") == session_secrets.issue(rotated(session, NOW), "stream")


@given(st.text(max_size=120))
def test_other_texts_are_none(text: str) -> None:
    """A text is no grant unless it has exactly the shape of one."""
    assert session_secrets.parse(text) is None


@given(st.data())
def test_bent_grant_is_not_authentic(data: st.DataObject) -> None:
    """Any letter changed, left out or added makes a text that is no grant, or not an authentic one."""
    session = a_session()
    good = session_secrets.issue(session, "refresh")
    taken = data.draw(bent(good, "0a9AZ_-.= \n٣"))
    grant = session_secrets.parse(taken)

    assert taken == good or grant is None or grant.session_id != session.id or not grant.authentic("refresh", session)


@pytest.mark.parametrize("generation", ["0", "01", "-1", "+1", "1_0", "1000000000", "٣", ""])
def test_generation_has_one_spelling(generation: str) -> None:
    """A generation is a number from 1, written in one way."""
    identifier, _, mac = session_secrets.issue(a_session(), "refresh").split(".")

    assert session_secrets.parse(f"{identifier}.{generation}.{mac}") is None
