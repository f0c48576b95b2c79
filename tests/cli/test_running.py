"""A command that is interrupted."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.gunicorn import ROOT

_COMMAND = """
import asyncio, os, signal
from service.cli.running import run_to_end

class Freed:
    def __del__(self):
        os.kill(os.getpid(), signal.{number})

async def work():
    {work}

print(run_to_end(work()))
"""


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize(
    "work",
    [
        "Freed(); await asyncio.sleep(60)",  # raised where Python can only drop it
        "asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.{number}); await asyncio.sleep(60)",
        "os.kill(os.getpid(), signal.{number}); [number for number in iter(int, 1)]",
    ],
    ids=["while an object is freed", "in a callback", "in a step without a wait"],
)
def test_interruption_ends_a_command_whenever_it_comes(number: str, work: str) -> None:
    """With one line, in the middle of a wait and of a step that has none."""
    command = _COMMAND.format(number=number, work=work.format(number=number))
    ended = subprocess.run([sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert ended.stdout == "roster: interrupted\n", ended.stderr
