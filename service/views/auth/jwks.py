"""The public keys of access tokens (RFC 7517)."""

from __future__ import annotations

import hashlib
import json
from typing import Final

from aiohttp import hdrs, web

from service.http import problems
from service.http.operations import (
    Access,
    Operation,
    Reply,
    operation,
)
from service.http.preconditions import not_modified
from service.http.view import View

# Half of the time that `roster keys rotate` waits before a new key signs, so that caches have the key by then.
_MAX_AGE_S: Final = 300
_EXAMPLE: Final = {
    "keys": [
        {
            "crv": "Ed25519",
            "kty": "OKP",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
            "alg": "EdDSA",
            "use": "sig",
        }
    ]
}


class JwksView(View):
    @operation(
        Operation(
            id="get_jwks",
            summary="The public keys of access tokens",
            description=(
                "A JWK Set (RFC 7517): the keys that sign, did or soon will; take the one that the token names as `kid`, and the "
                "algorithm from the key. Empty while tokens are signed with a secret, which must not be published. It may be "
                "cached for the time in `Cache-Control`, and has an `ETag`."
            ),
            tag="auth",
            access=Access.PUBLIC,
            headers=("If-None-Match",),
            replies={
                200: Reply(
                    "The keys.", media_type="application/jwk-set+json", example=_EXAMPLE, headers=("Cache-Control",)
                ),
                304: Reply("Your copy is still true.", headers=("Cache-Control",)),
            },
            refusals=(problems.BAD_REQUEST,),
        )
    )
    async def get(self) -> web.Response:
        body = json.dumps({"keys": self.services.keyring.published}, separators=(",", ":")).encode()
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        headers: dict[str, str] = {hdrs.ETAG: tag, hdrs.CACHE_CONTROL: f"public, max-age={_MAX_AGE_S}"}
        if hdrs.IF_NONE_MATCH in self.request.headers and not_modified(self.request, tag):
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, content_type="application/jwk-set+json", headers=headers)
