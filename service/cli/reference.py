"""Parts of the documentation that are generated from code: `.env.example`, the tables of settings and of scopes.

Tests compare them with the documents.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final, NamedTuple

from pydantic import SecretStr

from service.config.settings import PREFIX, TOPICS, Settings

_HEAD: Final = """\
# Every setting of Roster with its default. Copied to `.env`, this file changes nothing: remove the # of a line to set
# its variable. The environment wins over `.env`.
"""


class Row(NamedTuple):
    """One setting. `default` is written as in the environment; `meaning` is one line."""

    variable: str
    default: str
    meaning: str


def rows() -> Iterator[Row]:
    """Every setting, in the order of `Settings`."""
    for name, field in Settings.model_fields.items():
        yield Row(PREFIX + name.upper(), _written(field.default), " ".join((field.description or "").split()))


def topics() -> Iterator[tuple[str, list[Row]]]:
    """Every topic with its settings, in the order of `Settings`."""
    titles = {PREFIX + name.upper(): title for title, name in TOPICS.items()}
    title, found = "", list[Row]()
    for row in rows():
        if row.variable in titles:
            if found:
                yield title, found
            title, found = titles[row.variable], []
        found.append(row)
    yield title, found


def env_example() -> str:
    """The text of `.env.example`."""
    return _HEAD + "".join(
        f"\n\n# --- {title}\n" + "".join(f"\n# {row.meaning}\n#{row.variable}={row.default}\n" for row in found)
        for title, found in topics()
    )


def markdown_table() -> str:
    """The tables in docs/configuration.md, one per topic."""
    return "\n".join(f"## {title}\n\n{_table(found)}" for title, found in topics())


def _table(found: list[Row]) -> str:
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for row in found:
        default = f"`{row.default}`" if row.default else "empty"
        meaning = row.meaning.replace("|", "\\|")
        lines.append(f"| `{row.variable}` | {default} | {meaning} |")
    return "\n".join(lines) + "\n"


def scopes_table() -> str:
    """The table in docs/tokens.md: the meaning of each scope, and the operations that require it."""
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
    if isinstance(default, SecretStr):  # a constant of the code, not a value that was set
        return default.get_secret_value()
    return default if isinstance(default, str) else json.dumps(default)
