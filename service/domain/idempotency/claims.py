"""Idempotency keys: a request with a key runs at most once, and a repeat gets the stored response.

After draft-ietf-httpapi-idempotency-key-header. A key stands for one body of one user on one route. Only what succeeded is
kept, in the transaction of its effect: what was refused changed nothing and may be tried again.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Generic, TypeVar
from uuid import UUID

from service.domain.errors import IdempotencyKeyReused, RequestInProgress, ResponseExpired

T = TypeVar("T")

KEY_MAX: Final = 255  # characters

_Id = tuple[int, str, str]


@dataclass(frozen=True, slots=True)
class Claim:
    """The claim of a request on its key: the first claim of a key runs the request.

    Attributes:
        route: method and path, as `POST /v1/users`.
        fingerprint: HMAC of the body, so that a copy of the store does not reveal bodies.
        expires_at: until when the key is remembered, should it be new.
    """

    user_id: UUID
    route: str
    key: str
    fingerprint: bytes
    now: datetime
    expires_at: datetime

    @property
    def id(self) -> _Id:
        return self.user_id.int, self.route, self.key

    def check(self, fingerprint: bytes) -> None:
        """Raises `IdempotencyKeyReused` where the key stands for another body, which has this fingerprint."""
        if not hmac.compare_digest(self.fingerprint, fingerprint):
            raise IdempotencyKeyReused()


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """The stored response, which a repeat gets byte for byte.

    Attributes:
        body: JSON.
        subject: the user in the body; the response is deleted with that user. None without a user.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    subject: UUID | None = None


class IdempotencyKeys:
    """Makes claims, and knows which of them are being carried out in this process.

    Args:
        secret: for the fingerprints; all processes of a store share it.
        keep_s: how long a key is remembered, in seconds.
    """

    def __init__(self, secret: str, keep_s: float) -> None:
        self._secret = secret.encode()
        self._keep = timedelta(seconds=keep_s)
        self._running: set[_Id] = set()

    def claim(self, user_id: UUID, route: str, key: str, body: bytes, now: datetime) -> Claim:
        fingerprint = hmac.digest(self._secret, body, "sha256")
        return Claim(user_id, route, key, fingerprint, now, now + self._keep)

    @contextmanager
    def alone(self, claim: Claim) -> Iterator[None]:
        """Carry out one claim at a time with the same key; raises `RequestInProgress` for any other meanwhile."""
        if claim.id in self._running:
            raise RequestInProgress()
        self._running.add(claim.id)
        try:
            yield
        finally:
            self._running.discard(claim.id)


class IdempotencyStore(Generic[T]):
    """The stored responses in memory: the newest `most`, each until it expires."""

    def __init__(self, most: int) -> None:
        self._most = most
        # All are remembered equally long, so the first to expire comes first.
        self._records: dict[_Id, tuple[Claim, T | None]] = {}

    def __len__(self) -> int:
        return len(self._records)

    def find(self, claim: Claim) -> T | None:
        """The stored response; None for a new key. Raises `IdempotencyKeyReused` and `ResponseExpired`."""
        record = self._records.get(claim.id)
        if record is None or record[0].expires_at <= claim.now:
            return None
        before, done = record
        claim.check(before.fingerprint)
        if done is None:
            raise ResponseExpired()
        return done

    def keep(self, claim: Claim, done: T) -> None:
        self._records.pop(claim.id, None)
        self._records[claim.id] = (claim, done)
        # Two go for one that comes: they grow fewer, and none pays for all.
        for _ in range(2):
            oldest, (before, _) = next(iter(self._records.items()))
            if before.expires_at > claim.now and len(self._records) <= self._most:
                break
            del self._records[oldest]

    def empty(self, where: Callable[[T], bool]) -> None:
        """Go on knowing these keys, and not what was done with them."""
        for claim_id, (claim, done) in self._records.items():
            if done is not None and where(done):
                self._records[claim_id] = (claim, None)
