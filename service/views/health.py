"""Health checks and metrics."""

from __future__ import annotations

from aiohttp import hdrs, web

from service.domain.errors import Unavailable
from service.http import problems
from service.http.operations import (
    Access,
    Operation,
    Reply,
    operation,
)
from service.http.view import NO_STORE, View, json_response
from service.schemas.health import Health
from service.telemetry.exposition import render

_TAG = "operations"
_OK = Health(status="ok").model_dump_json().encode()


class LivenessView(View):
    @operation(
        Operation(
            id="get_liveness",
            summary="Whether the process lives",
            description="Looks at nothing else: a store that is down must not have the process restarted.",
            tag=_TAG,
            access=Access.PUBLIC,
            limited=False,
            replies={200: Reply("It does.", Health)},
            refusals=(problems.BAD_REQUEST,),
        )
    )
    async def get(self) -> web.Response:
        return json_response(_OK, headers=NO_STORE)


class ReadinessView(View):
    @operation(
        Operation(
            id="get_readiness",
            summary="Whether requests should come here",
            description="False while the service stops, while the store does not answer, and while the log cannot be followed.",
            tag=_TAG,
            access=Access.PUBLIC,
            limited=False,
            replies={200: Reply("They should.", Health)},
            refusals=(problems.BAD_REQUEST, problems.SERVICE_UNAVAILABLE),
        )
    )
    async def get(self) -> web.Response:
        services = self.services
        if services.connections.shutting_down:
            raise Unavailable(5, "The service is stopping.")
        if not services.hub.is_current:
            raise Unavailable(1, "The log cannot be followed.")
        if not await services.store.is_healthy():
            raise Unavailable(1, "The store does not answer.")
        return json_response(_OK, headers=NO_STORE)


class MetricsView(View):
    @operation(
        Operation(
            id="get_metrics",
            summary="Figures for Prometheus",
            description=(
                "Requires `ROSTER_METRICS_TOKEN` as bearer token, unless that setting is `none`. Returns 404 while it is not set. "
                "With several workers the page has the samples of all workers on this host, with the label `worker`. "
                "`Accept` selects OpenMetrics (`application/openmetrics-text`) or the text format of Prometheus, the default."
            ),
            tag=_TAG,
            access=Access.OPERATOR,
            limited=False,
            replies={
                200: Reply(
                    "The figures.",
                    media_type="text/plain",
                    example='roster_http_requests_total{method="GET",route="/v1/users/{id}",status="200"} 42.0\n',
                )
            },
        )
    )
    async def get(self) -> web.Response:
        accept = ",".join(self.request.headers.getall(hdrs.ACCEPT, ()))
        body, media_type = render(self.services.metrics.registry, accept)
        if self.services.metric_pages is not None:
            body = await self.services.metric_pages.collect(accept)
        return web.Response(body=body, headers={hdrs.CONTENT_TYPE: media_type, hdrs.VARY: "Origin, Accept", **NO_STORE})
