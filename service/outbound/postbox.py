"""Mails on their way: asked for behind the answer, sent from the store one after the other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

from service.domain import mailing, registrations
from service.domain.errors import Refusal, Unavailable
from service.domain.letters import Letter, Letterhead
from service.domain.mail import Mail, MailRefused, SenderRefused
from service.domain.ports import Clock, Mailer, Store
from service.tasks import Tasks
from service.telemetry.metrics import Metrics

_MOST_WAITING: Final = 256
_TOGETHER: Final = 20
# A server that failed so many in a row would fail the next as well, each after its timeout.
_MOST_FAILED: Final = 3
# For the writes before and after the conversation.
_LEASE_MARGIN: Final = timedelta(minutes=1)
_LOOK_AGAIN_S: Final = 5.0
_TIDY_EVERY_S: Final = 600.0

log = logging.getLogger("roster.mail")


class Postbox:
    """Sends mails that wait in the store, those of other processes and of before a crash among them.

    A mail is sent at least once. The process that sends it has claimed it for longer than a conversation with the mail server
    lasts, so that no two do at a time; it comes due again by itself if the process dies.
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
        lease = self._mailer.longest + _LEASE_MARGIN
        making = mailing.make_ready(self._store, self._clock, mail, self._head, lease)
        ready = await self._tasks.finish(making, "write a letter")
        if ready is None:
            return True
        if ready.letter is not None:
            return await self._hand_over(ready.mail, ready.letter)
        outcome = "needless"
        if ready.mail.expires_at <= self._clock():
            outcome = "expired"
            log.warning("a mail is given up: it is too late for it", extra=_fields(mail))
        await self._close(mailing.drop(self._store, ready.mail), mail, outcome)
        return True

    async def _hand_over(self, mail: Mail, letter: Letter) -> bool:
        """Whether the server took a letter, or refused its recipient for good."""
        try:
            await self._mailer.send(letter)
        except MailRefused as error:
            log.warning("a mail is given up: the server refuses its recipient: %s", error, extra=_fields(mail))
            await self._close(mailing.drop(self._store, mail), mail, "refused")
        except Unavailable as error:
            if isinstance(error, SenderRefused):
                log.error("the mail server refuses this service; a mail waits: %s", error, extra=_fields(mail))
            else:
                log.warning("a mail waits: %s", error, extra=_fields(mail))
            await self._close(mailing.release(self._store, self._clock, mail), mail, "failed")
            return False
        except BaseException:  # a stop in the middle, or a fault of ours: it must not wait for the end of the claim
            _ = self._tasks.start(mailing.release(self._store, self._clock, mail), "release a mail")
            raise
        else:
            await self._close(mailing.finish(self._store, self._clock, mail), mail, "sent")
        return True

    async def _close(self, work: Coroutine[Any, Any, None], mail: Mail, outcome: str) -> None:
        await self._tasks.finish(work, "note what became of a mail")
        self._sent.labels(mail.kind, outcome).inc()


def _fields(mail: Mail) -> dict[str, object]:
    return {"kind": mail.kind, "tries": mail.tries}
