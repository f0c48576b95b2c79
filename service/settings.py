"""Every setting, read once from the environment and `.env`, frozen, refused at start with the variable and the value.

The docstring of a field is its row in README's table and in `.env.example`; a test compares all three.
"""

from __future__ import annotations

import json
import os
import re
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import unquote, urlsplit

from email_validator import EmailNotValidError, validate_email
from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableSetting

from service.domain import users
from service.domain.rooms import PATTERN, RoomRight, RoomRule, RoomRules, Who

Network = IPv4Network | IPv6Network

PREFIX = "ROSTER_"

_RATE = re.compile(r"([1-9][0-9]{0,8})/(?:([1-9][0-9]{0,3}) )?(second|minute|hour|day)s?\Z")
_USERINFO = re.compile(r"//[^/@\s]*@")  # the password of a store or an upstream
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


class SettingsError(Exception):
    """A setting that cannot be used; `str()` names the variable, its value and what would do."""


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


class Settings(BaseSettings):
    """What can be chosen without changing code. Names end in their unit."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for all, as in a container."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """TCP port to listen on; 0 takes a free one."""
    public_url: str = ""
    """Origin under which browsers reach the service, as `https://roster.example.com`; empty: the `Host` that a request names."""
    allowed_hosts: tuple[str, ...] = ()
    """JSON list of `Host` names that are answered, without port; empty: any."""
    trusted_proxies: tuple[str, ...] = ()
    """JSON list of networks whose `X-Forwarded-For` is believed, as `["10.0.0.0/8"]`; empty: none."""
    cors_origins: tuple[str, ...] = ()
    """JSON list of browser origins that may call the API, as `["https://app.example.com"]`; empty: none."""
    workers: PositiveInt = 1
    """gunicorn's worker processes; more than one needs a store that several may share, which there is none of yet."""

    store_url: str = "memory://"
    """Where data is kept: `memory://` forgets at the end of the process, `sqlite:///roster.db` in a file, `postgresql://…` in a server."""
    sqlite_synchronous: Literal["full", "normal"] = "full"
    """Whether a commit waits for the disk (`full`), or may be lost with the power (`normal`)."""
    store_migrate: bool = True
    """Whether a start brings the tables of a store up to date; if not, `roster db upgrade` has to."""
    log_keep_events: PositiveInt = 100_000
    """Events that the log keeps for readers who come back; older ones are trimmed."""
    log_keep_s: NonNegativeFloat = 604_800
    """Events younger than this are kept however many they are, on stores that last, in seconds; 0: by count alone."""
    log_keep_bytes: PositiveInt = 67_108_864
    """Memory that those events may take on the memory store, in bytes."""

    audit_keep_s: Annotated[PositiveFloat, Field(le=3_153_600_000)] = 31_536_000
    """How long the audit tells who did what, in seconds; on the memory store the newest 10,000 entries of that time."""

    jwt_secret: Annotated[str, Field(repr=False)] = ""
    """Secret of 32 bytes or more that signs access tokens, or a JSON list, of which the first signs; empty: keys are kept in the store."""
    jwt_private_key: Annotated[str, Field(repr=False)] = ""
    """PEM, or path of a file, with the private key that signs instead: P-256, Ed25519 or RSA; of several the first signs, all check."""
    access_ttl_s: PositiveInt = 900
    """Life of an access token, in seconds."""
    refresh_ttl_s: PositiveInt = 2_592_000
    """Life of a session, however often it is refreshed, in seconds."""
    session_idle_s: PositiveInt = 1_209_600
    """How long a session lasts without a refresh, in seconds."""
    api_token_ttl_s: NonNegativeInt = 31_536_000
    """Longest life of an API token, in seconds; 0: as long as is asked for, also without an end."""
    admin_email: str = "admin@example.com"
    """E-mail address of the first administrator, made at the first start."""
    admin_username: str = "admin"
    """Username of the first administrator."""
    admin_password: Annotated[str, Field(repr=False)] = ""
    """Password of the first administrator; empty: one is made and printed once."""
    registration: Literal["open", "verify", "closed"] = "open"
    """Who may register: anybody (`open`), whose address is proven by a mail (`verify`), or nobody (`closed`)."""
    verify_ttl_s: PositiveInt = 86_400
    """How long an address may be confirmed with the token from a mail, in seconds."""
    reset_ttl_s: PositiveInt = 3600
    """How long a password may be reset with the token from a mail, in seconds."""
    hash_workers: NonNegativeInt = 0
    """Threads that hash passwords; 0: one a core but one, which is left to all else."""
    hash_queue: PositiveInt = 64
    """Passwords that may wait for those threads, a quarter of them from one network; over it logins get 503, and 429 over the quarter."""
    hash_passes: Annotated[int, Field(ge=1, le=64)] = 1
    """Passes of argon2id over its memory. Hashes that cost another price are made anew at the next login."""
    hash_memory_kib: Annotated[int, Field(le=4_194_304)] = 47_104
    """Memory that argon2id takes for a password, in KiB: at least 47104 with one pass, 19456 with two, 12288 with more."""
    hash_lanes: Annotated[int, Field(ge=1, le=16)] = 1
    """Lanes of argon2id."""

    rate_limit: str = "1200/minute"
    """Requests per address, and per user, as `1200/minute`; `off` lifts it."""
    login_limit: str = "10/15 minutes"
    """Failed logins per account and network that are free, as `10/15 minutes`, before waits begin and double; `off` lifts it."""
    mail_limit: str = "10/15 minutes"
    """Mails that may be asked for per address and network, and tokens that a network may try, as `10/15 minutes`; `off` lifts it."""
    max_body_bytes: PositiveInt = 262_144
    """Largest request body, in bytes; over it 413."""
    body_timeout_s: PositiveFloat = 30
    """Time for a request body to arrive, in seconds; over it 408."""
    idempotency_keep_s: PositiveInt = 86_400
    """How long a request with an `Idempotency-Key` is answered again instead of carried out again, in seconds."""
    keepalive_s: PositiveFloat = 75
    """How long an idle connection stays open, in seconds; keep it above that of the proxy in front."""

    max_connections_per_user: NonNegativeInt = 100
    """Open feeds and WebSockets of one user; 0: no bound."""
    ping_s: PositiveFloat = 15
    """Time between two pings on a feed, in seconds."""
    heartbeat_s: PositiveFloat = 25
    """Time between two heartbeats on a WebSocket, in seconds."""
    stall_s: PositiveFloat = 30
    """How long a full send buffer may go without shrinking, in seconds; over it the connection ends (4408)."""
    send_buffer_total_bytes: PositiveInt = 268_435_456
    """Send buffers of all connections together, in bytes; over it the fullest ends first."""
    ws_messages_per_s: NonNegativeInt = 50
    """Frames per second that one WebSocket may send; over it 4429; 0: no bound."""
    ws_max_message_bytes: PositiveInt = 65_536
    """Largest WebSocket message, in bytes; over it 1009."""
    ws_deflate: bool = False
    """Whether WebSockets may agree on permessage-deflate; one that does takes seven times the memory."""
    ws_auth_timeout_s: PositiveFloat = 5
    """Time for the first `auth` frame where a WebSocket came without credentials, in seconds."""
    room_rules: dict[str, dict[RoomRight, Who]] = {"admin.*": {"read": "admin"}}
    """JSON object of room name patterns and who, `admin` or `user`, may `read`, `send`, see `members`; the first fit decides."""
    room_history: NonNegativeInt = 100
    """Messages that a room keeps for those who come back."""
    room_history_s: PositiveFloat = 3600
    """How long it keeps them, in seconds."""
    presence_gather_s: PositiveFloat = 0.25
    """Joins and leaves of a room are told together once in so many seconds."""
    presence_leave_s: NonNegativeFloat = 10
    """How long a member who left may take to come back unnoticed, in seconds."""
    echo: bool = True
    """Whether `/v1/echo` is served."""
    echo_connections_per_address: PositiveInt = 64
    """Open echo connections from one address."""

    upstreams: dict[str, str] = {}
    """JSON object of names and URLs that `/v1/aggregate` may fetch, as `{"weather":"https://…"}`."""
    aggregate_timeout_s: PositiveFloat = 5
    """What an aggregate waits for at most, in seconds."""
    aggregate_concurrency: PositiveInt = 10
    """Upstreams that one aggregate fetches at once."""
    outbound_connections: PositiveInt = 100
    """Open connections to other services, all together."""
    outbound_connections_per_host: PositiveInt = 10
    """Open connections to one host."""
    outbound_connect_timeout_s: PositiveFloat = 2
    """Time for a connection to another service to be made, in seconds."""
    outbound_read_timeout_s: PositiveFloat = 5
    """Time between two pieces of an answer from another service, in seconds."""
    outbound_total_timeout_s: PositiveFloat = 10
    """Time for a whole call to another service, retries included, in seconds."""
    outbound_retries: NonNegativeInt = 2
    """Further tries of an idempotent call that failed."""
    outbound_max_bytes: PositiveInt = 1_048_576
    """Largest answer taken from another service, in bytes."""
    outbound_ca_file: str = ""
    """PEM file with further certificate authorities for calls out; empty: the system's."""

    mail_from: str = ""
    """Sender of mails, as `Roster <roster@example.com>`; needed with `ROSTER_SMTP_URL`."""
    mail_link_url: str = ""
    """Page of a front end that takes tokens, which mails link to with `#verify=…` or `#reset=…`; empty: no link."""
    smtp_starttls: bool = True
    """Whether `smtp://` goes on only where the server encrypts (STARTTLS); `false` for a relay on this host."""
    smtp_url: Annotated[str, Field(repr=False)] = ""
    """Mail server, as `smtp://user:password@host:587` or `smtps://user:password@host:465`; empty: mails go to the log, for development."""
    smtp_timeout_s: Annotated[float, Field(gt=0, le=19)] = 10
    """Time for each step of handing over a mail, in seconds, at most 19; for all of them three times that."""

    log_format: Literal["auto", "json", "console"] = "auto"
    """`json`, `console`, or `auto`: console where a person watches."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least level that is logged."""
    metrics_token: Annotated[str, Field(repr=False)] = ""
    """Bearer token for `/metrics`; empty: only loopback may read it."""
    security_contact: str = ""
    """Whom to tell of a hole, as `mailto:security@example.com`, in `/.well-known/security.txt`; empty: there is none."""

    drain_delay_s: NonNegativeFloat = 0
    """How long the service goes on as before, not ready any more, when it is told to stop: for balancers to notice, in seconds."""
    drain_spread_s: NonNegativeFloat = 2
    """Over how many seconds streams end when the service stops."""
    shutdown_timeout_s: PositiveFloat = 5
    """How long requests in flight may take to finish when the service stops, in seconds."""

    @field_validator("rate_limit", "login_limit", "mail_limit")
    @classmethod
    def _rate(cls, text: str) -> str:
        if text != "off":
            Rate.parse(text)
        return text

    @field_validator("hash_memory_kib")
    @classmethod
    def _hash_memory(cls, memory_kib: int, others: ValidationInfo) -> int:
        # ASVS 5.0, appendix C. Passes that cannot be read have a sentence of their own.
        least = {1: 47_104, 2: 19_456}.get(others.data.get("hash_passes", 1), 12_288)
        if memory_kib < least:
            raise ValueError(f"must be at least {least}; fewer KiB need more passes (ROSTER_HASH_PASSES)")
        return memory_kib

    @field_validator("jwt_secret")
    @classmethod
    def _secret(cls, text: str) -> str:
        try:
            secrets = _secrets(text)
        except ValueError:
            raise ValueError("must be a secret, or a JSON list of secrets") from None
        if any(len(secret.encode()) < 32 for secret in secrets):
            # RFC 7518, 3.2: a key of the size of the hash output or larger must be used.
            raise ValueError("must be at least 32 bytes; `openssl rand -hex 32` makes one")
        return text

    @field_validator("jwt_private_key")
    @classmethod
    def _private_key(cls, text: str) -> str:
        # A file that cannot be read is told at the start; what is in it is for those who know keys.
        _private_keys(text)
        return text

    @field_validator("admin_username")
    @classmethod
    def _username(cls, text: str) -> str:
        # Logins are read in lower case: an administrator by another rule would be made and could never log in.
        if re.fullmatch(users.USERNAME_PATTERN, text) is None:
            raise ValueError("must be 3 to 32 of a-z 0-9 . _ -")
        return text

    @field_validator("admin_email")
    @classmethod
    def _email(cls, text: str) -> str:
        try:
            return users.normalise_email(validate_email(text, check_deliverability=False).normalized)
        except EmailNotValidError as error:
            raise ValueError(f"is not an e-mail address: {error}") from None

    @field_validator("admin_password")
    @classmethod
    def _password(cls, text: str) -> str:
        if text and (not users.PASSWORD_MIN <= len(text) <= users.PASSWORD_MAX or not text.strip()):
            raise ValueError("must have 8 to 1,024 characters, not spaces alone")
        return text

    @field_validator("store_url")
    @classmethod
    def _store(cls, text: str) -> str:
        is_file = text.startswith("sqlite:///") and text.removeprefix("sqlite:///").strip("/")
        if text != "memory://" and not is_file and not text.startswith(("postgresql://", "postgres://")):
            raise ValueError("must be memory://, sqlite:///path or postgresql://user:password@host/database")
        return text

    @field_validator("public_url")
    @classmethod
    def _public(cls, text: str) -> str:
        if not text:
            return text
        return _origin(text.rstrip("/"))

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        # aiohttp-cors takes `*` for "reflect any origin"; an allow-list is what this setting promises.
        return tuple(_origin(origin) for origin in origins)

    @field_validator("security_contact")
    @classmethod
    def _contact(cls, text: str) -> str:
        # RFC 9116, 2.5.3: a URI, of https where it is a web address. One line of the file, so nothing may break it.
        if text and re.fullmatch(r"(mailto:[!-~]+@[!-~]+|https://[!-~]+|tel:[0-9+.()-]+)", text) is None:
            raise ValueError("must be a mailto:, https: or tel: address")
        return text

    @field_validator("mail_from")
    @classmethod
    def _sender(cls, text: str) -> str:
        if text:
            try:
                validate_email(text, allow_display_name=True, check_deliverability=False)
            except EmailNotValidError as error:
                raise ValueError(f"is not an e-mail address: {error}") from None
        return text

    @field_validator("mail_link_url")
    @classmethod
    def _link(cls, text: str) -> str:
        parts = urlsplit(text)
        if text and (
            parts.scheme not in ("http", "https") or not parts.hostname or "#" in text or not text.isprintable()
        ):
            raise ValueError("must be an http or https URL without a fragment")
        return text

    @field_validator("smtp_url")
    @classmethod
    def _smtp(cls, text: str, others: ValidationInfo) -> str:
        if text:
            SmtpServer.parse(text, starttls=others.data.get("smtp_starttls", True))
            if "mail_from" in others.data and not others.data["mail_from"]:
                raise ValueError("needs a sender in ROSTER_MAIL_FROM")
        return text

    @field_validator("trusted_proxies")
    @classmethod
    def _proxies(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            ip_network(network)
        return networks

    @field_validator("upstreams")
    @classmethod
    def _upstreams(cls, upstreams: dict[str, str]) -> dict[str, str]:
        for name, url in upstreams.items():
            if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,31}", name):
                raise ValueError(f"{name!r} is not a name: 1 to 32 of a-z 0-9 _ - are")
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError(f"{name!r} needs an http or https URL")
        return upstreams

    @field_validator("room_rules")
    @classmethod
    def _patterns(cls, rules: dict[str, dict[RoomRight, Who]]) -> dict[str, dict[RoomRight, Who]]:
        for pattern in rules:
            if not re.fullmatch(PATTERN, pattern):
                raise ValueError(f"{pattern!r} is not a pattern of room names: 1 to 64 of a-z 0-9 . _ - * are")
        return rules

    @cached_property
    def sqlite_path(self) -> Path | None:
        """The file of the SQLite store; None for another store."""
        path = self.store_url.removeprefix("sqlite:///")
        return None if path == self.store_url else Path(path)

    @cached_property
    def issuer(self) -> str:
        """What access tokens say of who issued them."""
        return self.public_url or "roster"

    @cached_property
    def secrets(self) -> tuple[str, ...]:
        """Of `jwt_secret`; the first signs."""
        return _secrets(self.jwt_secret)

    @cached_property
    def private_keys(self) -> str:
        """Of `jwt_private_key`, as PEM; the first signs."""
        return _private_keys(self.jwt_private_key)

    @cached_property
    def proxies(self) -> tuple[Network, ...]:
        return tuple(ip_network(network) for network in self.trusted_proxies)

    @cached_property
    def rules_of_rooms(self) -> RoomRules:
        return RoomRules({pattern: RoomRule(**rule) for pattern, rule in self.room_rules.items()})

    @cached_property
    def request_rate(self) -> Rate | None:
        return None if self.rate_limit == "off" else Rate.parse(self.rate_limit)

    @cached_property
    def mail_rate(self) -> Rate | None:
        return None if self.mail_limit == "off" else Rate.parse(self.mail_limit)

    @cached_property
    def smtp(self) -> SmtpServer | None:
        return SmtpServer.parse(self.smtp_url, starttls=self.smtp_starttls) if self.smtp_url else None

    @cached_property
    def login_rate(self) -> Rate | None:
        return None if self.login_limit == "off" else Rate.parse(self.login_limit)


