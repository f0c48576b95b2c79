"""A room over `/v1/ws`: Roster beside a bare server that writes one prebuilt frame to every transport."""

from __future__ import annotations

from bench import room_race
from bench.cores import Cores
from bench.rounds import Plan


def run(plan: Plan, cores: Cores) -> str:
    """As `room_race.run`."""
    return room_race.run("websocket", "WebSockets in a room", plan, cores)
