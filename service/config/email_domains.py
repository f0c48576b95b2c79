"""Which domains of e-mail addresses are accepted."""

from __future__ import annotations

from typing import Final

import email_validator

# RFC 6761 and 6762 reserve them, and private networks use them. `internal` (reserved by ICANN) is no special name to the library.
_PRIVATE: Final = frozenset(("local", "test"))


def accept_private_domains() -> None:
    """Have the library accept `.local` and `.test`; it configures this by its list. Mail to them is the operator's business."""
    special = email_validator.SPECIAL_USE_DOMAIN_NAMES
    special[:] = [name for name in special if name not in _PRIVATE]
