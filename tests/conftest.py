"""Fixtures of every test: a running service, and a check that nothing is left over."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import sys
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import hypothesis
import pytest

from tests.support.drawn import examples
from tests.support.figures import Tell
from tests.support.places import KINDS, LASTING, NewPlace
from tests.support.postgres import create_database, shared_postgres
from tests.support.programs import require_programs
from tests.support.server import Server, serve
from tests.support.templates import PostgresTemplate, SqliteTemplate

# How long an example takes says something about the machine, and nothing about the code.
hypothesis.settings.register_profile("roster", examples(100), deadline=None)
hypothesis.settings.load_profile("roster")


def pytest_itemcollected(item: pytest.Item) -> None:
    if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
        item.add_marker("drawn")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the collector away from modules and tests, which last as long as the run; it would walk through them hundreds of times."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(trylast=True)  # when what is left out has gone
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Deal the files to the processes of the run, those that may take long before the others.

    xdist gives each process an equal part of the list. One that gets all the long ones would still run them when the others have
    nothing left to take over.
    """
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)

    def is_quick(file: list[pytest.Item]) -> bool:
        return not any(item.get_closest_marker(name) for item in file for name in ("timeout", "gunicorn", "browser"))

    hands: list[list[pytest.Item]] = [[] for _ in range(int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))]
    for file in sorted(files.values(), key=is_quick):
        min(hands, key=len).extend(file)
    items[:] = [item for hand in hands for item in hand]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep nothing that a passed test wrote: each process would send it to the one that collects the results."""
    report = yield
    if report.passed:
        report.sections.clear()
    return report


def pytest_runtest_setup(item: pytest.Item) -> None:
    """`@pytest.mark.proxy("nginx")`: skip where the program is not installed; under CI fail."""
    for marker in item.iter_markers("proxy"):
        require_programs(*marker.args)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A running service with the settings of tests. For other settings: `async with serve(sse_keepalive_s=0.05) as server`."""
    async with serve() as running:
        yield running


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[str]:
    """A database of this process's own, on a PostgreSQL for all tests of a run, started when the first one asks for it."""
    folder = tmp_path_factory.getbasetemp()
    with shared_postgres(folder if worker_id == "master" else folder.parent) as url:
        yield create_database(url, worker_id)


@pytest.fixture(scope="session")
def postgres_template(postgres_url: str) -> PostgresTemplate:
    return PostgresTemplate(postgres_url)


@pytest.fixture(scope="session")
def new_place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> NewPlace:
    """Makes the URL of a new store: `await new_place("sqlite")`, `await new_place("postgres", empty=True)`."""
    numbers = itertools.count(1)
    in_file = SqliteTemplate(tmp_path_factory.mktemp("template") / "roster.db")

    async def make(kind: str, *, empty: bool = False) -> str:
        if kind == "memory":
            return "memory://"
        if kind == "sqlite":
            path = tmp_path_factory.mktemp("place") / "roster.db"
            if not empty:
                in_file.copy(path)
            return f"sqlite:///{path}"
        url, schema = request.getfixturevalue("postgres_url"), f"data{next(numbers)}"
        if not empty:
            template: PostgresTemplate = request.getfixturevalue("postgres_template")
            return await template.copy(schema)
        # A schema takes a tenth of the time of a database.
        connection = await asyncpg.connect(url)
        await connection.execute(f"CREATE SCHEMA {schema}")
        await connection.close()
        return f"{url}?search_path={schema}"

    return make


@asynccontextmanager
async def _borrowed(kind: str, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """A store of a kind, which belongs to later tests after this one."""
    if kind == "postgres":
        template: PostgresTemplate = request.getfixturevalue("postgres_template")
        place = await template.take()
        yield place
        template.give_back(place)
    else:
        new_place: NewPlace = request.getfixturevalue("new_place")
        yield await new_place(kind)


@pytest.fixture
async def place(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """A store in PostgreSQL, with nothing in its tables, which a test leaves as they are."""
    async with _borrowed("postgres", request) as place:
        yield place


@pytest.fixture
async def own_place(new_place: NewPlace) -> str:
    """A store in PostgreSQL whose tables the test may change: no later test has it."""
    return await new_place("postgres")


@pytest.fixture
async def empty_place(new_place: NewPlace) -> str:
    """A place in PostgreSQL without tables."""
    return await new_place("postgres", empty=True)


@pytest.fixture(params=["memory", *(pytest.param(kind, marks=pytest.mark.soak) for kind in LASTING)])
async def store_url(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """A new store. In memory; of each kind in `make soak`, for the stores keep one contract, which has tests of its own."""
    async with _borrowed(request.param, request) as place:
        yield place


@pytest.fixture(params=KINDS)
async def each_store_url(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """A new store of each kind: for what two do at once, which no contract of one store at a time shows."""
    async with _borrowed(request.param, request) as place:
        yield place


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Tell:
    def write(line: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n    {line}")
            sys.stdout.flush()

    return write


@pytest.fixture(scope="session")
async def _loop() -> asyncio.AbstractEventLoop:
    """The loop of all tests."""
    return asyncio.get_running_loop()


# No coroutine itself: two turns of the loop take longer than most tests.
@pytest.fixture(autouse=True)
def _nothing_left_over(_loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Every task that a test started has ended with it."""
    before = asyncio.all_tasks(_loop)
    yield
    if asyncio.all_tasks(_loop) - before:
        _loop.run_until_complete(_require_end_of_tasks(before))


async def _require_end_of_tasks(before: set[asyncio.Task[Any]]) -> None:
    left = before
    for _ in range(50):
        left = asyncio.all_tasks() - before - {asyncio.current_task()}
        if not left:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"tasks left over: {left}")
