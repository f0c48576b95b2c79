"""Keys by their kind, and those that are none."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from service.config.settings import SettingsError
from service.domain.auth.signing_key import ALGORITHMS, Algorithm, SigningKey
from service.security.keys import PrivateKey, UnusableKey, keys_from_settings, load_key, parse_keys
from tests.support.keys import SECRET, a_key
from tests.support.server import settings_for_tests

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
# RFC 8037, A.1 to A.3
ED25519_PEM = """-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
-----END PRIVATE KEY-----
"""
ED25519_THUMBPRINT = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def pem(key: object, encryption: KeySerializationEncryption | None = None) -> str:
    assert isinstance(key, PrivateKey | ed448.Ed448PrivateKey | x25519.X25519PrivateKey)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption()).decode()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_made_key_signs_and_checks(algorithm: Algorithm) -> None:
    """A new key of every kind is what it says; what it publishes checks what it signs, and nothing secret is in that."""
    kept = a_key(algorithm)
    key = load_key(kept)
    text = jwt.encode({"sub": "ada"}, key.signs_with, key.algorithm)

    assert (key.kid, key.algorithm) == (kept.kid, algorithm)
    assert jwt.decode(text, key.checks_with, [algorithm])["sub"] == "ada"
    assert kept.kid != a_key(algorithm, 1).kid
    if algorithm == "HS256":
        assert key.public is None
        return
    assert key.public is not None
    assert {key.public[name] for name in ("kid", "alg", "use")} == {kept.kid, algorithm, "sig"}
    assert not {"d", "p", "q", "dp", "dq", "qi", "k"} & set(key.public)
    assert jwt.decode(text, jwt.PyJWK(dict(key.public)).key, [algorithm])["sub"] == "ada"


def test_name_of_a_key_is_its_thumbprint() -> None:
    """As RFC 7638 has it; the example is that of RFC 8037, A.3."""
    (kept,) = parse_keys(ED25519_PEM, ())

    assert (kept.algorithm, kept.kid) == ("EdDSA", ED25519_THUMBPRINT)
    public = load_key(kept).public
    assert public is not None
    assert public["x"] == "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"


def test_coordinates_have_their_full_length() -> None:
    """A leading zero is part of a coordinate (RFC 7518, 6.2.1.2): without it others would read another key."""
    for number in range(2, 600):
        kept = next(parse_keys(pem(ec.derive_private_key(number, ec.SECP256R1())), ()))
        public = load_key(kept).public
        assert public is not None
        assert len(public["x"]) == len(public["y"]) == 43


def test_secret_has_a_name_that_tells_nothing() -> None:
    """The same secret has the same name in every process; it is no plain hash of it."""
    (one,), (again,), (other,) = parse_keys("", [SECRET]), parse_keys("", [SECRET]), parse_keys("", [SECRET + "x"])

    assert one.kid == again.kid != other.kid
    assert one.kid != json.loads(json.dumps(ED25519_THUMBPRINT))
    assert len(one.kid) == 22


def test_first_of_several_signs() -> None:
    """Private keys come before secrets, each in the order in which they were given; the rest only check."""
    keys = [*parse_keys(a_key("ES256").material + "\n" + ED25519_PEM, [SECRET])]

    assert [key.algorithm for key in keys] == ["ES256", "EdDSA", "HS256"]
    assert [key.signs_from is None for key in keys] == [False, True, True]
    assert [*parse_keys("", ())] == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param(pem(rsa.generate_private_key(65537, 1024)), "2048 bits", id="short RSA key"),
        pytest.param(pem(ec.generate_private_key(ec.SECP384R1())), "P-256", id="other curve"),
        pytest.param(pem(ec.generate_private_key(ec.SECP256K1())), "P-256", id="curve of coins"),
        pytest.param(pem(ed448.Ed448PrivateKey.generate()), "Ed25519", id="Ed448"),
        pytest.param(pem(x25519.X25519PrivateKey.generate()), "Ed25519", id="key that signs nothing"),
        pytest.param(
            pem(ec.generate_private_key(ec.SECP256R1()), BestAvailableEncryption(b"x")), "encrypted", id="encrypted"
        ),
        pytest.param(
            ec.generate_private_key(ec.SECP256R1())
            .public_key()
            .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            .decode(),
            "private key",
            id="public key",
        ),
        pytest.param(ED25519_PEM.replace("MC4C", "MC5C"), "private key", id="damaged"),
        pytest.param(ED25519_PEM[:60], "private key", id="cut off"),
        pytest.param("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "private key", id="certificate"),
    ],
)
def test_what_is_no_key_is_refused(text: str, reason: str) -> None:
    """With a sentence that says what would do, at the start and without showing it."""
    with pytest.raises(UnusableKey, match=reason):
        list(parse_keys(text, ()))
    with pytest.raises(SettingsError, match=rf"ROSTER_JWT_PRIVATE_KEY=\(hidden\): .*{reason}"):
        keys_from_settings(settings_for_tests(jwt_private_key=text, jwt_secret=""))


def test_short_secret_is_refused() -> None:
    """Also where no setting looked at it (RFC 7518, 3.2)."""
    with pytest.raises(UnusableKey, match="32 bytes"):
        list(parse_keys("", ["x" * 31]))


def test_key_is_for_one_algorithm() -> None:
    """What is kept as a key for one algorithm and is one for another is not used at all."""
    with pytest.raises(UnusableKey, match="is a key for EdDSA"):
        load_key(SigningKey("x", "RS256", ED25519_PEM, NOW, NOW))


def test_settings_take_a_file_or_text(tmp_path: Path) -> None:
    """A path, PEM with line breaks, and PEM with line breaks as `.env` writes them are the same; lists are in order."""
    file = tmp_path / "key.pem"
    file.write_text(ED25519_PEM)
    for text in (str(file), ED25519_PEM, ED25519_PEM.replace("\n", "\\n")):
        (key, _) = keys_from_settings(settings_for_tests(jwt_private_key=text))
        assert key.kid == ED25519_THUMBPRINT
    new, old = "n" * 32, "o" * 32
    chosen = keys_from_settings(settings_for_tests(jwt_secret=json.dumps([new, old])))
    assert [key.material for key in chosen] == [new, old]
    assert keys_from_settings(settings_for_tests(jwt_secret="")) == []
