"""The public keys of access tokens."""

from __future__ import annotations

from typing import Any

import jwt
import pytest

from service.domain.auth.signing_key import Algorithm
from tests.support.keys import SECRET, a_key
from tests.support.server import Server, serve

PATH = "/.well-known/jwks.json"


async def keys_of(server: Server) -> list[dict[str, Any]]:
    async with server.request("GET", PATH) as answer:
        assert answer.content_type == "application/jwk-set+json"
        assert answer.headers["Cache-Control"] == "public, max-age=300"
        body = await answer.json(content_type=None)
    assert set(body) == {"keys"}
    found: list[dict[str, Any]] = body["keys"]
    return found


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256"])
async def test_others_check_tokens_with_what_is_published(algorithm: Algorithm) -> None:
    """A client that knows nothing but the address of the keys checks a token by the one that it names."""
    async with serve(jwt_private_key=a_key(algorithm).material, jwt_secret="") as server:
        token = (await server.member("ada")).access_token
        keys = jwt.PyJWKSet.from_dict({"keys": await keys_of(server)})

    header = jwt.get_unverified_header(token)
    key = keys[header["kid"]]
    assert (header["alg"], header["typ"], key.algorithm_name) == (algorithm, "at+jwt", algorithm)
    assert jwt.decode(token, key, [algorithm], audience="roster", issuer="roster")["sid"]


async def test_secret_is_not_published(server: Server) -> None:
    """Where tokens are signed with a secret the set is empty, and still a set."""
    assert await keys_of(server) == []


async def test_every_private_key_is_published() -> None:
    """Those that only check as well; a secret beside them is not."""
    pem = a_key("EdDSA").material + a_key("ES256").material
    async with serve(jwt_private_key=pem, jwt_secret=SECRET) as server:
        keys = await keys_of(server)

    assert [key["kid"] for key in keys] == [a_key("EdDSA").kid, a_key("ES256").kid]
    assert not [key for key in keys if "d" in key or key["kty"] == "oct"]


async def test_copy_that_is_still_true_is_not_sent_again(server: Server) -> None:
    """`If-None-Match` with the present ETag answers 304, without a body; HEAD answers as GET."""
    async with server.request("GET", PATH) as answer:
        tag = answer.headers["ETag"]
    for given in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        async with server.request("GET", PATH, headers={"If-None-Match": given}) as answer:
            assert (answer.status, await answer.read()) == (304, b"")
            assert (answer.headers["ETag"], answer.headers["Cache-Control"]) == (tag, "public, max-age=300")
    async with server.request("HEAD", PATH, headers={"If-None-Match": '"x"'}) as answer:
        assert (answer.status, answer.headers["ETag"]) == (200, tag)
    async with server.request("GET", PATH, headers={"If-None-Match": "x"}) as answer:
        assert answer.status == 400


async def test_keys_are_for_everybody(server: Server) -> None:
    """No credentials are asked for, and bad ones are not looked at."""
    async with server.request("GET", PATH, headers={"Authorization": "Bearer x"}) as answer:
        assert answer.status == 200
