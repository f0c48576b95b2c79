"""Cursors of lists: a place that only we can have written, bound to the query it was given out for."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from service.domain.errors import InvalidCursor
from service.domain.users.user import User, sort_key

_MAC_BYTES: Final = 16


class Cursors:
    """Writes and reads cursors; `secret` is the service's own, of which only a derived key is used."""

    def __init__(self, secret: str) -> None:
        self._key = hmac.digest(secret.encode(), b"cursors", hashlib.sha256)

    def write(self, last: User, query: Mapping[str, Any]) -> str:
        """The place after the last user of a page; `query` has the filters and the order, `sort`."""
        return self.seal([sort_key(last, query["sort"].removeprefix("-")), last.id.hex], query)

    def read(self, cursor: str, query: Mapping[str, Any]) -> tuple[str, UUID]:
        """The place; raises `InvalidCursor` for anything that was not written for the same query."""
        key, user_id = self.unseal(cursor, query)
        return key, UUID(user_id)

    def seal(self, place: Any, query: Mapping[str, Any]) -> str:
        """A place in any list, of what JSON can say; `query` tells the list, and what is asked of it."""
        text = json.dumps(place).encode()
        return base64.urlsafe_b64encode(self._mac(text, query) + text).rstrip(b"=").decode()

    def unseal(self, cursor: str, query: Mapping[str, Any]) -> Any:
        """The place again; raises `InvalidCursor`."""
        try:
            text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise InvalidCursor() from None
        mac, place = text[:_MAC_BYTES], text[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(place, query)):
            raise InvalidCursor()
        return json.loads(place)

    def _mac(self, place: bytes, query: Mapping[str, Any]) -> bytes:
        asked = json.dumps(query, sort_keys=True).encode()
        return hmac.digest(self._key, hashlib.sha256(asked).digest() + place, hashlib.sha256)[:_MAC_BYTES]
