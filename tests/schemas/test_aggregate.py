"""The query of the aggregator."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from service.schemas.aggregate import Sources


@pytest.mark.parametrize("sources", ["a", "a,b", "weather-2,news_3", ",".join("x" * 32 for _ in range(32))])
def test_sources_are_names_with_commas_between(sources: str) -> None:
    """One to 32 names of upstreams are asked for at once."""
    assert Sources(sources=sources).sources == sources


@pytest.mark.parametrize(
    "sources",
    ["", ",", "a,", "a,,b", "A", "-a", "a b", "a;b", "https://example.com", "x" * 33, ",".join("a" * 33), "a\n"],
)
def test_other_sources_are_refused(sources: str) -> None:
    """Empty, too many and too long names are refused, and whatever could be an address."""
    with pytest.raises(ValidationError):
        Sources(sources=sources)
