"""A room of 1,000 over `/v1/ws`, without and with one more member who never reads and whose socket is full."""

from __future__ import annotations

import sys
from collections.abc import Callable
from statistics import median
from typing import Final

from bench import roster
from bench.cores import Cores
from bench.fanout import SUBSCRIBERS, Audience, Fan, generate, generator
from bench.rounds import Plan, compare
from bench.table import table
from bench.versions import versions

_FIGURES: Final[dict[str, Callable[[Fan], float]]] = {
    "p50 ms": lambda fan: fan.each_p50_ms,
    "p99 ms": lambda fan: fan.each_p99_ms,
    "last one p50 ms": lambda fan: fan.last_p50_ms,
    "last one p99 ms": lambda fan: fan.last_p99_ms,
}


def run(plan: Plan, cores: Cores) -> str:
    """Measure both in turn, in lockstep, and tell; raises `LeftOut`, `NotServing`, `WrongAnswer`."""
    fans: dict[int, list[Fan]] = {0: [], 1: []}
    with generator() as program, roster.running(cores.server) as ours:
        audience = Audience.of_roster("websocket", ours.authorization)
        if plan.warmup_s:
            generate(program, ours.server, audience, window=1, seconds=plan.warmup_s)
        for number in range(1, plan.rounds + 1):
            for stalled, seen in fans.items():
                seen.append(generate(program, ours.server, audience, window=1, seconds=plan.seconds, stalled=stalled))
            figures = ", ".join(
                f"{stalled} stalled: p99 {seen[-1].each_p99_ms:.2f} ms" for stalled, seen in fans.items()
            )
            sys.stderr.write(f"round {number} of {plan.rounds}: {figures}\n")
    return _report(fans[0], fans[1], plan, cores)


def _report(without: list[Fan], beside: list[Fan], plan: Plan, cores: Cores) -> str:
    rows = [
        (
            name,
            f"{median(fan.rate for fan in fans):,.0f}",
            *(f"{median(map(of, fans)):.2f}" for of in _FIGURES.values()),
        )
        for name, fans in (("none", without), ("one", beside))
    ]
    ratios = []
    for name, of in _FIGURES.items():
        found = compare(list(map(of, beside)), list(map(of, without)))
        label = name.removesuffix(" ms")
        ratios.append(f"one/none {label:<13}  {found.middle:.2f}   ({found.low:.2f} to {found.high:.2f})")
    return "\n\n".join(
        (
            f"from publishing a message to its delivery to {SUBSCRIBERS:,} members of a room, in lockstep\n"
            f"rounds of {plan.seconds} s in turn, median of {plan.rounds}; {cores}\n{versions('aiohttp', 'uvloop')}",
            table(("stalled members", "deliveries/s", *_FIGURES), rows),
            "\n".join(ratios),
        )
    )
