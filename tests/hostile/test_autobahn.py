"""The cases of the Autobahn test suite against `/v1/echo`, run by another implementation of the protocol."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from tests.support.server import Server

# 9: speed with messages of megabytes, above our limit. 12 and 13: compression, which is off.
LEFT_OUT = ("9.*", "12.*", "13.*")


async def test_autobahn_finds_no_failure(server: Server, tmp_path: Path) -> None:
    """No case fails, neither in what is echoed nor in how the connection is closed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", "from kosoku._cli import main; main()"),
        *(argument for pattern in LEFT_OUT for argument in ("-x", pattern)),
        *("-p", "4", "-o", str(tmp_path), f"ws://127.0.0.1:{server.port}/v1/echo"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(50):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    report = tmp_path / "index.json"
    assert report.exists(), output.decode()

    (cases,) = json.loads(report.read_text()).values()
    good = {"OK", "NON-STRICT", "INFORMATIONAL"}
    assert len(cases) > 200
    assert {name: case["behavior"] for name, case in cases.items() if case["behavior"] not in good} == {}
    assert {name: case["behaviorClose"] for name, case in cases.items() if case["behaviorClose"] not in good} == {}
