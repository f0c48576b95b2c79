"""The series that exist before anything has happened."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from service.http.services import SERVICES
from tests.support.server import Server

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"


async def test_documented_label_values_exist_from_the_start(server: Server) -> None:
    """Every value of a label that docs/operations.md names has a series of 0 before the first event, and no other value has."""
    text = PAGE.read_text(encoding="utf-8").split("\n## Metrics\n")[1].split("\n## ")[0]
    documented = {}
    for name, cell in re.findall(
        r"^\| `(roster_\w+)` \| ([^|]*`(?:kind|reason|result|change|outcome)`[^|]*) \|", text, re.MULTILINE
    ):
        documented[name] = set(re.findall(r"`(\w+)`", cell))
    assert len(documented) == 8
    families = text_string_to_metric_families(server.app[SERVICES].metrics.text().decode())
    samples = [sample for family in families for sample in family.samples if sample.name in documented]
    assert [sample for sample in samples if sample.value != 0] == []
    for name, words in documented.items():
        found = [sample.labels for sample in samples if sample.name == name]
        values = {value for given in found for value in given.values()}
        streams = {"feed", "websocket"} if name == "roster_streams_closed_total" else set()
        assert values | found[0].keys() == words | streams


async def test_every_operation_counts_from_zero(server: Server) -> None:
    """Each operation has its successful statuses and 500 at 0 before its first request."""
    text = server.app[SERVICES].metrics.text().decode()
    for line in (
        'method="GET",route="/v1/users/{id}",status="200"',
        'method="POST",route="/v1/users",status="201"',
        'method="POST",route="/v1/auth/login",status="500"',
    ):
        assert f"roster_http_requests_total{{{line}}} 0.0" in text
