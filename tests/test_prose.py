"""The language of everything that a person reads: code comments, texts of the service, documents and test sentences."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]
READ: Final = (
    *("service", "clients", "docs", "tests", "bench", "examples", "deploy", ".ci"),
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "THREATS.md", "openapi.yaml", ".env.example"),
    *("Makefile", "Dockerfile", "gunicorn.conf.py"),
)
SUFFIXES: Final = {"", ".py", ".md", ".html", ".js", ".yaml", ".conf", ".cfg", ".example", ".txt", ".svg"}
LISTS_OF_WORDS: Final = {"common_passwords.txt", "package-lock.json"}

_PROXY: Final = r"(?:\w+\s+){0,2}(?:prox(?:y|ies)|nginx|HAProxy|Caddy|load\s+balancers?|PgBouncer)"

FORBIDDEN: Final = {
    "Name the subject: client, user, administrator, server, process, reader or caller.": [
        r"(?:^|[.:;!?(\"]\s*|,\s+(?:and|or|but)\s+)Who(?:ever)?\s+(?!is\b.*\?|are\b.*\?|may\b.*\?)[a-z']+",
        r"\b(?:somebody|nobody|anybody|whoever|whosoever|whomever|one's\s+own)\b",
        r"\b(?:for|of|by|to|from|with|those|he|him|them)\s+who\b",
    ],
    "Name the thing instead of describing it: the event, the row, the settings.": [
        r"(?:^[ \t]*|[.:;] |\"\"\")What (?!you\b|to\b|it is\b)[a-z']+ [^?\n]{0,60}(?:$|[.,;:])(?!.*\?)",
    ],
    "Use a word of today.": [r"\b(?:told|anew|borne|hither|lest|whence|thereof|mend(?:s|ed)?|bidden|forsaken)\b"],
    "Say what happens, without an idiom.": [
        r"\blet(?:s|ting)?\s+(?:\w+\s+){0,2}go\b",
        r"\bof\s+no\s+use\b",
        r"\btakes?\s+no\s+offence\b",
        r"\bgood\s+for\s+nothing\b",
    ],
    "Write `after`; `behind` is for proxies, and for readers that fall behind.": [
        rf"(?<!\bfall\s)(?<!\bfalls\s)(?<!\bfell\s)(?<!\bfallen\s)(?<!\bfalling\s)\bbehind\b(?!\s+{_PROXY})"
    ],
}
"""What to do instead, with the patterns that show the need."""

ALLOWED: Final[dict[str, tuple[str, ...]]] = {
    "tests/support/postgres.py": ('^.?"nobody".?$',),
    "tests/support/pgbouncer.py": ('^.?"nobody".?$',),
    "tests/test_prose.py": (
        r"\\b",
        "nobody",
        "Who asks gets an answer",
        "It works for who waits",
        "Somebody reads it",
        "The client was told",
        "It lets the socket go",
        "What follows the position",
        "events behind the position",
        "`behind` is for proxies",
    ),
}
"""By file, patterns of sentences in which a forbidden word is right. At most twenty."""

_RULES: Final = [
    (advice, re.compile(pattern, re.MULTILINE if "Wh" in pattern else re.IGNORECASE))
    for advice, patterns in FORBIDDEN.items()
    for pattern in patterns
]


def files() -> list[Path]:
    """Every file that a person may read, but for lists of words."""
    found = (path for name in READ for path in ((ROOT / name).rglob("*") if (ROOT / name).is_dir() else [ROOT / name]))
    return sorted(
        path
        for path in found
        if path.is_file()
        and path.suffix in SUFFIXES
        and path.name not in LISTS_OF_WORDS
        and not {".venv", "node_modules", "__pycache__"} & set(path.relative_to(ROOT).parts)
    )


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """The lines at which pieces of text begin, and the pieces: of Python the comments and strings, of other files everything."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield 1, text
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", -1)}:
            yield token.start[0], token.string


def faults(path: Path) -> Iterator[str]:
    """Each forbidden pattern in a file, with its line and what to do about it."""
    allowed = ALLOWED.get(path.relative_to(ROOT).as_posix(), ())
    for first, text in prose(path):
        for advice, rule in _RULES:
            for match in rule.finditer(text):
                around = " ".join(text[max(0, match.start() - 40) : match.end() + 40].split())
                if not any(re.search(pattern, around) for pattern in allowed):
                    line = first + text[: match.start()].count("\n")
                    yield f"{path.relative_to(ROOT)}:{line}: …{around}… {advice}"


def test_prose_is_plain() -> None:
    """Sentences name their subject and use the words of today. See docs/glossary.md for the product's own terms."""
    found = [fault for path in files() for fault in faults(path)]
    assert not found, "\n".join(found)


def test_exceptions_are_few_and_needed() -> None:
    """At most twenty sentences may use a forbidden word, and each of them exists."""
    assert sum(map(len, ALLOWED.values())) <= 20
    for name, patterns in ALLOWED.items():
        pieces = [" ".join(text.split()) for _, text in prose(ROOT / name)]
        assert all(any(re.search(pattern, piece) for piece in pieces) for pattern in patterns), name


@pytest.mark.parametrize(
    "sentence",
    [
        "Who asks gets an answer.",
        "It works for who waits.",
        "Somebody reads it.",
        "The client was told.",
        "It lets the socket go.",
        "What follows the position is sent.",
        "The events behind the position are sent.",
    ],
)
def test_forbidden_sentence_is_found(sentence: str) -> None:
    """Each rule finds the sentence that it was made for."""
    assert any(rule.search(sentence) for _, rule in _RULES)


@pytest.mark.parametrize(
    "sentence",
    [
        "Run it behind a reverse proxy.",
        "Run it behind nginx.",
        "A slow reader falls behind.",
        "The user who asked is logged out.",
    ],
)
def test_right_sentence_is_not_found(sentence: str) -> None:
    """A person with a name, a proxy in front and a reader that is late are not faults."""
    assert not any(rule.search(sentence) for _, rule in _RULES)
