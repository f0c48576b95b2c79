"""Which password hashes of other systems are taken in."""

from __future__ import annotations

import re
from typing import Final

# A login verifies the hash with the cost that the hash itself names. An imported hash must not make a login
# take minutes, or all memory. RFC 9106, 4 recommends 64 MiB in 3 passes; four times both is about a second of a core.
_MOST_MEMORY_KIB: Final = 262_144
_MOST_WORK_KIB: Final = 1_048_576  # memory times passes
_MOST_LANES: Final = 16
_MOST_ROUNDS: Final = 14  # bcrypt doubles with each: 14 is about a second

_B64: Final = r"[A-Za-z0-9+/]"
_ARGON2: Final = re.compile(
    rf"\$argon2(?:id|i|d)\$v=19\$m=([1-9][0-9]{{0,6}}),t=([1-9][0-9]{{0,5}}),p=([1-9][0-9]?)\${_B64}{{11,86}}\${_B64}{{16,86}}\Z",
    re.ASCII,
)
_BCRYPT: Final = re.compile(r"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}\Z", re.ASCII)


def fault(text: str) -> str | None:
    """What is wrong with a hash of argon2 (RFC 9106) or bcrypt in its usual form, in one sentence; None for nothing."""
    if match := _ARGON2.match(text):
        memory, passes, lanes = map(int, match.groups())
        if memory < 8 * lanes:  # RFC 9106, 3.1
            return "Must name at least 8 KiB of memory for each lane"
        if memory > _MOST_MEMORY_KIB or memory * passes > _MOST_WORK_KIB or lanes > _MOST_LANES:
            return "Must not cost more than m=262144, p=16, and m times t of 1048576"
        return None
    if match := _BCRYPT.match(text):
        if not 4 <= int(match[1]) <= _MOST_ROUNDS:
            return "Must cost from 04 to 14"
        return None
    return "Must be a hash of argon2, `$argon2id$v=19$m=…`, or of bcrypt, `$2b$12$…`"
