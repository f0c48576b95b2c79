"""Every setting, read once from the environment and `.env`, frozen, refused at start with the variable and the value.

The docstring of a field is its row in README's table and in `.env.example`; a test compares all three.
"""

from __future__ import annotations

import os
import re
from difflib import get_close_matches
from functools import cached_property
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    Field,
    PositiveFloat,
    ValidationError,
)
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableSetting

from service.config.env_file import (
    ENCODING,
    UnreadableFile,
    check_file,
    names_in,
)
from service.config.numbers import (
    BodyBytes,
    Count,
    CountOrNone,
    Lifetime,
    LifetimeOrNone,
    MemoryBytes,
    MessageBytes,
    Processes,
    Retention,
    RetentionOrNone,
    Retries,
    Rows,
    Threads,
    Wait,
    WaitOrNone,
)
from service.config.values import (
    UNIX,
    Contact,
    EmailAddress,
    ForwardedHeader,
    HashMemory,
    Hosts,
    LinkUrl,
    MetricsToken,
    Network,
    Networks,
    Origins,
    Password,
    PublicUrl,
    Rate,
    RateText,
    RoomRulesByPattern,
    Sender,
    SigningKeys,
    SigningSecrets,
    SmtpServer,
    SmtpUrl,
    StoreUrl,
    Upstreams,
    Username,
    private_keys_of,
    secrets_of,
)
from service.domain.rooms.rules import RoomRule, RoomRules

PREFIX = "ROSTER_"
ENV_FILE = ".env"

# The password of a store or an upstream; it may itself hold a slash or an at sign.
_USERINFO = re.compile(r"(?<=//)[^\s\"']*@|(?<=password=)[^&\s\"']*")


class SettingsError(Exception):
    """A setting that cannot be used; `str()` names the variable, its value and what would do."""


