"""Keys of access tokens: HMAC secrets and private keys, by their kind."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from service.config.settings import PREFIX, Settings, SettingsError
from service.domain.auth.signing_key import Algorithm, SigningKey

LEAST_SECRET_BYTES: Final = 32  # RFC 7518, 3.2: as long as the hash
LEAST_RSA_BITS: Final = 2048  # RFC 7518, 3.3

PrivateKey = EllipticCurvePrivateKey | Ed25519PrivateKey | RSAPrivateKey

_ALWAYS: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PEM: Final = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.+?-----END \1-----", re.DOTALL)


class UnusableKey(ValueError):
    """A key that nothing can be signed with; `str()` says what would do, and nothing of the key."""


@dataclass(frozen=True, slots=True)
class AccessTokenKey:
    """A key that is ready for use.

    Attributes:
        public: as a JWK (RFC 7517), for other services; None for a secret.
    """

    kid: str
    algorithm: Algorithm
    signs_with: Any = field(repr=False)
    checks_with: Any = field(repr=False)
    public: Mapping[str, str] | None


def load_key(kept: SigningKey) -> AccessTokenKey:
    """Raises `UnusableKey`."""
    if kept.algorithm == "HS256":
        secret = kept.material.encode()
        return AccessTokenKey(kept.kid, "HS256", secret, secret, None)
    private = _private(kept.material)
    algorithm, jwk = _kind(private)
    if algorithm != kept.algorithm:
        raise UnusableKey(f"is a key for {algorithm}, not for {kept.algorithm}")
    public = {**jwk, "kid": kept.kid, "alg": algorithm, "use": "sig"}
    return AccessTokenKey(kept.kid, algorithm, private, private.public_key(), public)


def generate_key(algorithm: Algorithm, now: datetime, signs_from: datetime) -> SigningKey:
    """A new key; one for RS256 takes up to a second of a core."""
    if algorithm == "HS256":
        return _of_secret(secrets.token_hex(32), now, signs_from)
    private = _MAKERS[algorithm]()
    material = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return _of_pem(material, now, signs_from)


def parse_keys(pem: str, chosen: Sequence[str]) -> Iterator[SigningKey]:
    """Keys that an operator chose: the first signs, and all check. Raises `UnusableKey`.

    Args:
        pem: private keys, one after the other; empty for none.
        chosen: secrets, which come after them.
    """
    blocks = [match[0] for match in _PEM.finditer(pem)]
    if pem.strip() and not blocks:
        raise UnusableKey("must be a private key as PEM, or the path of a file with one")
    signs_from: datetime | None = _ALWAYS
    for make, material in (*((_of_pem, block) for block in blocks), *((_of_secret, secret) for secret in chosen)):
        yield make(material, _ALWAYS, signs_from)
        signs_from = None


def keys_from_settings(settings: Settings) -> list[SigningKey]:
    """The keys that settings name; none where they are kept in the store. Raises `SettingsError`."""
    try:
        return [*parse_keys(settings.read_jwt_private_keys(), settings.parse_jwt_secrets())]
    except UnusableKey as error:
        raise SettingsError(f"{PREFIX}JWT_PRIVATE_KEY=(hidden): {error}") from None


def _of_secret(secret: str, now: datetime, signs_from: datetime | None) -> SigningKey:
    if len(secret.encode()) < LEAST_SECRET_BYTES:
        raise UnusableKey(f"must be at least {LEAST_SECRET_BYTES} bytes; `openssl rand -hex 32` makes one")
    # Not its thumbprint: the public hash of a weak secret would help to guess it.
    kid = hmac.digest(secret.encode(), b"kid", hashlib.sha256)[:16]
    return SigningKey(_base64(kid), "HS256", secret, now, signs_from)


def _of_pem(pem: str, now: datetime, signs_from: datetime | None) -> SigningKey:
    algorithm, jwk = _kind(_private(pem))
    # RFC 7638, 3: the required members alone, in their order, without a blank.
    thumbprint = hashlib.sha256(json.dumps(jwk, sort_keys=True, separators=(",", ":")).encode())
    return SigningKey(_base64(thumbprint.digest()), algorithm, pem, now, signs_from)


def _private(pem: str) -> PrivateKey:
    try:
        key = load_pem_private_key(pem.encode(), None)
    except TypeError:
        raise UnusableKey("must not be encrypted") from None
    except (ValueError, UnsupportedAlgorithm):  # a certificate, a public key, a damaged one
        raise UnusableKey("must be a private key as PEM, or the path of a file with one") from None
    if not isinstance(key, PrivateKey):
        raise UnusableKey("must be a key of the curve P-256 (ES256), an Ed25519 key (EdDSA) or an RSA key (RS256)")
    return key


def _kind(key: PrivateKey) -> tuple[Algorithm, dict[str, str]]:
    """The one algorithm that a key is for, and its public half as a JWK of the required members."""
    match key:
        case RSAPrivateKey():
            if key.key_size < LEAST_RSA_BITS:
                raise UnusableKey(f"must have at least {LEAST_RSA_BITS} bits")
            return "RS256", _members(RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "e", "kty", "n")
        case Ed25519PrivateKey():
            return "EdDSA", _members(OKPAlgorithm.to_jwk(key.public_key(), as_dict=True), "crv", "kty", "x")
        case EllipticCurvePrivateKey():
            if not isinstance(key.curve, SECP256R1):
                raise UnusableKey("must be of the curve P-256")
            return "ES256", _members(ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "crv", "kty", "x", "y")


def _members(jwk: Mapping[str, Any], *names: str) -> dict[str, str]:
    return {name: jwk[name] for name in names}


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


_MAKERS: Final[Mapping[Algorithm, Callable[[], PrivateKey]]] = {
    "ES256": lambda: generate_private_key(SECP256R1()),
    "EdDSA": Ed25519PrivateKey.generate,
    "RS256": lambda: generate_rsa_key(65537, LEAST_RSA_BITS),
}
