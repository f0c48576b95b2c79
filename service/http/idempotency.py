"""Requests with an `Idempotency-Key`, and the response to a repeat."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from service.domain.errors import BadRequest
from service.domain.idempotency.claims import KEY_MAX, Claim, StoredResponse
from service.domain.idempotency.run import run_idempotent
from service.domain.ports import Render, TransactionRunner
from service.http.view import View, json_response

IDEMPOTENCY_KEY: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotent-Replayed"

# RFC 8941, 3.3.3: a string, in quotes. Most clients send their UUID without: what RFC 8941, 3.3.4 has in a token, and
# the padding of base64, is taken for the same key.
_KEY: Final = re.compile(r""""((?:[ !#-\[\]-~]|\\["\\])*)"|([A-Za-z0-9!#$%&'*+.^_`|~:/=-]+)""")
_ESCAPED: Final = re.compile(r'\\(["\\])')


def parse_key(text: str) -> str:
    """The key in a header; raises `BadRequest`."""
    match = _KEY.fullmatch(text.strip(" \t"))
    key = "" if match is None else match[2] or _ESCAPED.sub(r"\1", match[1])
    if not 1 <= len(key) <= KEY_MAX:
        raise BadRequest(f'`{IDEMPOTENCY_KEY}` is 1 to {KEY_MAX} characters of ASCII in quotes, as "8e03978e-40d5".')
    return key


def read_key(request: web.Request) -> str | None:
    """The key that a request names; None for one that does not. Raises `BadRequest`."""
    given = request.headers.getall(IDEMPOTENCY_KEY, None)
    if given is None:
        return None
    if len(given) > 1:
        raise BadRequest(f"`{IDEMPOTENCY_KEY}` stands more than once.")
    return parse_key(given[0])


async def build_claim(view: View, key: str) -> Claim:
    """The claim of the caller's request on that key."""
    request = view.request
    route = f"{request.method} {request.path}"
    services = view.services
    return services.idempotency.claim(view.caller.id, route, key, await view.read(), services.clock())


async def run_once(
    view: View, key: str, act: Callable[[TransactionRunner], Awaitable[object]], render: Render, name: str
) -> web.Response:
    """The answer to a request with a key, whether it is the first with it or was there before.

    Raises what `once` raises, and `RequestInProgress`.
    """
    services = view.services
    claim = await build_claim(view, key)

    async def alone() -> tuple[StoredResponse, bool]:
        # Until the write has ended, which a client that goes away does not do.
        with services.idempotency.alone(claim):
            return await run_idempotent(services.store, claim, render, act)

    return render_stored(*await view.write(alone(), name))


def render_stored(answer: StoredResponse, is_replay: bool = False) -> web.Response:
    headers = {**answer.headers, REPLAYED: "true"} if is_replay else answer.headers
    return json_response(answer.body, status=answer.status, headers=headers)
