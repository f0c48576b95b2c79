"""How many examples a property draws and how often a load test repeats: some in every run, all in `make soak`."""

from __future__ import annotations

import os
from typing import Final

from hypothesis import settings

SOAK: Final = os.environ.get("ROSTER_TEST_SOAK") == "true"
"""Whether this is `make soak`, which sets the variable and runs these tests as well."""

_SHARE: Final = 8


def examples(count: int) -> settings:
    """Settings for `count` examples in a soak, and an eighth of them in other runs: on PostgreSQL one takes up to 300 ms."""
    return settings(max_examples=count if SOAK else count // _SHARE)


def repetitions(count: int, few: int) -> int:
    """`count` in a soak, and `few` in other runs; its test has the marker `drawn`, which `make soak` selects."""
    return count if SOAK else few
