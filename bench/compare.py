"""`python -m bench.compare BASE`: the processor time of this checkout beside that of another revision.

Both serve at the same time and get their load in turn, base first in every other pair, so that a machine that slows down
meanwhile slows both. The ratio of a pair is base / this checkout: above 1 this checkout needs less. Both run on the packages
that are installed now. The servers are started afresh several times, because where their memory happens to lie is worth a few
per cent.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Final

from bench import cores, fanout, load, roster
from bench.cores import Cores
from bench.fetch import Target, WrongAnswer
from bench.needs import LeftOut
from bench.roster import Roster
from bench.serve import ROOT, NotServing
from bench.table import table

Measure = Callable[[Roster], float]
"""Puts load on a server; its processor time for one request or delivery, in microseconds."""

_WITHIN: Final = 0.97
_NEW: Final = '{"username":"u%","email":"u%@example.com"}'
_SCENARIOS: Final = ("read", "create", "read_sqlite", "create_sqlite", "fanout_ws", "fanout_sse")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__.partition("\n")[0])
    parser.add_argument("base", help="a git revision")
    parser.add_argument("scenarios", nargs="*", help=f"{', '.join(_SCENARIOS)}; none: all of them")
    parser.add_argument("--starts", type=int, default=3, help="how often both servers start (%(default)s)")
    parser.add_argument("--pairs", type=int, default=5, help="pairs after each start (%(default)s)")
    parser.add_argument("--seconds", type=int, default=1, help="seconds of load on each of a pair (%(default)s)")
    options = parser.parse_args()
    if unknown := set(options.scenarios) - set(_SCENARIOS):
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    chosen = cores.choose()
    cores.pin(chosen.load)
    rows = []
    with ExitStack() as stack:
        base = stack.enter_context(_checkout(options.base))
        generator: Path | None = None
        for name in options.scenarios or _SCENARIOS:
            try:
                if name.startswith("fanout") and generator is None:
                    generator = stack.enter_context(fanout.generator())
                measure = _measure(name, options.seconds, generator)
                store = "sqlite" if name.endswith("sqlite") else "memory"
                ratios = list(_ratios(measure, base, store, chosen, options.starts, options.pairs))
            except LeftOut as reason:
                sys.stderr.write(f"{name} is left out: {reason}\n")
                continue
            except (NotServing, WrongAnswer) as error:
                sys.exit(f"{name}: {error}")
            rows.append((name, *_told(ratios)))
    sys.stdout.write(f"processor time, {options.base} / this checkout (above 1: less is needed now); {chosen}\n")
    sys.stdout.write(table(("", "median", "quartiles", "extremes", ""), rows) + "\n")


@contextmanager
def _checkout(revision: str) -> Iterator[Path]:
    """The files of a revision, until the block ends."""
    packed = subprocess.run(["git", "archive", revision], cwd=ROOT, capture_output=True)
    if packed.returncode:
        sys.exit(packed.stderr.decode().strip())
    with TemporaryDirectory(prefix="roster-bench-") as folder:
        with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
            archive.extractall(folder, filter="data")
        yield Path(folder)


def _measure(name: str, seconds: int, generator: Path | None) -> Measure:
    if generator is not None and name.startswith("fanout"):
        kind: fanout.Kind = "websocket" if name == "fanout_ws" else "sse"

        def deliver(server: Roster) -> float:
            audience = fanout.Audience.of_roster(kind, server.authorization)
            fan = fanout.generate(generator, server.server, audience, window=1, seconds=seconds)
            if fan.cpu_us is None:
                raise LeftOut("the system does not tell what processor time a process has used")
            return fan.cpu_us

        return deliver

    def ask(server: Roster) -> float:
        path = f"/v1/users/{server.user['id']}" if name.startswith("read") else "/v1/users"
        body = None if name.startswith("read") else _NEW
        return _cpu_us(server, Target(server.server.port, path, server.authorization, body), seconds)

    return ask


def _cpu_us(server: Roster, target: Target, seconds: int) -> float:
    before = server.server.cpu_s
    sample = load.generate(load.available(), target, seconds)
    after = server.server.cpu_s
    server.server.check_running()
    server.server.trim_log()
    if sample.failures:
        raise WrongAnswer(f"{server.server.name}: {sample.failures} failures")
    if before is None or after is None:
        raise LeftOut("the system does not tell what processor time a process has used")
    return (after - before) / sample.requests * 1e6


def _ratios(measure: Measure, base: Path, store: str, on: Cores, starts: int, pairs: int) -> Iterator[float]:
    for start in range(starts):
        with ExitStack() as stack:
            was, now = (
                stack.enter_context(_running(root, name, store, on)) for root, name in ((base, "base"), (ROOT, "now"))
            )
            measure(was), measure(now)  # warm
            for pair in range(pairs):
                order = (was, now) if pair % 2 else (now, was)
                cost = {each.server.name: measure(each) for each in order}
                sys.stderr.write(f"start {start + 1}, pair {pair + 1}: {json.dumps(cost)}\n")
                yield cost["base"] / cost["now"]


@contextmanager
def _running(root: Path, name: str, store: str, on: Cores) -> Iterator[Roster]:
    with TemporaryDirectory(prefix="roster-bench-") as folder:
        url = f"sqlite:///{folder}/roster.db" if store == "sqlite" else "memory://"
        with roster.running(on.server, store_url=url, name=name, root=root) as server:
            yield server


def _told(ratios: Sequence[float]) -> tuple[str, str, str, str]:
    middle = median(ratios)
    low, _, high = quantiles(ratios, n=4) if len(ratios) > 1 else (middle, middle, middle)
    verdict = "within 3 %" if middle >= _WITHIN or low <= 1 <= high else "slower"
    return f"{middle:.3f}", f"{low:.3f} to {high:.3f}", f"{min(ratios):.3f} to {max(ratios):.3f}", verdict


if __name__ == "__main__":
    main()
