"""The documents are true."""

from __future__ import annotations

import ast
import asyncio
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import get_args

import pytest

from service import __version__
from service.cli.reference import markdown_table, scopes_table
from service.domain.audit import ACTIONS
from service.domain.mail.mail import MailKind
from service.http.services import SERVICES
from service.realtime import close_reasons
from service.realtime.close_reasons import CloseReason
from service.realtime.commands import COMMANDS
from service.security.login_throttle.counters import Kind
from tests.support.keys import a_key
from tests.support.ports import free_port
from tests.support.server import Server, serve
from tests.support.walk import walk_readme

ROOT = Path(__file__).parents[1]
# Under CI nothing is left out: there its absence fails.
needs_curl = pytest.mark.skipif(
    shutil.which("curl") is None and "CI" not in os.environ, reason="README's commands are for curl"
)
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"))


def test_settings_table_is_that_of_settings() -> None:
    """The tables in docs/configuration.md are generated from `Settings`."""
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    table = re.search(r"<!-- settings: .*? -->\n(.*?)<!-- end of settings -->", page, re.DOTALL)

    assert table is not None
    assert table[1] == markdown_table()


def test_table_of_scopes_is_that_of_the_routes() -> None:
    """The table of scopes is what operations and commands say of themselves; no scope is for nothing."""
    page = (ROOT / "docs" / "tokens.md").read_text(encoding="utf-8")
    table = re.search(r"<!-- scopes: .*? -->\n(.*?)<!-- end of scopes -->", page, re.DOTALL)

    assert table is not None
    assert table[1] == scopes_table()
    assert not re.search(r"\|\s*\|$", table[1], re.MULTILINE)


def test_changelog_begins_with_this_version() -> None:
    """The newest entry of the changelog is the version of the package."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## (\S+)", changelog, re.MULTILINE)

    assert newest is not None
    assert newest[1] == __version__


def test_every_way_to_end_is_in_the_protocol() -> None:
    """The table of close codes has every code with every reason that the service uses."""
    page = (ROOT / "docs" / "websocket.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith(("| 1", "| 4"))]
    endings = [value for value in vars(close_reasons).values() if isinstance(value, CloseReason) and value.code != 1000]

    missing = [e for e in endings if not any(row.startswith(f"| {e.code} ") and f"`{e.reason}`" in row for row in rows)]
    assert not missing


def test_every_command_is_in_the_protocol() -> None:
    """The protocol page has a row for every frame that a client may send, and no other."""
    page = (ROOT / "docs" / "websocket.md").read_text(encoding="utf-8")
    rows = re.findall(r'^\| `\{"type":"(\w+)"[^|]*\| `?(?:\{"type":"\w+"|\w+)', page, re.MULTILINE)

    assert set(COMMANDS) <= set(rows)


def test_every_action_is_in_the_page_of_the_audit() -> None:
    """The page of the audit explains every action."""
    rows = [
        line.split("|")[1]
        for line in (ROOT / "docs" / "audit.md").read_text("utf-8").splitlines()
        if line.startswith("| `")
    ]
    named = {name for row in rows for name in re.findall(r"`([a-z_]+\.[a-z_]+)`", row)}
    assert named == set(ACTIONS)


def rows_of(page: str, heading: str) -> list[list[str]]:
    """The cells of the table under a heading of a page in docs."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| `")
    ]


async def test_every_metric_is_named_for_operators(server: Server) -> None:
    """What `/metrics` shows of ours is in the table, nothing else is, and so are the values of labels that are words of ours."""
    named = {
        cells[0].strip("`"): set(re.findall(r"`(\w+)`", cells[1])) for cells in rows_of("operations.md", "Metrics")
    }
    shown = {
        line.split()[2]
        for line in server.app[SERVICES].metrics.text().decode().splitlines()
        if line.startswith("# TYPE roster_") and not line.endswith("_created gauge")
    }

    assert named.keys() == shown
    endings = {value.reason for value in vars(close_reasons).values() if isinstance(value, CloseReason)}
    assert named["roster_streams_closed_total"] == endings | {"kind", "reason", "left"}
    assert named["roster_emails_total"] >= set(get_args(MailKind))
    assert named["roster_login_throttled_total"] >= set(get_args(Kind))


_LEVELS = {"warning": "warning", "error": "error", "exception": "error", "critical": "critical", "log": "warning"}


