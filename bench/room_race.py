"""One room, Roster beside a bare server, in lockstep and with eight messages in flight."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median
from typing import Final, Literal

from bench import roster
from bench.cores import Cores
from bench.fanout import SUBSCRIBERS, Audience, Fan, generate, generator
from bench.rounds import Plan, compare
from bench.serve import Server, free_port, serving
from bench.table import table
from bench.versions import versions

WINDOWS: Final = {1: "lockstep", 8: "8 in flight"}


@dataclass(slots=True)
class Runner:
    """A server in the race, and what was seen of it: one a round, by window."""

    letter: str
    server: Server
    audience: Audience
    fans: dict[int, list[Fan]] = field(default_factory=lambda: {window: [] for window in WINDOWS})

    def median(self, window: int, of: Callable[[Fan], float]) -> float:
        return median(of(fan) for fan in self.fans[window])

    @property
    def connect_s(self) -> float:
        return median(fan.connect_s for fans in self.fans.values() for fan in fans)

    @property
    def deliveries(self) -> int:
        return sum(fan.deliveries for fans in self.fans.values() for fan in fans)


def run(kind: Literal["websocket", "sse"], listeners: str, plan: Plan, cores: Cores) -> str:
    """Race, and tell.

    Args:
        listeners: what the 1,000 are called in the report.

    Raises `LeftOut`, `NotServing`, and `WrongAnswer` when anything was lost, doubled or out of order.
    """
    with ExitStack() as stack:
        program = stack.enter_context(generator())
        ours = stack.enter_context(roster.running(cores.server))
        port = free_port()
        bare = stack.enter_context(serving("bare", ["-m", "bench.servers.bare_room", str(port)], port, cores.server))
        runners = (
            Runner("a", bare, Audience.of_bare(kind)),
            Runner("b", ours.server, Audience.of_roster(kind, ours.authorization)),
        )
        if plan.warmup_s:
            for runner in runners:
                generate(program, runner.server, runner.audience, window=8, seconds=plan.warmup_s)
        for number in range(1, plan.rounds + 1):
            for window, name in WINDOWS.items():
                for runner in runners:
                    fan = generate(program, runner.server, runner.audience, window=window, seconds=plan.seconds)
                    runner.fans[window].append(fan)
                rates = "  ".join(f"({each.letter}) {each.fans[window][-1].rate:,.0f}/s" for each in runners)
                sys.stderr.write(f"round {number} of {plan.rounds}, {name}: {rates}\n")
    return _report(listeners, *runners, plan, cores)


def _report(listeners: str, bare: Runner, ours: Runner, plan: Plan, cores: Cores) -> str:
    blocks = [
        f"one publisher to {SUBSCRIBERS:,} {listeners}, messages with 100 bytes of data, every delivery counted\n"
        f"rounds of {plan.seconds} s in turn, median of {plan.rounds}; {cores}\n"
        f"{versions('aiohttp', 'uvloop')}",
        *(_table(window, name, (bare, ours)) for window, name in WINDOWS.items()),
        _ratios(bare, ours),
        f"{SUBSCRIBERS:,} connected and in the room within  (a) {bare.connect_s:.2f} s  (b) {ours.connect_s:.2f} s\n"
        f"nothing lost, doubled or out of order in {bare.deliveries + ours.deliveries:,} deliveries",
        "\n".join(_notes((bare, ours), cores)),
    ]
    return "\n\n".join(block for block in blocks if block)


def _table(window: int, name: str, runners: Sequence[Runner]) -> str:
    head = (name, "deliveries/s", "p50 ms", "p99 ms", "last one p99 ms", "core in use", "server µs each")
    rows = [
        (
            f"({each.letter}) {title}",
            f"{each.median(window, lambda fan: fan.rate):,.0f}",
            f"{each.median(window, lambda fan: fan.each_p50_ms):.2f}",
            f"{each.median(window, lambda fan: fan.each_p99_ms):.2f}",
            f"{each.median(window, lambda fan: fan.last_p99_ms):.2f}",
            _shown(each, window, lambda fan: fan.busy, ".0%"),
            _shown(each, window, lambda fan: fan.cpu_us, ".2f"),
        )
        for each, title in zip(runners, ("bare asyncio + uvloop", "Roster"), strict=True)
    ]
    return table(head, rows)


def _shown(runner: Runner, window: int, of: Callable[[Fan], float | None], form: str) -> str:
    values = [value for fan in runner.fans[window] if (value := of(fan)) is not None]
    return format(median(values), form) if values else "?"


def _ratios(bare: Runner, ours: Runner) -> str:
    """Of the rates, and of the deliveries for a second of the server's processor time, where the system tells it."""
    lines = []
    for window, name in WINDOWS.items():
        theirs, mine = bare.fans[window], ours.fans[window]
        found = {"": compare([fan.rate for fan in mine], [fan.rate for fan in theirs])}
        ticks = [(fan.cpu_us, bare_fan.cpu_us) for fan, bare_fan in zip(mine, theirs, strict=True)]
        known = [(ours_us, bare_us) for ours_us, bare_us in ticks if ours_us and bare_us]
        if known:
            found["by processor time"] = compare([bare_us for _, bare_us in known], [ours_us for ours_us, _ in known])
        lines += [
            f"(b)/(a) {name:<11} {how:<17}  {each.middle:.2f}   ({each.low:.2f} to {each.high:.2f})"
            for how, each in found.items()
        ]
    return "\n".join(lines)


def _notes(runners: Sequence[Runner], cores: Cores) -> list[str]:
    """Conditions that a reader of the figures must know."""
    notes = []
    for each in runners:
        # In lockstep a server waits for the load at the end of each message; only with more under way must it be full.
        busy = [fan.busy for fan in each.fans[8] if fan.busy is not None]
        if busy and median(busy) < 0.9:
            notes.append(
                f"({each.letter}) did not fill its core with 8 in flight: the load generator was the limit, or the machine "
                "had other work; go by the processor time"
            )
    if cores.server is not None and cores.server == cores.load:
        notes.append("one core for servers and load: compare nothing but the ratios, and these with care")
    return notes
