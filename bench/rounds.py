"""Several servers under the same load in turn, so that a machine that grows slower meanwhile hits all alike."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

from bench.fetch import Target
from bench.load import Sample, Tool, generate
from bench.serve import Server


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to measure.

    Attributes:
        warmup_s: load on each server that is not counted, once, before the first round.
        seconds: load on each server in each round.
    """

    tool: Tool
    rounds: int
    seconds: int
    warmup_s: int = 1


@dataclass(slots=True)
class Contender:
    """A server in the race and what was seen of it.

    Attributes:
        letter: how ratios name it.
        samples: one a round.
        busy: share of a core that the server used, one a round; empty where the system does not tell.
        asked: requests of all rounds and of the warm-up.
        failures: of these too.
    """

    letter: str
    name: str
    server: Server
    target: Target
    samples: list[Sample] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    asked: int = 0
    failures: int = 0

    def median(self, of: Callable[[Sample], float]) -> float:
        return median(of(sample) for sample in self.samples)

    def run(self, plan: Plan) -> None:
        """One counted round."""
        before, sample = self.server.cpu_s, self._load(plan, plan.seconds)
        after = self.server.cpu_s
        self.samples.append(sample)
        if before is not None and after is not None:
            self.busy.append((after - before) / sample.seconds)

    def warm_up(self, plan: Plan) -> None:
        if plan.warmup_s:
            self._load(plan, plan.warmup_s)

    def _load(self, plan: Plan, seconds: int) -> Sample:
        try:
            sample = generate(plan.tool, self.target, seconds)
        finally:
            # A server that died explains more than what the load saw of it.
            self.server.check_running()
        self.asked += sample.requests
        self.failures += sample.failures
        self.server.trim_log()
        return sample


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as much: the median of the rounds, and the least and the greatest of them."""

    middle: float
    low: float
    high: float


def ratio(one: Contender, other: Contender) -> Ratio:
    """How many times the rate of the other."""
    return compare([sample.rate for sample in one.samples], [sample.rate for sample in other.samples])


def compare(ones: Sequence[float], others: Sequence[float]) -> Ratio:
    """Round by round: the two samples of a round lie seconds apart, the medians of all may not."""
    values = [one / other for one, other in zip(ones, others, strict=True)]
    return Ratio(median(values), min(values), max(values))


def race(contenders: Sequence[Contender], plan: Plan) -> None:
    """Warm each up, then a round for each, and again; a line on stderr tells how far it is."""
    for contender in contenders:
        contender.warm_up(plan)
    for number in range(1, plan.rounds + 1):
        for contender in contenders:
            contender.run(plan)
        rates = "  ".join(f"({each.letter}) {each.samples[-1].rate:,.0f}/s" for each in contenders)
        sys.stderr.write(f"round {number} of {plan.rounds}: {rates}\n")
