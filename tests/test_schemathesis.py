"""Requests drawn from the description of the API: right ones, wrong ones, and sequences of them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from service.domain.users.accounts import Caller
from service.http.openapi.document import document
from tests.support.figures import Tell
from tests.support.gunicorn import gunicorn
from tests.support.places import KINDS, NewPlace
from tests.support.redis import find_valkey, redis_server
from tests.support.server import ADMIN_PASSWORD, Server, serve
from tests.support.upstream import data, running

ROOT = Path(__file__).parents[1]
# Of an operation, and of sequences. By number, not by time: a machine that is busy must not leave a phase out.
EXAMPLES = 2
PHASES = ("examples", "coverage", "fuzzing", "stateful")
LONG_SECONDS = 60
BROKEN_SECONDS = 10


@pytest.mark.timeout(120)
async def test_service_keeps_to_its_description(tmp_path: Path) -> None:
    """The response to every generated request matches the description, and no account reads the data of another."""
    phases = [phase for phase in PHASES if phase != "coverage"]
    drawn = ("--max-examples", str(EXAMPLES), "--seed", "1")
    await _keeps_to_its_description(tmp_path, "memory://", *drawn, phases=phases)


@pytest.mark.soak
@pytest.mark.timeout(240)
async def test_service_keeps_to_its_description_at_every_bound(tmp_path: Path) -> None:
    """The same for each value at and beyond the bounds of each field: some two thousand requests, which take a sixth of the
    processor time of all other tests. CI sends them after those."""
    await _keeps_to_its_description(tmp_path, "memory://", "--seed", "1", phases=["coverage"])


@pytest.mark.soak
@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", KINDS)
async def test_service_keeps_to_its_description_for_a_minute(
    tmp_path: Path, new_place: NewPlace, kind: str, tell: Tell
) -> None:
    """The same at length, with other requests each time, on each kind of store."""
    drawn = ("--max-time", str(LONG_SECONDS), "--max-examples", "20")
    report = await _keeps_to_its_description(tmp_path, await new_place(kind), *drawn)
    cases, operations = report["test_cases"]["generated"], report["operations"]["tested"]
    tell(f"{kind}: {cases:,} requests to {operations} operations in {report['running_time']:.0f} s, no failure")


@pytest.mark.soak
@pytest.mark.gunicorn
@pytest.mark.timeout(240)
async def test_two_workers_keep_to_their_description_for_a_minute(
    tmp_path: Path, new_place: NewPlace, tell: Tell
) -> None:
    """The same for two workers on PostgreSQL and Valkey: requests of one sequence go to either."""
    with redis_server(find_valkey()) as valkey:
        async with running() as upstream:
            weather, nowhere = upstream.on("/weather", data({"temperature": 21})), "http://127.0.0.1:1/"
            settings = {
                "ROSTER_STORE_URL": await new_place("postgres"),
                "ROSTER_REDIS_URL": valkey.url,
                "ROSTER_WORKERS": "2",
                "ROSTER_API_TOKEN_TTL_S": "0",
                "ROSTER_UPSTREAMS": json.dumps({"weather": weather, "news": nowhere}),
                "ROSTER_SECURITY_CONTACT": "mailto:a@example.com",
                **dict.fromkeys(
                    (f"ROSTER_{name}_LIMIT" for name in ("RATE", "LOGIN", "MAIL", "REGISTRATION", "WRITE")), "off"
                ),
            }
            async with gunicorn(**settings) as service:
                await service.all_serve(2)
                drawn = ("--max-time", str(LONG_SECONDS), "--max-examples", "20")
                report = await _check_description(tmp_path, service.server, *drawn)
    tell(f"two workers: {report['test_cases']['generated']:,} requests in {report['running_time']:.0f} s, no failure")


@pytest.mark.soak
@pytest.mark.timeout(60)
async def test_what_is_anothers_would_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where everybody may read everybody, that is a failure. On a service that is right nothing shows that it was looked
    for."""
    monkeypatch.setattr(Caller, "can_view", lambda *_: True)
    async with serve() as server:
        status, output = await schemathesis(
            *("--include-path-regex", "^/v1/users", "--checks", "object_level_authorization"),
            *("--phases", "fuzzing,stateful", "--max-time", str(BROKEN_SECONDS), "--max-failures", "1", "--seed", "1"),
            server=server,
            folder=tmp_path,
        )

    assert status == 1, output
    assert "received the `User` that `admin` owns" in output


async def _keeps_to_its_description(folder: Path, store_url: str, *drawn: str, phases: Sequence[str] = PHASES) -> Any:
    """Send what is drawn; the report."""
    async with running() as upstream:
        weather, nowhere = upstream.on("/weather", data({"temperature": 21})), "http://127.0.0.1:1/"
        upstreams = {"weather": weather, "news": nowhere}
        chosen: dict[str, Any] = {"upstreams": upstreams, "security_contact": "mailto:a@example.com"}
        # Without a bound of the operator's own every life of a token that the description allows is one.
        async with serve(store_url=store_url, api_token_ttl_s=0, **chosen) as server:
            return await _check_description(folder, server, *drawn, phases=phases)


async def _check_description(folder: Path, server: Server, *drawn: str, phases: Sequence[str] = PHASES) -> Any:
    """Send the drawn requests to a running service; the report."""
    written = folder / "report.json"
    status, output = await schemathesis(
        *("--checks", "all", "--phases", ",".join(phases), "--mode", "all"),
        *("--request-timeout", "10", "--continue-on-failure"),
        *("--report", "json", "--report-json-path", str(written), *drawn),
        server=server,
        folder=folder,
    )
    assert status == 0, output
    report = json.loads(written.read_text())
    left_out = 6  # by the configuration
    assert report["operations"]["tested"] == report["operations"]["total"] - left_out, output
    assert {name for name, phase in report["phases"].items() if phase["status"] == "success"} >= set(phases), output
    return report


def _description() -> str:
    described = document()
    for methods in described["paths"].values():
        for operation in methods.values():
            # It excuses every status; what an operation answers to requests like these stands there by name.
            del operation["responses"]["default"]
            # It checks each event of a stream against the schema of the body.
            stream = operation["responses"].get("200", {}).get("content", {}).get("text/event-stream")
            if stream is not None:
                del stream["examples"]
                stream["schema"] = stream["schema"]["contentSchema"]
    return json.dumps(described)


async def schemathesis(*arguments: str | Path, server: Server, folder: Path) -> tuple[int | None, str]:
    """Run it to its end; what it returned and printed."""
    logins = {"admin": await server.admin(), "ada": await server.member("ada"), "bob": await server.member("bob")}
    accounts = [
        {"name": name, "fixedHeaders": [{"name": "Authorization", "value": f"Bearer {login.access_token}"}]}
        for name, login in logins.items()
    ]
    (folder / "accounts.json").write_text(json.dumps({"auth": accounts}))
    (folder / "openapi.json").write_text(_description())
    ids = " ".join(login.id for login in logins.values())
    process = await asyncio.create_subprocess_exec(
        *(Path(sys.executable).with_name("st"), "--no-color", "--config-file", "tests/support/schemathesis.toml"),
        *("run", folder / "openapi.json", "--url", server.url, "--auth-wfc", folder / "accounts.json"),
        *("--generation-database", "none"),
        *arguments,
        cwd=ROOT,
        env={**os.environ, "ROSTER_ADMIN_PASSWORD": ADMIN_PASSWORD, "ROSTER_IDS": ids},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode, output.decode()
