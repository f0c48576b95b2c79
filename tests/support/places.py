"""Which kinds of store there are, and places where one may begin."""

from __future__ import annotations

from typing import Final, Protocol

LASTING: Final = ("sqlite", "postgres")
"""What these hold is there after the process that wrote it."""

KINDS: Final = ("memory", *LASTING)


class NewPlace(Protocol):
    """Makes the `ROSTER_STORE_URL` of a new store of a kind: its tables with nothing in them, or not even those."""

    async def __call__(self, kind: str, *, empty: bool = False) -> str: ...
