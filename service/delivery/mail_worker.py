"""The mail worker: requests for mails that run after the response, and the sending of due mails, a few at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final

from service.delivery.mail_handover import Handover
from service.domain.errors import DomainError, Unavailable
from service.domain.mail.mail import Mail, MailKind
from service.domain.mail.templates import TemplateContext
from service.domain.ports import Clock, Mailer, Store
from service.domain.users import registration
from service.server.tasks import Tasks
from service.telemetry.metrics import Metrics

_MOST_WAITING: Final = 256
_TOGETHER: Final = 20
# A server that failed so many in a row would fail the next as well, each after its timeout.
_MOST_FAILED: Final = 3
_PLACES: Final = 4  # conversations with the mail server at once
_LOOK_AGAIN_S: Final = 5.0
_TIDY_EVERY_S: Final = 600.0

log = logging.getLogger("roster.mail")


class MailWorker:
    """Sends mails that wait in the store, those of other processes and of before a crash among them.

    A mail is sent at least once. The process that sends it has claimed it for longer than a conversation with the mail server
    lasts, so that no two do at a time; it comes due again by itself if the process dies.
    """

    def __init__(
        self, store: Store, mailer: Mailer, clock: Clock, head: TemplateContext, tasks: Tasks, metrics: Metrics
    ) -> None:
        self._store = store
        self._clock = clock
        self._tasks = tasks
        self._handover = Handover(store, mailer, clock, head, tasks, metrics)
        self._waiting = 0
        self._wake = asyncio.Event()
        self._places = asyncio.Semaphore(_PLACES)
        self._under_way: dict[tuple[str, MailKind], asyncio.Task[None]] = {}
        self._failed = 0  # in a row, in this round

    def later(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Carry out what asks for a mail, when the caller has been answered: how long it takes tells nothing then.

        Raises `Unavailable` when too much waits already.
        """
        if self._waiting >= _MOST_WAITING:
            work.close()
            raise Unavailable(1, "Too many mails are asked for; come back in a second.")
        self._waiting += 1
        _ = self._tasks.start(self._carry_out(work, name), name)

    async def _carry_out(self, work: Coroutine[Any, Any, None], name: str) -> None:
        try:
            await work
            self.wake()
        except Exception as error:  # no caller waits for the result, so the failure is logged here
            log.error("cannot store a requested mail; it is lost: %s", error, extra={"task": name})
        finally:
            self._waiting -= 1

    def wake(self) -> None:
        """Say that a mail may wait. It is only a bell: the store is looked at every few seconds anyway."""
        self._wake.set()

    async def run(self) -> None:
        """Send due mails until cancelled. A mail that was being sent is sent again later."""
        try:
            await self._run()
        finally:
            under_way = list(self._under_way.values())
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        tidy_at = loop.time()
        while True:
            try:
                await self._send_due()
                if loop.time() >= tidy_at:
                    forgetting = registration.forget_expired(self._store, self._clock)
                    more = await self._tasks.finish(forgetting, "forget tokens")
                    tidy_at = loop.time() + (0 if more else _TIDY_EVERY_S)
            except DomainError as error:
                log.debug("mails wait: %s", error)
            except Exception:
                log.exception("cannot send mails; will retry")  # and must be tried again
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_AGAIN_S):
                    await self._wake.wait()
            self._wake.clear()

    async def _send_due(self) -> None:
        """Begin to send all that is due, each beside the others: a server that takes minutes for one must not delay the rest."""
        self._failed = 0
        while due := await self._not_under_way():
            for mail in due:
                await self._places.acquire()
                if self._failed >= _MOST_FAILED:
                    self._places.release()
                    return
                task = asyncio.create_task(self._send(mail), name="send a mail")
                self._under_way[mail.email, mail.kind] = task

    async def _not_under_way(self) -> list[Mail]:
        due = await self._store.mails.list_due(self._clock(), _TOGETHER)
        return [mail for mail in due if (mail.email, mail.kind) not in self._under_way]

    async def _send(self, mail: Mail) -> None:
        try:
            if await self._handover.send(mail):
                self._failed = 0
                self.wake()  # another of its kind may have been requested meanwhile
            else:
                self._failed += 1
        except DomainError as error:
            self._failed += 1
            log.debug("mails wait: %s", error)
        except Exception:
            self._failed += 1
            log.exception("cannot send mails; will retry")  # and must be tried again
        finally:
            del self._under_way[mail.email, mail.kind]
            self._places.release()
