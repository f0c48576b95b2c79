"""Fixtures of the promises: randomness that can be repeated."""

from __future__ import annotations

import logging
import os
import random
from typing import Final

import pytest

_SEED: Final = "PROMISE_SEED"

log = logging.getLogger(__name__)


@pytest.fixture
def chance() -> random.Random:
    """Another course of things in every run; a failure shows its seed, and `PROMISE_SEED=<seed>` takes that one again."""
    seed = int(os.environ.get(_SEED) or random.SystemRandom().getrandbits(32))
    log.warning("to repeat this: %s=%d", _SEED, seed)  # pytest shows what was logged only where a test fails
    return random.Random(seed)
