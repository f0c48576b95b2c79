"""Server-sent events, from bytes that may be cut anywhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_LINE_END: Final = re.compile(rb"\r\n|\n|\r(?=.)", re.DOTALL)  # a CR at the end of the bytes may be half of a CR LF


@dataclass(frozen=True, slots=True)
class SseEvent:
    """One event. `id` is None if the event has no id of its own."""

    type: str
    data: str
    id: str | None


class SseParser:
    """Reads a stream (HTML standard, 9.2.6). `retry_ms` is the last reconnect delay that the stream named, or None."""

    def __init__(self) -> None:
        self.retry_ms: int | None = None
        self._rest = b""
        self._first = True
        self._type = ""
        self._data: list[str] = []
        self._id: str | None = None

    def parse(self, piece: bytes) -> Iterator[SseEvent]:
        """The events that are complete with these bytes."""
        *lines, self._rest = _LINE_END.split(self._rest + piece)
        for line in lines:
            text = line.decode("utf-8", "replace")
            if self._first:
                self._first = False
                text = text.removeprefix("\ufeff")
            if text:
                self._read_field(text)
                continue
            if self._data:
                yield SseEvent(self._type or "message", "\n".join(self._data), self._id)
            self._type, self._data, self._id = "", [], None

    def _read_field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._type = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry_ms = int(value)
