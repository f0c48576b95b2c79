"""Cursors of lists."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.errors import InvalidCursor
from service.domain.users.user import sort_key
from service.security.cursors import Cursors
from tests.support.domain import a_user

CURSORS = Cursors("a secret of tests, of 32 bytes at least")
QUERY = {"sort": "username", "q": "ada"}


@pytest.mark.parametrize("sort", ["created_at", "-created_at", "username", "-username"])
def test_cursor_is_the_place_behind_a_user(sort: str) -> None:
    """A cursor for a user is read as its sort key and id."""
    user, query = a_user(), {"sort": sort}

    assert CURSORS.read(CURSORS.write(user, query), query) == (sort_key(user, sort.removeprefix("-")), user.id)


@pytest.mark.parametrize(
    "query",
    [{"sort": "username"}, {"sort": "-username", "q": "ada"}, {**QUERY, "role": "admin"}, {**QUERY, "q": "Ada"}, {}],
)
def test_cursor_of_another_query_is_refused(query: dict[str, Any]) -> None:
    """A cursor goes with the filters and the order that it was given out for."""
    with pytest.raises(InvalidCursor):
        CURSORS.read(CURSORS.write(a_user(), QUERY), query)


def test_order_of_the_filters_does_not_matter() -> None:
    """The same query is the same whatever the order of its parts."""
    user = a_user()

    assert CURSORS.read(CURSORS.write(user, QUERY), dict(reversed(QUERY.items())))[1] == user.id


def test_cursor_of_another_service_is_refused() -> None:
    """Only what was written with the same secret is read."""
    with pytest.raises(InvalidCursor):
        Cursors("another secret of tests, of 32 bytes").read(CURSORS.write(a_user(), QUERY), QUERY)


@given(st.text(max_size=100) | st.binary(max_size=80).map(lambda data: base64.urlsafe_b64encode(data).decode()))
def test_other_texts_are_refused(text: str) -> None:
    """Whatever was not given out is refused, and by no other error."""
    with pytest.raises(InvalidCursor):
        CURSORS.read(text, QUERY)


@given(st.integers(0, 200), st.integers(1, 255))
def test_changed_byte_is_refused(place: int, change: int) -> None:
    """No byte of a cursor, place or seal, can be changed."""
    data = bytearray(base64.urlsafe_b64decode(CURSORS.write(a_user(), QUERY) + "=="))
    data[place % len(data)] ^= change

    with pytest.raises(InvalidCursor):
        CURSORS.read(base64.urlsafe_b64encode(data).rstrip(b"=").decode(), QUERY)