class Settings(BaseSettings):
    """What can be chosen without changing code. Names end in their unit."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=ENV_FILE,
        env_file_encoding=ENCODING,
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for all of IPv4, `::` for all of IPv4 and IPv6."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """TCP port to listen on; 0 takes a free one."""
    public_url: PublicUrl = ""
    """Origin under which browsers reach the service, as `https://roster.example.com`; empty: the `Host` that a request names."""
    allowed_hosts: Hosts = ()
    """`Host` names that are answered, without port, separated by commas or as JSON list; empty: any."""
    trusted_proxies: Networks = ()
    """Networks whose forwarded header is believed, as `10.0.0.0/8,unix` or as JSON list; `unix` for peers of a Unix socket; empty: none."""
    forwarded_header: ForwardedHeader = "x-forwarded-for"
    """Header in which those proxies name the client: `x-forwarded-for` or `forwarded` (RFC 7239); the other one is ignored."""
    cors_origins: Origins = ()
    """Browser origins that may call the API, as `https://app.example.com,https://admin.example.com` or as JSON list; empty: none."""
    workers: Processes = 1
    """gunicorn's worker processes; this version refuses more than 1."""

    store_url: StoreUrl = "memory://"
    """Where data is kept: `memory://` forgets at the end of the process, `sqlite:///roster.db` in a file, `postgresql://…` in a server."""
    sqlite_synchronous: Literal["full", "normal"] = "full"
    """Whether a commit waits for the disk (`full`), or may be lost with the power (`normal`)."""
    store_migrate: bool = True
    """Whether a start brings the tables of a store up to date; if not, `roster db upgrade` has to."""
    event_retention_count: Rows = 100_000
    """Events that the log keeps for readers who come back; older ones are trimmed."""
    event_retention_s: RetentionOrNone = 604_800
    """Events younger than this are kept however many they are, on stores that last, in seconds; 0: by count alone."""
    event_retention_bytes: MemoryBytes = 67_108_864
    """Memory that those events may take on the memory store, in bytes."""

    audit_retention_s: Retention = 31_536_000
    """How long the audit tells who did what, in seconds; on the memory store the newest 10,000 entries of that time."""

    jwt_secret: SigningSecrets = ""
    """Secret of 32 bytes or more that signs access tokens, or a JSON list, of which the first signs; empty: keys are kept in the store."""
    jwt_private_key: SigningKeys = ""
    """PEM, or path of a file, with the private key that signs instead: P-256, Ed25519 or RSA; of several the first signs, all check."""
    access_ttl_s: Lifetime = 900
    """Life of an access token, in seconds."""
    session_ttl_s: Lifetime = 2_592_000
    """Life of a session, however often it is refreshed, in seconds."""
    session_idle_timeout_s: Lifetime = 1_209_600
    """How long a session lasts without a refresh, in seconds."""
    api_token_ttl_s: LifetimeOrNone = 31_536_000
    """Longest life of an API token, in seconds; 0: as long as is asked for, also without an end."""
    admin_email: EmailAddress = "admin@example.com"
    """E-mail address of the first administrator, made at the first start."""
    admin_username: Username = "admin"
    """Username of the first administrator."""
    admin_password: Password = ""
    """Password of the first administrator; empty: one is made and printed once."""
    registration: Literal["open", "verify", "closed"] = "open"
    """Who may register: anybody (`open`), whose address is proven by a mail (`verify`), or nobody (`closed`)."""
    verify_ttl_s: Lifetime = 86_400
    """How long an address may be confirmed with the token from a mail, in seconds."""
    reset_ttl_s: Lifetime = 3600
    """How long a password may be reset with the token from a mail, in seconds."""
    hash_workers: Threads = 0
    """Threads that hash passwords; 0: CPU cores minus one, at most 16, within the CPU and a quarter of the memory of the container."""
    hash_queue: Count = 64
    """Passwords that may wait for those threads, a quarter of them from one network; over it logins get 503, and 429 over the quarter."""
    argon2_time_cost: Annotated[int, Field(ge=1, le=64)] = 1
    """Passes of argon2id over its memory. Hashes that cost another price are made anew at the next login."""
    argon2_memory_kib: HashMemory = 47_104
    """Memory that argon2id takes for a password, in KiB: at least 47104 with one pass, 19456 with two, 12288 with more."""
    argon2_parallelism: Annotated[int, Field(ge=1, le=16)] = 1
    """Lanes of argon2id."""

    rate_limit: RateText = "1200/minute"
    """Requests per address, and per user, as `1200/minute`; `off` lifts it."""
    login_limit: RateText = "10/15 minutes"
    """Failed logins per account and network that are free, as `10/15 minutes`, before waits begin and double; `off` lifts it."""
    registration_limit: RateText = "60/hour"
    """Registrations per network, as `60/hour`; `off` lifts it."""
    write_limit: RateText = "20000/day"
    """Requests that change data, per user, as `20000/day`; an import counts as one; logging out does not count; `off` lifts it."""
    mail_limit: RateText = "10/15 minutes"
    """Mails that may be asked for per address and network, and tokens that a network may try, as `10/15 minutes`; `off` lifts it."""
    max_body_bytes: BodyBytes = 262_144
    """Largest request body, in bytes; over it 413."""
    body_timeout_s: Wait = 30
    """Time for a request body to arrive, in seconds; over it 408."""
    idempotency_ttl_s: Lifetime = 86_400
    """How long a request with an `Idempotency-Key` is answered again instead of carried out again, in seconds."""
    keepalive_s: Wait = 75
    """How long an idle connection stays open, in seconds; keep it above that of the proxy in front."""

    head_timeout_s: Annotated[PositiveFloat, Field(le=3600)] = 10
    """Time for a request head that arrives in pieces, from its first piece, in seconds; over it 408."""
    connections_per_network: Annotated[int, Field(ge=0, le=1_000_000)] = 4096
    """Open connections of one IPv4 address or IPv6 /64; over it new ones are closed; trusted proxies are not counted; 0: no bound."""

    max_connections_per_user: CountOrNone = 100
    """Open feeds and WebSockets of one user; 0: no bound."""
    sse_keepalive_s: Wait = 15
    """Time between two pings on a feed, in seconds."""
    ws_heartbeat_s: Wait = 25
    """Time between two heartbeats on a WebSocket, in seconds."""
    slow_client_timeout_s: Wait = 30
    """How long a client may take nothing of a response, or of a stream whose send buffer is full, in seconds; over it the
    connection ends (a stream with 4408)."""
    send_buffer_total_bytes: MemoryBytes = 268_435_456
    """Send buffers of all connections together, in bytes; over it the fullest ends first."""
    ws_messages_per_s: CountOrNone = 50
    """Frames per second that one WebSocket may send, pings and empty fragments included; over it 4429; 0: no bound."""
    ws_max_message_bytes: MessageBytes = 65_536
    """Largest WebSocket message, in bytes; over it 1009."""
    ws_deflate: bool = False
    """Whether WebSockets may agree on permessage-deflate; one that does takes seven times the memory."""
    ws_auth_timeout_s: Wait = 5
    """Time for the first `auth` frame where a WebSocket came without credentials, in seconds."""
    room_rules: RoomRulesByPattern = {"admin.*": {"read": "admin"}}
    """JSON object of room name patterns and who, `admin` or `user`, may `read`, `send`, see `members`; the first fit decides."""
    room_history_count: CountOrNone = 100
    """Messages that a room keeps for those who come back."""
    room_history_s: Retention = 3600
    """How long it keeps them, in seconds."""
    presence_batch_s: Wait = 0.25
    """Joins and leaves of a room are told together once in so many seconds."""
    presence_grace_s: WaitOrNone = 10
    """How long a member who left may take to come back unnoticed, in seconds."""
    echo: bool = True
    """Whether `/v1/echo` is served."""
    echo_connections_per_address: Count = 64
    """Open echo connections from one address."""

    upstreams: Upstreams = {}
    """JSON object of names and URLs that `/v1/aggregate` may fetch, as `{"weather":"https://…"}`."""
    aggregate_timeout_s: Wait = 5
    """What an aggregate waits for at most, in seconds."""
    aggregate_concurrency: Count = 10
    """Upstreams that one aggregate fetches at once."""
    outbound_connections: Count = 100
    """Open connections to other services, all together."""
    outbound_connections_per_host: Count = 10
    """Open connections to one host."""
    outbound_connect_timeout_s: Wait = 2
    """Time for a connection to another service to be made, in seconds."""
    outbound_read_timeout_s: Wait = 5
    """Time between two pieces of an answer from another service, in seconds."""
    outbound_total_timeout_s: Wait = 10
    """Time for a whole call to another service, retries included, in seconds."""
    outbound_retries: Retries = 2
    """Further tries of an idempotent call that failed."""
    outbound_max_bytes: BodyBytes = 1_048_576
    """Largest answer taken from another service, in bytes."""
    outbound_ca_file: str = ""
    """PEM file with further certificate authorities for calls out; empty: the system's."""

    mail_from: Sender = ""
    """Sender of mails, as `Roster <roster@example.com>`; needed with `ROSTER_SMTP_URL`."""
    mail_link_url: LinkUrl = ""
    """Page of a front end that takes tokens, which mails link to with `#verify=…` or `#reset=…`; empty: no link."""
    smtp_starttls: bool = True
    """Whether `smtp://` goes on only where the server encrypts (STARTTLS); `false` for a relay on this host."""
    smtp_url: SmtpUrl = ""
    """Mail server, as `smtp://user:password@host:587` or `smtps://user:password@host:465`; empty: mails go to the log, for development."""
    smtp_timeout_s: Annotated[float, Field(gt=0, le=300)] = 10
    """Seconds for each step of a conversation with the mail server, at most 300; the reply to a sent message may take 10 minutes."""

    log_format: Literal["auto", "json", "console"] = "auto"
    """`json`, `console`, or `auto`: console where a person watches."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least level that is logged."""
    metrics_token: MetricsToken = ""
    """Bearer token of at least 16 characters for `/metrics`; empty: `/metrics` returns 404; `none`: no token is required."""
    security_contact: Contact = ""
    """Whom to tell of a hole, as `mailto:security@example.com`, in `/.well-known/security.txt`; empty: there is none."""

    drain_delay_s: WaitOrNone = 0
    """How long the service goes on as before, not ready any more, when it is told to stop: for balancers to notice, in seconds."""
    drain_spread_s: WaitOrNone = 2
    """Over how many seconds streams end when the service stops."""
    shutdown_timeout_s: Wait = 2
    """How long requests in flight may take to finish when the service stops, in seconds."""

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
        return secrets_of(self.jwt_secret)

    @cached_property
    def private_keys(self) -> str:
        """Of `jwt_private_key`, as PEM; the first signs."""
        return private_keys_of(self.jwt_private_key)

    @cached_property
    def proxies(self) -> tuple[Network, ...]:
        return tuple(ip_network(network) for network in self.trusted_proxies if network != UNIX)

    @cached_property
    def trusts_unix_sockets(self) -> bool:
        return UNIX in self.trusted_proxies

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
    def registration_rate(self) -> Rate | None:
        return None if self.registration_limit == "off" else Rate.parse(self.registration_limit)

    @cached_property
    def write_rate(self) -> Rate | None:
        return None if self.write_limit == "off" else Rate.parse(self.write_limit)

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
        if (file := overrides.get("_env_file", ENV_FILE)) is not None:
            check_file(Path(file))
        return Settings(**overrides)
    except UnreadableFile as error:
        raise SettingsError(str(error)) from None
    except ValidationError as error:
        lines = [_sentence(dict(problem)) for problem in error.errors(include_url=False)]
        raise SettingsError("\n".join(dict.fromkeys(lines))) from None
    except UnreadableSetting as error:
        name = str(error).split('"')[1].upper()
        # From `.env` as well, which the environment does not have.
        value = getattr(error.__cause__, "doc", None)
        raise SettingsError(f"{PREFIX}{name}={value!r}: is not JSON") from None


