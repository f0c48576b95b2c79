"""The two text formats in which Prometheus reads metrics."""

from __future__ import annotations

from typing import Final

from prometheus_client import generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

_OPENMETRICS: Final = "application/openmetrics-text"
_TEXT: Final = "text/plain"


def render(registry: Collector, accept: str) -> tuple[bytes, str]:
    """The metrics and their media type: OpenMetrics 1.0 if `accept` prefers it, else the text format 0.0.4.

    The version that a client asks for is ignored. prometheus_client copies it into the answer.
    """
    if _quality(accept, _OPENMETRICS) > _quality(accept, _TEXT):
        body = openmetrics.generate_latest(registry)  # type: ignore[no-untyped-call]  # the library does not type it
        return body, f"{_OPENMETRICS}; version=1.0.0; charset=utf-8"
    return generate_latest(registry), f"{_TEXT}; version=0.0.4; charset=utf-8"


def _quality(accept: str, media_type: str) -> float:
    """The highest `q` of this media type (RFC 9110, 12.4.2); 0 where it is not listed."""
    found = 0.0
    for choice in accept.split(","):
        name, *parameters = (part.strip().lower() for part in choice.split(";"))
        if name == media_type:
            quality = next((part[2:] for part in parameters if part.startswith("q=")), "1")
            try:
                found = max(found, float(quality))
            except ValueError:
                continue
    return found
