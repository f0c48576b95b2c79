"""The service under gunicorn, with the configuration that is shipped."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import time

import aiohttp
import pytest

from service import __version__
from tests.support.gunicorn import COMMAND, Gunicorn, finished, gunicorn
from tests.support.peer import raw_peer
from tests.support.server import PASSWORD
from tests.support.wait import BUSY_S, until

pytestmark = pytest.mark.gunicorn


async def test_sigterm_ends_streams_and_answers_what_is_in_flight() -> None:
    """On SIGTERM a feed and a WebSocket receive `closing` and end cleanly, a request in flight is answered, and
    the process is gone within five seconds."""
    async with gunicorn() as service:
        server = service.server
        ada = await server.member("ada")
        body = json.dumps({"login": "ada", "password": PASSWORD}).encode()
        async with server.feed(ada) as feed, server.ws(ada) as socket, raw_peer(server.port) as peer:
            await feed.expect("hello")
            assert (await socket.receive_json(timeout=5))["type"] == "hello"
            await peer.announce("/v1/auth/login", len(body))

            told_at = time.monotonic()
            service.signal(signal.SIGTERM)

            closing = await feed.expect("closing")
            assert closing.data["reason"] == "restart"
            assert closing.data["reconnect_after_ms"] > 0
            assert closing.retry == closing.data["reconnect_after_ms"]
            assert await feed.next() is None, "a chunk that is cut would raise here"
            frame = await socket.receive_json(timeout=5)
            assert (frame["type"], frame["reason"]) == ("closing", "restart")
            message = await socket.receive(timeout=5)
            assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1012)
            await peer.send(body)
            assert (await peer.answer()).status == 200

        assert await service.exit_code(timeout_s=5 + BUSY_S) == 0
        assert time.monotonic() - told_at < 5 + BUSY_S
        assert "Traceback" not in service.log()


async def test_log_tells_of_the_beginning_and_the_end() -> None:
    """The worker logs where it serves and from what, which signal stopped it, and when it had stopped; secrets stay out."""
    async with gunicorn() as service:
        await service.server.json("GET", "/health/live")
        await until(lambda: '"serving"' in service.log())
        service.signal(signal.SIGTERM)
        assert await service.exit_code(timeout_s=5 + BUSY_S) == 0
        lines = [json.loads(line) for line in service.log().splitlines()]

    serving, given, stopped = [line for line in lines if line["logger"] == "roster"]
    assert (serving["msg"], serving["level"]) == ("serving", "info")
    assert serving["addresses"] == [f"http://127.0.0.1:{service.server.port}"]
    assert (serving["store"], serving["version"]) == ("memory", __version__)
    assert (given["msg"], given["signal"]) == ("shutdown requested", "SIGTERM")
    assert stopped["msg"] == "shutdown complete"
    assert 0 <= stopped["took_s"] < 5 + BUSY_S
    assert stopped["served_s"] < 60


async def test_listeners_stay_open_while_readiness_fails() -> None:
    """After SIGTERM balancers have the time that was set to notice: new connections are accepted and answered."""
    async with gunicorn(ROSTER_DRAIN_DELAY_S="1") as service:
        server = service.server
        async with server.request("GET", "/health/ready") as answer:
            assert answer.status == 200
        service.signal(signal.SIGTERM)

        async def shutting_down() -> bool:
            async with server.request("GET", "/health/ready") as answer:
                return answer.status == 503

        async with asyncio.timeout(5):
            while not await shutting_down():
                pass
        async with raw_peer(server.port) as peer:
            await peer.send("GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert (await peer.answer()).status == 200
        assert await service.exit_code(timeout_s=5 + BUSY_S) == 0


async def test_reader_that_leaves_a_quiet_feed_frees_it() -> None:
    """A client that leaves a feed on which nothing happens is noticed at once, not at the next write."""
    async with gunicorn() as service:
        ada = await service.server.member("ada")
        async with service.server.feed(ada) as feed:
            await feed.expect("hello")
            assert await _open_feeds(service) == 1

        async with asyncio.timeout(2 + BUSY_S):
            while await _open_feeds(service):
                pass


async def test_backlog_is_that_of_the_configuration() -> None:
    """The kernel keeps 2,048 connections until they are accepted, as a restart of many clients needs; aiohttp's worker alone
    would have left 128."""
    ss = shutil.which("ss")
    if ss is None:
        pytest.skip("needs ss, which Debian has in iproute2")
    async with gunicorn() as service:
        async with service.server.request("GET", "/health/ready") as answer:
            assert answer.status == 200
        async with asyncio.timeout(5):
            while await _backlog(ss, service.server.port) != 2048:
                pass


@pytest.mark.parametrize(
    "given", [{"ROSTER_WORKERS": "2"}, {"GUNICORN_CMD_ARGS": "--workers 2"}], ids=["setting", "option"]
)
async def test_second_worker_beside_the_memory_store_is_refused(given: dict[str, str]) -> None:
    """More than one worker on the memory store does not start, and one sentence says why and what to do."""
    code, text = await finished(*COMMAND, **given)

    assert code == 1
    assert text.count("\n") == 1, text
    assert text.startswith("roster: ROSTER_WORKERS=2: the memory store lives in one process")
    assert "Set ROSTER_WORKERS=1" in text


async def test_ttin_does_not_add_a_worker_beside_the_memory_store() -> None:
    """The signal that adds a worker is answered in the log and changes nothing: a second store would split the accounts."""
    async with gunicorn() as service:
        # A signal between the fork and the worker's own handlers is lost: the worker must serve before it is stopped.
        await service.server.json("GET", "/health/live")
        service.signal(signal.SIGTTIN)
        await until(lambda: "the memory store lives in one process" in service.log())
        # The master handles signals in order; after this one it has done all that the other made it do.
        service.signal(signal.SIGTERM)

        assert await service.exit_code(timeout_s=5 + BUSY_S) == 0
        assert service.log().count("Booting worker") == 1


async def test_hup_replaces_the_worker() -> None:
    """On HUP a new worker serves, and then the old one ends as on SIGTERM: streams reconnect to the new one."""
    async with gunicorn() as service:
        server = service.server
        ada = await server.member("ada")
        async with server.feed(ada) as feed:
            await feed.expect("hello")
            before = feed.response.headers["X-Request-Id"]
            service.signal(signal.SIGHUP)
            assert (await feed.expect("closing")).data["reason"] == "restart"
            assert await feed.next() is None
        await until(lambda: "Worker exiting" in service.log())
        async with server.request("GET", "/health/ready") as answer:
            assert answer.status == 200
            after = answer.headers["X-Request-Id"]

        # What tells processes apart must not come from the master, whose modules both have.
        assert before.partition("-")[0] != after.partition("-")[0]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"ROSTER_PORT": "http"}, "roster: ROSTER_PORT='http': "),
        ({"ROSTER_ROOM_RULES": "{"}, "roster: ROSTER_ROOM_RULES='{': is not JSON"),
    ],
    ids=["value", "json"],
)
async def test_bad_setting_is_one_sentence(given: dict[str, str], sentence: str) -> None:
    """A setting that cannot be used is refused before a worker starts, with the variable and its value."""
    code, text = await finished(*COMMAND, **given)

    assert code == 1
    assert text.startswith(sentence)
    assert text.count("\n") == 1, text


async def test_unix_socket_without_a_trusted_proxy_is_refused() -> None:
    """On a Unix socket clients have no address: the start is refused where they would share every limit."""
    code, stderr = await finished(*COMMAND, "--bind", "unix:roster.sock", ROSTER_TRUSTED_PROXIES='["0.0.0.0/0","::/0"]')

    assert code != 0
    assert "ROSTER_TRUSTED_PROXIES" in stderr
    assert "would share one limit" in stderr


async def test_setting_found_bad_by_the_worker_ends_the_master() -> None:
    """An error of a resource at start-up is one line in the log, and gunicorn does not restart the worker."""
    code, text = await finished(*COMMAND, ROSTER_OUTBOUND_CA_FILE="/nowhere.pem")

    lines = [json.loads(line) for line in text.splitlines()]
    assert code == 3
    assert [line["msg"] for line in lines if line["level"] == "critical"] == [
        "ROSTER_OUTBOUND_CA_FILE='/nowhere.pem': cannot be read as PEM certificates (No such file or directory)"
    ]
    assert sum("Booting worker" in line["msg"] for line in lines) == 1


async def _open_feeds(service: Gunicorn) -> float:
    async with service.server.request("GET", "/metrics") as answer:
        assert answer.status == 200
        lines = (await answer.text()).splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith('roster_streams{kind="feed"}'))


async def _backlog(ss: str, port: int) -> int:
    process = await asyncio.create_subprocess_exec(
        ss, "--no-header", "-ltn", f"sport = {port}", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    return int(output.split()[2])
