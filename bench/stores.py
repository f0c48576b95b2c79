"""Roster on each of its stores: one user, new users, and lists of many, at their beginning and deep within."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench import roster
from bench.cores import Cores
from bench.fetch import Client, Target, WrongAnswer, expect
from bench.load import CONNECTIONS, CREATING
from bench.postgres import postgres
from bench.roster import Roster
from bench.rounds import Contender, Plan, Ratio, race, ratio
from bench.table import table
from bench.versions import versions

USERS: Final = 100_000
_PAGE: Final = 20
_DEEP: Final = 5_000
_WIDEST: Final = 100
_AT_ONCE: Final = 10_000  # lines of one import
_NEW: Final = '{"username":"u%","email":"u%@example.com"}'


@dataclass(frozen=True, slots=True)
class Store:
    """One of the three, with a Roster on it."""

    letter: str
    name: str
    roster: Roster
    deep: str

    def contender(self, path: str, body: str | None = None) -> Contender:
        target = Target(self.roster.server.port, path, self.roster.authorization, body)
        return Contender(self.letter, self.name, self.roster.server, target)


def run(plan: Plan, cores: Cores) -> str:
    """Fill the three, race them, and tell; raises `NotServing`, `WrongAnswer`."""
    with ExitStack() as stack:
        stores = [_filled(*one) for one in _running(stack, cores)]
        reads = _race("one user", [store.contender(f"/v1/users/{store.roster.user['id']}") for store in stores], plan)
        firsts = _race("first page", [store.contender(f"/v1/users?limit={_PAGE}") for store in stores], plan)
        deeps = _race(f"page {_DEEP:,}", [store.contender(store.deep) for store in stores], plan)
        creations = _race("new users", [store.contender("/v1/users", _NEW) for store in stores], plan)
    blocks = [
        f"one worker on each store, {USERS:,} users; a commit waits for the disk (synchronous=FULL, fsync=on)\n"
        f"load by {plan.tool}, rounds of {plan.seconds} s in turn, median of {plan.rounds}; {cores}\n"
        f"{versions('aiohttp', 'SQLAlchemy', 'asyncpg')}",
        _table(f"GET /v1/users/{{id}}, {CONNECTIONS} connections", reads),
        _table(f"POST /v1/users without a password, {CREATING} connections", creations),
        _table(f"GET /v1/users?limit={_PAGE}, first page", firsts),
        _table(f"GET /v1/users?limit={_PAGE}&cursor=…, page {_DEEP:,}", deeps),
        "\n".join(
            f"({deep.letter}) page {_DEEP:,} / first page  {_told(ratio(deep, first))}"
            for deep, first in zip(deeps, firsts, strict=True)
        ),
    ]
    return "\n\n".join(blocks)


def _running(stack: ExitStack, cores: Cores) -> Iterator[tuple[str, str, Roster]]:
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="roster-bench-")))
    urls = {
        "memory": "memory://",
        "SQLite": f"sqlite:///{folder / 'roster.db'}",
        "PostgreSQL": stack.enter_context(postgres()),
    }
    for letter, (name, url) in zip("abc", urls.items(), strict=True):
        running = roster.running(cores.server, store_url=url, name=f"Roster on {name}")
        yield letter, name, stack.enter_context(running)


def _filled(letter: str, name: str, running: Roster) -> Store:
    """Import the users, and walk to where the deep page begins."""
    client = Client(running.server.port)
    try:
        headers = {**running.authorization, "Content-Type": "application/x-ndjson"}
        for start in range(0, USERS, _AT_ONCE):
            body = "\n".join(_line(number) for number in range(start, start + _AT_ONCE)).encode()
            answer = expect(client.ask("POST", "/v1/users/import", headers, body), 200, f"{name}: import")
            if json.loads(answer.body.splitlines()[0])["created"] != _AT_ONCE:
                raise WrongAnswer(f"{name}: import: {answer.body[:300]!r}")
        cursor = ""
        for _ in range((_DEEP - 1) * _PAGE // _WIDEST):
            path = f"/v1/users?limit={_WIDEST}{cursor}"
            page = expect(client.ask("GET", path, running.authorization), 200, f"{name}: {path}").json()
            cursor = f"&cursor={page['next']}"
    finally:
        client.close()
    return Store(letter, name, running, f"/v1/users?limit={_PAGE}{cursor}")


def _line(number: int) -> str:
    return json.dumps({"username": f"user{number}", "email": f"user{number}@example.com"})


def _race(what: str, contenders: Sequence[Contender], plan: Plan) -> Sequence[Contender]:
    sys.stderr.write(f"{what}\n")
    race(contenders, plan)
    return contenders


def _table(title: str, contenders: Sequence[Contender]) -> str:
    rows = [
        (
            f"({each.letter}) {each.name}",
            f"{each.median(lambda sample: sample.rate):,.0f}",
            f"{each.median(lambda sample: sample.p50_ms):.2f}",
            f"{each.median(lambda sample: sample.p99_ms):.2f}",
            "" if each is contenders[0] else _told(ratio(each, contenders[0])),
            f"{each.failures} failures" if each.failures else "",
        )
        for each in contenders
    ]
    return table((title, "requests/s", "p50 ms", "p99 ms", "of memory", ""), rows)


def _told(times: Ratio) -> str:
    return f"{times.middle:.2f} ({times.low:.2f} to {times.high:.2f})"