def logged(module: ast.Module) -> Iterator[tuple[str, str, str, set[str]]]:
    """Message, logger, level and literal fields of each line of level warning or higher that a module logs."""
    logger = ""
    for statement in module.body:
        if isinstance(statement, ast.Assign) and "getLogger(" in ast.unparse(statement.value):
            # Else the lines of a logger of another name would be looked for in vain.
            assert ast.unparse(statement.targets[0]) in ("log", "_logger"), ast.unparse(statement)
            assert '"roster' in ast.unparse(statement).replace("'", '"'), "lines are documented under loggers of ours"
    for node in ast.walk(module):
        match node:
            case ast.Call(func=ast.Attribute(attr="getLogger"), args=[ast.Constant(value=str(name))]):
                logger = name if name.startswith("roster") else logger
            case _:
                pass
    for node in ast.walk(module):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="log" | "_logger"), attr=attr)) if attr in _LEVELS:
                message = node.args[attr == "log"]
                assert isinstance(message, ast.Constant), f"line {node.lineno}: a message is a literal"
                assert isinstance(message.value, str)
                extra = next((given.value for given in node.keywords if given.arg == "extra"), None)
                names = extra.keys if isinstance(extra, ast.Dict) else []
                fields = {
                    name.value for name in names if isinstance(name, ast.Constant) and isinstance(name.value, str)
                }
                yield message.value.replace("%s", "…"), logger, _LEVELS[attr], fields
            case _:
                pass


def test_every_warning_is_named_for_operators() -> None:
    """Each message of level warning or higher is in the table with its logger, its level and its fields, and no other is."""
    table = {
        (cells[0].strip("`"), logger): (cells[2].split(", "), set(re.findall(r"`(\w+)`", cells[3])))
        for cells in rows_of("operations.md", "Log lines")
        for logger in re.findall(r"`([a-z.]+)`", cells[1])
    }
    found = [
        line for file in sorted(ROOT.glob("service/**/*.py")) for line in logged(ast.parse(file.read_text("utf-8")))
    ]

    assert len(found) > 30
    assert {(message, logger) for message, logger, _, _ in found} == table.keys()
    for message, logger, level, fields in found:
        levels, named = table[message, logger]
        assert level in levels, message
        assert fields <= named, message


def test_links_lead_somewhere() -> None:
    """Every relative link in a document names a file, and every fragment a heading of it."""
    for page in PAGES:
        for target, fragment in re.findall(r"\]\(([^)#:]*)(?:#([^)]+))?\)", page.read_text(encoding="utf-8")):
            linked = page.parent / target if target else page
            assert linked.exists(), f"{page.name} links to {target}"
            if fragment:
                assert fragment in anchors(linked), f"{page.name} links to {target}#{fragment}"


def anchors(page: Path) -> set[str]:
    """The fragments by which GitHub and MyST link to the headings of a page."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_in_the_guide() -> None:
    """A reader finds each page of docs from its index."""
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"\]\((\w+\.md)\)", index))
    assert linked == {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"}


def test_every_threat_is_met_by_tests_that_are_there() -> None:
    """Each test that THREATS.md names exists, each row of what is defended names one, and no table of hostile input is left
    out."""
    text = (ROOT / "THREATS.md").read_text(encoding="utf-8")
    named = re.findall(r"`([a-z_/]+\.py)::(test_\w+)`", text)
    sources = {file: (ROOT / "tests" / file).read_text(encoding="utf-8") for file, _ in named}
    defended = text.split("## What is defended")[1].split("## What is not defended")[0]
    rows = [line for line in defended.splitlines() if line.startswith("| ") and not line.startswith("| threat")]

    assert [f"{file}::{name}" for file, name in named if f"def {name}(" not in sources[file]] == []
    assert [row for row in rows if "::test_" not in row] == []
    tables = {str(file.relative_to(ROOT / "tests")) for file in ROOT.glob("tests/hostile/test_*.py")}
    assert tables - sources.keys() == set()


def test_every_exception_from_a_rule_says_why() -> None:
    """A line that ruff, mypy or bandit should pass over names the rule, and after a second # the reason."""
    exception = re.compile(r"# (?:noqa|nosec|type: ignore)\b(.*)")
    reasoned = re.compile(r"(?:: [A-Z]+[0-9]+|\[[a-z-]+(?:, ?[a-z-]+)*\]| B[0-9]{3})  # \w.*")
    files = [*ROOT.glob("service/**/*.py"), *ROOT.glob(".ci/*.py"), ROOT / "gunicorn.conf.py"]
    found = [match[1] for file in files for match in exception.finditer(file.read_text(encoding="utf-8"))]

    assert len(found) > 5
    assert [rest for rest in found if reasoned.fullmatch(rest) is None] == []


