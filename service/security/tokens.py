"""Access tokens: JWT (RFC 7519) in the manner of RFC 9068, checked as RFC 8725 asks."""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import jwt

from service.domain.errors import InvalidToken
from service.strict_json import Malformed, parse_json

MAX_TOKEN_BYTES: Final = 4096  # a megabyte costs 41 ms before the signature is looked at

_ALGORITHM: Final = "HS256"
_TYPE: Final = "at+jwt"  # RFC 9068, 4: else another token of ours could pass for an access token
_AUDIENCE: Final = "roster"
_LEEWAY_S: Final = 10
_REQUIRED: Final = ("exp", "iat", "iss", "aud", "sub", "sid", "jti")
# The canonical alphabet only: PyJWT also takes padding and `+/`, so that one token would have several spellings.
_COMPACT: Final = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+){2}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Claims:
    """What a valid access token says. `expires_at`: seconds since 1970."""

    user_id: UUID
    session_id: UUID
    expires_at: int


class AccessTokens:
    """Signs and checks access tokens with one HMAC key of at least 32 bytes.

    Args:
        secret: the key; empty until `use` names it.
    """

    def __init__(self, secret: str, issuer: str, ttl_s: int) -> None:
        self.ttl_s = ttl_s
        self._secret = secret
        self._issuer = issuer
        self._jwt = jwt.PyJWT(
            {"enforce_minimum_key_length": True, "require": list(_REQUIRED), "strict_aud": True, "verify_iat": False}
        )

    def use(self, secret: str) -> None:
        """Sign and check with another key from now on."""
        self._secret = secret

    def issue(self, user_id: UUID, session_id: UUID) -> str:
        now = int(time.time())
        claims = {
            "iss": self._issuer,
            "aud": _AUDIENCE,
            "sub": str(user_id),
            "sid": str(session_id),
            "jti": secrets.token_urlsafe(12),
            "iat": now,
            "exp": now + self.ttl_s,
        }
        return self._jwt.encode(claims, self._secret, _ALGORITHM, headers={"typ": _TYPE})

    def verify(self, token: str) -> Claims:
        """What the token says; raises `InvalidToken`. Costs about 30 µs: remember the answer."""
        if len(token) > MAX_TOKEN_BYTES or _COMPACT.match(token) is None:
            raise InvalidToken()
        try:
            decoded = self._jwt.decode_complete(
                token, self._secret, algorithms=[_ALGORITHM], audience=_AUDIENCE, issuer=self._issuer
            )
            # Twice the same claim: PyJWT takes the last, RFC 7519, 4 lets us refuse.
            for part in token.split(".")[:2]:
                parse_json(jwt.utils.base64url_decode(part))
            return self._claims(decoded["header"], decoded["payload"])
        # PyJWTError, not InvalidTokenError: a key that does not fit is not the latter. ValueError: a sub that is no UUID.
        except (jwt.PyJWTError, ValueError, Malformed):
            raise InvalidToken() from None

    def _claims(self, header: dict[str, Any], payload: dict[str, Any]) -> Claims:
        issued, expires = payload["iat"], payload["exp"]
        if header.get("typ") != _TYPE or type(issued) is not int or type(expires) is not int:
            raise InvalidToken()
        # Another host's clock may be a little ahead when it signs; no token is good for longer because of that.
        if not 0 < expires - issued <= self.ttl_s or issued > time.time() + _LEEWAY_S:
            raise InvalidToken()
        user_id, session_id = payload["sub"], payload["sid"]
        if type(user_id) is not str or type(session_id) is not str:
            raise InvalidToken()  # UUID() would fail on them with whatever error it happens to meet
        return Claims(UUID(user_id), UUID(session_id), expires)
