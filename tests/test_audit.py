"""The look at known holes says what it saw, and never that all is well when it has seen nothing."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest
from aiohttp import web

from tests.support.upstream import Reply, data, running

PROGRAM = Path(__file__).parents[1] / ".ci" / "audit.py"
HOLE = {"id": "GHSA-0000-0000-0000", "summary": "A hole.", "affected": []}


async def audit(folder: Path, url: str) -> tuple[int | None, str]:
    """Its exit code, and its output, for two dependencies."""
    (folder / "constraints.txt").write_text("aiohttp==3.14.5\nyarl==1.25.1\n")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, PROGRAM, folder / "constraints.txt", "--vulnerability-service", "osv", "--osv-url", url),
        *("--cache-dir", folder / "cache"),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


async def _of_yarl_alone(request: web.Request) -> web.StreamResponse:
    asked = json.loads(await request.read())["package"]["name"]
    return web.json_response({"vulns": [HOLE]} if asked == "yarl" else {})


@pytest.mark.parametrize(
    ("reply", "code", "said"),
    [
        (data({}), 0, "2 dependencies were looked up; no hole is known in any."),
        (_of_yarl_alone, 1, "yarl 1.25.1: GHSA-0000-0000-0000, fixed in no version"),
        (data({}, status=503), 2, "NOT AUDITED"),
    ],
)
async def test_end_tells_what_is_known(tmp_path: Path, reply: Reply, code: int, said: str) -> None:
    """0 when nothing is known of any dependency, 1 with each hole when something is, 2 when the database fails."""
    async with running() as database:
        ended, output = await audit(tmp_path, database.on("/v1/query", reply))

    assert (ended, said in output) == (code, True), output


async def test_unreachable_database_is_reported(tmp_path: Path, unused_tcp_port: int) -> None:
    """If no database answers it ends with 2 and says so plainly."""
    ended, output = await audit(tmp_path, f"http://127.0.0.1:{unused_tcp_port}/")

    assert ended == 2
    assert output.startswith("NOT AUDITED: the database of known holes cannot be reached from here")
