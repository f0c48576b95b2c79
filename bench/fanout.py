"""Load on a room: the generator in `fanout.c`, compiled where it is needed, and what it saw."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal

from bench import needs
from bench.fetch import WrongAnswer
from bench.needs import LeftOut
from bench.serve import Server

SUBSCRIBERS: Final = 1_000

Kind = Literal["websocket", "sse"]

_SOURCE: Final = Path(__file__).with_suffix(".c")
_MARGIN_S: Final = 60
_ROOM: Final = "bench"
_JOIN: Final = {"type": "join", "room": _ROOM}
# `%` is where the number goes; with it and the braces the data are about 100 bytes.
_MESSAGE: Final = {"type": "broadcast", "room": _ROOM, "data": {"text": "k=% " + "x" * 80}}
# Requested again and again by a client that never reads: the responses fill its socket, and no other.
_FILL: Final = {"type": "echo", "data": "x" * 40_000}


@dataclass(frozen=True, slots=True)
class Audience:
    """How the load comes into a room, speaks and listens.

    Attributes:
        subscribe: path of the subscribers, `publish` of the publisher, which is always a WebSocket.
        headers: sent with every request.
        joins: whether a WebSocket has to join and receives `joined`.
        hello: text in the first event of an event stream; None when none comes before the messages.
    """

    kind: Kind
    subscribe: str
    publish: str
    headers: Mapping[str, str] = field(default_factory=dict)
    joins: bool = False
    hello: str | None = None

    @classmethod
    def of_bare(cls, kind: Kind) -> Audience:
        """What `servers/bare_room.py` serves."""
        return cls(kind, "/listen" if kind == "websocket" else "/feed", "/publish")

    @classmethod
    def of_roster(cls, kind: Kind, headers: Mapping[str, str]) -> Audience:
        """A room of Roster."""
        subscribe = "/v1/ws" if kind == "websocket" else f"/v1/rooms/{_ROOM}/feed"
        return cls(kind, subscribe, "/v1/ws", headers, joins=True, hello="event: hello")


@dataclass(frozen=True, slots=True)
class Fan:
    """The results of one stretch of load. Every subscriber got every message, once, in order.

    Attributes:
        connect_s: from the first subscriber's request until the last was in the room.
        each_p99_ms: from the publishing of a message to a delivery of it.
        last_p99_ms: from the publishing of a message to the last of its deliveries.
        cpu_s: processor time of the server meanwhile; None where the system does not tell.
    """

    deliveries: int
    seconds: float
    connect_s: float
    each_p50_ms: float
    each_p99_ms: float
    last_p50_ms: float
    last_p99_ms: float
    cpu_s: float | None

    @property
    def rate(self) -> float:
        """Deliveries per second."""
        return self.deliveries / self.seconds

    @property
    def busy(self) -> float | None:
        """Share of a core that the server used."""
        return None if self.cpu_s is None else self.cpu_s / self.seconds

    @property
    def cpu_us(self) -> float | None:
        """Processor time of the server for one delivery, in microseconds."""
        return None if self.cpu_s is None else self.cpu_s / self.deliveries * 1e6


@contextmanager
def generator() -> Iterator[Path]:
    """The load generator, compiled, until the block ends; raises `LeftOut`."""
    compiler = needs.compiler()
    needs.descriptors(SUBSCRIBERS)
    with TemporaryDirectory(prefix="roster-bench-") as folder:
        program = Path(folder, _SOURCE.stem)
        run = subprocess.run([compiler, "-O2", "-o", str(program), str(_SOURCE)], capture_output=True, text=True)
        if run.returncode != 0:
            raise LeftOut(f"its load generator cannot be compiled:\n{run.stderr.strip()}")
        yield program


def generate(program: Path, server: Server, audience: Audience, *, window: int, seconds: int, stalled: int = 0) -> Fan:
    """Have 1,000 subscribers listen and one publisher speak for that long.

    Args:
        window: messages under way at once; 1 is lockstep, each waits for the last delivery of the one before.
        stalled: further members of the room that never read and whose sockets are full.

    Raises `WrongAnswer`, also when anything was lost, doubled or out of order, and `NotServing`.
    """
    command = [str(program), *_options(server.port, audience, window, seconds, stalled)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            # Connecting is over when the first line comes: what it cost is no part of what the messages cost.
            begun = process.stdout.readline() if process.stdout else ""
            before = server.cpu_s
            done, complaint = process.communicate(timeout=seconds + _MARGIN_S)
            after = server.cpu_s
        except subprocess.TimeoutExpired:
            raise WrongAnswer(f"{server.name}: the load generator does not end") from None
        finally:
            process.kill()
    # A server that died explains more than what the load saw of it.
    server.check_running()
    server.trim_log()
    if process.returncode != 0:
        raise WrongAnswer(f"{server.name}: {complaint.strip()}")
    figures: dict[str, Any] = json.loads(begun) | json.loads(done)
    if (
        figures["missing"]
        or figures["skipped"]
        or figures["repeated"]
        or figures["closed"]
        or figures["stalled"] != stalled
    ):
        lost, doubled = figures["missing"] + figures["skipped"], figures["repeated"]
        raise WrongAnswer(
            f"{server.name}, {window} in flight: of {figures['delivered'] + lost:,} deliveries {lost:,} were lost or late, "
            f"{doubled:,} doubled or late; connections of readers that ended: {figures['closed']}, "
            f"of {stalled} stalled ones still there: {figures['stalled']}"
        )
    return Fan(
        deliveries=figures["delivered"],
        seconds=figures["seconds"],
        connect_s=figures["connect_s"],
        each_p50_ms=figures["each_p50_ms"],
        each_p99_ms=figures["each_p99_ms"],
        last_p50_ms=figures["last_p50_ms"],
        last_p99_ms=figures["last_p99_ms"],
        cpu_s=None if before is None or after is None else after - before,
    )


def _options(port: int, audience: Audience, window: int, seconds: int, stalled: int) -> Iterator[str]:
    yield from ("--port", str(port), "--kind", audience.kind, "--subscribers", str(SUBSCRIBERS))
    yield from ("--window", str(window), "--seconds", str(seconds))
    yield from ("--subscribe", audience.subscribe, "--publish", audience.publish, "--message", json.dumps(_MESSAGE))
    for name, value in audience.headers.items():
        yield from ("--header", f"{name}: {value}")
    if audience.joins:
        yield from ("--join", json.dumps(_JOIN), "--joined", '"type":"joined"')
    if audience.hello is not None:
        yield from ("--hello", audience.hello)
    if stalled:
        yield from ("--stalled", str(stalled), "--fill", json.dumps(_FILL))
