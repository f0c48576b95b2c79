"""What every request passes, outermost first. The order is a promise; each line says why it stands where it does."""

from __future__ import annotations

from aiohttp.typedefs import Middleware

from service.middleware.access import access
from service.middleware.admission import Step, admission
from service.middleware.auth import auth
from service.middleware.guards import guards
from service.middleware.limits import address_limit, user_limit
from service.middleware.problems import problems
from service.security.authenticator import Authenticator
from service.security.limits import RequestLimit
from service.settings import Settings
from service.telemetry.access import AccessLog
from service.telemetry.metrics import Metrics


def in_order(
    settings: Settings, authenticator: Authenticator, metrics: Metrics, log: AccessLog | None
) -> tuple[Middleware, ...]:
    rate = settings.request_rate
    steps: tuple[Step | None, ...] = (
        guards(settings.allowed_hosts, settings.max_body_bytes),  # before anything is looked up
        address_limit(RequestLimit("address", rate)) if rate else None,  # before a token is looked at, which costs more
        auth(authenticator, settings.public_url, settings.metrics_token),  # from here on it is known who asks
        user_limit(RequestLimit("user", rate)) if rate else None,  # one user behind many addresses
    )
    return (
        # The request's id and its client's address come first: everything below names the request by them.
        access(settings.proxies, metrics.requests, log),  # sees every answer, the problems' too
        problems,  # turns what is raised below into answers
        # CORS stands here: aiohttp-cors works by preflight routes and when an answer is prepared (cors.py, headers.py).
        admission(*(step for step in steps if step is not None)),
    )
