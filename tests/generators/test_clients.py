"""Generators of clients and a linter read openapi.yaml without a complaint."""

from __future__ import annotations

import asyncio
import compileall
import os
import shutil
from pathlib import Path

import pytest

HERE = Path(__file__).parent
WRITTEN = HERE.parents[1] / "openapi.yaml"
SCRIPTS = HERE / "node_modules" / ".bin"
PYTHON = HERE / ".venv" / "bin" / "openapi-python-client"

# Some seconds each; `.ci/run` runs them by name.
pytestmark = pytest.mark.soak

# Under CI the tools must be there, those of Node wherever npm is.
needs_npm = pytest.mark.skipif(
    not SCRIPTS.is_dir() and not ("CI" in os.environ and shutil.which("npm")),
    reason="needs `npm ci --prefix tests/generators`",
)
needs_python_client = pytest.mark.skipif(
    not PYTHON.exists() and "CI" not in os.environ,
    reason="needs tests/generators/requirements.txt in tests/generators/.venv",
)


async def run(*command: str | Path) -> str:
    """The output of a program, which must succeed."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, output.decode()
    return output.decode()


@needs_python_client
async def test_openapi_python_client_generates_every_operation(tmp_path: Path) -> None:
    """openapi-python-client warns of nothing, and what it writes compiles; a stream and an export are texts."""
    out = tmp_path / "client"
    output = await run(
        *(PYTHON, "generate", "--path", WRITTEN, "--output-path", out),
        *("--meta", "none", "--config", HERE / "openapi_python_client.yaml"),
    )
    assert "warning" not in output.lower(), output
    assert compileall.compile_dir(out, quiet=1)
    for module in (
        "api/events/follow_feed.py",
        "api/users/import_users.py",
        "models/password_reset.py",
        "models/reset.py",
    ):
        assert (out / module).exists(), module
    assert "Response[Problem | str]" in (out / "api/events/follow_feed.py").read_text(encoding="utf-8")


@needs_npm
async def test_openapi_typescript_generates_types_that_compile(tmp_path: Path) -> None:
    """openapi-typescript writes types that the strict compiler takes; an event stream is a string."""
    types = tmp_path / "roster.ts"
    await run(SCRIPTS / "openapi-typescript", WRITTEN, "--output", types)
    assert '"text/event-stream": string;' in types.read_text(encoding="utf-8")
    await run(SCRIPTS / "tsc", "--noEmit", "--strict", types)


@needs_npm
async def test_redocly_has_no_warning() -> None:
    """redocly's recommended rules, with the one exception of redocly.yaml, find nothing."""
    output = await run(SCRIPTS / "redocly", "lint", "--config", HERE.parents[1] / "redocly.yaml", WRITTEN)
    assert "API description is valid" in output
    assert "You have" not in output, output  # so many warnings
