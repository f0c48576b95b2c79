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
from service.http.strict_json import Malformed, parse_json
from service.security.keyring import Keyring

MAX_TOKEN_BYTES: Final = 4096  # a megabyte costs 41 ms before the signature is looked at

_TYPE: Final = "at+jwt"  # RFC 9068, 4: else another token of ours could pass for an access token
_AUDIENCE: Final = "roster"
_CLIENT: Final = "roster"
_LEEWAY_S: Final = 10
_REQUIRED: Final = ("exp", "iat", "iss", "aud", "sub", "client_id", "sid", "jti", "scope")
# The canonical alphabet only: PyJWT also takes padding and `+/`, so that one token would have several spellings.
_COMPACT: Final = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+){2}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of a valid access token. `expires_at`: seconds since 1970; `scope`: words separated by spaces."""

    user_id: UUID
    session_id: UUID
    expires_at: int
    scope: str


class Rejected(InvalidToken):
    """The token is rejected. `why`: the reason, for operators; the client does not learn it."""

    def __init__(self, why: str) -> None:
        super().__init__()
        self.why = why


class UnknownKey(Rejected):
    """It names a key that is not known here, or not any more."""

    def __init__(self, kid: object) -> None:
        super().__init__(f"no key here has the name {kid!r}")
        self.kid = kid if isinstance(kid, str) else None


class AccessTokens:
    """Signs and checks access tokens with the keys of a ring.

    Which key checks a token stands in its `kid`, how it does in the key: whatever else a header says of keys or algorithms
    decides nothing (RFC 8725, 3.1 and 3.10).
    """

    def __init__(self, keys: Keyring, issuer: str, ttl_s: int) -> None:
        self.ttl_s = ttl_s
        self.keys = keys
        self._issuer = issuer
        self._jwt = jwt.PyJWT(
            {"enforce_minimum_key_length": True, "require": list(_REQUIRED), "strict_aud": True, "verify_iat": False}
        )

    def issue(self, user_id: UUID, session_id: UUID, scope: str = "") -> str:
        """Create a token; without `scope` it grants nothing."""
        now = int(time.time())
        claims = {
            "iss": self._issuer,
            "aud": _AUDIENCE,
            "sub": str(user_id),
            "client_id": _CLIENT,  # RFC 9068, 2.2: required; every login uses this service's own endpoints
            "sid": str(session_id),
            "scope": scope,  # RFC 9068, 2.2.3
            "jti": secrets.token_urlsafe(12),
            "iat": now,
            "exp": now + self.ttl_s,
        }
        key = self.keys.signing
        return self._jwt.encode(claims, key.signs_with, key.algorithm, headers={"typ": _TYPE, "kid": key.kid})

    def verify(self, token: str) -> Claims:
        """The claims of the token; raises `Rejected`. Costs 40 to 130 µs: cache the result."""
        if len(token) > MAX_TOKEN_BYTES or _COMPACT.match(token) is None:
            raise Rejected(
                f"it is not three parts of base64url with dots between, of {MAX_TOKEN_BYTES:,} bytes at most"
            )
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            key = self.keys.checking(kid) if type(kid) is str else None
            if key is None:
                raise UnknownKey(kid)
            decoded = self._jwt.decode_complete(
                token, key.checks_with, algorithms=[key.algorithm], audience=_AUDIENCE, issuer=self._issuer
            )
            # Twice the same claim: PyJWT takes the last, RFC 7519, 4 lets us refuse.
            for part in token.split(".")[:2]:
                parse_json(jwt.utils.base64url_decode(part))
            return self._claims(decoded["header"], decoded["payload"])
        # PyJWTError, not InvalidTokenError: a key that does not fit is not the latter. ValueError: a sub that is no UUID.
        except (jwt.PyJWTError, ValueError, Malformed) as error:
            raise Rejected(str(error)) from None

    def _claims(self, header: dict[str, Any], payload: dict[str, Any]) -> Claims:
        issued, expires = payload["iat"], payload["exp"]
        if header.get("typ") != _TYPE:
            raise Rejected(f"its typ is not {_TYPE}: it is a token of another kind")
        if type(issued) is not int or type(expires) is not int:
            raise Rejected("its iat and exp are not whole numbers")
        # Another host's clock may be a little ahead when it signs; no token is good for longer because of that.
        if not 0 < expires - issued <= self.ttl_s:
            raise Rejected(f"it lives longer than {self.ttl_s} seconds, or not at all")
        if issued > time.time() + _LEEWAY_S:
            raise Rejected("it was issued in the future")
        user_id, session_id, scope = payload["sub"], payload["sid"], payload["scope"]
        if type(user_id) is not str or type(session_id) is not str or type(scope) is not str:
            # UUID() would fail on them with whatever error it happens to meet.
            raise Rejected("its sub, sid and scope are not texts")
        return Claims(UUID(user_id), UUID(session_id), expires, scope)
