"""The store: what it holds, in groups, and how to change it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from service.domain.audit import AuditSource
from service.domain.events.event import Event
from service.domain.ports.api_tokens import ApiTokenReads
from service.domain.ports.audit import AuditReads
from service.domain.ports.events import EventReads
from service.domain.ports.keys import Secrets, SigningKeys
from service.domain.ports.mails import MailReads, MailTokenReads
from service.domain.ports.results import Written
from service.domain.ports.second_factors import SecondFactorReads
from service.domain.ports.sessions import SessionReads, Tickets
from service.domain.ports.transaction import Transaction
from service.domain.ports.users import UserReads

T = TypeVar("T")


class TransactionRunner(Protocol):
    """The part of a store that use cases need which only write."""

    async def write(self, work: Callable[[Transaction], Awaitable[T]], by: AuditSource) -> Written[T]:
        """Run `work` and commit what it did; if it raises, nothing happened and the exception passes through.

        The audit entry names `by` as its source.
        """


class Store(TransactionRunner, Protocol):
    """Users, sessions and the log of what happened to them.

    Reads may be cancelled at any point. A `write` that was begun is carried out whole or not at all; the caller
    runs it shielded, so that a client that goes away does not leave the question open.
    """

    @property
    def users(self) -> UserReads: ...

    @property
    def sessions(self) -> SessionReads: ...

    @property
    def tickets(self) -> Tickets: ...

    @property
    def api_tokens(self) -> ApiTokenReads: ...

    @property
    def second_factors(self) -> SecondFactorReads: ...

    @property
    def mails(self) -> MailReads: ...

    @property
    def mail_tokens(self) -> MailTokenReads: ...

    @property
    def events(self) -> EventReads: ...

    @property
    def audit(self) -> AuditReads: ...

    @property
    def secrets(self) -> Secrets: ...

    @property
    def signing_keys(self) -> SigningKeys: ...

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def is_healthy(self) -> bool:
        """Whether reads and writes can be expected to work now; answers within a second."""

    def add_commit_listener(self, listener: Callable[[Sequence[Event]], None]) -> None:
        """Call `listener` with the events of each commit made here, before any of its writes returns.

        The events are empty where another process has committed. It is only a notification: readers of the log poll
        it as well.
        """
