"""The responses of other services, fetched by Roster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from roster_client.models.decode import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate(Model):
    """Each source with its response or its failure. `complete`: no source failed."""

    results: Mapping[str, Any]
    complete: bool
