"""`GET /v1/users/{id}`: Roster beside a bare aiohttp handler with the same bytes and the same work in FastAPI.

The bytes are those that Roster answers when the race begins, and its user is the one that FastAPI keeps.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from statistics import median
from typing import Final

import jwt

from bench import roster
from bench.cores import Cores
from bench.fetch import Answer, Target, WrongAnswer, expect, get
from bench.load import CONNECTIONS
from bench.rounds import Contender, Plan, race, ratio
from bench.serve import free_port, serving
from bench.table import table
from bench.versions import versions

_FASTAPI: Final = ("fastapi", "uvicorn", "httptools")
_DISTRIBUTIONS: Final = ("aiohttp", "uvloop", "pydantic", "PyJWT", *_FASTAPI)
_TOOLS: Final = {"wrk": "wrk", "own": "the client in bench/"}
_TOKEN_TTL_S: Final = 86_400


def run(plan: Plan, cores: Cores) -> str:
    """Start the servers, check them, race them, and tell; raises `NotServing`, `WrongAnswer`."""
    with ExitStack() as stack:
        ours = stack.enter_context(roster.running(cores.server))
        target = ours.target(f"/v1/users/{ours.user['id']}")
        answer = expect(get(target), 200, "Roster")
        contenders = [
            _bare(stack, cores, target, answer),
            Contender("b", "Roster", ours.server, target),
        ]
        if all(find_spec(name) for name in _FASTAPI):
            contenders.append(_fastapi(stack, cores, target, answer))
        _check(contenders, answer)
        race(contenders, plan)
        _check(contenders, answer)
    # After the servers have stopped: what they log last is counted by then.
    return _report(contenders, plan, cores, len(answer.body))


def _bare(stack: ExitStack, cores: Cores, target: Target, answer: Answer) -> Contender:
    port = free_port()
    arguments = ["-m", "bench.servers.bare", str(port), answer.headers["Content-Type"]]
    server = stack.enter_context(serving("bare aiohttp", arguments, port, cores.server, stdin=answer.body))
    # The same request bytes, token and all: reading them is work too.
    return Contender("a", "bare aiohttp", server, Target(port, target.path, target.headers))


def _fastapi(stack: ExitStack, cores: Cores, target: Target, answer: Answer) -> Contender:
    port, user, now = free_port(), answer.json(), int(time.time())
    world = {
        "secret": secrets.token_urlsafe(32),
        "issuer": "https://bench.example.com",
        "audience": "bench",
        "epoch": secrets.token_hex(4),
        "user": user,
    }
    claims = {
        "iss": world["issuer"],
        "aud": world["audience"],
        "sub": user["id"],
        "iat": now,
        "exp": now + _TOKEN_TTL_S,
    }
    token = jwt.encode(claims, world["secret"], "HS256")
    arguments = ["-m", "bench.servers.fastapi_app", str(port)]
    server = stack.enter_context(serving("FastAPI", arguments, port, cores.server, stdin=json.dumps(world).encode()))
    headers = {"Authorization": f"Bearer {token}"}
    return Contender("c", "FastAPI + uvicorn", server, Target(port, target.path, headers))


def _check(contenders: Sequence[Contender], expected: Answer) -> None:
    """Each gives that user, and those that ask for a token refuse without one; raises `WrongAnswer`."""
    for contender in contenders:
        answer = expect(get(contender.target), 200, contender.name)
        same = answer.body == expected.body if contender.letter == "a" else answer.json() == expected.json()
        if not same:
            raise WrongAnswer(f"{contender.name}: {answer.body!r} instead of {expected.body!r}")
        if contender.letter != "a":
            anonymous = Target(contender.target.port, contender.target.path, {})
            expect(get(anonymous), 401, f"{contender.name} without a token")
            if "ETag" not in answer.headers:
                raise WrongAnswer(f"{contender.name}: no ETag")


def _report(contenders: Sequence[Contender], plan: Plan, cores: Cores, body_bytes: int) -> str:
    rows = [
        (
            f"({each.letter}) {each.name}",
            f"{each.median(lambda sample: sample.rate):,.0f}",
            f"{each.median(lambda sample: sample.p50_ms):.2f}",
            f"{each.median(lambda sample: sample.p99_ms):.2f}",
            f"{median(each.busy):.0%}" if each.busy else "?",
            f"{each.server.log_lines / each.asked:.2f}",
        )
        for each in contenders
    ]
    rivals = [each for each in contenders if each.letter != "b"]
    (ours,) = (each for each in contenders if each.letter == "b")
    ratios = [(f"(b)/({each.letter})", ratio(ours, each)) for each in rivals]
    blocks = [
        f"GET /v1/users/{{id}}, {body_bytes} bytes of JSON, {CONNECTIONS} kept-alive connections\n"
        f"load by {_TOOLS[plan.tool]}, rounds of {plan.seconds} s in turn, median of {plan.rounds}; {cores}\n"
        f"{versions(*_DISTRIBUTIONS)}",
        table(("", "requests/s", "p50 ms", "p99 ms", "core in use", "log lines a request"), rows),
        "\n".join(f"{name}  {each.middle:.2f}   ({each.low:.2f} to {each.high:.2f})" for name, each in ratios),
        "\n".join(_notes(contenders, cores)),
    ]
    return "\n\n".join(block for block in blocks if block)


def _notes(contenders: Sequence[Contender], cores: Cores) -> list[str]:
    """Conditions that a reader of the figures must know."""
    notes = [f"({each.letter}) {each.failures} failures under load" for each in contenders if each.failures]
    notes += [
        f"({each.letter}) did not fill its core: the load generator was the limit, the server can do more"
        for each in contenders
        if each.busy and median(each.busy) < 0.9
    ]
    if cores.server is not None and cores.server == cores.load:
        notes.append("one core for servers and load: compare nothing but the ratios, and these with care")
    if len(contenders) < 3:
        notes.append('(c) is left out, FastAPI is not installed: pip install -e ".[bench]"')
    return notes
