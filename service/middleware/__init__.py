"""The steps that every request passes, in order. Each line gives the reason for its place."""

from __future__ import annotations

from service.config.settings import Settings
from service.http.services import Serve
from service.middleware.auth import auth
from service.middleware.client_address import ClientAddresses
from service.middleware.guards import guards
from service.middleware.limits import address_limit, user_limit, write_limit
from service.middleware.pipeline import pipeline
from service.middleware.step import Step
from service.security.authenticator import Authenticator
from service.security.rate_limits import RequestLimit
from service.telemetry.access import AccessLog
from service.telemetry.metrics import Metrics


def in_order(settings: Settings, authenticator: Authenticator, metrics: Metrics, log: AccessLog | None) -> Serve:
    """Build the pipeline that serves every view.

    The pipeline sets the request id and the client address first, because later steps report them. The log line and the metrics
    cover every response. Errors that a step or a view raises become problems. The CORS headers come last. The steps run in the
    order below, before the view.
    """
    rate = settings.request_rate
    steps: tuple[Step | None, ...] = (
        guards(settings.allowed_hosts, settings.max_body_bytes),  # before any look-up
        address_limit(RequestLimit("address", rate)) if rate else None,  # before authentication, which costs more
        auth(
            authenticator, settings.public_url, settings.metrics_token.get_secret_value()
        ),  # the steps below know the user
        user_limit(RequestLimit("user", rate)) if rate else None,  # one user may have many addresses
        # Bounds what one user adds to the disk in a day.
        write_limit(RequestLimit("write", settings.write_rate)) if settings.write_rate else None,
    )
    addresses = ClientAddresses(settings.proxies, settings.forwarded_header, trust_socket=settings.trusts_unix_sockets)
    return pipeline(addresses, [step for step in steps if step is not None], metrics.requests, log)
