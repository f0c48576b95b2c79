"""The types of settings that hold a secret. The text of their values never shows it.

A message for an invalid value says what would do, and repeats nothing of the value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, get_args
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr, ValidationInfo

from service.domain.users import user

OPEN_METRICS: Final = "none"
"""The metrics token that opens `/metrics`."""

HIDDEN: Final = "(hidden)"
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]{0,19}://", re.IGNORECASE)
_END_OF_HOST: Final = re.compile(r"[/?#]")
_HOST: Final = re.compile(r"(?:[a-z0-9._-]*|\[[0-9a-f:.]+\])(?::[0-9]{0,5})?", re.IGNORECASE)
_UPSTREAM_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


class SecretUrl(SecretStr):
    """A URL that may carry a password or a key. Its text is the scheme, the host and the port alone.

    User information, path, query and fragment may each be the secret. A text that is no URL is hidden whole.
    """

    def _display(self) -> str:
        return _origin_of(self.get_secret_value())


def _origin_of(url: str) -> str:
    scheme = _SCHEME.match(url)
    if scheme is None:
        return HIDDEN if url else ""
    # A password that is not percent-encoded may hold any character: the host is what stands after the last at sign.
    before, at, rest = url[scheme.end() :].rpartition("@")
    end = _END_OF_HOST.search(rest)
    host, more = (rest[: end.start()], f"{end[0]}…") if end else (rest, "")
    # An at sign in a query leaves open where the host ends.
    if re.search(r"[?#]", before) or _HOST.fullmatch(host) is None:
        return f"{scheme[0]}…"
    return f"{scheme[0]}{'…@' if at else ''}{host}{more}"


def is_secret(annotation: Any) -> bool:
    """Whether values of this type hold a secret, be it inside of a container."""
    if isinstance(annotation, type) and issubclass(annotation, SecretStr):
        return True
    return any(is_secret(argument) for argument in get_args(annotation))


def display_secret(annotation: Any, value: object) -> str:
    """Describe a refused value of a secret type without the secret: by the origins of its URLs, or not at all.

    Args:
        annotation: type of the setting.
        value: as it was given, which need not be of that type.
    """
    if annotation is SecretUrl and isinstance(value, str):
        shown = _origin_of(value)
        return shown if shown == HIDDEN else repr(shown)
    if SecretUrl in get_args(annotation) and isinstance(value, Mapping):
        items = (f"{_display_name(name)}: {display_secret(SecretUrl, url)}" for name, url in value.items())
        return f"{{{', '.join(items)}}}"
    return HIDDEN


def _display_name(name: object) -> str:
    # A name and its URL may have been given the wrong way round.
    return repr(name) if isinstance(name, str) and re.fullmatch(r"[\w .-]{1,32}", name) else HIDDEN


class SmtpServer(NamedTuple):
    """A mail server, written `smtp://user:password@host:port`, or `smtps://…`.

    Attributes:
        username, password: None to send without.
        tls: `starttls` (RFC 3207), `implicit` from the first byte (RFC 8314), or `none`.
    """

    host: str
    port: int
    username: str | None
    password: SecretStr | None
    tls: Literal["starttls", "implicit", "none"]

    @classmethod
    def parse(cls, url: str, *, starttls: bool) -> SmtpServer:
        """Raises `ValueError`, with what would do."""
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
        secret = SecretStr(password) if password else None
        if parts.scheme == "smtps":
            return cls(parts.hostname, port or 465, username or None, secret, "implicit")
        if not starttls and password:
            raise ValueError("a password is not sent in the open; set ROSTER_SMTP_STARTTLS=true or use smtps://")
        return cls(parts.hostname, port or 587, username or None, secret, "starttls" if starttls else "none")


def parse_secrets(text: str) -> tuple[str, ...]:
    """The secrets of a text that is one, or a JSON list of several. Raises `ValueError`."""
    if not text.startswith("["):
        return (text,) if text else ()
    secrets = json.loads(text)
    if not secrets or not all(isinstance(secret, str) for secret in secrets):
        raise ValueError("not a list of texts")
    return tuple(secrets)


def read_private_keys(text: str) -> str:
    """The PEM text, or that of the file which the text names. Raises `ValueError`."""
    if not text or "-----BEGIN" in text:
        return text.replace("\\n", "\n")  # as `.env` files and panels write line breaks; PEM has no backslash
    try:
        return Path(text).read_text(encoding="ascii")
    except (OSError, ValueError):
        raise ValueError("must be a private key as PEM, or the path of a file with one that can be read") from None


def _checked(check: Callable[[str], object]) -> AfterValidator:
    """Run a check on the secret, which raises `ValueError`."""

    def validate(secret: SecretStr) -> SecretStr:
        check(secret.get_secret_value())
        return secret

    return AfterValidator(validate)


def _check_secrets(text: str) -> None:
    try:
        secrets = parse_secrets(text)
    except ValueError:
        raise ValueError("must be a secret, or a JSON list of secrets") from None
    if any(len(secret.encode()) < 32 for secret in secrets):
        # RFC 7518, 3.2: a key of the size of the hash output or larger must be used.
        raise ValueError("must be at least 32 bytes; `openssl rand -hex 32` makes one")


def _check_password(text: str) -> None:
    if text and (not user.PASSWORD_MIN <= len(text) <= user.PASSWORD_MAX or not text.strip()):
        raise ValueError("must have 8 to 1,024 characters, not spaces alone")


def _check_metrics_token(text: str) -> None:
    # No rate limit counts `/metrics`, so the length alone stops guessing.
    if text and text != OPEN_METRICS and len(text) < 16:
        raise ValueError(f"must have at least 16 characters, or be {OPEN_METRICS!r}")


def _check_store(text: str) -> None:
    is_file = text.startswith("sqlite:///") and text.removeprefix("sqlite:///").strip("/")
    if text != "memory://" and not is_file and not text.startswith(("postgresql://", "postgres://")):
        raise ValueError("must be memory://, sqlite:///path or postgresql://user:password@host/database")


def _check_redis(url: str) -> None:
    if not url:
        return
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in ("redis", "rediss") and bool(parts.hostname) and (parts.port or 1) > 0
        database = parts.path.strip("/")
    except ValueError:  # a port that is none
        raise ValueError("cannot be read as a URL") from None
    if not is_usable or (database and not database.isdecimal()):
        raise ValueError("use redis://host:port or rediss://host:port, with an optional database number as path")


def _check_smtp(url: SecretUrl, others: ValidationInfo) -> SecretUrl:
    if url:
        SmtpServer.parse(url.get_secret_value(), starttls=others.data.get("smtp_starttls", True))
        if "mail_from" in others.data and not others.data["mail_from"]:
            raise ValueError("needs a sender in ROSTER_MAIL_FROM")
    return url


def _parse_upstreams(value: object) -> dict[str, SecretUrl]:
    # Before pydantic reads the object, whose errors would repeat a name that is not one.
    if not isinstance(value, Mapping):
        raise ValueError("must be a JSON object of names and URLs")
    return {_parse_upstream_name(name): _parse_upstream_url(name, url) for name, url in value.items()}


def _parse_upstream_name(name: object) -> str:
    if not isinstance(name, str) or not _UPSTREAM_NAME.fullmatch(name):
        raise ValueError(f"{_display_name(name)} is not a name: 1 to 32 of a-z 0-9 _ - are")
    return name


def _parse_upstream_url(name: str, url: object) -> SecretUrl:
    text = url.get_secret_value() if isinstance(url, SecretStr) else url
    try:
        parts = urlsplit(text if isinstance(text, str) else "")
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:  # a port or an IPv6 address that is none; its message repeats a part of the URL
        is_usable = False
    if not isinstance(text, str) or not is_usable:
        raise ValueError(f"{name!r} needs an http or https URL")
    return SecretUrl(text)


SigningSecrets = Annotated[SecretStr, _checked(_check_secrets)]
# An unreadable file stops the start; the keys module checks its contents.
SigningKeys = Annotated[SecretStr, _checked(read_private_keys)]
Password = Annotated[SecretStr, _checked(_check_password)]
MetricsToken = Annotated[SecretStr, _checked(_check_metrics_token)]
StoreUrl = Annotated[SecretUrl, _checked(_check_store)]
RedisUrl = Annotated[SecretUrl, _checked(_check_redis)]
SmtpUrl = Annotated[SecretUrl, AfterValidator(_check_smtp)]
Upstreams = Annotated[dict[str, SecretUrl], BeforeValidator(_parse_upstreams)]
