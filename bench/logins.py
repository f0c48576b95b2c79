"""200 logins that wait for their turn, and what a `GET /v1/users/{id}` beside them notices of it.

Each login is that of another user, from an address of its own, and is repeated as soon as it is answered: 200 wait all the time.
What argon2 does alone, in as many threads on the same cores, is measured in turn with it.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import repeat
from statistics import median
from time import perf_counter
from typing import Final

import uvloop

from bench import needs, roster
from bench.client import Connection, Tally
from bench.cores import Cores, visiting
from bench.fetch import Client, WrongAnswer, expect
from bench.roster import Roster
from bench.rounds import Plan, compare
from bench.serve import HOST, ROOT
from bench.table import table
from bench.versions import versions

WAITING: Final = 200
PAUSE_S: Final = 0.004

_PASSWORD: Final = "correct horse battery staple"
# More places than wait, and each address counts by itself, as behind a proxy.
_SETTINGS: Final = {"ROSTER_HASH_QUEUE": "256", "ROSTER_TRUSTED_PROXIES": '["127.0.0.0/8"]'}
_LEAD_S: Final = 2.0  # all have come and the first are answered
_MARGIN_S: Final = 30


@dataclass(frozen=True, slots=True)
class Stretch:
    """The results of some seconds.

    Attributes:
        gets: of the reader.
        logins: that were answered.
    """

    gets: Tally
    logins: int
    seconds: float

    @property
    def rate(self) -> float:
        """Logins a second."""
        return self.logins / self.seconds


def run(plan: Plan, cores: Cores) -> str:
    """Measure all three in turn, and tell; raises `NotServing`, `WrongAnswer`."""
    needs.descriptors(WAITING)
    quiet: list[Stretch] = []
    beside: list[Stretch] = []
    bare: list[float] = []
    with roster.running(cores.both, further=_SETTINGS) as ours:
        logins = _members(ours)
        if plan.warmup_s:
            _stretch(ours, (), plan.warmup_s)
        for number in range(1, plan.rounds + 1):
            quiet.append(_stretch(ours, (), plan.seconds))
            beside.append(_stretch(ours, logins, plan.seconds))
            bare.append(_bare(plan.seconds, cores))
            ours.server.trim_log()
            figures = f"p99 {_p99_ms(quiet[-1]):.2f} ms, beside logins {_p99_ms(beside[-1]):.2f} ms"
            rates = f"{beside[-1].rate:.1f} logins/s, {bare[-1]:.1f} bare hashes/s"
            sys.stderr.write(f"round {number} of {plan.rounds}: {figures}; {rates}\n")
    return _report(quiet, beside, bare, plan)


def _members(ours: Roster) -> list[bytes]:
    """Make the accounts; the login of each, as bytes."""

    def make(number: int) -> bytes:
        name = f"member{number}"
        account = {"username": name, "email": f"{name}@example.com", "password": _PASSWORD}
        with closing(Client(ours.server.port)) as client:
            made = client.ask("POST", "/v1/users", ours.authorization, json.dumps(account).encode())
        expect(made, 201, "POST /v1/users")
        body = json.dumps({"login": name, "password": _PASSWORD})
        client_address = f"X-Forwarded-For: 198.18.{number // 250}.{number % 250}"
        return _bytes(ours, f"POST /v1/auth/login HTTP/1.1\r\n{client_address}\r\nContent-Type: application/json", body)

    with ThreadPoolExecutor(4) as several:
        return list(several.map(make, range(WAITING)))


def _bytes(ours: Roster, head: str, body: str = "") -> bytes:
    length = f"\r\nContent-Length: {len(body)}" if body else ""
    return f"{head}\r\nHost: {HOST}:{ours.server.port}{length}\r\n\r\n{body}".encode("ascii")


def _stretch(ours: Roster, logins: Sequence[bytes], seconds: int) -> Stretch:
    """Read for so long, beside these logins; raises `WrongAnswer` if any of it fails."""
    (bearer,) = ours.authorization.values()
    get = _bytes(ours, f"GET /v1/users/{ours.user['id']} HTTP/1.1\r\nAuthorization: {bearer}")
    stretch = uvloop.run(_load(ours.server.port, get, logins, seconds))
    ours.server.check_running()
    return stretch


async def _load(port: int, get: bytes, logins: Sequence[bytes], seconds: int) -> Stretch:
    loop = asyncio.get_running_loop()
    gets, entered = Tally(), Tally()
    opened: list[Connection] = []

    async def connect(requests: Iterator[bytes], tally: Tally, pause_s: float = 0.0) -> None:
        _, connection = await loop.create_connection(lambda: Connection(requests, tally, pause_s), HOST, port)
        opened.append(connection)

    try:
        for login in logins:
            await connect(repeat(login), entered)
        if logins:
            await asyncio.sleep(_LEAD_S)
        began_at, before = perf_counter(), len(entered.latencies_s)
        await connect(repeat(get), gets, PAUSE_S)
        await asyncio.sleep(seconds)
        ended_at, after = perf_counter(), len(entered.latencies_s)
    finally:
        for connection in opened:
            connection.stop()
    if gets.failures or entered.failures:
        raise WrongAnswer(f"{gets.failures} reads and {entered.failures} logins were not answered as they must be")
    return Stretch(gets, after - before, ended_at - began_at)


def _bare(seconds: int, cores: Cores) -> float:
    command = [sys.executable, "-m", "bench.bare_hash", str(seconds)]
    with visiting(cores.both):
        hashing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds + _MARGIN_S)
    if hashing.returncode != 0:
        raise WrongAnswer(f"bench.bare_hash: {hashing.stderr.strip()}")
    return float(hashing.stdout)


def _p99_ms(stretch: Stretch) -> float:
    return stretch.gets.percentile_s(99) * 1e3


def _p50_ms(stretch: Stretch) -> float:
    return stretch.gets.percentile_s(50) * 1e3


def _report(quiet: Sequence[Stretch], beside: Sequence[Stretch], bare: Sequence[float], plan: Plan) -> str:
    rows = [
        (name, f"{median(map(_p50_ms, stretches)):.2f}", f"{median(map(_p99_ms, stretches)):.2f}", rate)
        for name, stretches, rate in (
            ("none", quiet, ""),
            (f"{WAITING}", beside, f"{median(stretch.rate for stretch in beside):.1f}"),
        )
    ]
    slower = compare(list(map(_p99_ms, beside)), list(map(_p99_ms, quiet)))
    share = compare([stretch.rate for stretch in beside], bare)
    return "\n\n".join(
        (
            f"GET /v1/users/{{id}} every {PAUSE_S * 1e3:.0f} ms, alone and while {WAITING} logins wait\n"
            f"rounds of {plan.seconds} s in turn, median of {plan.rounds}; server, load and argon2 on the same cores\n"
            f"{versions('aiohttp', 'uvloop', 'argon2-cffi')}",
            table(("logins that wait", "GET p50 ms", "GET p99 ms", "logins/s"), rows),
            f"argon2 alone: {median(bare):.1f} hashes/s",
            f"{WAITING}/none GET p99  {slower.middle:.2f}   ({slower.low:.2f} to {slower.high:.2f})\n"
            f"logins/hashes  {share.middle:.2f}   ({share.low:.2f} to {share.high:.2f})",
        )
    )
