"""What every request passes, outermost first. The order is a promise; each line says why it stands where it does."""

from __future__ import annotations

from aiohttp.typedefs import Middleware

from service.middleware.access import access
from service.middleware.auth import auth
from service.middleware.client_address import client_address
from service.middleware.guards import guards
from service.middleware.limits import address_limit, user_limit
from service.middleware.problems import problems
from service.middleware.request_id import request_id
from service.settings import Settings


def in_order(settings: Settings) -> tuple[Middleware, ...]:
    return (
        request_id,  # everything below names the request
        client_address(settings.proxies),  # the log and the limits need to know who it is
        access,  # sees every answer, the problems' too
        problems,  # turns what is raised below into answers
        # CORS stands here: aiohttp-cors works when an answer is prepared and by preflight routes (cors.py)
        guards(frozenset(host.lower() for host in settings.allowed_hosts), settings.max_body_bytes),  # before any work
        address_limit,  # before a token is looked at, which costs more
        auth,  # from here on it is known who asks
        user_limit,  # one user behind many addresses
    )
