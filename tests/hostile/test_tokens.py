"""Forged, modified or expired access tokens (RFC 8725, RFC 6750), and guessed logins."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from service.domain.auth.signing_key import ALGORITHMS, Algorithm
from service.http.services import SERVICES
from service.security.keys import AccessTokenKey
from tests.support.hostile import assert_serves, exchange, message
from tests.support.keys import a_key
from tests.support.peer import Answer, raw_peer
from tests.support.places import KINDS, NewPlace
from tests.support.server import PASSWORD, Login, Server, serve
from tests.support.wait import BUSY_S

Claims = dict[str, Any]


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(part: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(part + "=="))


def sign(key: AccessTokenKey, data: bytes, algorithm: str) -> bytes:
    """Sign as a holder of the key would, with any algorithm that accepts it."""
    return jwt.get_algorithm_by_name(algorithm).sign(data, key.signs_with)


class Forge:
    """Makes tokens with the service's own key, so that only what is written in them can be wrong."""

    def __init__(self, key: AccessTokenKey, good: str) -> None:
        self.good = good
        self.key = key
        header, claims, self.signature = good.split(".")
        self.header: Claims = decode(header)
        self.claims: Claims = decode(claims)

    def raw(self, header: bytes, claims: bytes, by: str | None = None) -> str:
        signed = f"{encode(header)}.{encode(claims)}"
        return f"{signed}.{encode(sign(self.key, signed.encode(), by or self.key.algorithm))}"

    def token(self, header: Claims | None = None, claims: Claims | None = None, by: str | None = None) -> str:
        """A token with these members instead of the good one's, signed `by` the key's algorithm or another; `...` leaves a
        member out."""
        parts = [{**self.header, **(header or {})}, {**self.claims, **(claims or {})}]
        texts = [json.dumps({name: value for name, value in part.items() if value is not ...}) for part in parts]
        return self.raw(texts[0].encode(), texts[1].encode(), by)

    def related(self, number: int) -> str:
        """A token rightly signed, by another algorithm that the key could be used for."""
        algorithm = _RELATED[self.key.algorithm][number]
        return self.token({"alg": algorithm}, by="EdDSA" if algorithm == "Ed25519" else algorithm)

    def confused(self, secret: bytes) -> str:
        """A token signed with what everybody knows, as if it were a secret."""
        header = json.dumps({**self.header, "alg": "HS256"}).encode()
        signed = f"{encode(header)}.{encode(json.dumps(self.claims).encode())}"
        return f"{signed}.{encode(hmac.digest(secret, signed.encode(), 'sha256'))}"

    @property
    def public(self) -> bytes:
        """The published part of the key; of a secret, nothing."""
        if self.key.public is None:
            return b""
        form = PublicFormat.SubjectPublicKeyInfo
        pem: bytes = self.key.checks_with.public_bytes(Encoding.PEM, form)
        return pem


_RELATED = {
    "HS256": ("HS384", "HS512"),
    "ES256": ("ES384", "ES512"),
    "EdDSA": ("Ed25519", "Ed25519"),
    "RS256": ("RS512", "PS256"),
}


# What is written in a token is judged before a store is asked anything: in memory, with every kind of key.
in_memory = pytest.mark.parametrize("kind", ["memory"], indirect=True, scope="module")
with_every_key = pytest.mark.parametrize(
    ("kind", "algorithm"), [("memory", algorithm) for algorithm in ALGORITHMS], indirect=True, scope="module"
)


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def algorithm(request: pytest.FixtureRequest) -> Algorithm:
    chosen: Algorithm = getattr(request, "param", "HS256")
    return chosen


@pytest.fixture(scope="module")
async def target(kind: str, algorithm: Algorithm, new_place: NewPlace) -> AsyncIterator[Server]:
    """A service on each kind of store, or with each kind of key."""
    key: dict[str, Any] = (
        {} if algorithm == "HS256" else {"jwt_private_key": a_key(algorithm).material, "jwt_secret": ""}
    )
    async with serve(store_url=await new_place(kind), **key) as running:
        yield running


@pytest.fixture(scope="module")
def forge(target: Server, ada: Login) -> Forge:
    return Forge(target.app[SERVICES].keyring.signing, ada.access_token)


