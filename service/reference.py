"""The settings as documents: `.env.example`, and the table in README. Both are made from `Settings`; a test compares."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final, NamedTuple

from service.settings import PREFIX, Settings

_HEAD: Final = """\
# Every setting of Roster, as its default, with its unit in its name. Copied to `.env` this file changes nothing;
# take the # away from a line and set what you need. The environment wins over `.env`.
"""


class Row(NamedTuple):
    """One setting. `default` is written as the environment would hold it."""

    variable: str
    default: str
    meaning: str


def rows() -> Iterator[Row]:
    """Every setting, in the order of `Settings`."""
    for name, field in Settings.model_fields.items():
        yield Row(PREFIX + name.upper(), _written(field.default), field.description or "")


def env_example() -> str:
    """The text of `.env.example`."""
    return _HEAD + "".join(f"\n# {row.meaning}\n#{row.variable}={row.default}\n" for row in rows())


def markdown_table() -> str:
    """The table in README."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for row in rows():
        default = f"`{row.default}`" if row.default else "empty"
        meaning = row.meaning.replace("|", "\\|")
        lines.append(f"| `{row.variable}` | {default} | {meaning} |")
    return "\n".join(lines) + "\n"


def _written(default: object) -> str:
    return default if isinstance(default, str) else json.dumps(default)
