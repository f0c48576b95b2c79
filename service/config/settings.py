"""Every setting. Settings are read once from the environment and `.env`; an invalid value stops the start.

The docstring of a field is its row in `docs/configuration.md` and in `.env.example`; a test compares them.
"""

from __future__ import annotations

from functools import cached_property
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, PositiveFloat, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.config.env_file import ENCODING
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
from service.config.secret_values import (
    MetricsToken,
    Password,
    RedisUrl,
    SecretUrl,
    SigningKeys,
    SigningSecrets,
    SmtpServer,
    SmtpUrl,
    StoreUrl,
    Upstreams,
    parse_secrets,
    read_private_keys,
)
from service.config.values import (
    UNIX,
    Contact,
    EmailAddress,
    ForwardedHeader,
    HashMemory,
    Hosts,
    LinkUrl,
    Network,
    Networks,
    Origins,
    PublicUrl,
    Rate,
    RateText,
    RoomRulesByPattern,
    Sender,
    Username,
)
from service.domain.rooms.rules import RoomRule, RoomRules

PREFIX = "ROSTER_"
ENV_FILE = ".env"


class SettingsError(Exception):
    """A setting that cannot be used; `str()` names the variable, its value and what would do."""


TOPICS: Final = {
    "Network": "host",
    "Storage": "store_url",
    "Audit": "audit_retention_s",
    "Access tokens and sessions": "jwt_secret",
    "Accounts and registration": "admin_email",
    "Password hashing": "hash_workers",
    "Limits for requests": "rate_limit",
    "Streams": "max_connections_per_user",
    "Rooms": "room_rules",
    "Echo": "echo",
    "Outbound calls": "upstreams",
    "Mail": "mail_from",
    "Logs, metrics, security contact": "log_format",
    "Shutdown": "drain_delay_s",
}
"""The topics of the documentation, each with the first of its settings."""