def load(**overrides: Any) -> Settings:
    """Read the settings; keyword arguments win over the environment, that wins over `.env`.

    Raises `SettingsError` naming every variable that cannot be used.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        lines = [_sentence(dict(problem)) for problem in error.errors(include_url=False)]
        raise SettingsError("\n".join(dict.fromkeys(lines))) from None
    except UnreadableSetting as error:
        name = str(error).split('"')[1].upper()
        # From `.env` as well, which the environment does not have.
        value = getattr(error.__cause__, "doc", None)
        raise SettingsError(f"{PREFIX}{name}={value!r}: is not JSON") from None


def unknown_variables() -> list[str]:
    """Variables with our prefix that no setting reads: most often a slip of the pen."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    return sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known)


def _sentence(problem: dict[str, Any]) -> str:
    name = str(problem["loc"][0])
    shown = (
        "(hidden)"
        if name in ("jwt_secret", "jwt_private_key", "admin_password", "metrics_token", "smtp_url")
        else _USERINFO.sub("//…@", repr(problem["input"]))
    )
    sentence = f"{PREFIX}{name.upper()}={shown}: {problem['msg'].removeprefix('Value error, ')}"
    if str(problem["input"]).startswith("tcp://"):
        # Kubernetes gives every pod NAME_PORT=tcp://… for a Service called NAME.
        sentence += " (Kubernetes sets this for a Service named roster; set enableServiceLinks: false on the pod)"
    return sentence


def _secrets(text: str) -> tuple[str, ...]:
    if not text.startswith("["):
        return (text,) if text else ()
    secrets = json.loads(text)
    if not secrets or not all(isinstance(secret, str) for secret in secrets):
        raise ValueError("not a list of texts")
    return tuple(secrets)


def _private_keys(text: str) -> str:
    if not text or "-----BEGIN" in text:
        return text.replace("\\n", "\n")  # as `.env` files and panels write line breaks; PEM has no backslash
    try:
        return Path(text).read_text(encoding="ascii")
    except (OSError, ValueError):
        raise ValueError("must be a private key as PEM, or the path of a file with one that can be read") from None


def _origin(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or text != f"{parts.scheme}://{parts.netloc}":
        raise ValueError(f"{text!r} is not an origin such as https://app.example.com")
    return text.lower()
