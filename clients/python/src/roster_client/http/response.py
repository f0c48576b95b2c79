"""A response that was read to its end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from roster_client.errors import HttpProblem, Incomplete, create_problem


@dataclass(frozen=True, slots=True)
class Response:
    """Status, headers and whole body of a response.

    Attributes:
        headers: names in any case.
        history: the addresses that redirected here, in order.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    history: tuple[str, ...] = ()

    def json(self) -> Any:
        """The body as JSON; None for an empty body. Raises `Incomplete` if it is no JSON."""
        if not self.body:
            return None
        try:
            return json.loads(self.body)
        except ValueError as error:
            failure = Incomplete("The response is not valid JSON.")
            failure.request_id = self.headers.get("X-Request-ID")
            raise failure from error

    def create_problem(self) -> HttpProblem:
        """The error that this response stands for."""
        try:
            document = json.loads(self.body)
        except ValueError:
            document = {}
        return create_problem(self.status, document if isinstance(document, dict) else {}, self.headers)
