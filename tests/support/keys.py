"""Keys for tests, made once: an RSA key takes a while."""

from __future__ import annotations

import functools
from datetime import UTC, datetime

from service.domain.auth.signing_key import Algorithm, SigningKey
from service.security.keyring import Keyring
from service.security.keys import generate_key, parse_keys

SECRET = "a secret of tests, of 32 bytes at least"


def now() -> datetime:
    return datetime.now(UTC)


@functools.cache
def a_key(algorithm: Algorithm, number: int = 0) -> SigningKey:
    """A key; another one for another number."""
    moment = datetime(2026, 11, 21, 9, 30, number, tzinfo=UTC)
    return generate_key(algorithm, moment, moment)


def ring(*secrets: str, pem: str = "", ttl_s: float = 900) -> Keyring:
    """A ring of keys that an operator chose; `SECRET` alone where none is named."""
    keyring = Keyring(ttl_s, now)
    keyring.use([*parse_keys(pem, secrets if secrets or pem else (SECRET,))])
    return keyring
