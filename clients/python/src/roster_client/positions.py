"""Where a program is in the feed."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Position(Protocol):
    """A place that keeps the position of a reader, such as a file or a row of your database. It is called in a thread."""

    def load(self) -> str | None:
        """The position; None to begin with the next event."""

    def save(self, position: str) -> None:
        """Keep a position. After the return it must survive a crash."""


@dataclass(frozen=True, slots=True)
class FilePosition:
    """A position in a file, which is replaced as a whole.

    Attributes:
        first: the position while the file does not exist: `0` for the oldest event, None for the next event.
    """

    path: str | Path
    first: str | None = None

    def load(self) -> str | None:
        try:
            return Path(self.path).read_text(encoding="ascii").strip() or self.first
        except FileNotFoundError:
            return self.first

    def save(self, position: str) -> None:
        path = Path(self.path)
        new = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
        try:
            with new.open("x", encoding="ascii") as file:
                file.write(position + "\n")
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
        except BaseException:
            with suppress(FileNotFoundError):
                new.unlink()
            raise


@dataclass(slots=True)
class MemoryPosition:
    """A position that lives as long as the object."""

    position: str | None = None

    def load(self) -> str | None:
        return self.position

    def save(self, position: str) -> None:
        self.position = position
