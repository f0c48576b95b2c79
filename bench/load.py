"""Load on one target: `wrk` where it is installed, else the client of this package."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count, repeat
from pathlib import Path
from typing import Final, Literal

from bench import client
from bench.fetch import Target, WrongAnswer
from bench.serve import HOST

CONNECTIONS: Final = 32
CREATING: Final = 16  # connections that POST

Tool = Literal["wrk", "own"]

_WRK_SCRIPT: Final = Path(__file__).with_name("wrk.lua")
_WRK_MARGIN_S: Final = 15


@dataclass(frozen=True, slots=True)
class Sample:
    """The results of one stretch of load.

    Attributes:
        requests: answers of 200 or 201; `wrk` tells only a status of 400 and above from them.
        failures: other answers, broken connections, timeouts.
    """

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    failures: int

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.requests / self.seconds


def available() -> Tool:
    """The better tool that is here: ours, in Python, needs nearly as much time for a request as a bare server."""
    return "wrk" if shutil.which("wrk") else "own"


def generate(tool: Tool, target: Target, seconds: int) -> Sample:
    """Ask on all connections, each as fast as it is answered, for that long; raises `WrongAnswer` if nothing comes."""
    sample = _wrk(target, seconds) if tool == "wrk" else _own(target, seconds)
    if sample.requests == 0:
        raise WrongAnswer(f"{target.path} on port {target.port}: no answer in {seconds} s, {sample.failures} failures")
    return sample


def _wrk(target: Target, seconds: int) -> Sample:
    headers = [word for name, value in target.headers.items() for word in ("-H", f"{name}: {value}")]
    url = f"http://{HOST}:{target.port}{target.path}"
    command = [
        "wrk",
        "-t1",
        f"-c{_connections(target)}",
        f"-d{seconds}s",
        "--latency",
        "-s",
        str(_WRK_SCRIPT),
        *headers,
        url,
    ]
    if target.body is not None:
        command += ["--", target.body, f"{secrets.token_hex(4)}-"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=seconds + _WRK_MARGIN_S)
    if run.returncode != 0:
        raise WrongAnswer(f"wrk: {run.stderr.strip() or run.stdout.strip()}")
    figures = json.loads(run.stdout.splitlines()[-1])
    return Sample(
        requests=figures["requests"],
        seconds=figures["duration_us"] / 1e6,
        p50_ms=figures["p50_us"] / 1e3,
        p99_ms=figures["p99_us"] / 1e3,
        failures=figures["failures"],
    )


def _own(target: Target, seconds: int) -> Sample:
    tally = client.run(HOST, target.port, _requests(target), _connections(target), seconds)
    return Sample(
        requests=len(tally.latencies_s),
        seconds=tally.seconds,
        p50_ms=tally.percentile_s(50) * 1e3,
        p99_ms=tally.percentile_s(99) * 1e3,
        failures=tally.failures,
    )


def _connections(target: Target) -> int:
    return CONNECTIONS if target.body is None else CREATING


def _requests(target: Target) -> Iterator[bytes]:
    """The bytes of one request after another."""
    host = {"Host": f"{HOST}:{target.port}", **target.headers}
    if target.body is None:
        yield from repeat(_bytes("GET", target.path, host, ""))
    run = secrets.token_hex(4)
    for number in count():
        body = (target.body or "").replace("%", f"{run}-{number}")
        yield _bytes("POST", target.path, {**host, "Content-Type": "application/json"}, body)


def _bytes(method: str, path: str, headers: Mapping[str, str], body: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", body]).encode("ascii")