async def call(server: Server, method: str, path: str, *headers: str, body: Any = None) -> Answer:
    data = b"" if body is None else json.dumps(body).encode()
    content = ["Content-Type: application/json"] if data else []
    outcome = await exchange(
        server, message(method, path, f"Content-Length: {len(data)}", *content, *headers, body=data)
    )
    assert outcome.answer is not None
    assert outcome.answer.status < 500
    return outcome.answer


async def who(server: Server, token: str) -> Answer:
    """Ask who one is with this token."""
    answer = await call(server, "GET", "/v1/users/me", f"Authorization: Bearer {token}")
    await assert_serves(server)
    return answer


async def refused(server: Server, token: str) -> bool:
    """Whether a token is refused within the second that an ending may take to come by the log."""
    async with asyncio.timeout(1 + BUSY_S):
        while (await who(server, token)).status != 401:
            pass
    return True


def header(**members: Any) -> Callable[[Forge], str]:
    return lambda forge: forge.token(header=members)


def claims(**members: Any) -> Callable[[Forge], str]:
    return lambda forge: forge.token(claims=members)


def later(seconds: float) -> Callable[[Forge], str]:
    return lambda forge: forge.token(claims={"exp": forge.claims["iat"] + seconds})


def text_of(part: str, old: str, new: str) -> Callable[[Forge], str]:
    """The header or the claims with their JSON text changed, for what no dictionary can hold."""

    def make(forge: Forge) -> str:
        texts = {"header": json.dumps(forge.header), "claims": json.dumps(forge.claims)}
        assert old in texts[part]
        texts[part] = texts[part].replace(old, new, 1)
        return forge.raw(texts["header"].encode(), texts["claims"].encode())

    return make