class UnknownVariable(NamedTuple):
    """A variable with our prefix that no setting reads: most often a misspelt one.

    Attributes:
        where: `environment` or `.env`.
        nearest: the setting with the most similar name; None where none is similar.
    """

    name: str
    where: str
    nearest: str | None


def unknown_variables() -> list[UnknownVariable]:
    """Those of the environment and of `.env`, whose names are read without regard to case."""
    known = [name.upper() for name in Settings.model_fields]
    found = []
    for where, names in (("environment", os.environ), (ENV_FILE, names_in(Path(ENV_FILE)))):
        for name in sorted(names):
            bare = name.upper().removeprefix(PREFIX)
            if name.upper().startswith(PREFIX) and bare not in known:
                nearest = get_close_matches(bare, known, 1)
                found.append(UnknownVariable(name, where, PREFIX + nearest[0] if nearest else None))
    return found


def _sentence(problem: dict[str, Any]) -> str:
    name = str(problem["loc"][0])
    # What is kept out of `repr` is kept out of messages.
    is_secret = not Settings.model_fields[name].repr
    shown = "(hidden)" if is_secret else _USERINFO.sub("…@", repr(problem["input"]))
    sentence = f"{PREFIX}{name.upper()}={shown}: {problem['msg'].removeprefix('Value error, ')}"
    if str(problem["input"]).startswith("tcp://"):
        # Kubernetes gives every pod NAME_PORT=tcp://… for a Service called NAME.
        sentence += " (Kubernetes sets this for a Service named roster; set enableServiceLinks: false on the pod)"
    return sentence
