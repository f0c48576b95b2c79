"""Requests drawn from the description of the API: right ones, wrong ones, and sequences of them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.openapi.document import document
from tests.support.postgres import postgres
from tests.support.server import ADMIN_PASSWORD, serve
from tests.support.upstream import data, running

ROOT = Path(__file__).parents[1]
# What comes before the answer differs by store, and little more: the most time goes to the one that is the reference.
SECONDS = {"memory": 12, "sqlite": 8, "postgres": 8}


@pytest.fixture(params=SECONDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, int]]:
    """A store of each kind, with the seconds that it gets."""
    seconds = SECONDS[request.param]
    if request.param == "postgres":
        with postgres() as url:
            yield url, seconds
    else:
        yield {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/roster.db"}[request.param], seconds


@pytest.mark.timeout(120)
async def test_service_keeps_to_its_description(tmp_path: Path, store: tuple[str, int]) -> None:
    """No request that the description allows or forbids is answered otherwise than it says, whatever keeps the data."""
    store_url, seconds = store
    described = document()
    for methods in described["paths"].values():
        for operation in methods.values():
            # It excuses every status; what an operation answers to requests like these stands there by name.
            del operation["responses"]["default"]
    (tmp_path / "openapi.json").write_text(json.dumps(described))

    async with running() as upstream:
        weather, nowhere = upstream.on("/weather", data({"temperature": 21})), "http://127.0.0.1:1/"
        async with serve(store_url=store_url, upstreams={"weather": weather, "news": nowhere}) as server:
            admin = await server.admin()
            status, output = await schemathesis(
                *("run", tmp_path / "openapi.json", "--url", server.url),
                *("--header", f"Authorization: Bearer {admin.access_token}"),
                *("--checks", "all", "--phases", "examples,coverage,fuzzing,stateful", "--mode", "all"),
                *("--max-time", str(seconds), "--max-examples", "20", "--request-timeout", "10"),
                *("--seed", "1", "--generation-database", "none", "--continue-on-failure"),
                *("--report", "json", "--report-json-path", tmp_path / "report.json"),
            )

    assert status == 0, output
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["operations"]["tested"] == report["operations"]["total"] - 4, (
        output
    )  # what the configuration leaves out
    assert {phase["status"] for phase in report["phases"].values()} == {"success"}, output


async def schemathesis(*arguments: str | Path) -> tuple[int | None, str]:
    """Run it to its end; what it returned and printed."""
    process = await asyncio.create_subprocess_exec(
        *(Path(sys.executable).with_name("st"), "--no-color", "--config-file", "tests/support/schemathesis.toml"),
        *arguments,
        cwd=ROOT,
        env={**os.environ, "ROSTER_ADMIN_PASSWORD": ADMIN_PASSWORD},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode, output.decode()
