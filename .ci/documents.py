"""Write the generated tables into the pages of docs/, between their markers."""

from __future__ import annotations

import re
from pathlib import Path

from service.cli.reference import markdown_table, scopes_table

DOCS = Path(__file__).parents[1] / "docs"
TABLES = {"configuration.md": ("settings", markdown_table), "tokens.md": ("scopes", scopes_table)}

for page, (name, generate) in TABLES.items():
    path = DOCS / page
    text = path.read_text(encoding="utf-8")
    before, marker, rest = re.split(rf"(<!-- {name}: .*? -->\n)", text)
    after = rest[rest.index(f"<!-- end of {name} -->") :]
    path.write_text(before + marker + generate() + after, encoding="utf-8")
