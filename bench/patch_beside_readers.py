"""`PATCH /v1/users/{id}` while 1,000 members each have their own feed open, compared with the same without readers.

The user that is changed is one of the members: its feed must bring every change, once, in order, and no other feed may bring
anything.
"""

from __future__ import annotations

import json
import re
import secrets
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Final

from bench import needs, roster
from bench.cores import Cores
from bench.fetch import Client, Target, WrongAnswer, expect
from bench.held import Stream, held
from bench.needs import LeftOut
from bench.roster import Roster
from bench.rounds import Plan, compare
from bench.table import table
from bench.versions import versions

MEMBERS: Final = 1_000

_CHANGED: Final = re.compile(rb'"name":"change ([0-9]+)"')
_EVENT: Final = b"event: user."


@dataclass(frozen=True, slots=True)
class Member:
    id: str
    feed: Target


@dataclass(frozen=True, slots=True)
class Stretch:
    """Changes made one after another for some seconds.

    Attributes:
        cpu_s: processor time of the server.
    """

    latencies_s: list[float]
    seconds: float
    cpu_s: float

    @property
    def rate(self) -> float:
        return len(self.latencies_s) / self.seconds

    @property
    def cpu_us(self) -> float:
        """Processor time of the server for one change, in microseconds."""
        return self.cpu_s / len(self.latencies_s) * 1e6

    @property
    def p50_ms(self) -> float:
        return median(self.latencies_s) * 1e3


def run(plan: Plan, cores: Cores) -> str:
    """Measure both in turn, and tell; raises `LeftOut`, `NotServing`, `WrongAnswer`."""
    needs.descriptors(MEMBERS)
    alone: list[Stretch] = []
    beside: list[Stretch] = []
    with (
        roster.running(cores.server, module="bench.servers.roster_cheap_hash") as ours,
        closing(Client(ours.server.port)) as client,
    ):
        members = [_member(client, ours, number) for number in range(MEMBERS)]
        sys.stderr.write(f"{MEMBERS:,} members are there\n")
        if plan.warmup_s:
            _change(client, ours, members[0], plan.warmup_s)
        for number in range(1, plan.rounds + 1):
            alone.append(_change(client, ours, members[0], plan.seconds))
            with held([member.feed for member in members], websocket=False, sign=b"event: hello") as feeds:
                beside.append(_change(client, ours, members[0], plan.seconds, feeds))
            ours.server.trim_log()
            figures = f"alone {alone[-1].cpu_us:.0f} µs, beside readers {beside[-1].cpu_us:.0f} µs"
            sys.stderr.write(f"round {number} of {plan.rounds}: {figures}\n")
    return _report(alone, beside, plan, cores)


def _member(client: Client, ours: Roster, number: int) -> Member:
    """Make an account and log it in."""
    name, password = f"member{number}", secrets.token_urlsafe(12)
    account = {"username": name, "email": f"{name}@example.com", "password": password}
    login = {"login": name, "password": password}
    made = client.ask("POST", "/v1/users", ours.authorization, json.dumps(account).encode())
    user = expect(made, 201, "POST /v1/users").json()
    known = client.ask("POST", "/v1/auth/login", {}, json.dumps(login).encode())
    token = expect(known, 200, "login of a member").json()["access_token"]
    return Member(user["id"], Target(ours.server.port, "/v1/feed", {"Authorization": f"Bearer {token}"}))


def _change(client: Client, ours: Roster, member: Member, seconds: int, feeds: Sequence[Stream] = ()) -> Stretch:
    """Change a user for so long, one change after the other, and see that the feeds, of which the first is its own, agree."""
    path = f"/v1/users/{member.id}"
    latencies_s: list[float] = []
    seen: list[bytes] = []
    cpu_before, began_at = ours.server.cpu_s, perf_counter()
    until = began_at + seconds
    while (sent_at := perf_counter()) < until:
        # Never the same name twice in a row: a change that changes nothing writes nothing.
        body = b'{"name":"change %d"}' % len(latencies_s)
        answer = client.ask("PATCH", path, ours.authorization, body)
        latencies_s.append(perf_counter() - sent_at)
        expect(answer, 200, "PATCH")
        if feeds:
            seen.append(feeds[0].take())
    ended_at, cpu_after = perf_counter(), ours.server.cpu_s
    ours.server.check_running()
    if cpu_before is None or cpu_after is None:
        raise LeftOut("the system does not tell what processor time a process has used")
    if feeds:
        _check(feeds, b"".join(seen), len(latencies_s))
    return Stretch(latencies_s, ended_at - began_at, cpu_after - cpu_before)


def _check(feeds: Sequence[Stream], seen: bytes, changes: int) -> None:
    """Raise `WrongAnswer` unless the first feed brought each change in its turn, and the others nothing."""
    own, *others = feeds
    last = b'"name":"change %d"' % (changes - 1)
    own.received = seen
    own.wait_for(last)
    brought = [int(number) for number in _CHANGED.findall(own.take())]
    if brought != list(range(changes)):
        raise WrongAnswer(f"the feed brought {len(brought):,} of {changes:,} changes, or not in their order")
    for feed in others:
        if _EVENT in (received := feed.take()):
            raise WrongAnswer(f"a feed brought an event of another user: {received[-300:]!r}")


def _report(alone: Sequence[Stretch], beside: Sequence[Stretch], plan: Plan, cores: Cores) -> str:
    rows = [
        (
            name,
            f"{median(stretch.cpu_us for stretch in stretches):,.0f}",
            f"{median(stretch.rate for stretch in stretches):,.0f}",
            f"{median(stretch.p50_ms for stretch in stretches):.2f}",
        )
        for name, stretches in (("none", alone), (f"{MEMBERS:,}", beside))
    ]
    cost = compare([stretch.cpu_us for stretch in beside], [stretch.cpu_us for stretch in alone])
    return "\n\n".join(
        (
            "PATCH /v1/users/{id}, one after another over one connection, each a change\n"
            f"rounds of {plan.seconds} s in turn, median of {plan.rounds}; {cores}\n{versions('aiohttp', 'uvloop')}",
            table(("members with their feed open", "server µs a PATCH", "PATCH/s", "p50 ms"), rows),
            f"{MEMBERS:,}/none  server µs  {cost.middle:.2f}   ({cost.low:.2f} to {cost.high:.2f})\n"
            "every change came to the feed of its user, once, in order, and to no other",
        )
    )
