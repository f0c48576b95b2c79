"""Which kinds of store there are, and places where one may begin."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

LASTING: Final = ("sqlite", "postgres")
"""What these hold is there after the process that wrote it."""

KINDS: Final = ("memory", *LASTING)

NewPlace = Callable[[str], Awaitable[str]]
"""Makes the `ROSTER_STORE_URL` of an empty store of a kind."""
