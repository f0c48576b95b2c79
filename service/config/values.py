"""The types of settings, each with the message for invalid values."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple
from urllib.parse import unquote, urlsplit

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo
from pydantic_settings import NoDecode

from service.config.email_domains import accept_private_domains
from service.domain.rooms.rules import PATTERN, RoomRight, Who
from service.domain.users import user

accept_private_domains()

Network = IPv4Network | IPv6Network
ForwardedHeader = Literal["x-forwarded-for", "forwarded"]
UNIX: Final = "unix"  # the peer of a Unix socket, among trusted proxies

OPEN_METRICS: Final = "none"
"""The metrics token that opens `/metrics`."""

_RATE = re.compile(r"([1-9][0-9]{0,8})/(?:([1-9][0-9]{0,3}) )?(second|minute|hour|day)s?\Z")
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


class Rate(NamedTuple):
    """So many in so many seconds, written `1200/minute` or `10/15 minutes`."""

    most: int
    seconds: int

    @classmethod
    def parse(cls, text: str) -> Rate:
        match = _RATE.match(text)
        if match is None:
            raise ValueError("write it as 1200/minute or 10/15 minutes, or off")
        return cls(int(match[1]), int(match[2] or 1) * _SECONDS[match[3]])


class SmtpServer(NamedTuple):
    """A mail server, written `smtp://user:password@host:port`, or `smtps://…`.

    Attributes:
        username, password: None to send without.
        tls: `starttls` (RFC 3207), `implicit` from the first byte (RFC 8314), or `none`.
    """

    host: str
    port: int
    username: str | None
    password: str | None
    tls: Literal["starttls", "implicit", "none"]

    @classmethod
    def parse(cls, url: str, *, starttls: bool) -> SmtpServer:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        extra = parts.path.strip("/") or parts.query or parts.fragment
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname or extra:
            raise ValueError("write it as smtp://user:password@host:587 or smtps://user:password@host:465")
        username, password = (part and unquote(part) for part in (parts.username, parts.password))
        if bool(username) != bool(password):
            raise ValueError("a user needs a password, and a password a user")
        if parts.scheme == "smtps":
            return cls(parts.hostname, port or 465, username or None, password or None, "implicit")
        if not starttls and password:
            raise ValueError("a password is not sent in the open; set ROSTER_SMTP_STARTTLS=true or use smtps://")
        return cls(parts.hostname, port or 587, username or None, password or None, "starttls" if starttls else "none")


def secrets_of(text: str) -> tuple[str, ...]:
    if not text.startswith("["):
        return (text,) if text else ()
    secrets = json.loads(text)
    if not secrets or not all(isinstance(secret, str) for secret in secrets):
        raise ValueError("not a list of texts")
    return tuple(secrets)


def private_keys_of(text: str) -> str:
    if not text or "-----BEGIN" in text:
        return text.replace("\\n", "\n")  # as `.env` files and panels write line breaks; PEM has no backslash
    try:
        return Path(text).read_text(encoding="ascii")
    except (OSError, ValueError):
        raise ValueError("must be a private key as PEM, or the path of a file with one that can be read") from None


def _listed(example: str) -> Callable[[object], object]:
    """Reads a list as JSON, or separated by commas as most tools write it; `example` shows how in what is said of others."""

    def read(value: object) -> object:
        if not isinstance(value, str):
            return value
        if not value.lstrip().startswith(("[", "{", '"')):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        try:
            found = json.loads(value)
        except ValueError:
            found = None
        if not isinstance(found, list) or not all(isinstance(part, str) for part in found):
            raise ValueError(f"""must be a list: {example}, several separated by commas, or JSON as ["{example}"]""")
        return tuple(found)

    return read


def _origin(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or text != f"{parts.scheme}://{parts.netloc}":
        raise ValueError(f"{text!r} is not an origin such as https://app.example.com")
    return text.lower()


def _rate(text: str) -> str:
    if text != "off":
        Rate.parse(text)
    return text


def _hash_memory(memory_kib: int, others: ValidationInfo) -> int:
    # ASVS 5.0, appendix C. Passes that cannot be read have a sentence of their own.
    least = {1: 47_104, 2: 19_456}.get(others.data.get("argon2_time_cost", 1), 12_288)
    if memory_kib < least:
        raise ValueError(f"must be at least {least}; fewer KiB need more passes (ROSTER_ARGON2_TIME_COST)")
    return memory_kib


def _secret(text: str) -> str:
    try:
        secrets = secrets_of(text)
    except ValueError:
        raise ValueError("must be a secret, or a JSON list of secrets") from None
    if any(len(secret.encode()) < 32 for secret in secrets):
        # RFC 7518, 3.2: a key of the size of the hash output or larger must be used.
        raise ValueError("must be at least 32 bytes; `openssl rand -hex 32` makes one")
    return text


def _private_key(text: str) -> str:
    # An unreadable file stops the start; the keys module checks its contents.
    private_keys_of(text)
    return text


def _username(text: str) -> str:
    # Logins are read in lower case: an administrator by another rule would be made and could never log in.
    if re.fullmatch(user.USERNAME_PATTERN, text) is None:
        raise ValueError("must be 3 to 32 of a-z 0-9 . _ -")
    return text


def _email(text: str) -> str:
    try:
        return user.normalise_email(validate_email(text, check_deliverability=False).normalized)
    except EmailNotValidError as error:
        raise ValueError(f"is not an e-mail address: {error}") from None


def _password(text: str) -> str:
    if text and (not user.PASSWORD_MIN <= len(text) <= user.PASSWORD_MAX or not text.strip()):
        raise ValueError("must have 8 to 1,024 characters, not spaces alone")
    return text


def _redis(url: str) -> str:
    if not url:
        return url
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in ("redis", "rediss") and bool(parts.hostname) and (parts.port or 1) > 0
        database = parts.path.strip("/")
    except ValueError:  # a port that is none
        raise ValueError("cannot be read as a URL") from None
    if not is_usable or (database and not database.isdecimal()):
        raise ValueError("use redis://host:port or rediss://host:port, with an optional database number as path")
    return url


def _store(text: str) -> str:
    is_file = text.startswith("sqlite:///") and text.removeprefix("sqlite:///").strip("/")
    if text != "memory://" and not is_file and not text.startswith(("postgresql://", "postgres://")):
        raise ValueError("must be memory://, sqlite:///path or postgresql://user:password@host/database")
    return text


def _public(text: str) -> str:
    if not text:
        return text
    return _origin(text.rstrip("/"))


def _origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    # aiohttp-cors takes `*` for "reflect any origin"; an allow-list is what this setting promises.
    return tuple(_origin(origin) for origin in origins)


def _contact(text: str) -> str:
    # RFC 9116, 2.5.3: a URI, of https where it is a web address. One line of the file, so nothing may break it.
    if text and re.fullmatch(r"(mailto:[!-~]+@[!-~]+|https://[!-~]+|tel:[0-9+.()-]+)", text) is None:
        raise ValueError("must be a mailto:, https: or tel: address")
    return text


def _metrics_token(text: str) -> str:
    # No rate limit counts `/metrics`, so the length alone stops guessing.
    if text and text != OPEN_METRICS and len(text) < 16:
        raise ValueError(f"must have at least 16 characters, or be {OPEN_METRICS!r}")
    return text


def _sender(text: str) -> str:
    if text:
        try:
            validate_email(text, allow_display_name=True, check_deliverability=False)
        except EmailNotValidError as error:
            raise ValueError(f"is not an e-mail address: {error}") from None
    return text


def _link(text: str) -> str:
    parts = urlsplit(text)
    if text and (parts.scheme not in ("http", "https") or not parts.hostname or "#" in text or not text.isprintable()):
        raise ValueError("must be an http or https URL without a fragment")
    return text


def _smtp(text: str, others: ValidationInfo) -> str:
    if text:
        SmtpServer.parse(text, starttls=others.data.get("smtp_starttls", True))
        if "mail_from" in others.data and not others.data["mail_from"]:
            raise ValueError("needs a sender in ROSTER_MAIL_FROM")
    return text


def _proxies(networks: tuple[str, ...]) -> tuple[str, ...]:
    for network in networks:
        if network != UNIX:
            ip_network(network)
    return networks


def _upstreams(upstreams: dict[str, str]) -> dict[str, str]:
    for name, url in upstreams.items():
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,31}", name):
            raise ValueError(f"{name!r} is not a name: 1 to 32 of a-z 0-9 _ - are")
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{name!r} needs an http or https URL")
    return upstreams


def _patterns(rules: dict[str, dict[RoomRight, Who]]) -> dict[str, dict[RoomRight, Who]]:
    for pattern in rules:
        if not re.fullmatch(PATTERN, pattern):
            raise ValueError(f"{pattern!r} is not a pattern of room names: 1 to 64 of a-z 0-9 . _ - * are")
    return rules


MASKED: Final = "masked"
"""Metadata of a setting that may hold a password: an error shows its value without the user information."""

RateText = Annotated[str, AfterValidator(_rate)]
HashMemory = Annotated[int, Field(le=4_194_304), AfterValidator(_hash_memory)]
SigningSecrets = Annotated[str, Field(repr=False), AfterValidator(_secret)]
SigningKeys = Annotated[str, Field(repr=False), AfterValidator(_private_key)]
Username = Annotated[str, AfterValidator(_username)]
EmailAddress = Annotated[str, AfterValidator(_email)]
Password = Annotated[str, Field(repr=False), AfterValidator(_password)]
StoreUrl = Annotated[str, Field(repr=False), MASKED, AfterValidator(_store)]
RedisUrl = Annotated[str, Field(repr=False), MASKED, AfterValidator(_redis)]
PublicUrl = Annotated[str, AfterValidator(_public)]
Hosts = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed("roster.example.com"))]
Origins = Annotated[
    tuple[str, ...], NoDecode, BeforeValidator(_listed("https://app.example.com")), AfterValidator(_origins)
]
MetricsToken = Annotated[str, Field(repr=False), AfterValidator(_metrics_token)]
Contact = Annotated[str, AfterValidator(_contact)]
Sender = Annotated[str, AfterValidator(_sender)]
LinkUrl = Annotated[str, AfterValidator(_link)]
SmtpUrl = Annotated[str, Field(repr=False), AfterValidator(_smtp)]
Networks = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed("10.0.0.0/8")), AfterValidator(_proxies)]
Upstreams = Annotated[dict[str, str], Field(repr=False), MASKED, AfterValidator(_upstreams)]
RoomRulesByPattern = Annotated[dict[str, dict[RoomRight, Who]], AfterValidator(_patterns)]
