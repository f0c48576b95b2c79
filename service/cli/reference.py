"""What documents repeat, made from the code: `.env.example`, the table of settings in README, that of scopes in docs.

Tests compare.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final, NamedTuple

from service.config.settings import PREFIX, Settings

_HEAD: Final = """\
# Every setting of Roster, as its default, with its unit in its name. Copied to `.env` this file changes nothing;
# take the # away from a line and set what you need. The environment wins over `.env`.
"""


class Row(NamedTuple):
    """One setting. `default` is written as the environment would hold it; `meaning` is one line."""

    variable: str
    default: str
    meaning: str


def rows() -> Iterator[Row]:
    """Every setting, in the order of `Settings`."""
    for name, field in Settings.model_fields.items():
        yield Row(PREFIX + name.upper(), _written(field.default), " ".join((field.description or "").split()))


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


def scopes_table() -> str:
    """The table in docs/tokens.md: what each scope is for, and what needs it."""
    from service.domain.auth.scopes import MEANINGS
    from service.realtime.commands import COMMANDS
    from service.routes import operations

    needs: dict[str, list[str]] = {scope: [] for scope in MEANINGS}
    for path, method, operation in operations():
        if operation.scope is not None:
            needs[operation.scope].append(f"`{method.upper()} {path}`")
    for name, command in COMMANDS.items():
        if command.scope is not None:
            needs[command.scope].append(f"WebSocket `{name}`")
    lines = ["| scope | to | is needed for |", "|---|---|---|"]
    lines += [f"| `{scope}` | {meaning.text} | {', '.join(needs[scope])} |" for scope, meaning in MEANINGS.items()]
    return "\n".join(lines) + "\n"


def _written(default: object) -> str:
    return default if isinstance(default, str) else json.dumps(default)