def bent_signature(forge: Forge) -> str:
    """The good token with other unused bits in the last letter of its signature: the same bytes, another text."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet.index(forge.good[-1])
    return forge.good[:-1] + alphabet[last ^ 1]


@with_every_key
async def test_forged_token_that_is_right_is_taken(target: Server, forge: Forge) -> None:
    """The tokens below are refused for what is wrong with them: one with nothing wrong is taken."""
    assert (await who(target, forge.token())).status == 200
    assert (await who(target, forge.good)).status == 200


@with_every_key
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda forge: forge.token({"alg": "none"}), id="alg none, signed"),
        pytest.param(lambda forge: forge.token({"alg": "none"}).rpartition(".")[0] + ".", id="alg none, unsigned"),
        pytest.param(lambda forge: forge.token({"alg": "NoNe"}).rpartition(".")[0] + ".", id="alg NoNe"),
        pytest.param(header(alg=...), id="no alg"),
        pytest.param(header(alg=""), id="empty alg"),
        pytest.param(header(alg=["HS256"]), id="alg in an array"),
        pytest.param(header(alg={}), id="alg of an object"),
        pytest.param(lambda forge: forge.token({"alg": forge.key.algorithm.swapcase()}), id="alg in other letters"),
        pytest.param(
            lambda forge: forge.token({"alg": "ES256" if forge.key.algorithm == "RS256" else "RS256"}),
            id="alg of another family",
        ),
        pytest.param(lambda forge: forge.related(0), id="other alg of the key, rightly signed"),
        pytest.param(lambda forge: forge.related(1), id="yet another alg of the key, rightly signed"),
        pytest.param(lambda forge: forge.confused(forge.public), id="public key for a secret"),
        pytest.param(lambda forge: forge.confused(forge.public.strip()), id="public key for a secret, stripped"),
        pytest.param(lambda forge: forge.confused(json.dumps(forge.key.public).encode()), id="public JWK for a secret"),
        pytest.param(lambda forge: forge.confused(forge.key.kid.encode()), id="kid for a secret"),
        pytest.param(lambda forge: forge.confused(b""), id="nothing for a secret"),
        pytest.param(lambda forge: forge.good.rpartition(".")[0] + ".", id="no signature"),
        pytest.param(lambda forge: forge.good.rpartition(".")[0], id="two parts"),
        pytest.param(lambda forge: forge.good + ".AAAA", id="four parts"),
        pytest.param(lambda forge: forge.good[:-5] + "AAAAA", id="other signature"),
        pytest.param(lambda forge: forge.good[:-1], id="signature cut off"),
        pytest.param(bent_signature, id="unused bits of the signature"),
        pytest.param(lambda forge: forge.good + "=", id="padding"),
        pytest.param(lambda forge: forge.good.replace(".", "=.", 1), id="padding inside"),
        pytest.param(lambda forge: forge.good.replace(".", " .", 1), id="blank inside"),
        pytest.param(lambda forge: forge.good.replace(".", "\t.", 1), id="tab inside"),
        pytest.param(lambda forge: forge.good + "\xff", id="byte after"),
        pytest.param(lambda forge: f'"{forge.good}"', id="quotes around"),
        pytest.param(lambda forge: f"{forge.good},{forge.good}", id="twice"),
        pytest.param(header(typ="JWT"), id="typ JWT"),
        pytest.param(header(typ=...), id="no typ"),
        pytest.param(header(typ=None), id="null for typ"),
        pytest.param(header(typ="refresh+jwt"), id="typ of another token"),
        pytest.param(header(crit=["exp"]), id="crit of a claim"),
        pytest.param(header(crit=["http://example.com/x"]), id="unknown crit"),
        pytest.param(header(crit=[]), id="empty crit"),
        pytest.param(header(b64=False, crit=["b64"]), id="payload not encoded"),
        pytest.param(header(kid=...), id="no kid"),
        pytest.param(header(kid=1), id="number for kid"),
        pytest.param(header(kid=""), id="empty kid"),
        pytest.param(header(kid="x"), id="unknown kid"),
        pytest.param(header(kid=["x"]), id="array for kid"),
        pytest.param(header(kid="../../../../dev/null"), id="path for kid"),
        pytest.param(header(kid="x' UNION SELECT 'key"), id="SQL for kid"),
        pytest.param(header(kid="\0"), id="NUL for kid"),
        pytest.param(header(kid="\ud800"), id="half a pair for kid"),
        pytest.param(lambda forge: forge.token({"kid": forge.header["kid"] + "="}), id="kid with padding"),
        pytest.param(claims(exp=1), id="exp past"),
        pytest.param(claims(exp=...), id="no exp"),
        pytest.param(claims(exp=None), id="null for exp"),
        pytest.param(claims(exp=True), id="true for exp"),
        pytest.param(claims(exp="9999999999"), id="text for exp"),
        pytest.param(claims(exp=float(10**10)), id="float for exp"),
        pytest.param(claims(exp=10**30), id="exp beyond any clock"),
        pytest.param(claims(exp=float("nan")), id="NaN for exp"),
        pytest.param(claims(exp=float("inf")), id="Infinity for exp"),
        pytest.param(claims(exp=[]), id="array for exp"),
        pytest.param(text_of("claims", '"exp": ', '"exp": 1e400, "x": '), id="1e400 for exp"),
        pytest.param(later(901), id="longer life than any token has"),
        pytest.param(later(0), id="no life at all"),
        pytest.param(claims(iat=...), id="no iat"),
        pytest.param(claims(iat="0"), id="text for iat"),
        pytest.param(lambda forge: claims(iat=int(time.time()) + 60)(forge), id="iat to come"),
        pytest.param(lambda forge: claims(nbf=int(time.time()) + 60)(forge), id="nbf to come"),
        pytest.param(claims(nbf="x"), id="text for nbf"),
        pytest.param(claims(nbf={}), id="object for nbf"),
        pytest.param(claims(aud="other"), id="other aud"),
        pytest.param(claims(aud=...), id="no aud"),
        pytest.param(claims(aud=["roster"]), id="aud in an array"),
        pytest.param(claims(aud={"roster": 1}), id="object for aud"),
        pytest.param(claims(iss="other"), id="other iss"),
        pytest.param(claims(iss=...), id="no iss"),
        pytest.param(claims(iss=["roster"]), id="iss in an array"),
        pytest.param(claims(iss=""), id="empty iss"),
        pytest.param(claims(sub=...), id="no sub"),
        pytest.param(claims(sub=""), id="empty sub"),
        pytest.param(claims(sub=1), id="number for sub"),
        pytest.param(claims(sub="admin"), id="name for sub"),
        pytest.param(claims(sub="0193a5c8-7b1e-7c3a-9f52-3d1f0a6b8c11"), id="other user"),
        pytest.param(claims(sid=...), id="no session"),
        pytest.param(claims(sid=1), id="number for the session"),
        pytest.param(claims(sid=None), id="null for the session"),
        pytest.param(claims(sid=["0193a5c8-7b1e-7c3a-9f52-3d1f0a6b8c11"]), id="array for the session"),
        pytest.param(claims(sid="0193a5c8-7b1e-7c3a-9f52-3d1f0a6b8c11"), id="unknown session"),
        pytest.param(claims(jti=...), id="no jti"),
        pytest.param(claims(scope=...), id="no scope"),
        pytest.param(claims(scope=["users:read"]), id="array for the scope"),
        pytest.param(claims(scope=None), id="null for the scope"),
        pytest.param(text_of("claims", '"sub": ', '"sub": "x", "sub": '), id="sub twice"),
        pytest.param(text_of("claims", '"exp": ', '"exp": 1, "exp": '), id="exp twice"),
        pytest.param(text_of("header", '"alg": ', '"alg": "none", "alg": '), id="alg twice"),
        pytest.param(text_of("claims", "}", "} {}"), id="text after the claims"),
        pytest.param(lambda forge: forge.raw(json.dumps(forge.header).encode(), b"[]"), id="array of claims"),
        pytest.param(lambda forge: forge.raw(json.dumps(forge.header).encode(), b""), id="no claims"),
        pytest.param(lambda forge: forge.raw(json.dumps(forge.header).encode(), b"\xff"), id="claims of a byte"),
        pytest.param(
            lambda forge: forge.raw(json.dumps(forge.header).encode(), json.dumps(forge.claims).encode("utf-16")),
            id="claims in UTF-16",
        ),
        pytest.param(
            lambda forge: forge.raw(
                json.dumps(forge.header).encode(), b"\xef\xbb\xbf" + json.dumps(forge.claims).encode()
            ),
            id="claims after a byte order mark",
        ),
        pytest.param(lambda forge: forge.raw(b"[]", json.dumps(forge.claims).encode()), id="header of an array"),
        pytest.param(lambda forge: forge.raw(b"null", json.dumps(forge.claims).encode()), id="header of null"),
        pytest.param(lambda forge: forge.raw(b"[" * 2900, b"{}"), id="header of 2,900 arrays"),
        pytest.param(lambda forge: forge.raw(b'{"a":' * 500, b"{}"), id="header of 500 objects"),
        pytest.param(lambda forge: forge.raw(b'{"exp":' + b"9" * 2900 + b"}", b"{}"), id="number of 2,900 digits"),
        pytest.param(lambda forge: forge.token({"x": "y" * 5000}), id="5,000 letters in the header"),
        pytest.param(lambda forge: "a" * 8000, id="8,000 letters"),
        pytest.param(lambda forge: ".", id="dot"),
        pytest.param(lambda forge: "..", id="two dots"),
        pytest.param(lambda forge: "a.b.c", id="three letters"),
        pytest.param(lambda forge: "null", id="null"),
    ],
)
async def test_bad_token_is_401(target: Server, forge: Forge, make: Callable[[Forge], str]) -> None:
    """A token that is not exactly one of ours, or no longer, is `invalid-token`, and says so as RFC 6750, 3.1 asks."""
    answer = await who(target, make(forge))

    assert answer.status == 401
    assert json.loads(answer.body)["type"] == "/problems/invalid-token"
    assert answer.headers["www-authenticate"] == 'Bearer realm="roster", error="invalid_token"'


@with_every_key
@pytest.mark.parametrize(
    "members",
    [
        {"jku": "http://127.0.0.1:1/keys"},
        {"x5u": "http://127.0.0.1:1/cert"},
        {"jwk": {"kty": "oct", "k": "AAAA"}},
    ],
    ids=lambda members: next(iter(members.items()))[0],
)
async def test_key_that_a_token_brings_is_not_looked_at(target: Server, forge: Forge, members: Claims) -> None:
    """Key references in a header change nothing: the only key is ours (RFC 8725, 3.10)."""
    assert (await who(target, forge.token(members))).status == 200

    bent = forge.token(members)
    assert (await who(target, bent[:-5] + "AAAAA")).status == 401


async def test_other_secrets_of_a_session_are_no_access_tokens(target: Server, ada: Login) -> None:
    """A refresh token, a ticket and a stream cookie open nothing as bearer, and an access token renews nothing."""
    ticket = await call(target, "POST", "/v1/auth/ticket", f"Authorization: Bearer {ada.access_token}")
    cookie = ticket.headers["set-cookie"].split(";")[0].partition("=")[2]
    for secret in (ada.refresh_token, json.loads(ticket.body)["ticket"], cookie):
        assert (await who(target, secret)).status == 401
    for secret in (cookie, ada.refresh_token[:-1], "x", "\0"):
        renewed = await call(target, "POST", "/v1/auth/refresh", body={"refresh_token": secret})
        assert (renewed.status, json.loads(renewed.body)["type"]) == (400, "/problems/invalid-grant")
    long = await call(target, "POST", "/v1/auth/refresh", body={"refresh_token": ada.access_token})
    assert long.status == 422


@in_memory
@pytest.mark.parametrize("given", ["", "Bearer", "Bearer ", "Basic YTpi", "Token x", "Bearerx", ",", "Bearer\xff x"])
async def test_no_token_is_401_without_a_reason(target: Server, given: str) -> None:
    """Where no token was sent, the challenge has no `error` (RFC 6750, 3.1)."""
    for headers in ((), (f"Authorization: {given}",)):
        answer = await call(target, "GET", "/v1/users/me", *headers)
        assert answer.status == 401
        assert answer.headers["www-authenticate"] == 'Bearer realm="roster"'


async def test_scheme_is_compared_without_its_case(target: Server, ada: Login) -> None:
    """`bearer` is `Bearer` (RFC 9110, 11.1), and blanks before the token do not count."""
    for scheme in ("bearer", "BEARER", "Bearer "):
        assert (await call(target, "GET", "/v1/users/me", f"Authorization: {scheme} {ada.access_token}")).status == 200


async def test_token_in_two_places_is_400(target: Server, ada: Login) -> None:
    """Credentials come in one place (RFC 6750, 2); in the query an access token is none at all."""
    bearer = f"Authorization: Bearer {ada.access_token}"

    assert (await call(target, "GET", "/v1/feed?ticket=x", bearer)).status == 400
    assert (await call(target, "GET", f"/v1/users/me?access_token={ada.access_token}")).status == 401
    assert (await call(target, "GET", f"/v1/feed?access_token={ada.access_token}", bearer)).status == 400


async def test_ticket_opens_one_stream_once(target: Server, ada: Login) -> None:
    """A ticket is used up by its first use, and opens only streams."""
    answer = await call(target, "POST", "/v1/auth/ticket", f"Authorization: Bearer {ada.access_token}")
    ticket = json.loads(answer.body)["ticket"]
    assert answer.headers["cache-control"] == "no-store"

    assert (await call(target, "GET", f"/v1/users/me?ticket={ticket}")).status == 401
    assert (await call(target, "HEAD", f"/v1/feed?ticket={ticket}")).status == 200
    assert (await call(target, "HEAD", f"/v1/feed?ticket={ticket}")).status == 401


async def test_used_refresh_token_ends_its_session(target: Server) -> None:
    """A refresh token that is older than the last one ends the whole session, the newest tokens included."""
    login = await target.member()
    first = login.refresh_token
    second = json.loads((await call(target, "POST", "/v1/auth/refresh", body={"refresh_token": first})).body)
    again = json.loads((await call(target, "POST", "/v1/auth/refresh", body={"refresh_token": first})).body)
    third = json.loads(
        (await call(target, "POST", "/v1/auth/refresh", body={"refresh_token": second["refresh_token"]})).body
    )
    assert again["refresh_token"] == second["refresh_token"]
    assert (await who(target, third["access_token"])).status == 200

    stolen = await call(target, "POST", "/v1/auth/refresh", body={"refresh_token": first})

    assert (stolen.status, json.loads(stolen.body)["type"]) == (400, "/problems/invalid-grant")
    assert await refused(target, third["access_token"])
    newest = await call(target, "POST", "/v1/auth/refresh", body={"refresh_token": third["refresh_token"]})
    assert newest.status == 400


async def test_refresh_at_once_gives_one_successor(target: Server) -> None:
    """Ten uses of one refresh token at the same time get the same successor."""
    login = await target.member()
    body = {"refresh_token": login.refresh_token}
    answers = await asyncio.gather(*(call(target, "POST", "/v1/auth/refresh", body=body) for _ in range(10)))

    assert {answer.status for answer in answers} == {200}
    assert len({json.loads(answer.body)["refresh_token"] for answer in answers}) == 1


async def test_nothing_of_a_session_is_good_after_logout(target: Server) -> None:
    """After logout the access token, the refresh token, a ticket and the stream cookie open nothing."""
    login = await target.member()
    bearer = f"Authorization: Bearer {login.access_token}"
    ticket = await call(target, "POST", "/v1/auth/ticket", bearer)
    cookie = ticket.headers["set-cookie"].split(";")[0]
    assert (await call(target, "POST", "/v1/auth/logout", bearer)).status == 204

    assert await refused(target, login.access_token)
    assert (await call(target, "POST", "/v1/auth/refresh", body={"refresh_token": login.refresh_token})).status == 400
    assert (await call(target, "HEAD", f"/v1/feed?ticket={json.loads(ticket.body)['ticket']}")).status == 401
    assert (await call(target, "HEAD", "/v1/feed", f"Cookie: {cookie}")).status == 401
    assert (await call(target, "POST", "/v1/auth/logout", bearer)).status == 401


@pytest.mark.parametrize("end", ["delete", "deactivate"])
async def test_token_of_a_user_who_has_gone_is_401(target: Server, end: str) -> None:
    """A deleted or deactivated user loses access within a second, and cannot log in."""
    admin, login = await target.admin(), await target.member()
    assert (await who(target, login.access_token)).status == 200
    if end == "delete":
        await target.json("DELETE", f"/v1/users/{login.id}", admin, status=204)
    else:
        await target.json("PATCH", f"/v1/users/{login.id}", admin, json={"active": False})

    assert await refused(target, login.access_token)
    entered = await call(target, "POST", "/v1/auth/login", body={"login": login.username, "password": PASSWORD})
    assert (entered.status, json.loads(entered.body)["type"]) == (401, "/problems/invalid-credentials")


async def test_another_user_answers_as_an_absent_one(target: Server, ada: Login) -> None:
    """For a member, another user's id and an unknown one get the same response, whatever the method."""
    other = await target.member()
    nobody = "0193a5c8-7b1e-7c3a-9f52-3d1f0a6b8c11"
    bearer = f"Authorization: Bearer {ada.access_token}"
    replacement = {"username": "taken-over", "email": "taken-over@example.com"}
    for method, body in (("GET", None), ("PUT", replacement), ("PATCH", {"name": "x"}), ("DELETE", None)):
        answers = [
            await call(target, method, f"/v1/users/{user_id}", bearer, *condition, body=body)
            for user_id in (other.id, nobody)
            for condition in ((), ("If-Match: *",), ("If-Match: garbage",))
        ]
        assert {answer.status for answer in answers} == {404}
        assert len({_without_names(answer) for answer in answers}) == 1
    assert (await who(target, other.access_token)).status == 200


