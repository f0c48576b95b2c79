"""The keys that sign access tokens, and how one follows another without a token being refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, get_args

Algorithm = Literal["HS256", "ES256", "EdDSA", "RS256"]
ALGORITHMS: Final[tuple[Algorithm, ...]] = get_args(Algorithm)

KID_MAX: Final = 64

# For clocks that differ: another host may sign with a key a little after the next one has begun.
_SLACK: Final = timedelta(seconds=60)
_NEVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key, as it is kept.

    Attributes:
        kid: its name, which stands in the tokens that it signs.
        algorithm: by which it signs. The key decides that, never a token (RFC 8725, 3.1).
        material: a secret of 32 bytes or more, or a private key as PEM.
        signs_from: when it begins to sign, in the place of the one before; None: it only checks, for as long as it is there.
    """

    kid: str
    algorithm: Algorithm
    material: str = field(repr=False)
    created_at: datetime
    signs_from: datetime | None


def signer(keys: Sequence[SigningKey], now: datetime) -> SigningKey | None:
    """The key that signs now: of those that have begun to, the one that began last. None where there is none that may."""
    signing = [key for key in keys if key.signs_from is not None]
    begun = [key for key in signing if _begin(key)[0] <= now]
    # The clock of the host that created the first key may be ahead.
    return max(begun, key=_begin) if begun else min(signing, key=_begin, default=None)


def checks_until(key: SigningKey, keys: Sequence[SigningKey], ttl: timedelta) -> datetime | None:
    """When the last token of a key has expired, where tokens live for `ttl`; None while nothing follows it."""
    if key.signs_from is None:
        return None
    following = [other.signs_from for other in keys if other.signs_from is not None and _begin(other) > _begin(key)]
    return min(following) + ttl + _SLACK if following else None


def _begin(key: SigningKey) -> tuple[datetime, str]:
    return key.signs_from or _NEVER, key.kid
