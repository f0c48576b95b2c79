"""One mail, from the store to the mail server, and what is noted of it afterwards."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, Final

from service.domain.errors import Unavailable
from service.domain.mail import delivery
from service.domain.mail.delivery import ClaimedEmail
from service.domain.mail.mail import Mail, MailRefused, SenderRefused
from service.domain.mail.templates import RenderedEmail, TemplateContext
from service.domain.ports import Clock, Mailer, Store
from service.server.tasks import Tasks
from service.telemetry.metrics import Metrics

# For the writes before and after the conversation.
_LEASE_MARGIN: Final = timedelta(minutes=1)

log = logging.getLogger("roster.mail")


class Handover:
    """Claims a mail for longer than a conversation lasts, sends it, and notes the outcome.

    Cancelling is safe: the mail is due again after the wait of a failed try.
    """

    def __init__(
        self, store: Store, mailer: Mailer, clock: Clock, head: TemplateContext, tasks: Tasks, metrics: Metrics
    ) -> None:
        self._store = store
        self._mailer = mailer
        self._clock = clock
        self._head = head
        self._tasks = tasks
        self._outcomes = metrics.mails

    async def send(self, mail: Mail) -> bool:
        """Whether the server did its part, or there was nothing to do."""
        lease = self._mailer.longest + _LEASE_MARGIN
        ready = await self._claim(mail, lease)
        if ready is None:
            return True
        if ready.letter is not None:
            return await self._hand_over(ready.mail, ready.letter)
        outcome = "needless"
        if ready.mail.expires_at <= self._clock():
            outcome = "expired"
            log.warning("email delivery failed permanently; the mail has expired", extra=_fields(ready.mail))
        await self._close(delivery.drop(self._store, ready.mail), mail, outcome)
        return True

    async def _claim(self, mail: Mail, lease: timedelta) -> ClaimedEmail | None:
        making = self._tasks.start(
            delivery.claim_and_render(self._store, self._clock, mail, self._head, lease), "write a letter"
        )
        try:
            return await asyncio.shield(making)
        except asyncio.CancelledError:
            _ = self._tasks.start(self._release_when(making), "release a mail")
            raise

    async def _release_when(self, making: asyncio.Task[ClaimedEmail | None]) -> None:
        ready = await making
        if ready is not None:
            await delivery.release(self._store, self._clock, ready.mail)

    async def _hand_over(self, mail: Mail, letter: RenderedEmail) -> bool:
        """Whether the server took a letter, or refused its recipient for good."""
        try:
            await self._mailer.send(letter)
        except MailRefused as error:
            log.warning(
                "email delivery failed permanently; the server refuses the recipient: %s", error, extra=_fields(mail)
            )
            await self._close(delivery.drop(self._store, mail), mail, "refused")
        except Unavailable as error:
            if isinstance(error, SenderRefused):
                log.error(
                    "email delivery failed; the mail server refuses this service; will retry: %s",
                    error,
                    extra=_fields(mail),
                )
            else:
                log.warning("email delivery failed; will retry: %s", error, extra=_fields(mail))
            await self._close(delivery.release(self._store, self._clock, mail), mail, "failed")
            return False
        except BaseException:  # a stop in the middle, or a fault of ours: it must not wait for the end of the claim
            _ = self._tasks.start(delivery.release(self._store, self._clock, mail), "release a mail")
            raise
        else:
            await self._close(delivery.finish(self._store, self._clock, mail), mail, "sent")
        return True

    async def _close(self, work: Coroutine[Any, Any, None], mail: Mail, outcome: str) -> None:
        await self._tasks.finish(work, "note what became of a mail")
        self._outcomes.labels(mail.kind, outcome).inc()


def _fields(mail: Mail) -> dict[str, object]:
    return {"kind": mail.kind, "tries": mail.tries}
