"""Sphinx builds the HTML site from the same Markdown that a code host shows: `make docs`.

The source folder is the root of the repository, so that links between README, docs, examples and deploy work in both places.
"""

from __future__ import annotations

import re

from sphinx.application import Sphinx

from service import __version__

project = "Roster"
author = "Roster maintainers"
release = __version__

extensions = ["myst_parser"]
root_doc = "docs/index"
include_patterns = ["docs/*.md", "*.md"]
exclude_patterns = ["_site"]
myst_heading_anchors = 4
# These languages have no lexer: the transcripts are checked by a test.
highlight_language = "text"
suppress_warnings = ["misc.highlighting_failure"]

html_theme = "furo"
html_title = f"Roster {__version__}"
html_copy_source = False
html_show_copyright = False


def add_contents(app: Sphinx, name: str, source: list[str]) -> None:
    """Give the sidebar the sections and the links of the index, which has them as lists that a code host can show."""
    if name != root_doc:
        return
    sections = source[0].split("\n## ")[1:]
    for title, text in (section.split("\n", 1) for section in sections):
        pages = "\n".join(f"/docs/{page}" for page in re.findall(r"\]\((\w+)\.md\)", text))
        source[0] += f"\n```{{toctree}}\n:caption: {title}\n:hidden:\n\n{pages}\n```\n"
    others = "\n".join(f"/{page}" for page in ("README", "THREATS", "CONTRIBUTING", "SECURITY", "CHANGELOG"))
    source[0] += f"\n```{{toctree}}\n:caption: Project\n:hidden:\n\n{others}\n```\n"


def setup(app: Sphinx) -> None:
    app.connect("source-read", add_contents)
