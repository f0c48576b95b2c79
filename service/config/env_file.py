"""The file `.env`: whether it can be read, and the names in it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from dotenv import dotenv_values

ENCODING = "utf-8-sig"
"""UTF-8; editors on Windows put a byte order mark before it."""


class UnreadableFile(Exception):
    """`str()` is a sentence for the operator."""


def check_file(path: Path) -> None:
    """Raise `UnreadableFile` where the file is there and its text cannot be read."""
    if not path.is_file():
        return
    try:
        text = path.read_text(ENCODING)
    except UnicodeDecodeError:
        text = "\0"
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be read ({error.strerror})") from None
    if "\0" in text:
        raise UnreadableFile(
            f"{path} is not text in UTF-8; UTF-16, which PowerShell writes, is not read: save it as UTF-8"
        )


def names_in(path: Path) -> Iterable[str]:
    """The variables that the file sets, as it spells them."""
    return dotenv_values(path, encoding=ENCODING, interpolate=False) if path.is_file() else ()
