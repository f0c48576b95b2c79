"""Every command of `roster.v1`: its answer, its refusals, and what a bad frame costs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from service.domain.errors import Invalid, NotFound, TooMany
from service.http.strict_json import Malformed
from service.realtime.commands import error_frame, parse_auth
from tests.support.server import PASSWORD, Server, serve
from tests.support.ws import Json, connect

# Texts that no compact form may change.
VALUES: list[Any] = [None, True, 0, -1.5, "", "ä€😀\u2028\x00\n", [], {}, {"a": [1, {"b": None}]}]


@pytest.mark.parametrize("value", VALUES, ids=repr)
async def test_echo_gives_the_data_back(server: Server, value: Any) -> None:
    """Whatever JSON it is; without data it is null."""
    ada = await server.member()
    async with connect(server, ada) as client:
        assert await client.ask("echo", data=value) == {"type": "echo", "data": value}
        assert await client.ask("echo") == {"type": "echo", "data": None}


async def test_answers_come_in_the_order_of_the_questions_with_their_ref(server: Server) -> None:
    """`ref` comes back as it was sent; where there was none there is none."""
    ada = await server.member()
    async with connect(server, ada) as client:
        frames: list[tuple[str, dict[str, Any]]] = [
            ("ping", {}),
            ("echo", {"data": 1}),
            ("join", {"room": "lobby"}),
            ("broadcast", {"room": "lobby", "data": 1}),
            ("members", {"room": "lobby"}),
            ("leave", {"room": "lobby"}),
            ("subscribe", {}),
            ("unsubscribe", {}),
            ("auth", {"token": ada.access_token}),
            ("nonsense", {}),
        ]
        for number, (type_, fields) in enumerate(frames):
            await client.send(type_, ref=f"{number:<64}", **fields)
        await client.send("ping")
        answers: list[Json] = []
        while not answers or answers[-1] != {"type": "pong"}:
            frame = await client.next()
            assert frame is not None
            if frame["type"] not in ("message", "presence"):
                answers.append(frame)
    assert [(answer["type"], answer.get("ref")) for answer in answers] == [
        ("pong", f"{0:<64}"),
        ("echo", f"{1:<64}"),
        ("joined", f"{2:<64}"),
        ("sent", f"{3:<64}"),
        ("members", f"{4:<64}"),
        ("left", f"{5:<64}"),
        ("subscribed", f"{6:<64}"),
        ("unsubscribed", f"{7:<64}"),
        ("authenticated", f"{8:<64}"),
        ("error", f"{9:<64}"),
        ("pong", None),
    ]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "malformed_json"),
        ("{", "malformed_json"),
        ("[]", "malformed_json"),
        ('"echo"', "malformed_json"),
        ('{"type":"echo","type":"ping"}', "malformed_json"),
        ('{"type":"echo","data":NaN}', "malformed_json"),
        ('{"type":"echo","data":' + "[" * 2000 + "]" * 2000 + "}", "malformed_json"),
        ("{}", "unknown_type"),
        ('{"type":"Echo"}', "unknown_type"),
        ('{"type":["echo"]}', "unknown_type"),
        ('{"type":"echo","extra":1}', "invalid_fields"),
        ('{"type":"ping","ref":1}', "invalid_fields"),
        ('{"type":"ping","ref":"' + "x" * 65 + '"}', "invalid_fields"),
        ('{"type":"join"}', "invalid_fields"),
        ('{"type":"join","room":"Lobby"}', "invalid_fields"),
        ('{"type":"join","room":"a\\n"}', "invalid_fields"),
        ('{"type":"join","room":"lobby","history":-1}', "invalid_fields"),
        ('{"type":"join","room":"lobby","history":"1"}', "invalid_fields"),
        ('{"type":"join","room":"lobby","after":"nonsense"}', "bad_request"),
        ('{"type":"subscribe","after":"nonsense"}', "bad_request"),
        ('{"type":"subscribe","types":[]}', "invalid_fields"),
        ('{"type":"subscribe","types":["user.exploded"]}', "invalid_fields"),
        ('{"type":"broadcast","room":"lobby"}', "invalid_fields"),
        ('{"type":"broadcast","room":"lobby","data":1}', "conflict"),
        ('{"type":"members","room":"nowhere"}', "not_found"),
        ('{"type":"members","room":"lobby","cursor":"x"}', "invalid_fields"),
        ('{"type":"auth","token":"x.y.z"}', "invalid_token"),
    ],
)
async def test_bad_frame_is_answered_and_the_socket_stays(server: Server, text: str, code: str) -> None:
    """With a code for programs and a sentence that names the field; nothing was carried out."""
    ada = await server.member()
    async with connect(server, ada) as client:
        await client.socket.send_str(text)
        error = await client.expect("error")
        assert (error["code"], set(error)) == (code, {"type", "code", "detail"} | ({"ref"} & set(error)))
        assert error["detail"]
        assert await client.ask("ping") == {"type": "pong"}


async def test_binary_frame_is_answered_with_an_error(server: Server) -> None:
    """It says where binary frames may go."""
    ada = await server.member()
    async with connect(server, ada) as client:
        await client.socket.send_bytes(b'{"type":"ping"}')
        error = await client.expect("error")
        assert (error["code"], "/v1/echo" in error["detail"]) == ("bad_request", True)
        assert await client.ask("ping") == {"type": "pong"}


async def test_twenty_bad_frames_in_a_minute_end_the_socket(server: Server) -> None:
    """Good frames between them do not help; nineteen bad ones are tolerated."""
    ada = await server.member()
    async with connect(server, ada) as client:
        for _ in range(19):
            assert (await client.ask("nonsense"))["code"] == "unknown_type"
            assert await client.ask("ping") == {"type": "pong"}
        await client.socket.send_bytes(b"")
        await client.expect("error")
        closing, code = await client.closing()
    assert (closing["reason"], closing["reconnect_after_ms"], code) == ("too_many_errors", None, 1008)


async def test_too_many_messages_end_the_socket() -> None:
    """A second's worth may come at once; the next one is not carried out."""
    async with serve(ws_messages_per_s=5) as server:
        ada = await server.member()
        async with connect(server, ada) as client:
            for number in range(7):
                await client.send("echo", data=number)
            answers = [(await client.expect("echo"))["data"] for _ in range(5)]
            closing, code = await client.closing()
    assert answers == [0, 1, 2, 3, 4]
    assert (closing["reason"], code) == ("too_many_messages", 4429)
    assert closing["reconnect_after_ms"] >= 250


