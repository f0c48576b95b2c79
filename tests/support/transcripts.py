"""Conversations as the documents show them, and what is the same in them every time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_POSITION: Final = re.compile(r"([a-z0-9]{8})-(\d+)\Z")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z\Z")
_TOKEN: Final = re.compile(r"roster_[0-9A-Za-z]{46}\Z")
_ANY: Final = frozenset(("connection", "reconnect_after_ms", "prefix"))


class Step(NamedTuple):
    """One line. `mark`: who speaks, as `>`, `<`, `!` or `bob>`."""

    mark: str
    text: str


def transcripts(page: Path) -> list[list[Step]]:
    """Every conversation of a page."""
    blocks = re.findall(r"```transcript\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    return [list(_steps(block)) for block in blocks]


def _steps(block: str) -> Iterator[Step]:
    for line in block.splitlines():
        mark, _, text = line.partition(" ")
        yield Step(mark, text)


class Names:
    """Which id or epoch of a document stands for which real one: one for one, from the first time on."""

    def __init__(self) -> None:
        self._real: dict[str, str] = {}

    def bind(self, shown: str, real: str) -> bool:
        """Whether the two may stand for each other."""
        if shown not in self._real and real not in self._real.values():
            self._real[shown] = real
        return self._real.get(shown) == real

    def translate(self, text: str) -> str:
        """The line of the page, with the real names in it."""
        for shown, real in self._real.items():
            text = text.replace(shown, real)
        return text

    def fits(self, shown: Any, real: Any, key: str = "") -> bool:
        """Whether something real is what is shown, but for ids, tokens, epochs, times and waits."""
        match shown, real:
            case dict(), dict():
                return list(shown) == list(real) and all(self.fits(shown[name], real[name], name) for name in shown)
            case list(), list():
                return len(shown) == len(real) and all(map(self.fits, shown, real))
            case _ if key in _ANY:
                return type(shown) is type(real)
            case str(), str() if _TIME.match(shown):
                return _TIME.match(real) is not None
            case str(), str() if "…" in shown:  # a secret, by a name of its own
                return self.bind(shown, real)
            case str(), str() if _UUID.fullmatch(shown):
                return self.bind(shown, real)
            case str(), str() if _TOKEN.match(shown):
                return _TOKEN.match(real) is not None and self.bind(shown, real)
            case str(), str() if (place := _POSITION.match(shown)) and (other := _POSITION.match(real)):
                return place[2] == other[2] and self.bind(place[1], other[1])
            case _:
                return bool(shown == real)

    def fits_line(self, shown: str, real: str) -> bool:
        """The same for a line of an event stream."""
        field, _, value = shown.partition(": ")
        real_field, _, real_value = real.partition(": ")
        match field:
            case "data":
                return real_field == field and self.fits(json.loads(value), json.loads(real_value))
            case "id":
                return real_field == field and self.fits(value, real_value)
            case "retry":
                return real_field == field and real_value.isdigit()
            case _:
                return shown == real
