"""Forged positions in the feed, and texts that imitate events (WHATWG HTML, 9.2)."""

from __future__ import annotations

import json

import pytest

from service.http.services import SERVICES
from tests.support.hostile import assert_serves, exchange, message
from tests.support.places import KINDS
from tests.support.server import Login, Server
from tests.support.sse import Frame, Stream

# A request beside an open stream leaves no connection open.
_CLOSE = {"Connection": "close"}
_SPOOF = "x\r\n\r\nid: spoofed\r\nevent: user.deleted\r\ndata: {}\r\n\r\n"


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def placed(text: str, target: Server) -> str:
    """A place with what it says of this log filled in."""
    head = target.app[SERVICES].hub.head
    return text.format(epoch=head.epoch, ahead=head.seq + 1, seq=head.seq)


async def told(stream: Stream, count: int) -> list[Frame]:
    frames = [await stream.next() for _ in range(count)]
    return [frame for frame in frames if frame is not None]


@pytest.mark.parametrize(
    ("reason", "place"),
    [
        pytest.param("invalid", "nonsense", id="nonsense"),
        pytest.param("invalid", "{epoch}", id="no number"),
        pytest.param("invalid", "{epoch}--1", id="below zero"),
        pytest.param("invalid", "{epoch}-01", id="leading zero"),
        pytest.param("invalid", "{epoch}-1e3", id="exponent"),
        pytest.param("invalid", "{epoch}-" + "9" * 19, id="beyond 63 bits"),
        pytest.param("invalid", "{epoch}-1, {epoch}-2", id="two"),
        pytest.param("invalid", "{epoch}-1' OR '1'='1", id="SQL"),
        pytest.param("invalid", "a" * 7000, id="7,000 letters"),
        pytest.param("epoch", "elsewhere-{seq}", id="of another log"),
        pytest.param("ahead", "{epoch}-{ahead}", id="not written yet"),
        pytest.param("ahead", "{epoch}-" + "9" * 18, id="far ahead"),
    ],
)
async def test_place_of_an_event_stream(target: Server, ada: Login, reason: str, place: str) -> None:
    """A `Last-Event-ID` that is no position here causes a `reset`, whatever its origin, and reveals no event.
    The same place in the address is 400, but for one that is only lost."""
    place = placed(place, target)
    async with target.feed(ada, headers={"Last-Event-ID": place}) as stream:
        hello, reset = await told(stream, 2)
    assert (hello.event, hello.id, reset.event) == ("hello", None, "reset")
    assert (reset.data["reason"], reset.data["resync"]) == (reason, "/v1/users/me")
    if reason == "invalid":
        bearer = f"Authorization: Bearer {ada.access_token}"
        address = "".join(f"%{ord(letter):02X}" for letter in place[:500])
        for path in ("/v1/feed", "/v1/events"):
            assert (await exchange(target, message("GET", f"{path}?after={address}", bearer))).status == 400
    await assert_serves(target)


@pytest.mark.parametrize(
    "place",
    [
        pytest.param("a" * 100_000, id="100,000 letters"),
        pytest.param("a\0b", id="NUL"),
        pytest.param("a\rb", id="carriage return"),
    ],
)
async def test_place_that_is_no_header_is_refused_by_the_parser(target: Server, ada: Login, place: str) -> None:
    """What cannot stand in a header never comes so far that it could be a place."""
    bearer, header = f"Authorization: Bearer {ada.access_token}", f"Last-Event-ID: {place}"
    outcome = await exchange(target, message("GET", "/v1/feed", bearer, header))

    assert (outcome.status, outcome.goes_on) == (400, False)
    await assert_serves(target)


async def test_position_of_another_user_shows_none_of_its_events(target: Server, ada: Login) -> None:
    """A member that resumes from a position before others' events gets its own and no other's, replayed or live."""
    other = await target.member()
    begin = str(target.app[SERVICES].hub.head)
    await target.json("PATCH", f"/v1/users/{other.id}", other, json={"name": "theirs"}, headers=_CLOSE)
    await target.json("PATCH", f"/v1/users/{ada.id}", ada, json={"name": f"hers, after {begin}"}, headers=_CLOSE)
    async with target.feed(ada, headers={"Last-Event-ID": begin}) as stream:
        await stream.expect("hello")
        behind = await stream.expect("user.updated")
        await target.json("PATCH", f"/v1/users/{other.id}", other, json={"name": "theirs, live"}, headers=_CLOSE)
        await target.json("PATCH", f"/v1/users/{ada.id}", ada, json={"name": "hers, live"}, headers=_CLOSE)
        live = await stream.expect("user.updated")
    page = await target.json("GET", f"/v1/events?after={begin}", ada, headers=_CLOSE)

    assert {frame.data["subject"] for frame in (behind, live)} == {ada.id}
    assert {event["subject"] for event in page["items"]} == {ada.id}


async def test_text_stays_inside_its_event(target: Server, ada: Login) -> None:
    """Line ends in a name are refused; in a message of a room they are data, whatever they would mean in a stream."""
    await target.json("PATCH", f"/v1/users/{ada.id}", ada, status=422, json={"name": _SPOOF}, headers=_CLOSE)
    texts = [_SPOOF, "a\nb", "a\rb", "\u2028\u2029\x85", "\0", "data: x", ":", ""]
    async with target.feed(ada, "/v1/rooms/lobby/feed") as stream:
        await stream.expect("hello")
        for text in texts:
            await target.json("POST", "/v1/rooms/lobby/messages", ada, status=201, json={"data": text}, headers=_CLOSE)
        frames = await told(stream, len(texts))

    assert [frame.event for frame in frames] == ["message"] * len(texts)
    assert [frame.data["data"] for frame in frames] == texts
    assert all(frame.id == frame.data["id"] for frame in frames)


async def test_types_are_of_a_list(target: Server, ada: Login) -> None:
    """A type that there is none of is 400 and named, not a stream that stays silent."""
    bearer = f"Authorization: Bearer {ada.access_token}"
    for types in ("", "user.exploded", "user.created,", "user.created%0Aid:1", "*", "user.%25"):
        outcome = await exchange(target, message("GET", f"/v1/feed?types={types}", bearer))
        assert outcome.status == 400
        assert outcome.answer is not None
        assert [error["pointer"] for error in json.loads(outcome.answer.body)["errors"]] == ["/types"]