async def test_member_has_no_rights_of_an_administrator(target: Server, ada: Login) -> None:
    """Listing and creating users is 403 to a member, and the log shows it only itself."""
    await target.member()
    bearer = f"Authorization: Bearer {ada.access_token}"
    new = {"username": "made", "email": "made@example.com"}

    assert (await call(target, "GET", "/v1/users", bearer)).status == 403
    assert (await call(target, "GET", "/v1/users?limit=0", bearer)).status == 403
    assert (await call(target, "POST", "/v1/users", bearer, body=new)).status == 403
    events = json.loads((await call(target, "GET", "/v1/events?after=0&limit=100", bearer)).body)["items"]
    assert {event["subject"] for event in events} == {ada.id}


async def test_wrong_login_and_wrong_password_answer_the_same(target: Server, ada: Login) -> None:
    """Nothing in the answer tells whether an account is there: not status, body or headers, by JSON or by Basic."""
    without = {"username": "no-password", "email": "no-password@example.com"}
    await target.json("POST", "/v1/users", await target.admin(), status=201, json=without)
    logins = (ada.username, f"{ada.username}@example.com", "absent", "absent@example.com", "no-password", "a\0", "😀")
    answers = [
        await call(target, "POST", "/v1/auth/login", body={"login": login, "password": "wrong"}) for login in logins
    ]
    answers += [
        await call(target, "POST", "/v1/auth/login", f"Authorization: Basic {encode_basic(login, 'wrong')}")
        for login in logins
    ]

    assert {answer.status for answer in answers} == {401}
    assert len({_without_names(answer) for answer in answers}) == 1


