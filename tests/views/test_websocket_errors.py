"""The codes of `error` frames, as docs/websocket.md lists them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from service.domain.errors import Unavailable
from service.realtime import close_reasons, pending_auth
from service.realtime.close_reasons import CloseReason
from service.security.authenticator import Authenticator, Principal
from tests.support.server import Login, Server, serve

PAGE = (Path(__file__).parents[2] / "docs" / "websocket.md").read_text(encoding="utf-8")


def section(heading: str) -> str:
    return PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]


async def refused(server: Server, by: Login, *frames: str | bytes) -> str:
    """The code of the error that answers the last of these frames."""
    async with server.ws(by) as socket:
        for frame in frames:
            await (socket.send_bytes(frame) if isinstance(frame, bytes) else socket.send_str(frame))
        while (answer := await socket.receive_json(timeout=5))["type"] != "error":
            pass
        return str(answer["code"])


async def test_error_codes_are_those_of_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each code that the page names is sent for the frame that it describes, and no frame gets another code."""
    rules = {"quiet": {"send": "admin"}, "secret": {"read": "admin"}}
    async with serve(room_rules=rules) as server:
        ada = await server.member("ada")
        program = await server.token(ada, "profile", "events:read")
        sent = {
            await refused(server, ada, "{"),
            await refused(server, ada, "[]"),
            await refused(server, ada, '{"type":"dance"}'),
            await refused(server, ada, '{"type":"ping","type":"ping"}'),
            await refused(server, ada, b"binary"),
            await refused(server, ada, '{"type":"subscribe","after":"x"}'),
            await refused(server, ada, '{"type":"join","room":"lobby","history":-1}'),
            await refused(server, ada, '{"type":"ping","more":1}'),
            await refused(server, ada, '{"type":"join","room":"secret"}'),
            await refused(
                server, ada, '{"type":"join","room":"quiet"}', '{"type":"broadcast","room":"quiet","data":1}'
            ),
            await refused(server, ada, '{"type":"broadcast","room":"lobby","data":1}'),
            await refused(server, ada, '{"type":"auth","token":"x"}'),
            await refused(server, program, '{"type":"join","room":"lobby"}'),
            await first_refused(server, monkeypatch),
        }
        monkeypatch.setattr(Authenticator, "bearer", unavailable)
        async with server.ws() as socket:
            await socket.send_str('{"type":"auth","token":"x"}')
            sent.add((await socket.receive_json(timeout=5))["code"])
    named = set(re.findall(r"^\| `(\w+)` \|", section("Errors"), re.MULTILINE))
    assert sent == named


async def first_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The code for a connection without credentials where too many of its network wait."""
    monkeypatch.setattr(pending_auth, "_MOST_WAITING", 0)
    async with server.ws() as socket:
        code = (await socket.receive_json(timeout=5))["code"]
    monkeypatch.undo()
    return str(code)


async def unavailable(_: Authenticator, __: str) -> Principal:
    raise Unavailable(1)


def test_close_reasons_are_those_of_the_page() -> None:
    """The table of close codes names each code with its reasons, and no reason that the service does not send."""
    endings = {(value.code, value.reason) for value in vars(close_reasons).values() if isinstance(value, CloseReason)}
    named = {
        (int(code), reason)
        for code, cell in re.findall(r"^\| (\d{4}) \| ([^|]*) \|", section("Close codes"), re.MULTILINE)
        for reason in re.findall(r"`(\w+)`", cell)
    }
    assert named == {(code, reason) for code, reason in endings if code != 1000}
