"""The command line."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from pathlib import Path

import pytest

from service import __version__
from service.cli.reference import env_example, markdown_table
from tests.support.command import run_command
from tests.support.gunicorn import ROOT, SETTINGS_OF_PROCESSES, start
from tests.support.server import Server
from tests.support.wait import until


async def ended(*command: str, **settings: str) -> tuple[int, str]:
    """Run `roster` with the settings of tests, which must end by itself: its exit code and what it wrote."""
    return await run_command(*command, **{**SETTINGS_OF_PROCESSES, **settings})


async def test_port_that_is_taken_is_one_line(server: Server) -> None:
    """Serving on a port in use ends at once, with one line that names both variables."""
    code, text = await ended(ROSTER_PORT=str(server.port))

    assert code == 1
    assert text.count("\n") == 1, text
    assert text.startswith(f"roster: ROSTER_HOST='127.0.0.1' ROSTER_PORT={server.port}: cannot listen there (")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
async def test_log_tells_of_the_beginning_and_the_end(number: signal.Signals, tmp_path: Path, place: str) -> None:
    """The log alone shows where and from what the service served, which signal stopped it, and when it had stopped."""
    with (tmp_path / "stderr").open("w+b") as stderr:
        process = await start("-m", "service", folder=str(tmp_path), stderr=stderr, ROSTER_STORE_URL=place)

        def log() -> str:
            return (tmp_path / "stderr").read_text()

        await until(lambda: '"serving"' in log() or process.returncode is not None, timeout=20)
        process.send_signal(number)
        assert await asyncio.wait_for(process.wait(), 10) == 0
    serving, told, stopped = [line for line in map(json.loads, log().splitlines()) if line["level"] == "info"][-3:]

    assert serving["msg"] == "serving"
    assert re.fullmatch(r"http://127\.0\.0\.1:[1-9]\d*", *serving["addresses"])
    assert (serving["store"], serving["version"]) == ("postgresql", __version__)
    assert place not in log()
    assert (told["msg"], told["signal"]) == ("shutdown requested", number.name)
    assert (stopped["msg"], set(stopped) >= {"took_s", "served_s"}) == ("shutdown complete", True)


async def test_bad_setting_is_one_line() -> None:
    """A setting that cannot be used ends the process with its name and its value."""
    code, text = await ended(ROSTER_WORKERS="none")

    assert code == 1
    assert text.count("\n") == 1, text
    assert text.startswith("roster: ROSTER_WORKERS='none': ")


async def test_secret_that_cannot_be_used_is_not_shown() -> None:
    """The value of a secret stays out of the sentence that refuses it."""
    code, text = await ended(ROSTER_JWT_SECRET="too short")

    assert code == 1
    assert text.startswith("roster: ROSTER_JWT_SECRET=(hidden): must be at least 32 bytes")
    assert "too short" not in text


async def test_store_that_cannot_be_used_is_one_line(postgres_url: str) -> None:
    """A server that refuses the user, or tables that a start must not make, end the process with a sentence."""
    refused = postgres_url.replace("roster@", "u:secret@")
    code, text = await ended(ROSTER_STORE_URL=refused)
    assert (code, text.count("\n")) == (1, 1), text
    assert text.startswith("roster: ROSTER_STORE_URL: PostgreSQL cannot be used: ")
    assert "secret" not in text

    code, text = await ended(ROSTER_STORE_URL="postgresql://u:secret@127.0.0.1:port/d")
    assert (code, text) == (1, "roster: ROSTER_STORE_URL: The URL of the database cannot be read.\n")

    code, text = await ended(
        ROSTER_STORE_URL="sqlite:///roster.db", ROSTER_STORE_MIGRATE="false", ROSTER_LOG_LEVEL="error"
    )
    assert (code, text.count("\n")) == (1, 1), text
    assert text.startswith("roster: ROSTER_STORE_URL: There are no tables yet: run `roster db upgrade`")


async def test_health_is_that_of_the_service(server: Server) -> None:
    """The health command ends with 0 while the service on this host is ready, and with 1 and a line when it does not answer."""
    assert await ended("health", ROSTER_PORT=str(server.port)) == (0, "")

    code, text = await ended("health", ROSTER_PORT="1")
    assert code == 1
    assert text.startswith("roster: not ready (")


async def test_settings_are_printed_as_both_documents() -> None:
    """The settings command prints what `.env.example` and the table in README hold."""
    assert await run_command("settings") == (0, env_example())
    assert await run_command("settings", "--format", "markdown") == (0, markdown_table())


async def test_many_workers_are_refused_by_the_command_of_one_process() -> None:
    """`ROSTER_WORKERS=2 make run` says that there is one process instead of ignoring the setting."""
    code, text = await ended(ROSTER_WORKERS="2")

    assert (code, text.count("\n")) == (1, 1), text
    assert text.startswith("roster: ROSTER_WORKERS=2: this command is one process")


async def test_taken_port_comes_with_a_free_one(server: Server) -> None:
    """The line that refuses a taken port names one that is free."""
    _, text = await ended(ROSTER_PORT=str(server.port))

    assert re.search(r"; ROSTER_PORT=\d+ is free$", text.strip()), text


async def test_missing_packages_are_a_sentence() -> None:
    """A Python without the packages prints how to install them, without a traceback."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-S", "-m", "service", cwd=ROOT, stderr=asyncio.subprocess.PIPE
    )
    _, stderr = await process.communicate()
    text = stderr.decode()

    assert process.returncode == 1
    assert text.startswith("roster: ")
    assert "has no package" in text
    assert "Traceback" not in text


async def test_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    """A SQLite file below something that is no folder is refused with what stands in the way."""
    (tmp_path / "file").write_text("")
    code, text = await ended(ROSTER_STORE_URL=f"sqlite:///{tmp_path}/file/deeper/x.db")

    assert code == 1
    assert f"{tmp_path}/file is a file, not a folder" in text