@pytest.mark.parametrize(
    "password", ["x" * 72 + "a", "nul \0 and more text", "é" * 1024, "😀" * 100, "  blanks around  "]
)
async def test_whole_password_counts(target: Server, password: str) -> None:
    """Every character of a password counts: after 72 bytes, after a NUL, and blanks."""
    name = f"p{hashlib.sha256(password.encode()).hexdigest()[:20]}"
    user = {"username": name, "email": f"{name}@example.com", "password": password}
    assert (await call(target, "POST", "/v1/auth/register", body=user)).status == 201

    async def enter(given: str) -> int:
        return (await call(target, "POST", "/v1/auth/login", body={"login": name, "password": given})).status

    assert await enter(password) == 200
    assert [await enter(bent) for bent in (password[:-1], password[:-1] + "b", password.split("\0")[0][:-1])] == [
        401
    ] * 3


async def test_password_may_be_typed_on_another_keyboard(target: Server) -> None:
    """Letters that Unicode calls the same are the same in a password (NFKC)."""
    user = {"username": "ligatures", "email": "ligatures@example.com", "password": "ﬁve ligatures é"}
    await call(target, "POST", "/v1/auth/register", body=user)
    entered = await call(
        target, "POST", "/v1/auth/login", body={"login": "ligatures", "password": "five ligatures e\u0301"}
    )

    assert entered.status == 200


