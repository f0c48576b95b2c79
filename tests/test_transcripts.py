"""The conversations in the documents, word for word."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
from aiohttp import WSMsgType
from pyotp import TOTP

from service.http.services import SERVICES
from tests.support.mail import Mails, token_in
from tests.support.server import Login, Server, serve
from tests.support.transcripts import Names, Step, transcripts

DOCS = Path(__file__).parents[1] / "docs"


async def request(server: Server, by: Login, text: str) -> None:
    """Carry out `METHOD path body`, which must succeed."""
    method, path, *rest = text.split(" ", 2)
    async with server.request(method, path, by, json=json.loads(rest[0]) if rest else None) as answer:
        assert answer.status < 300, await answer.text()


@pytest.mark.parametrize("steps", transcripts(DOCS / "websocket.md"))
async def test_conversation_over_a_websocket(steps: list[Step]) -> None:
    """Every frame of the page arrives, in its order and with nothing between, and the close code after the last."""
    names = Names()
    async with serve(presence_batch_s=0.05, ws_messages_per_s=50) as server, AsyncExitStack() as stack:
        ada, bob = await server.member("ada"), await server.member("bob")
        sockets = {"": await stack.enter_async_context(server.ws(ada))}
        for mark, text in steps:
            if mark == "<" and text.startswith("close "):
                message = await sockets[""].receive(timeout=5)
                assert (message.type, message.data) == (WSMsgType.CLOSE, int(text.split()[1]))
            elif mark == "<":
                real = await sockets[""].receive_json(timeout=5)
                assert names.fits(json.loads(text), real), f"{text}\nis shown, this came:\n{json.dumps(real)}"
            elif mark == "!":
                await request(server, ada, names.translate(text))
            else:
                who = mark.removesuffix(">")
                if who not in sockets:
                    sockets[who] = await stack.enter_async_context(server.ws(bob))
                    assert (await sockets[who].receive_json(timeout=5))["type"] == "hello"
                await sockets[who].send_str(names.translate(text))


@pytest.mark.parametrize(
    "steps", [step for page in ("idempotency", "auth", "tokens") for step in transcripts(DOCS / f"{page}.md")]
)
async def test_conversation_over_http(steps: list[Step]) -> None:
    """Every answer has the status, the headers and the body that are shown."""
    names, shown = Names(), 0
    async with serve() as server:
        admin = await server.admin()
        while steps:
            if steps[0].mark != "app":
                steps = await exchange(server, admin, steps, names)
                continue
            # A code is valid once, and each code of the page is of the step after the one before.
            (_, text), *steps = steps
            code, secret = text.split(" from ")
            totp = TOTP(names.translate(secret))
            assert names.bind(code, totp.at(server.app[SERVICES].clock(), counter_offset=shown))
            shown += 1


@pytest.mark.parametrize("steps", transcripts(DOCS / "mail.md"))
async def test_conversation_with_mails(steps: list[Step], caplog: pytest.LogCaptureFixture) -> None:
    """Every answer is the one that is shown, and every mail comes, in its order; its token is the one that is used."""
    names, mails = Names(), Mails(caplog)
    read: Counter[str] = Counter()
    async with serve(registration="verify") as server:
        while steps:
            if steps[0].mark != "mail":
                steps = await exchange(server, None, steps, names)
                continue
            (_, text), *steps = steps
            address, shown = text.split(" ", 1)
            read[address] += 1
            subject, _, token = shown.partition(": ")
            mail = await mails.newest(address, read[address])
            assert mail.subject == subject
            assert not token or names.bind(token, token_in(mail.text))


async def exchange(server: Server, by: Login | None, steps: list[Step], names: Names) -> list[Step]:
    """Send one request and check its response; returns the remaining steps."""
    asked, steps = spoken(">", steps)
    shown, steps = spoken("<", steps)
    (method, path, *body), headers = asked[0].split(" ", 2), dict(line.split(": ", 1) for line in asked[1:])
    headers = {name: names.translate(value) for name, value in headers.items()}
    sent = {"data": names.translate("".join(body)), "headers": headers | {"Content-Type": "application/json"}}
    async with server.request(method, names.translate(path), by, **sent) as answer:
        text = await answer.text()
    assert str(answer.status) == shown[0], text
    if shown[-1].startswith("{"):
        assert names.fits(json.loads(shown.pop()), json.loads(text)), text
    for name, value in (line.split(": ", 1) for line in shown[1:]):
        real = answer.headers[name]
        assert names.fits(value.strip('"'), real.strip('"')) or names.translate(value) == real, (name, real)
    return steps


def spoken(mark: str, steps: list[Step]) -> tuple[list[str], list[Step]]:
    """The lines of one side before the other's, and the rest."""
    count = next((place for place, step in enumerate(steps) if step.mark != mark), len(steps))
    return [step.text for step in steps[:count]], steps[count:]


@pytest.mark.parametrize("steps", transcripts(DOCS / "feed.md"))
async def test_conversation_over_an_event_stream(steps: list[Step]) -> None:
    """Every line of the page arrives, in its order and with nothing between, and the end after the last."""
    names = Names()
    asked = [text for mark, text in steps if mark == ">"]
    path, headers = asked[0].removeprefix("GET "), dict(line.split(": ") for line in asked[1:])
    async with serve() as server:
        ada = await server.member("ada")
        await server.member("bob")
        names.bind("01a1feeb-a70c-70d2-ba9b-bbe519ae09c4", ada.id)
        async with (
            server.request("GET", path, ada, headers=headers, timeout=aiohttp.ClientTimeout(None)) as answer,
            asyncio.timeout(10),
        ):
            for mark, text in steps:
                if mark == "!":
                    await request(server, ada, names.translate(text))
                elif mark == "<":
                    line = (await answer.content.readline()).decode()
                    if text == "end":
                        assert line == ""
                    else:
                        assert names.fits_line(text, line.rstrip("\n")), f"{text}\nis shown, this came:\n{line}"
