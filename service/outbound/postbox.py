"""Mails on their way: asked for behind the answer, sent from the store one after the other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final

from service.domain import mailing, registrations
from service.domain.errors import Refusal, Unavailable
from service.domain.letters import Letterhead
from service.domain.mail import Mail, MailRefused
from service.domain.ports import Clock, Mailer, Store
from service.tasks import Tasks
from service.telemetry.metrics import Metrics

_MOST_WAITING: Final = 256
_TOGETHER: Final = 20
# A server that failed so many in a row would fail the next as well, each after its timeout.
_MOST_FAILED: Final = 3
_LOOK_AGAIN_S: Final = 5.0
_TIDY_EVERY_S: Final = 600.0

log = logging.getLogger("roster.mail")


class Postbox:
    """Sends mails that wait in the store, those of other processes and of before a crash among them.

    A mail is sent at least once. Who sends it has claimed it, so that no two do at a time; it comes due again by itself.
    """

    def __init__(
        self, store: Store, mailer: Mailer, clock: Clock, head: Letterhead, tasks: Tasks, metrics: Metrics
    ) -> None:
        self._store = store
        self._mailer = mailer
        self._clock = clock
        self._head = head
        self._tasks = tasks
        self._sent = metrics.mails
        self._waiting = 0
        self._wake = asyncio.Event()

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
            self.ring()
        except Exception as error:  # nobody waits for it, so it must be heard of here
            log.error("a mail that was asked for is lost: %s", error, extra={"task": name})
        finally:
            self._waiting -= 1

    def ring(self) -> None:
        """Say that a mail may wait. It is only a bell: the store is looked at every few seconds anyway."""
        self._wake.set()

    async def run(self) -> None:
        """Send what is due, until cancelled. What it was sending then is sent again."""
        loop = asyncio.get_running_loop()
        tidy_at = loop.time()
        while True:
            try:
                await self._send_due()
                if loop.time() >= tidy_at:
                    forgetting = registrations.forget_expired(self._store, self._clock)
                    more = await self._tasks.finish(forgetting, "forget tokens")
                    tidy_at = loop.time() + (0 if more else _TIDY_EVERY_S)
            except Refusal as error:
                log.debug("mails wait: %s", error)
            except Exception:
                log.exception("mails cannot be sent")  # and must be tried again
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_AGAIN_S):
                    await self._wake.wait()
            self._wake.clear()

    async def _send_due(self) -> None:
        failed = 0
        while due := await self._store.due_mails(self._clock(), _TOGETHER):
            for mail in due:
                failed = 0 if await self._send(mail) else failed + 1
                if failed >= _MOST_FAILED:
                    return

    async def _send(self, mail: Mail) -> bool:
        """Whether the server did its part, or there was nothing to do."""
        making = mailing.make_ready(self._store, self._clock, mail, self._head)
        ready = await self._tasks.finish(making, "write a letter")
        if ready is None:
            return True
        outcome = "needless"
        extra = {"kind": mail.kind, "tries": ready.mail.tries}
        if ready.letter is not None:
            try:
                await self._mailer.send(ready.letter)
                outcome = "sent"
            except MailRefused as error:
                outcome = "refused"
                log.warning("a mail is given up: %s", error, extra=extra)
            except Unavailable as error:
                self._sent.labels(mail.kind, "failed").inc()
                log.warning("a mail waits: %s", error.__cause__ or error, extra=extra)
                return False
        elif ready.mail.expires_at <= self._clock():
            outcome = "expired"
            log.warning("a mail is given up: it is too late for it", extra=extra)
        await self._tasks.finish(mailing.drop(self._store, ready.mail), "drop a mail")
        self._sent.labels(mail.kind, outcome).inc()
        return True
