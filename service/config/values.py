"""The types of settings that may be shown, each with the message for invalid values."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Final, Literal, NamedTuple
from urllib.parse import urlsplit

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
    if "@" in text:  # not repeated in the message: it may be a password
        raise ValueError("is not an origin: an origin has no user and no password")
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


def _proxies(networks: tuple[str, ...]) -> tuple[str, ...]:
    for network in networks:
        if network != UNIX:
            ip_network(network)
    return networks


def _patterns(rules: dict[str, dict[RoomRight, Who]]) -> dict[str, dict[RoomRight, Who]]:
    for pattern in rules:
        if not re.fullmatch(PATTERN, pattern):
            raise ValueError(f"{pattern!r} is not a pattern of room names: 1 to 64 of a-z 0-9 . _ - * are")
    return rules


RateText = Annotated[str, AfterValidator(_rate)]
HashMemory = Annotated[int, Field(le=4_194_304), AfterValidator(_hash_memory)]
Username = Annotated[str, AfterValidator(_username)]
EmailAddress = Annotated[str, AfterValidator(_email)]
PublicUrl = Annotated[str, AfterValidator(_public)]
Hosts = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed("roster.example.com"))]
Origins = Annotated[
    tuple[str, ...], NoDecode, BeforeValidator(_listed("https://app.example.com")), AfterValidator(_origins)
]
Contact = Annotated[str, AfterValidator(_contact)]
Sender = Annotated[str, AfterValidator(_sender)]
LinkUrl = Annotated[str, AfterValidator(_link)]
Networks = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed("10.0.0.0/8")), AfterValidator(_proxies)]
RoomRulesByPattern = Annotated[dict[str, dict[RoomRight, Who]], AfterValidator(_patterns)]