async def test_endless_password_is_refused_before_it_is_hashed(target: Server) -> None:
    """A password longer than any is 422, by Basic 401, and a body of a megabyte 413; none of them is hashed."""
    long = "x" * 1025
    answers = [
        await call(target, "POST", "/v1/auth/login", body={"login": "ada", "password": long}),
        await call(target, "POST", "/v1/auth/login", f"Authorization: Basic {encode_basic('ada', long)}"),
        await call(target, "POST", "/v1/auth/login", body={"login": "x" * 255, "password": "x"}),
    ]
    huge = message("POST", "/v1/auth/login", "Content-Type: application/json", "Content-Length: 1000000")
    async with raw_peer(target.port) as peer:
        await peer.send(huge)
        refused = await peer.answer()

    assert [answer.status for answer in answers] == [422, 401, 422]
    assert refused.status == 413


async def test_guessing_is_slowed_down_for_account_and_network(store_url: str) -> None:
    """After so many failures every login of that account and that network is 429, the right one too, in any spelling."""
    async with serve(store_url=store_url, login_limit="3/15 minutes", trusted_proxies=("127.0.0.0/8",)) as server:
        member = await server.member("ada")

        async def enter(login: str, password: str, client: str) -> Answer:
            body = {"login": login, "password": password}
            return await call(server, "POST", "/v1/auth/login", f"X-Forwarded-For: {client}", body=body)

        for _ in range(5):
            assert (await enter("ada", member.password, "192.0.2.1")).status == 200  # successes are free
        for spelling in ("ada", "ADA", "Ada"):
            assert (await enter(spelling, "wrong", "192.0.2.1")).status == 401
        account = await enter("ada", member.password, "192.0.2.99")
        network = await enter("absent", "wrong", "192.0.2.1")
        other = await enter("absent", "wrong", "192.0.2.2")

    assert [answer.status for answer in (account, network, other)] == [429, 429, 401]
    assert 1 <= int(account.headers["retry-after"]) <= 900
    assert account.headers["cache-control"] == "no-store"


