"""Access tokens: what is issued is accepted, and nothing else is, without any other error."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from uuid import UUID

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.errors import InvalidToken
from service.security.access_tokens import MAX_TOKEN_BYTES, AccessTokens
from tests.support.bent import bent
from tests.support.keys import SECRET, ring

USER = UUID("0193a5c8-7b1e-7c3a-9f52-3d1f0a6b8c11")
SESSION = UUID("0193a5c8-7b1e-7c3a-9f52-3d1f0a6b8c12")

KID = ring().signing.kid
HEADER = {"alg": "HS256", "typ": "at+jwt", "kid": KID}
TOKENS = AccessTokens(ring(), "https://roster.example.com", 900)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=5,
)


def signed(header: bytes, claims: bytes) -> str:
    """A token with these two parts, signed with the right key."""
    text = ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (header, claims))
    digest = hmac.digest(SECRET.encode(), text.encode(), hashlib.sha256)
    return f"{text}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def test_issued_token_is_accepted() -> None:
    """A token says whose it is, of which session, what for, and until when."""
    before = int(time.time())
    claims = TOKENS.verify(TOKENS.issue(USER, SESSION, "profile tokens"))

    assert (claims.user_id, claims.session_id, claims.scope) == (USER, SESSION, "profile tokens")
    assert before + 900 <= claims.expires_at <= time.time() + 900


def test_issued_token_has_the_members_of_rfc_9068() -> None:
    """Type, issuer, audience, subject and id stand in every token, and no two tokens are equal."""
    token = TOKENS.issue(USER, SESSION)
    claims = jwt.decode(token, SECRET, ["HS256"], audience="roster")

    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "at+jwt", "kid": KID}
    assert set(claims) == {"iss", "aud", "sub", "client_id", "sid", "jti", "iat", "exp", "scope"}
    assert TOKENS.issue(USER, SESSION) != token


@pytest.mark.parametrize(
    "other",
    [
        AccessTokens(ring("another secret of tests, of 32 bytes"), "https://roster.example.com", 900),
        AccessTokens(ring(), "https://other.example.com", 900),
        AccessTokens(ring(), "https://roster.example.com", 901),
    ],
    ids=["key", "issuer", "longer life"],
)
def test_token_of_another_service_is_refused(other: AccessTokens) -> None:
    """Another key, another issuer or a longer lifetime marks a token of another service."""
    with pytest.raises(InvalidToken):
        TOKENS.verify(other.issue(USER, SESSION))


def test_expired_token_is_refused() -> None:
    """A token ends when it says; one that another host signed by a clock a little ahead is taken."""
    claims = json.loads(base64.urlsafe_b64decode(TOKENS.issue(USER, SESSION).split(".")[1] + "=="))
    now = int(time.time())
    header = json.dumps(HEADER).encode()

    def aged(seconds: int) -> str:
        return signed(header, json.dumps({**claims, "iat": now - 900 - seconds, "exp": now - seconds}).encode())

    assert TOKENS.verify(aged(-5)).user_id == USER
    assert TOKENS.verify(aged(-905)).user_id == USER
    for seconds in (1, -915):
        with pytest.raises(InvalidToken):
            TOKENS.verify(aged(seconds))


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda data: data.decode("utf-8", "surrogateescape")))
def test_any_other_text_is_refused(text: str) -> None:
    """Whatever a header may carry is refused as a token, and by no other error."""
    with pytest.raises(InvalidToken):
        TOKENS.verify(text)


@given(JSON, JSON)
def test_any_signed_parts_are_refused(header: object, claims: object) -> None:
    """Even with the right signature, two parts of any JSON are no token."""
    with pytest.raises(InvalidToken):
        TOKENS.verify(signed(json.dumps(header).encode(), json.dumps(claims).encode()))


@given(st.sampled_from(["iss", "aud", "sub", "client_id", "sid", "jti", "iat", "exp", "nbf", "scope"]), JSON)
def test_any_value_of_a_claim_is_taken_or_refused(name: str, value: object) -> None:
    """One claim of any value in a good token is judged, never stumbled over."""
    good = TOKENS.issue(USER, SESSION)
    claims = json.loads(base64.urlsafe_b64decode(good.split(".")[1] + "=="))
    bent = signed(json.dumps(HEADER).encode(), json.dumps({**claims, name: value}).encode())
    try:
        taken = TOKENS.verify(bent)
    except InvalidToken:
        return
    assert (taken.user_id, taken.session_id) == (USER, SESSION)


@given(st.sampled_from(["alg", "typ", "kid", "crit", "b64", "jku", "jwk", "zip", "cty"]), JSON)
def test_any_value_in_a_header_is_taken_or_refused(name: str, value: object) -> None:
    """One member of a header of any value is judged, never stumbled over; what decides cannot be changed."""
    good = TOKENS.issue(USER, SESSION)
    claims = base64.urlsafe_b64decode(good.split(".")[1] + "==")
    bent = signed(json.dumps({**HEADER, name: value}).encode(), claims)
    try:
        taken = TOKENS.verify(bent)
    except InvalidToken:
        return
    assert name not in HEADER or value == HEADER[name]
    assert taken.user_id == USER


@given(st.data())
def test_changed_letter_is_refused(data: st.DataObject) -> None:
    """Any letter of a token changed, left out or added makes it another."""
    good = TOKENS.issue(USER, SESSION)
    other = data.draw(bent(good, "AQgw_-=.+/ "))
    if other != good:
        with pytest.raises(InvalidToken):
            TOKENS.verify(other)


def test_long_token_is_refused_before_it_is_read() -> None:
    """A megabyte costs no more than a letter."""
    began = time.process_time()
    for _ in range(100):
        with pytest.raises(InvalidToken):
            TOKENS.verify("a." * 500_000)

    assert time.process_time() - began < 0.1
    with pytest.raises(InvalidToken):
        TOKENS.verify("a" * (MAX_TOKEN_BYTES - 4) + ".b.cd")
