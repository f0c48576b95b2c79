"""Tasks that have an owner."""

from __future__ import annotations

import asyncio
import logging

import pytest

from service.server.tasks import Tasks
from tests.support.wait import until


@pytest.fixture
def tasks() -> Tasks:
    return Tasks()


async def test_work_that_is_finished_is_answered(tasks: Tasks) -> None:
    """The caller gets what the work returned, or what it raised."""

    async def work() -> str:
        return "done"

    async def fails() -> None:
        raise ValueError("no")

    assert await tasks.finish(work(), "work") == "done"
    with pytest.raises(ValueError, match="no"):
        await tasks.finish(fails(), "fails")


async def test_work_goes_on_when_its_caller_leaves(tasks: Tasks) -> None:
    """A caller that is cancelled at once hears of it at once; what it began is brought to its end."""
    gate, done = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await gate.wait()
        done.set()

    caller = asyncio.create_task(tasks.finish(work(), "work"))
    await until(lambda: "work" in {task.get_name() for task in asyncio.all_tasks()})
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert not done.is_set()

    gate.set()
    await until(done.is_set)


async def test_failure_of_a_task_without_a_waiter_is_logged(tasks: Tasks, caplog: pytest.LogCaptureFixture) -> None:
    """When the caller has left, a failure of what it began stands in the log."""
    gate = asyncio.Event()

    async def fails() -> None:
        await gate.wait()
        raise ValueError("the disk is full")

    caller = asyncio.create_task(tasks.finish(fails(), "write it"))
    await until(lambda: "write it" in {task.get_name() for task in asyncio.all_tasks()})
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    with caplog.at_level(logging.WARNING, "roster.tasks"):
        gate.set()
        await until(lambda: caplog.records)

    assert "the disk is full" in caplog.text
    assert caplog.records[0].__dict__["task"] == "write it"


async def test_close_waits_for_what_runs(tasks: Tasks) -> None:
    """Closing waits until what was begun has ended, and returns then."""
    gate = asyncio.Event()
    done = []

    async def work() -> None:
        await gate.wait()
        done.append("work")

    task = tasks.start(work(), "work")
    closing = asyncio.create_task(tasks.close(timeout_s=5))
    await asyncio.sleep(0)
    gate.set()
    await closing

    assert task.done()
    assert done == ["work"]


async def test_close_ends_what_does_not(tasks: Tasks, caplog: pytest.LogCaptureFixture) -> None:
    """A task that does not end in time is cancelled, named in the log, and has ended when closing returns."""
    task = tasks.start(asyncio.Event().wait(), "stuck")
    with caplog.at_level(logging.WARNING, "roster.tasks"):
        await tasks.close(timeout_s=0.01)

    assert task.cancelled()
    assert [record.__dict__["task"] for record in caplog.records] == ["stuck"]


async def test_closing_nothing_returns_at_once(tasks: Tasks) -> None:
    """There need not be anything to wait for; closing twice is harmless."""
    await tasks.close(timeout_s=5)
    await tasks.close(timeout_s=5)
