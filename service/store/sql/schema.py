"""Of which revision the tables are, and which one this code works with."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from service.domain.errors import Unavailable

# The newest one under `migrations/`, which a test holds it to. It stands here as well so that a start on tables that are
# up to date does without Alembic, which takes 0.1 s and 8 MB.
REVISION: Final = "0001"

MIGRATIONS: Final = Path(__file__).parents[1] / "migrations"
"""The folder of Alembic's scripts. Their file names begin with their revisions."""


def is_known(revision: str) -> bool:
    """Whether this code can migrate tables of this revision. Reads file names, because Alembic takes 0.1 s to import."""
    return revision in {path.stem.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py")}


def refuse(found: str | None, *, may_migrate: bool) -> None:
    """Raises `Unavailable` where tables of another revision must not be brought to this code's."""
    if found is not None and not is_known(found):
        raise Unavailable(
            1,
            f"The tables are of revision {found}, which this version does not know: "
            "a newer version made them, or one from before 0.1.0. Use that version, or an empty database.",
        )
    if not may_migrate:
        state = "There are no tables yet" if found is None else f"The tables are of revision {found}, not {REVISION}"
        raise Unavailable(1, f"{state}: run `roster db upgrade`, or set ROSTER_STORE_MIGRATE=true.")