async def test_strangers_cannot_keep_the_owner_out(store_url: str) -> None:
    """Where a session of the owner's was opened or refreshed last, guesses from elsewhere refuse nothing, also in the next
    process; an unknown login gets the same responses as an existing one."""
    limits: dict[str, Any] = {"login_limit": "3/15 minutes", "trusted_proxies": ("127.0.0.0/8",)}

    async def enter(server: Server, login: str, password: str, client: str) -> Answer:
        body = {"login": login, "password": password}
        return await call(server, "POST", "/v1/auth/login", f"X-Forwarded-For: {client}", body=body)

    async def guess(server: Server, login: str) -> list[Answer]:
        return [await enter(server, login, "wrong", f"198.51.100.{number}") for number in range(10)]

    async def enters(server: Server) -> list[int]:
        clients = ("192.0.2.1", "2001:db8:0:1::2", "2001:db8::1")
        return [(await enter(server, "ada", PASSWORD, client)).status for client in clients]

    async with serve(store_url=store_url, **limits) as server:
        await server.member("ada")
        await enter(server, "ada", PASSWORD, "192.0.2.1")
        moved = json.loads((await enter(server, "ada", PASSWORD, "2001:db8::1")).body)
        renewal = {"refresh_token": moved["refresh_token"]}
        await call(server, "POST", "/v1/auth/refresh", "X-Forwarded-For: 2001:db8:0:1::1", body=renewal)
        known, unknown = await guess(server, "ada"), await guess(server, "absent")
        entered = [await enters(server)]
    if store_url != "memory://":
        async with serve(store_url=store_url, **limits) as server:
            await guess(server, "ada")
            entered.append(await enters(server))

    assert [answer.status for answer in known] == [401] * 3 + [429] * 7
    assert [_without_names(answer) for answer in known] == [_without_names(answer) for answer in unknown]
    assert entered == [[200, 200, 429]] * len(entered)


