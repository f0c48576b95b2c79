"""Refusals, and the tree in which they stand."""

from __future__ import annotations

from uuid import UUID

import pytest

from service.domain import errors
from service.domain.errors import (
    AlreadyExists,
    DomainError,
    FieldError,
    Invalid,
    LastAdmin,
    PositionUnavailable,
    TooMany,
    Unavailable,
)

REFUSALS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, DomainError)]


def drawn() -> dict[str, str | None]:
    """The tree of the module's docstring: name to the name above it."""
    above: list[tuple[int, str]] = []
    tree: dict[str, str | None] = {}
    for line in (errors.__doc__ or "").splitlines()[2:]:
        text = line.lstrip("│├└─ ")
        depth, name = len(line) - len(text), text.split()[0]
        above = [(other, parent) for other, parent in above if other < depth]
        tree[name] = above[-1][1] if above else None
        above.append((depth, name))
    return tree


def test_drawing_shows_the_tree() -> None:
    """The docstring draws every refusal, under the one it is a case of."""
    parents = {kind.__name__: None if kind is DomainError else kind.__mro__[1].__name__ for kind in REFUSALS}

    assert drawn() == parents


@pytest.mark.parametrize("kind", REFUSALS, ids=lambda kind: kind.__name__)
def test_refusal_is_a_sentence(kind: type[DomainError]) -> None:
    """Every refusal says in one sentence what a caller may know."""
    arguments: dict[type[DomainError], tuple[object, ...]] = {
        PositionUnavailable: ("trimmed", "k3f9-7"),
        TooMany: (1.5,),
        errors.TooManyFailures: (1.5,),
        errors.RefreshTokenReused: (UUID(int=1), UUID(int=2)),
        errors.InsufficientScope: ("users:read",),
        AlreadyExists: ("username", "email"),
    }
    sentence = str(kind(*arguments.get(kind, ())))  # type: ignore[arg-type]  # each of its own kind

    assert sentence[0].isupper() or sentence[0] == "`"
    assert sentence.endswith((".", ".."))
    assert "\n" not in sentence


def test_own_words_replace_the_sentence() -> None:
    """An error may have a message of its own."""
    assert str(LastAdmin("Not you.")) == "Not you."


def test_taken_names_every_field() -> None:
    """A duplicate of two different users names both fields."""
    error = AlreadyExists("username", "email")

    assert error.fields == ("username", "email")
    assert str(error) == "Another account already has this username and this email."


def test_refusals_carry_their_data() -> None:
    """Data for programs is in fields, not in the message."""
    lost = PositionUnavailable("trimmed", "k3f9-7")
    invalid = Invalid(FieldError("/age", "too_high", "Must not be above 150"))

    assert (lost.reason, lost.position) == ("trimmed", "k3f9-7")
    assert [error.pointer for error in invalid.errors] == ["/age"]
    assert TooMany(2.5).retry_after_s == 2.5
    assert Unavailable().retry_after_s == 1
