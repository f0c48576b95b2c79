"""The aggregate of several upstreams in one response."""

from __future__ import annotations

import json

from aiohttp import web

from service.http import problems
from service.http.operations import (
    Access,
    Operation,
    Reply,
    operation,
)
from service.http.problems import HttpProblem
from service.http.services import CONTEXT
from service.http.view import NO_STORE, View, json_response
from service.outbound.failures import Failed
from service.schemas.aggregate import AggregateAnswer, Sources


class AggregateView(View):
    @operation(
        Operation(
            id="aggregate",
            summary="Ask several upstreams at once",
            description=(
                "Upstreams are named in `ROSTER_UPSTREAMS`, never by the caller. They are asked at the same time and answered "
                "in the order asked; what fails stands in its place and `complete` is false."
            ),
            tag="aggregate",
            access=Access.BEARER,
            scope="aggregate",
            query=Sources,
            replies={200: Reply("What came, in time.", AggregateAnswer)},
        )
    )
    async def get(self) -> web.Response:
        services = self.services
        known = services.settings.upstreams
        names = self.query(Sources).sources.split(",")
        unknown = [name for name in names if name not in known]
        if unknown:
            there_are = f"there are {', '.join(known)}" if known else "ROSTER_UPSTREAMS names none"
            raise HttpProblem(problems.BAD_REQUEST, f"There is no source {unknown[0]!r}; {there_are}.")
        came = await services.aggregator.fetch(names, self.request[CONTEXT].request_id)
        results = {
            name: {"error": {"code": result.code, "detail": result.detail}}
            if isinstance(result, Failed)
            else {"status": result.status, "ms": result.ms, "data": result.data}
            for name, result in came.results.items()
        }
        body = json.dumps({"results": results, "complete": came.complete}, separators=(",", ":"))
        return json_response(body.encode(), headers=NO_STORE)