async def test_guesses_at_once_get_no_further_than_in_a_row(store_url: str) -> None:
    """Of thirty wrong passwords at the same moment no more are tried than the limit allows."""
    async with serve(store_url=store_url, login_limit="3/15 minutes") as server:
        body = {"login": "admin", "password": "wrong"}
        answers = await asyncio.gather(*(call(server, "POST", "/v1/auth/login", body=body) for _ in range(30)))

    statuses = [answer.status for answer in answers]
    assert statuses.count(401) <= 3
    assert set(statuses) <= {401, 429}


async def test_composed_and_decomposed_logins_are_one_account(store_url: str) -> None:
    """Another way to write the same letters gives no further guesses."""
    async with serve(store_url=store_url, login_limit="3/15 minutes", trusted_proxies=("127.0.0.0/8",)) as server:
        spellings = (
            "caf\u00e9@example.com",
            "cafe\u0301@example.com",
            "CAF\u00c9@example.com",
            "CAFE\u0301@example.com",
        )
        statuses = []
        for number, login in enumerate(spellings):
            body = {"login": login, "password": "wrong"}
            client = f"X-Forwarded-For: 192.0.2.{number}"
            statuses.append((await call(server, "POST", "/v1/auth/login", client, body=body)).status)

    assert statuses == [401, 401, 401, 429]


async def test_operator_token_of_bytes_is_401() -> None:
    """With `ROSTER_METRICS_TOKEN` any other bearer is 401, also one of bytes that are no text."""
    async with serve(metrics_token="x" * 20) as server:
        given = ("", "Bearer ", "Bearer \xff", "Bearer " + "x" * 19, "Bearer " + "x" * 20)
        statuses = [(await call(server, "GET", "/metrics", f"Authorization: {text}")).status for text in given]

    assert statuses == [401, 401, 401, 401, 200]


def encode_basic(login: str, password: str) -> str:
    return base64.b64encode(f"{login}:{password}".encode()).decode()


def _without_names(answer: Answer) -> str:
    """An answer without what differs between any two."""
    problem = json.loads(answer.body)
    changing = ("x-request-id", "date", "content-length")
    headers = sorted((name, value) for name, value in answer.headers.items() if name not in changing)
    return json.dumps([{**problem, "request_id": "", "instance": ""}, headers])
