"""Refused logins cost the same, so that the time they take does not tell whether an account is there (ASVS 6.3.8)."""

from __future__ import annotations

import random
import statistics
import time
from collections import defaultdict

import pytest

from service.security.argon2_hasher import Argon2Hasher
from tests.support.figures import Tell
from tests.support.places import KINDS
from tests.support.server import PASSWORD, Server, serve

# Login and password; the accounts are made below.
REFUSED = {
    "unknown": ("absent", PASSWORD),
    "unknown address": ("absent@example.com", PASSWORD),
    "wrong password": ("ada", "wrong"),
    "no password": ("bare", PASSWORD),
    "inactive": ("idle", PASSWORD),
    "inactive, wrong password": ("idle", "wrong"),
}
TRIES = 200
ROUNDS = 3


class CountingHasher(Argon2Hasher):
    """Hashes in no time, and knows how often."""

    def __init__(self) -> None:
        super().__init__(workers=1, memory_kib=64)
        self.work: list[str] = []

    async def hash(self, password: str) -> str:
        self.work.append("hash")
        return await super().hash(password)

    async def verify(self, password_hash: str | None, password: str) -> bool:
        self.work.append("verify")
        return await super().verify(password_hash, password)


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def settle(server: Server) -> None:
    """Make an account for each reason to be refused."""
    admin = await server.admin()
    await server.member("ada")
    idle = await server.member("idle")
    await server.json("PATCH", f"/v1/users/{idle.id}", admin, json={"active": False})
    await server.json("POST", "/v1/users", admin, status=201, json={"username": "bare", "email": "bare@example.com"})


async def refuse(server: Server, kind: str) -> float:
    """Be refused; how long that took, in seconds."""
    login, password = REFUSED[kind]
    began = time.perf_counter()
    async with server.request("POST", "/v1/auth/login", json={"login": login, "password": password}) as answer:
        await answer.read()
    took = time.perf_counter() - began
    assert answer.status == 401
    return took


async def test_refused_login_costs_one_hash(store_url: str) -> None:
    """Whatever a login is refused for, one password is looked at and none is hashed."""
    hasher = CountingHasher()
    async with serve(store_url=store_url, hasher=hasher) as server:
        await settle(server)
        work = {}
        for reason in REFUSED:
            hasher.work.clear()
            await refuse(server, reason)
            work[reason] = hasher.work[:]

    assert work == {reason: ["verify"] for reason in REFUSED}


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_refused_logins_take_the_same_time(store_url: str, kind: str, tell: Tell) -> None:
    """Of 200 tries for each reason, in random order and with the hashes of production, the medians lie within a tenth of
    each other. A busy machine may be in the way of one round; a difference that is ours is there in all three."""
    async with serve(store_url=store_url, hasher=Argon2Hasher(workers=1)) as server:
        await settle(server)
        for _ in range(ROUNDS):
            took: dict[str, list[float]] = defaultdict(list)
            tries = [reason for reason in REFUSED for _ in range(TRIES)]
            random.shuffle(tries)
            for reason in tries:
                took[reason].append(await refuse(server, reason))
            medians = {reason: statistics.median(times) * 1000 for reason, times in took.items()}
            spread = max(medians.values()) / min(medians.values()) - 1
            said = ", ".join(f"{reason} {medians[reason]:.2f}" for reason in REFUSED)
            tell(f"{kind}: {said} ms; {100 * spread:.1f} % apart")
            if spread <= 0.1:
                return
    pytest.fail("the medians lie further apart than a tenth in every round")