class Settings(BaseSettings):
    """The configuration of the service. Names end in their unit."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=ENV_FILE,
        env_file_encoding=ENCODING,
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
    )

    host: str = "127.0.0.1"
    """Address to listen on. `0.0.0.0`: all IPv4 addresses; `::`: all IPv4 and IPv6 addresses."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """TCP port to listen on. 0: a free port."""
    public_url: PublicUrl = ""
    """Origin under which browsers reach the service, for example `https://roster.example.com`. Empty: the `Host` of each request."""
    allowed_hosts: Hosts = ()
    """`Host` names to accept, without port: separated by commas, or a JSON list. Empty: any name."""
    trusted_proxies: Networks = ()
    """Networks whose forwarded header is trusted, for example `10.0.0.0/8,unix`; `unix` means peers on a Unix socket. Empty: none."""
    forwarded_header: ForwardedHeader = "x-forwarded-for"
    """Header in which trusted proxies name the client: `x-forwarded-for`, or `forwarded` (RFC 7239). The other one is ignored."""
    cors_origins: Origins = ()
    """Browser origins that may call the API, for example `https://app.example.com,https://admin.example.com`, or a JSON list. Empty:
    none."""
    workers: Processes = 1
    """gunicorn worker processes. More than 1 needs PostgreSQL and `ROSTER_REDIS_URL`."""

    store_url: StoreUrl = SecretUrl("memory://")
    """Data store: `memory://` (lost when the process ends), `sqlite:///roster.db` (a file) or `postgresql://…`."""
    redis_url: RedisUrl = SecretUrl("")
    """Redis or Valkey (6.2 or later) through which several processes share rooms: `redis://…` or `rediss://…`. Empty: one process."""
    redis_ca_file: str = ""
    """PEM file with the certificates that may have signed the one of Redis. Empty: those of the system."""
    sqlite_synchronous: Literal["full", "normal"] = "full"
    """`full`: a commit waits for the disk. `normal`: a power failure may lose the last commits."""
    store_migrate: bool = True
    """Whether a start upgrades the tables. If false, run `roster db upgrade`."""
    event_retention_count: Rows = 100_000
    """Events to retain for readers that resume. Older events are trimmed, unless `ROSTER_EVENT_RETENTION_S` retains them."""
    event_retention_s: RetentionOrNone = 604_800
    """Retain events younger than this, in seconds, whatever their number; SQLite and PostgreSQL only. 0: by count alone."""
    event_retention_bytes: MemoryBytes = 67_108_864
    """Memory for retained events on the memory store, in bytes."""

    audit_retention_s: Retention = 31_536_000
    """How long to retain audit entries, in seconds. The memory store retains at most 10,000."""

    jwt_secret: SigningSecrets = SecretStr("")
    """Secret of at least 32 bytes that signs access tokens, or a JSON list of which the first signs. Empty: the store holds the keys."""
    jwt_private_key: SigningKeys = SecretStr("")
    """PEM text, or path of a PEM file, with a P-256, Ed25519 or RSA key that signs access tokens instead. Of several keys, the first
    signs and all verify."""
    access_ttl_s: Lifetime = 900
    """Lifetime of an access token, in seconds."""
    session_ttl_s: Lifetime = 2_592_000
    """Maximum lifetime of a session, however often it is refreshed, in seconds."""
    session_idle_timeout_s: Lifetime = 1_209_600
    """A session ends when it is not refreshed for this long, in seconds."""
    api_token_ttl_s: LifetimeOrNone = 31_536_000
    """Maximum lifetime of an API token, in seconds. 0: no maximum; tokens without expiry are allowed."""
    admin_email: EmailAddress = "admin@example.com"
    """E-mail address of the first administrator, who is created at the first start."""
    admin_username: Username = "admin"
    """Username of the first administrator."""
    admin_password: Password = SecretStr("")
    """Password of the first administrator. Empty: the service generates one and prints it once."""
    registration: Literal["open", "verify", "closed"] = "open"
    """`open`: everyone may register. `verify`: everyone, after proving the e-mail address. `closed`: only administrators create users."""
    verify_ttl_s: Lifetime = 86_400
    """Lifetime of the token in a verification mail, in seconds."""
    reset_ttl_s: Lifetime = 3600
    """Lifetime of the token in a password reset mail, in seconds."""
    hash_workers: Threads = 0
    """Threads that hash passwords. 0: the number of CPU cores minus one, at most 16, within the CPU limit and a quarter of the memory
    limit of the container."""
    hash_queue: Count = 64
    """Passwords that may wait for a hash thread. When the queue is full, logins return 503. One network may use a quarter of it; above
    that its logins return 429."""
    argon2_time_cost: Annotated[int, Field(ge=1, le=64)] = 1
    """Passes of argon2id. A hash with other parameters is replaced at the next login."""
    argon2_memory_kib: HashMemory = 47_104
    """Memory of argon2id, in KiB: at least 47104 with one pass, 19456 with two, 12288 with more."""
    argon2_parallelism: Annotated[int, Field(ge=1, le=16)] = 1
    """Lanes of argon2id."""

    rate_limit: RateText = "1200/minute"
    """Requests per client address, and per user, for example `1200/minute`. `off`: no limit."""
    login_limit: RateText = "10/15 minutes"
    """Failed logins per account and network before the login throttle starts, for example `10/15 minutes`. `off`: no throttle."""
    registration_limit: RateText = "60/hour"
    """Registrations per network, for example `60/hour`. `off`: no limit."""
    write_limit: RateText = "20000/day"
    """Requests that change data, per user, for example `20000/day`. An import counts as one, a logout does not count. `off`: no limit."""
    mail_limit: RateText = "10/15 minutes"
    """Mails requested per address and network, and mail tokens tried per network, for example `10/15 minutes`. `off`: no limit."""
    max_body_bytes: BodyBytes = 262_144
    """Maximum request body, in bytes. Larger bodies get 413."""
    body_timeout_s: Wait = 30
    """Maximum time for a request body to arrive, in seconds. Later bodies get 408."""
    idempotency_ttl_s: Lifetime = 86_400
    """How long the response to a request with an `Idempotency-Key` is kept for repeats, in seconds."""
    keepalive_s: Wait = 75
    """How long an idle connection stays open, in seconds. Set it above the keep-alive of the proxy."""

    head_timeout_s: Annotated[PositiveFloat, Field(le=3600)] = 10
    """Maximum time for a request head to arrive, from its first byte, in seconds. Later heads get 408."""
    connections_per_network: Annotated[int, Field(ge=0, le=1_000_000)] = 4096
    """Open connections per IPv4 address or IPv6 /64. More are closed. Trusted proxies are not counted. 0: no limit."""

    max_connections_per_user: CountOrNone = 100
    """Open feeds and WebSockets per user. 0: no limit."""
    sse_keepalive_s: Wait = 15
    """Seconds between two keep-alives on a feed."""
    ws_heartbeat_s: Wait = 25
    """Seconds between two heartbeats on a WebSocket."""
    slow_client_timeout_s: Wait = 30
    """A client that reads nothing of a response, or of a stream with a full send buffer, is disconnected after this long, in seconds
    (streams with 4408)."""
    send_buffer_total_bytes: MemoryBytes = 268_435_456
    """Maximum size of all send buffers together, in bytes. Above it, the connection with the largest buffer is closed."""
    ws_messages_per_s: CountOrNone = 50
    """Frames per second from one WebSocket, pings and empty fragments included. Above it, 4429. 0: no limit."""
    ws_max_message_bytes: MessageBytes = 65_536
    """Maximum WebSocket message, in bytes. Above it, 1009."""
    ws_deflate: bool = False
    """Whether WebSockets may negotiate permessage-deflate. A compressed connection takes seven times the memory."""
    ws_auth_timeout_s: Wait = 5
    """Maximum time for the first `auth` frame of a WebSocket without credentials, in seconds."""
    room_rules: RoomRulesByPattern = {"admin.*": {"read": "admin"}}
    """JSON object of room name patterns. Each names the role, `admin` or `user`, that may `read`, `send` and see `members`. The first
    match decides."""
    room_history_count: CountOrNone = 100
    """Messages that a room retains for members that resume."""
    room_history_s: Retention = 3600
    """How long a room retains messages, in seconds."""
    presence_batch_s: Wait = 0.25
    """Seconds between two presence messages of a room."""
    presence_grace_s: WaitOrNone = 10
    """A member who returns within this time never left, for the other members, in seconds."""
    echo: bool = True
    """Whether to serve `/v1/echo`."""
    echo_connections_per_address: Count = 64
    """Open echo connections per client address."""

    upstreams: Upstreams = {}
    """JSON object of the names and URLs that `/v1/aggregate` may fetch, for example `{"weather":"https://…"}`."""
    aggregate_timeout_s: Wait = 5
    """Maximum time for an aggregate, in seconds."""
    aggregate_concurrency: Count = 10
    """Upstreams that one aggregate fetches at the same time."""
    outbound_connections: Count = 100
    """Open connections to other services."""
    outbound_connections_per_host: Count = 10
    """Open connections to one host."""
    outbound_connect_timeout_s: Wait = 2
    """Maximum time to connect to another service, in seconds."""
    outbound_read_timeout_s: Wait = 5
    """Maximum time between two reads of a response of another service, in seconds."""
    outbound_total_timeout_s: Wait = 10
    """Maximum time for a call to another service, retries included, in seconds."""
    outbound_retries: Retries = 2
    """Retries of an idempotent call that failed."""
    outbound_max_bytes: BodyBytes = 1_048_576
    """Maximum response of another service, in bytes."""
    outbound_ca_file: str = ""
    """PEM file with additional certificate authorities for outbound calls. Empty: those of the system."""

    mail_from: Sender = ""
    """Sender of mails, for example `Roster <roster@example.com>`. Required with `ROSTER_SMTP_URL`."""
    mail_link_url: LinkUrl = ""
    """Page of your front end to which mails link, with the token as `#verify=…` or `#reset=…`. Empty: no link."""
    smtp_starttls: bool = True
    """Whether `smtp://` requires encryption (STARTTLS). Set `false` only for a relay on this host."""
    smtp_url: SmtpUrl = SecretUrl("")
    """Mail server, for example `smtp://user:password@host:587` or `smtps://user:password@host:465`. Empty: mails are written to the
    log, for development."""
    smtp_timeout_s: Annotated[float, Field(gt=0, le=300)] = 10
    """Maximum time for each step of an SMTP conversation, in seconds. The reply to a sent message may take 10 minutes."""

    log_format: Literal["auto", "json", "console"] = "auto"
    """`json`, `console`, or `auto`: console if stderr is a terminal, else JSON."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest level to log."""
    metrics_token: MetricsToken = SecretStr("")
    """Bearer token of at least 16 characters that `/metrics` requires. Empty: `/metrics` returns 404. `none`: no token is required."""
    security_contact: Contact = ""
    """Contact for reports of vulnerabilities, for example `mailto:security@example.com`, in `/.well-known/security.txt`. Empty: no such
    file."""

    drain_delay_s: WaitOrNone = 0
    """Seconds to keep serving after readiness fails, so that load balancers can react."""
    drain_spread_s: WaitOrNone = 2
    """Seconds over which open streams are closed at shutdown."""
    shutdown_timeout_s: Wait = 2
    """Maximum time for requests in flight to finish at shutdown, in seconds."""

    @cached_property
    def store_kind(self) -> Literal["memory", "sqlite", "postgresql"]:
        """The kind of the store, without its address."""
        match self.store_url.get_secret_value().partition(":")[0]:
            case "memory":
                return "memory"
            case "sqlite":
                return "sqlite"
            case _:
                return "postgresql"

    @cached_property
    def sqlite_path(self) -> Path | None:
        """The file of the SQLite store; None for another store."""
        if self.store_kind != "sqlite":
            return None
        return Path(self.store_url.get_secret_value().removeprefix("sqlite:///"))

    @cached_property
    def is_shared(self) -> bool:
        """Whether other processes may serve the same accounts and rooms."""
        return self.store_kind == "postgresql" and bool(self.redis_url)

    @cached_property
    def issuer(self) -> str:
        """The issuer in access tokens."""
        return self.public_url or "roster"

    def parse_jwt_secrets(self) -> tuple[str, ...]:
        """The secrets of `jwt_secret`; the first signs."""
        return parse_secrets(self.jwt_secret.get_secret_value())

    def read_jwt_private_keys(self) -> str:
        """The keys of `jwt_private_key` as PEM text; the first signs."""
        return read_private_keys(self.jwt_private_key.get_secret_value())

    @cached_property
    def proxies(self) -> tuple[Network, ...]:
        return tuple(ip_network(network) for network in self.trusted_proxies if network != UNIX)

    @cached_property
    def trusts_unix_sockets(self) -> bool:
        return UNIX in self.trusted_proxies

    @cached_property
    def parsed_room_rules(self) -> RoomRules:
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
        """The mail server; None to write mails to the log."""
        return (
            SmtpServer.parse(self.smtp_url.get_secret_value(), starttls=self.smtp_starttls) if self.smtp_url else None
        )

    @cached_property
    def login_rate(self) -> Rate | None:
        return None if self.login_limit == "off" else Rate.parse(self.login_limit)
