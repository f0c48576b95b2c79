"""Idempotency keys, and their store in memory."""

from __future__ import annotations

import hashlib
import uuid

import pytest

from service.domain.errors import IdempotencyKeyReused, RequestInProgress, ResponseExpired
from service.domain.idempotency.claims import Claim, IdempotencyKeys, IdempotencyStore
from tests.support.clock import ManualClock

USER = uuid.uuid4()


def a_claim(clock: ManualClock, key: str = "k", body: bytes = b"{}", *, secret: str = "s") -> Claim:
    return IdempotencyKeys(secret, 10).claim(USER, "POST /v1/users", key, body, clock())


def test_fingerprint_is_nothing_to_try_bodies_with() -> None:
    """It is the same for the same body alone, and differs with the secret, which a stolen database does not tell."""
    clock = ManualClock()
    claim = a_claim(clock)

    assert claim.fingerprint == a_claim(clock, "other").fingerprint
    assert claim.fingerprint != a_claim(clock, body=b"{} ").fingerprint
    assert claim.fingerprint != a_claim(clock, secret="t").fingerprint
    assert claim.fingerprint != hashlib.sha256(b"{}").digest()
    assert len(claim.fingerprint) == 32


def test_one_at_a_time_runs_with_a_key() -> None:
    """A concurrent repeat gets a retry time; another key, user or route is free, and so is the key afterwards."""
    keys, clock = IdempotencyKeys("s", 10), ManualClock()
    claim = keys.claim(USER, "POST /v1/users", "k", b"", clock())
    others = [
        keys.claim(USER, "POST /v1/users", "l", b"", clock()),
        keys.claim(USER, "POST /v1/others", "k", b"", clock()),
        keys.claim(uuid.uuid4(), "POST /v1/users", "k", b"", clock()),
    ]
    with keys.alone(claim):
        for other in others:
            with keys.alone(other):
                pass
        with (
            pytest.raises(RequestInProgress) as refused,
            keys.alone(keys.claim(USER, "POST /v1/users", "k", b"x", clock())),
        ):
            raise AssertionError("not alone")
        assert refused.value.retry_after_s > 0
    with pytest.raises(ZeroDivisionError), keys.alone(claim):
        raise ZeroDivisionError
    with keys.alone(claim):
        pass


def test_record_is_found_until_it_expires() -> None:
    """To the same body alone, and not a moment longer than it is kept."""
    records, clock = IdempotencyStore[str](10), ManualClock()
    assert records.find(a_claim(clock)) is None
    records.keep(a_claim(clock), "done")

    clock.advance(9.999)
    assert records.find(a_claim(clock)) == "done"
    assert records.find(a_claim(clock, "other")) is None
    with pytest.raises(IdempotencyKeyReused):
        records.find(a_claim(clock, body=b"[]"))
    clock.advance(0.001)
    assert records.find(a_claim(clock, body=b"[]")) is None


def test_records_are_the_newest() -> None:
    """Above the limit the oldest are removed; a key that is stored again is new; expired ones are removed two at a time."""
    records, clock = IdempotencyStore[int](3), ManualClock()
    for number in range(5):
        records.keep(a_claim(clock, str(number)), number)
    assert [records.find(a_claim(clock, str(number))) for number in range(5)] == [None, None, 2, 3, 4]

    clock.advance(10)
    records.keep(a_claim(clock, "2"), 22)
    assert len(records) == 1
    assert records.find(a_claim(clock, "2")) == 22


def test_emptied_record_still_keeps_its_key() -> None:
    """An expired response is not returned, and the request does not run again."""
    records, clock = IdempotencyStore[int](3), ManualClock()
    records.keep(a_claim(clock, "one"), 1)
    records.keep(a_claim(clock, "two"), 2)
    records.empty(lambda done: done == 1)

    with pytest.raises(ResponseExpired):
        records.find(a_claim(clock, "one"))
    with pytest.raises(IdempotencyKeyReused):
        records.find(a_claim(clock, "one", b"[]"))
    assert records.find(a_claim(clock, "two")) == 2
