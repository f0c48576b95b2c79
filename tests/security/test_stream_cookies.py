"""Which stream cookie belongs to which ticket."""

from __future__ import annotations

import uuid

import pytest

from service.security.stream_cookies import (
    COOKIE_PREFIX,
    cookie_name,
    cookie_name_of_ticket,
    generate_ticket,
    select_stream_cookies,
)

SESSION = uuid.UUID("0193a5c8-7b1e-7c3a-9f52-3d1f0a6b8c11")
# Not a random one: each process of a run must collect the same tests.
TICKET = "9b554709997d.E6o04mYc-M6PJ1oROpKSU_vQrGRuEv3TM-d-SYyJI0o"


def test_ticket_names_the_cookie_of_its_session() -> None:
    """A ticket leads to the cookie of the session it was issued for, and to that of no other."""
    assert cookie_name_of_ticket(TICKET) == cookie_name(SESSION)
    assert cookie_name_of_ticket(generate_ticket(uuid.uuid4())) != cookie_name(SESSION)


def test_cookies_of_two_sessions_have_two_names() -> None:
    """Two sessions in one browser do not overwrite each other's cookie."""
    names = {cookie_name(uuid.UUID(int=number)) for number in range(1000)}
    assert len(names) == 1000
    assert all(name.startswith(COOKIE_PREFIX) for name in names)


def test_name_does_not_show_the_session() -> None:
    """The id of the session is not part of the cookie's name or of the ticket."""
    for text in (cookie_name(SESSION), TICKET):
        assert SESSION.hex not in text
        assert SESSION.hex[:12] not in text


def test_tickets_are_random() -> None:
    """Every ticket of a session has its own 43 characters, which are 256 bits."""
    tickets = {generate_ticket(SESSION) for _ in range(100)}
    assert len(tickets) == 100
    assert {len(ticket.partition(".")[2]) for ticket in tickets} == {43}


@pytest.mark.parametrize(
    "text",
    [
        "",
        TICKET[13:],
        TICKET[:-1],
        TICKET + "A",
        TICKET + "\n",
        " " + TICKET,
        TICKET.replace(".", "-", 1),
        "A" + TICKET[1:],
        "०" + TICKET[1:],
        TICKET[:-1] + "=",
        TICKET[:-1] + "é",
    ],
)
def test_text_that_is_no_ticket_names_no_cookie(text: str) -> None:
    """Only the exact form of a ticket is one: what a client sends never becomes part of a cookie's name otherwise."""
    assert cookie_name_of_ticket(text) is None


def test_only_stream_cookies_are_selected() -> None:
    """Other cookies of the site are left alone, also those whose names begin alike."""
    own = [cookie_name(SESSION), cookie_name(uuid.uuid4())]
    foreign = ["roster_stream", COOKIE_PREFIX, own[0] + "0", own[0][:-1], own[0].upper(), "x" + own[0], own[0] + "\n"]
    assert select_stream_cookies([*foreign, *own]) == own
