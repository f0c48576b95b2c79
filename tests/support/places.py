"""Which kinds of store there are, and places where one may begin."""

from __future__ import annotations

from typing import Final, Protocol

LASTING: Final = ("sqlite", "postgres")
"""The kinds of store whose data outlives the process."""

KINDS: Final = ("memory", *LASTING)


class NewPlace(Protocol):
    """Makes the `ROSTER_STORE_URL` of a new store of a kind: its tables with nothing in them, or not even those."""

    async def __call__(self, kind: str, *, empty: bool = False) -> str: ...
