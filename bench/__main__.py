"""`python -m bench`: measure, and print a table for each scenario."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable
from typing import Final, NoReturn

from bench import (
    cores,
    fanout_sse,
    fanout_ws,
    idle_memory,
    import_users,
    load,
    logins,
    many_workers,
    patch_beside_readers,
    read_user,
    stalled_reader,
    stores,
)
from bench.cores import Cores
from bench.fetch import WrongAnswer
from bench.needs import LeftOut
from bench.rounds import Plan
from bench.serve import NotServing

SCENARIOS: Final[dict[str, Callable[[Plan, Cores], str]]] = {
    "read_user": read_user.run,
    "stores": stores.run,
    "fanout_ws": fanout_ws.run,
    "fanout_sse": fanout_sse.run,
    "idle_memory": idle_memory.run,
    "stalled_reader": stalled_reader.run,
    "patch_beside_readers": patch_beside_readers.run,
    "import_users": import_users.run,
    "logins": logins.run,
    "many_workers": many_workers.run,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Roster; see bench/README.md.")
    parser.add_argument("scenarios", nargs="*", metavar="scenario", help=f"{', '.join(SCENARIOS)}; none: all of them")
    parser.add_argument("--rounds", type=_positive, default=3, help="rounds of each server (%(default)s)")
    parser.add_argument("--seconds", type=_positive, default=3, help="seconds of load in a round (%(default)s)")
    parser.add_argument("--load", choices=("wrk", "own"), default=load.available(), help="load generator (%(default)s)")
    options = parser.parse_args()
    if unknown := set(options.scenarios) - set(SCENARIOS):
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")

    # Otherwise a `kill` would end this process at once and leave the servers running.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _terminated)
    chosen = cores.choose()
    cores.pin(chosen.load)
    plan = Plan(options.load, options.rounds, options.seconds)
    for name in options.scenarios or SCENARIOS:
        sys.stderr.write(f"{name}\n")
        try:
            report = SCENARIOS[name](plan, chosen)
        except LeftOut as reason:
            report = f"{name} is left out: {reason}"
        except (NotServing, WrongAnswer) as error:
            sys.exit(f"{name}: {error}")
        sys.stdout.write(f"\n{report}\n\n")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError("a whole number from 1 on")
    return int(text)


def _terminated(number: int, frame: object) -> NoReturn:
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
