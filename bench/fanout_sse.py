"""A room over `/v1/rooms/{room}/feed`: Roster beside a bare server that writes one prebuilt chunk to every transport.

The publisher speaks over a WebSocket, as in `fanout_ws`: what differs is only how the others listen.
"""

from __future__ import annotations

from bench import room_race
from bench.cores import Cores
from bench.rounds import Plan


def run(plan: Plan, cores: Cores) -> str:
    """As `room_race.run`."""
    return room_race.run("sse", "event streams (SSE) of a room", plan, cores)
