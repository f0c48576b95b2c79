"""The password policy: a minimum length, and no common password. There are no rules about character classes."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import Final

from service.domain.errors import FieldError, Invalid
from service.domain.users.user import PASSWORD_MIN

SERVICE_NAME: Final = "roster"

_COMMON: Final = Path(__file__).parent / "common_passwords.txt"
_SHORTEST_NAME: Final = 3  # code points; two letters stand in many a good password by chance


def normal(password: str) -> str:
    """The one form of a password that is hashed: NFKC (NIST SP 800-63B, 3.1.1.2), done once, where it is hashed.

    The same password typed on two keyboards is one password.
    """
    return unicodedata.normalize("NFKC", password)


def reject_common(password: str, *names: str, pointer: str = "/password") -> None:
    """Raises `Invalid` for a common password, or one that is made of the user's own names.

    That is one of the commonest 10,000 (ASVS 5.0, 6.2.4 asks for 3,000), or little more than a name of its owner or the
    service (6.2.11); in whatever case.

    Args:
        names: username, e-mail address and name of the owner.
        pointer: to the field that holds it.
    """
    folded = _folded(password)
    rest = folded
    for name in sorted(_parts(SERVICE_NAME, *names), key=len, reverse=True):
        rest = rest.replace(name, "")
    if _is_common(folded):
        raise Invalid(FieldError(pointer, "password_too_common", "Must not be one of the commonest passwords"))
    if rest != folded and (_is_common(rest) or _says_nothing(rest)):
        raise Invalid(
            FieldError(pointer, "password_too_common", "Must not be made of your names or that of the service")
        )


def _parts(*names: str) -> set[str]:
    """The names and their parts: of an address, the parts before and after the @."""
    folded = [_folded(name) for name in names]
    parts = {part for name in folded for part in (name, *name.replace("@", " ").split())}
    return {part for part in parts if len(part) >= _SHORTEST_NAME}


def _folded(text: str) -> str:
    return normal(text).casefold().strip()


def _is_common(folded: str) -> bool:
    return folded in _commonest()


def _says_nothing(rest: str) -> bool:
    # A year, a punctuation mark, a number: common additions to a name.
    return len(rest) < PASSWORD_MIN and not any(character.isalpha() for character in rest)


@lru_cache(1)
def _commonest() -> frozenset[str]:
    return frozenset(_COMMON.read_text(encoding="utf-8").split("\n"))
