"""Which password is hashed next."""

from __future__ import annotations

import asyncio
import threading

import pytest

from service.domain.errors import Unavailable
from service.security.hash_queue import HashQueue
from tests.support.wait import until


class Work:
    """Waits in its thread for `go_on`, then notes its name."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.done: list[str] = []

    def named(self, name: str) -> asyncio.Task[None]:
        return asyncio.create_task(self.queue.run(lambda: self._run(name), urgent=name.startswith("login")))

    def _run(self, name: str) -> None:
        self.go_on.wait(5)
        self.done.append(name)

    def start(self, most: int) -> None:
        self.queue = HashQueue(1, most)


async def test_logins_come_before_registrations() -> None:
    """Logins that arrive later than registrations are hashed first; every fourth start is a registration's."""
    work = Work()
    work.start(20)
    first = work.named("register 0")
    await until(lambda: work.queue._running)
    tasks = [first, *(work.named(f"register {n}") for n in (1, 2, 3)), *(work.named(f"login {n}") for n in range(5))]
    await asyncio.sleep(0)
    work.go_on.set()
    await asyncio.gather(*tasks)
    work.queue.close()

    order = [name.split()[0] for name in work.done]
    assert order == ["register", "login", "login", "register", "login", "login", "login", "register", "register"]


async def test_cancelled_work_leaves_the_queue() -> None:
    """Work whose caller is cancelled before its turn is not run and frees its place; over the bound work is refused."""
    work = Work()
    work.start(2)
    running, waiting, gone = (work.named(name) for name in ("login 1", "login 2", "login 3"))
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await work.named("login 4")
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    last = work.named("login 5")
    await asyncio.sleep(0)
    work.go_on.set()
    await asyncio.gather(running, waiting, last)
    work.queue.close()

    assert work.done == ["login 1", "login 2", "login 5"]


async def test_close_cancels_what_waits() -> None:
    """When the queue closes, callers that wait are cancelled; closing twice is safe."""
    work = Work()
    work.start(2)
    running, waiting = work.named("login 1"), work.named("login 2")
    await asyncio.sleep(0)
    work.queue.close()
    work.queue.close()

    with pytest.raises(asyncio.CancelledError):
        await waiting
    work.go_on.set()
    await running


async def test_thread_that_cannot_be_started_is_unavailable_for_that_moment(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a thread work fails with `Unavailable`, with one line in the log; it keeps no place, and later work runs."""
    work = Work()
    work.start(0)
    work.go_on.set()

    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fail)
        for _ in range(3):
            with pytest.raises(Unavailable):
                await work.named("login 1")
    await work.named("login 2")
    work.queue.close()

    assert work.done == ["login 2"]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
