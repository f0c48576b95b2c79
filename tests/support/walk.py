"""The quickstart of README, as a stranger walks it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

_README: Final = Path(__file__).parents[2] / "README.md"


async def walk_readme(port: int, folder: Path, *, known: bool) -> None:
    """Run its commands word for word in one shell, against the service on this port, and judge what they print.

    Args:
        known: whether they were run before on the same service.
    """
    walk = _README.read_text(encoding="utf-8").split("## Quickstart")[1].split("## What you get")[0]
    start, *blocks = re.findall(r"```sh\n(.*?)```", walk, re.DOTALL)
    assert start == "make run\n"
    shell = await asyncio.create_subprocess_exec(
        "bash", "-c", "set -u\n" + "\n".join(blocks).replace("127.0.0.1:8080", f"127.0.0.1:{port}"),
        cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    try:
        output, _ = await asyncio.wait_for(shell.communicate(), 20)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)  # the feed of a walk that hangs
    text = output.decode()

    assert shell.returncode == 0, text
    assert ("/problems/already-exists" in text) is known
    assert "event: user.updated" in text
    assert '"changed":["name"]' in text
    assert '"name":"Ada Lovelace"' in text
    assert "/problems/precondition-failed" in text
    assert not (folder / "feed.txt").exists()