async def test_connection_may_be_in_sixty_four_rooms(server: Server) -> None:
    """The next is refused until one is left; joining one of them again is not "one more"."""
    ada = await server.member()
    async with connect(server, ada) as client:
        for number in range(64):
            assert (await client.ask("join", room=f"room{number}"))["type"] == "joined"
        assert (await client.ask("join", room="room64"))["code"] == "forbidden"
        assert (await client.ask("join", room="room0"))["type"] == "joined"
        await client.ask("leave", room="room0")
        assert (await client.ask("join", room="room64"))["type"] == "joined"


async def test_leaving_a_room_one_is_not_in_is_harmless(server: Server) -> None:
    """The answer is the same; the room is not made by it."""
    ada = await server.member()
    async with connect(server, ada) as client:
        for _ in range(2):
            assert await client.ask("leave", room="nowhere") == {"type": "left", "room": "nowhere"}
        assert (await client.ask("members", room="nowhere"))["code"] == "not_found"


async def test_token_may_be_renewed_in_place() -> None:
    """A socket lives beyond the token it came with when a new one is sent in time."""
    async with serve(access_ttl_s=2) as server:  # tokens count whole seconds: one of 1 may be over at once
        ada = await server.member()
        async with connect(server, ada) as renewing, connect(server, ada) as other:
            body = {"refresh_token": ada.refresh_token}
            closing: Json = {}
            code = None
            while code is None:
                tokens = await server.json("POST", "/v1/auth/refresh", json=body)
                body = {"refresh_token": tokens["refresh_token"]}
                answer = await renewing.ask("auth", token=tokens["access_token"])
                assert answer["type"] == "authenticated"
                try:
                    closing, code = await other.closing(0.3)
                except TimeoutError:
                    pass
            assert await renewing.ask("ping") == {"type": "pong"}
    assert (closing["reason"], code) == ("expired", 4401)


async def test_renewing_takes_over_the_session_of_the_new_token(server: Server) -> None:
    """Ending the old session no longer ends the socket, ending the new one does."""
    ada = await server.member()
    again = await server.log_in(ada.username, PASSWORD)
    async with connect(server, ada) as client:
        await client.ask("auth", token=again.access_token)
        await server.json("POST", "/v1/auth/logout", ada, status=204)
        assert await client.ask("ping") == {"type": "pong"}
        await server.json("POST", "/v1/auth/logout", again, status=204)
        closing, code = await client.closing()
    assert (closing["reason"], code) == ("session_ended", 4401)


async def test_token_of_another_user_ends_the_socket(server: Server) -> None:
    """A socket does not change its user: 4403, without coming back."""
    ada, bob = await server.member(), await server.member()
    async with connect(server, ada) as client:
        await client.send("auth", token=bob.access_token)
        closing, code = await client.closing()
    assert (closing["reason"], closing["reconnect_after_ms"], code) == ("wrong_user", None, 4403)


def test_error_frame_names_the_code_of_the_problem() -> None:
    """The slug of REST with underscores; `ref` only where there was one."""
    assert error_frame(NotFound()) == {"type": "error", "code": "not_found", "detail": str(NotFound())}
    assert error_frame(TooMany(1), "r1")["code"] == "too_many_requests"
    assert error_frame(TooMany(1), "r1")["ref"] == "r1"
    assert error_frame(Malformed("The body is not JSON."))["detail"] == "The frame is not JSON."


def test_auth_frame_is_read_strictly() -> None:
    """Only `auth` is, with a token of a sensible size."""
    assert parse_auth('{"type":"auth","token":"t","ref":"r"}').token == "t"
    for text in ('{"type":"ping"}', '{"type":"auth","token":1}', json.dumps({"type": "auth", "token": "t" * 4097})):
        with pytest.raises(Invalid):
            parse_auth(text)
