"""The settings as documents."""

from __future__ import annotations

from pathlib import Path

from service.cli import reference
from service.config.load import load
from tests.support.gunicorn import ROOT


def test_every_setting_has_a_meaning() -> None:
    """No setting is left without a sentence that says what it does."""
    assert [row.variable for row in reference.rows() if not row.meaning] == []


def test_a_meaning_is_one_line() -> None:
    """A meaning is one line: a second one would be a statement in `.env.example`, and the end of the table in README."""
    assert [row.variable for row in reference.rows() if "\n" in row.meaning] == []
    assert [line for line in reference.env_example().splitlines() if line and not line.startswith("#")] == []


def test_env_example_is_up_to_date() -> None:
    """`.env.example` is what `make documents` writes."""
    assert (ROOT / ".env.example").read_text(encoding="utf-8") == reference.env_example()


def test_env_example_changes_nothing(tmp_path: Path) -> None:
    """Copied as it is, or with every line switched on, `.env.example` gives the defaults."""
    text = reference.env_example()
    on = tmp_path / ".env"
    on.write_text(text.replace("\n#ROSTER_", "\nROSTER_"), encoding="utf-8")
    defaults = load(_env_file=None)

    assert load(_env_file=on) == defaults
    on.write_text(text, encoding="utf-8")
    assert load(_env_file=on) == defaults
