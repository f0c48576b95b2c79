"""One write of a store."""

from __future__ import annotations

from typing import Protocol

from service.domain.ports.api_tokens import ApiTokenWrites
from service.domain.ports.audit import AuditWrites
from service.domain.ports.events import EventWrites
from service.domain.ports.idempotency import IdempotencyWrites
from service.domain.ports.mails import MailTokenWrites, MailWrites
from service.domain.ports.second_factors import SecondFactorWrites
from service.domain.ports.sessions import SessionWrites
from service.domain.ports.users import UserWrites


class Transaction(Protocol):
    """One write: what is read is what will be changed, and all of it commits with its events or none does."""

    @property
    def users(self) -> UserWrites: ...

    @property
    def sessions(self) -> SessionWrites: ...

    @property
    def api_tokens(self) -> ApiTokenWrites: ...

    @property
    def second_factors(self) -> SecondFactorWrites: ...

    @property
    def mails(self) -> MailWrites: ...

    @property
    def mail_tokens(self) -> MailTokenWrites: ...

    @property
    def events(self) -> EventWrites: ...

    @property
    def audit(self) -> AuditWrites: ...

    @property
    def idempotency(self) -> IdempotencyWrites: ...