@needs_curl
async def test_readme_walk_works_twice_word_for_word(tmp_path: Path) -> None:
    """The quickstart in README, run in one shell, does what it says, and does so again on the same service."""
    async with serve() as server:
        for known in (False, True):
            await walk_readme(server.port, tmp_path, known=known)


def test_shell_lines_have_no_comments() -> None:
    """No command in README and docs has a comment: an interactive zsh passes its words to the command as arguments."""
    lines = [
        line
        for page in PAGES
        for block in re.findall(r"```(?:sh|bash|shell|console)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
        for line in block.splitlines()
    ]
    assert len(lines) > 50
    assert [line for line in lines if re.search(r"(^|\s)#", re.sub(r"'[^']*'|\"[^\"]*\"", "''", line))] == []


def test_what_a_walk_leaves_is_not_committed() -> None:
    """Data files with hashes and keys, and the walk's own file, stay out of git and out of the image."""
    for name in (".gitignore", ".dockerignore"):
        patterns = {line.removeprefix("**/") for line in (ROOT / name).read_text(encoding="utf-8").splitlines()}
        assert {"roster.db*", "feed.txt"} <= patterns


@needs_curl
@pytest.mark.soak
async def test_way_from_sqlite_to_postgresql_works_word_for_word(tmp_path: Path, place: str) -> None:
    """The steps in docs/storage.md, run in one shell, each succeed, and end with a login on PostgreSQL."""
    page = (ROOT / "docs" / "storage.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", page.split("## From SQLite to PostgreSQL, step by step")[1], re.DOTALL)
    port = free_port()
    (tmp_path / "roster").write_text(f'#!/bin/sh\nexec {sys.executable} -m service "$@"\n')
    (tmp_path / "roster").chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ROSTER_")}
    environment |= {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "ROSTER_PORT": str(port),
        "ROSTER_DRAIN_SPREAD_S": "0",
    }
    script = "set -eu\n" + "\n".join(blocks).replace("127.0.0.1:8080", f"127.0.0.1:{port}")
    script = script.replace("postgresql://roster@127.0.0.1:5432/roster", place)
    shell = await asyncio.create_subprocess_exec(
        "bash", "-c", script,
        cwd=tmp_path, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    try:
        output, _ = await asyncio.wait_for(shell.communicate(), 50)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)  # the service that a failed step did not stop
    text = output.decode()

    assert shell.returncode == 0, text
    assert text.count("  users   2\n") == 3, text
    assert "kept in PostgreSQL" in text
    assert '"access_token":"' in text.rpartition("kept in PostgreSQL")[2]


async def test_token_is_checked_as_the_page_says() -> None:
    """The program in docs/auth.md, which knows Roster by its address alone, says whose a token is."""
    page = (ROOT / "docs" / "auth.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    async with serve(jwt_private_key=a_key("ES256").material, jwt_secret="") as server:
        ada = await server.member("ada")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program,
            env={"ROSTER": server.url, "TOKEN": ada.access_token},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await asyncio.wait_for(process.communicate(), 20)

    assert process.returncode == 0, output.decode()
    assert output.decode().startswith(ada.id)


@needs_curl
async def test_make_run_serves(tmp_path: Path) -> None:
    """`make run` prints once where it serves and how to get in, and answers there."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ROSTER_")}
    environment |= {"ROSTER_PORT": "0", "ROSTER_LOG_FORMAT": "json"}
    venv = sys.prefix
    # The stamp is taken as it is: the environment that runs this test has what it stands for.
    process = await asyncio.create_subprocess_exec(
        "make", "--old-file", f"{venv}/.run", f"VENV={venv}", "run",
        cwd=ROOT, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        banner = ""
        async with asyncio.timeout(20):
            while "data " not in banner:
                banner += (await process.stdout.readline()).decode()
        address = re.search(r"http://127\.0\.0\.1:\d+", banner)
        assert address is not None
        shell = await asyncio.create_subprocess_exec(
            "curl", "-s", f"{address[0]}/health/ready", stdout=asyncio.subprocess.PIPE
        )
        answer, _ = await shell.communicate()
    finally:
        process.terminate()
        await asyncio.wait_for(process.communicate(), 20)

    assert json.loads(answer) == {"status": "ok"}
    assert re.search(r"login admin +password \S{12,}", banner), banner
    assert f"{address[0]}/docs" in banner
    assert "kept in memory" in banner
