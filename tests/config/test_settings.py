"""Settings: read once, frozen, refused at start with the variable and the value."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from annotated_types import Le
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from service.config.load import load, unknown_variables
from service.config.secret_values import is_secret
from service.config.settings import PREFIX, Settings, SettingsError
from service.config.values import Rate
from tests.support.server import serve


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The tests read neither the environment of their user nor a `.env`."""
    for name in list(os.environ):
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def refused(monkeypatch: pytest.MonkeyPatch, **variables: str) -> str:
    """The message of a start with these variables."""
    for name, value in variables.items():
        monkeypatch.setenv(PREFIX + name, value)
    with pytest.raises(SettingsError) as error:
        load()
    return str(error.value)


def test_nothing_has_to_be_set() -> None:
    """Without a variable the service keeps data in memory and listens on loopback."""
    settings = load()

    assert (settings.host, settings.port, settings.store_kind) == ("127.0.0.1", 8080, "memory")
    assert (settings.access_ttl_s, settings.session_ttl_s) == (900, 2_592_000)
    assert (settings.request_rate, settings.login_rate) == (Rate(1200, 60), Rate(10, 900))
    assert (settings.admin_username, settings.admin_email, settings.registration) == (
        "admin",
        "admin@example.com",
        "open",
    )
    assert (settings.cors_origins, settings.allowed_hosts, settings.proxies, settings.upstreams) == ((), (), (), {})


def test_arguments_win_over_environment_over_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An argument beats the environment, and that beats `.env`."""
    (tmp_path / ".env").write_text("ROSTER_PORT=1\nROSTER_WORKERS=1\nROSTER_SSE_KEEPALIVE_S=1\n")
    monkeypatch.setenv("ROSTER_PORT", "2")
    monkeypatch.setenv("ROSTER_WORKERS", "2")
    settings = load(port=3)

    assert (settings.port, settings.workers, settings.sse_keepalive_s) == (3, 2, 1)


def test_settings_do_not_change() -> None:
    """Settings do not change after the start."""
    with pytest.raises(ValidationError):
        load().port = 1  # type: ignore[misc]  # that is the point


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("PORT", "65536", "less than or equal to 65535"),
        ("PORT", "eighty", "valid integer"),
        ("WORKERS", "0", "greater than 0"),
        ("SSE_KEEPALIVE_S", "0", "greater than 0"),
        ("KEEPALIVE_S", "inf", "finite"),
        ("REGISTRATION", "maybe", "'open', 'verify' or 'closed'"),
        ("STORE_URL", "mysql://localhost", "sqlite:///path or postgresql://"),
        ("RATE_LIMIT", "1200", "1200/minute"),
        ("RATE_LIMIT", "0/minute", "1200/minute"),
        ("LOGIN_LIMIT", "10/fortnight", "10/15 minutes"),
        ("SECURITY_CONTACT", "security@example.com", "mailto:"),
        ("SECURITY_CONTACT", "http://example.com/report", "https:"),
        ("SECURITY_CONTACT", "mailto:a@example.com\n", "mailto:"),
        ("CORS_ORIGINS", "app.example.com", "not an origin such as https://app.example.com"),
        ("CORS_ORIGINS", "[https://app.example.com", 'or JSON as ["https://app.example.com"]'),
        ("ALLOWED_HOSTS", '{"roster.example.com": 1}', "several separated by commas"),
        ("TRUSTED_PROXIES", "[1]", "must be a list: 10.0.0.0/8"),
        ("CORS_ORIGINS", '["*"]', "not an origin"),
        ("CORS_ORIGINS", '["https://app.example.com/"]', "not an origin"),
        ("CORS_ORIGINS", '["null"]', "not an origin"),
        ("PUBLIC_URL", "roster.example.com", "not an origin"),
        ("PUBLIC_URL", "https://roster.example.com/path", "not an origin"),
        ("TRUSTED_PROXIES", '["10.0.0.1/8"]', "host bits"),
        ("TRUSTED_PROXIES", '["proxy"]', "IPv4 or IPv6"),
        ("ROOM_RULES", "{", "is not JSON"),
        ("UPSTREAMS", '{"Weather":"https://example.com"}', "'Weather' is not a name"),
        ("UPSTREAMS", '{"weather":"file:///etc/passwd"}', "http or https"),
        ("ARGON2_MEMORY_KIB", "47103", "at least 47104"),
        ("ARGON2_MEMORY_KIB", "4194305", "less than or equal to 4194304"),
        ("ARGON2_TIME_COST", "0", "greater than or equal to 1"),
        ("ARGON2_PARALLELISM", "17", "less than or equal to 16"),
        ("MAIL_FROM", "roster", "not an e-mail address"),
        ("MAIL_FROM", "roster@example.com\n", "not an e-mail address"),
        ("MAIL_LINK_URL", "app.example.com", "http or https URL"),
        ("MAIL_LINK_URL", "https://app.example.com/#/mail", "without a fragment"),
        ("MAIL_LIMIT", "10/fortnight", "10/15 minutes"),
        ("SMTP_TIMEOUT_S", "301", "less than or equal to 300"),
        ("ADMIN_USERNAME", "Admin", "3 to 32 of a-z"),
        ("ADMIN_USERNAME", "admin\n", "3 to 32 of a-z"),
        ("ADMIN_EMAIL", "admin", "not an e-mail address"),
    ],
)
def test_bad_value_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, reason: str) -> None:
    """A value that cannot be used stops the start with the variable, the value and what would do."""
    said = refused(monkeypatch, **{name: value})

    assert said.startswith(f"ROSTER_{name}=")
    assert value.strip('[{"}]\n').split('"')[0] in said
    assert reason in said


@pytest.mark.parametrize(("passes", "least"), [(1, 47_104), (2, 19_456), (3, 12_288), (64, 12_288)])
def test_hash_costs_what_asvs_asks_at_least(monkeypatch: pytest.MonkeyPatch, passes: int, least: int) -> None:
    """More passes take less memory; a KiB below is refused with what would do (ASVS 5.0, appendix C)."""
    assert load(argon2_time_cost=passes, argon2_memory_kib=least).argon2_memory_kib == least
    assert f"at least {least}" in refused(monkeypatch, ARGON2_TIME_COST=str(passes), ARGON2_MEMORY_KIB=str(least - 1))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JWT_SECRET", "x" * 31),
        ("JWT_SECRET", f'["{"y" * 32}", "x"]'),
        ("JWT_SECRET", "[x"),
        ("JWT_SECRET", "[]"),
        ("JWT_SECRET", "[1]"),
        ("JWT_PRIVATE_KEY", "/nowhere/key.pem"),
        ("ADMIN_PASSWORD", "seven77"),
        ("ADMIN_PASSWORD", " " * 9),
    ],
)
def test_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """A secret that cannot be used is named without being shown, then or in a settings object."""
    said = refused(monkeypatch, **{name: value})

    assert said.startswith(f"ROSTER_{name}=(hidden): must ")
    assert value not in said


SECRET = "open-sesame-0123456789-0123456789"
SECRETS = [name for name, field in Settings.model_fields.items() if is_secret(field.annotation)]
VALID: dict[str, Any] = {
    "jwt_private_key": f"-----BEGIN {SECRET}",
    "store_url": f"postgresql://roster:{SECRET}@db/{SECRET}?password={SECRET}",
    "redis_url": f"rediss://:{SECRET}@redis:6379/0",
    "smtp_url": f"smtp://me:{SECRET}@mail:587",
    "upstreams": {"weather": f"https://me:{SECRET}@example.com/{SECRET}?key={SECRET}#{SECRET}"},
}
"""Valid values of the settings for which the secret alone is none."""


def test_settings_for_secrets_have_a_secret_type() -> None:
    """A setting whose name speaks of a secret or an address has a secret type, except for addresses that are public."""
    named = {name for name in Settings.model_fields if re.search(r"secret|password|token$|private|url|upstreams", name)}

    assert named - {"public_url", "mail_link_url"} == set(SECRETS)
    assert all(Settings.model_fields[name].repr for name in SECRETS)


@pytest.mark.parametrize("name", SECRETS)
def test_text_of_settings_shows_no_secret(name: str) -> None:
    """No text form of the settings or of a value, for people or machines, holds a secret."""
    settings = load(**{name: VALID.get(name, SECRET), "mail_from": "roster@example.com"})
    value = getattr(settings, name)

    shown = (settings, settings.model_dump(), settings.model_dump_json(), value, settings.smtp)
    assert SECRET in "".join(secrets_in(value))
    assert not [text for part in shown for text in (str(part), repr(part), f"{part}") if SECRET in text]


def secrets_in(value: Any) -> list[str]:
    """The texts that a setting hides."""
    return [item.get_secret_value() for item in (value.values() if isinstance(value, dict) else [value])]


REFUSED = [
    1, [SECRET], {SECRET: 1}, {"weather": 1}, {"weather": {"url": SECRET}}, {f"https://{SECRET}": "weather"},
    {"Weather": f"https://example.com?key={SECRET}"}, {"weather": f"https://[{SECRET}"}, {"weather": f"{SECRET}://x"},
    {"weather": f"https://example.com:{SECRET}"}, f"[{SECRET}", f"ftp://x:{SECRET}@x", f"{SECRET}@x", f"ftp://x?{SECRET}",
    f"ftp://x/{SECRET}", f"ftp://x?a@b&key={SECRET}", f"ftp://x#a@{SECRET}", f"ftp://user:{SECRET}",
]  # fmt: skip


@pytest.mark.parametrize("name", SECRETS)
def test_error_shows_no_secret(name: str) -> None:
    """Whatever is given for a secret and refused, neither the sentence nor the error of pydantic repeats it."""
    starts: tuple[Callable[..., Settings], ...] = (load, Settings)
    said = [error for start in starts for value in REFUSED if (error := error_of(start, **{name: value}))]

    assert len(said) > len(REFUSED)
    assert not [error for error in said if SECRET in error]


def error_of(start: Callable[..., Settings], **given: Any) -> str:
    """The text of the error of a start with these settings; empty if it succeeds."""
    try:
        start(**given)
    except (SettingsError, ValidationError) as error:
        return str(error)
    return ""


def test_broken_json_with_a_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON that cannot be read is hidden where the setting holds secrets."""
    said = refused(monkeypatch, UPSTREAMS='{"weather": "https://example.com?key=' + SECRET)

    assert said == "ROSTER_UPSTREAMS=(hidden): is not JSON"


def test_every_bad_value_is_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """All mistakes are reported at once, so three of them do not need four starts."""
    said = refused(monkeypatch, PORT="x", WORKERS="-1", ADMIN_EMAIL="x")

    assert [line.split("=")[0] for line in said.splitlines()] == ["ROSTER_PORT", "ROSTER_WORKERS", "ROSTER_ADMIN_EMAIL"]


def test_unreadable_value_of_the_file_is_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A value that is no JSON is shown wherever it stands."""
    (tmp_path / ".env").write_text("ROSTER_ROOM_RULES={nonsense\n")

    assert refused(monkeypatch) == "ROSTER_ROOM_RULES='{nonsense': is not JSON"


def test_variable_made_by_kubernetes_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable that Kubernetes makes for a Service named roster is refused with what helps."""
    assert "enableServiceLinks: false" in refused(monkeypatch, PORT="tcp://10.0.0.1:8080")


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("STORE_URL", "postgresq://roster:pa/ss@word@db/x", "'postgresq://…@db/…'"),
        ("STORE_URL", "postgresq://db/x?user=roster&password=pa/ss&port=1", "'postgresq://db/…'"),
        ("STORE_URL", "postgresq://roster:pa/ss", "'postgresq://…'"),
        ("REDIS_URL", "redis://:pa/ss@[::1]:6379/x", "'redis://…@[::1]:6379/…'"),
        ("PUBLIC_URL", "https://me:pa/ss@example.com", "'https://…@example.com'"),
        ("PUBLIC_URL", "https://me:pass@example.com", "'https://…@example.com'"),
        (
            "CORS_ORIGINS",
            "https://a.example,https://me:pass@example.com",
            "'https://a.example,https://…@example.com'",
        ),
        ("SMTP_URL", "smtp://me:pa/ss@mail:587/x", "'smtp://…@mail:587/…'"),
        ("UPSTREAMS", '{"Weather": "https://me:pa/ss@example.com"}', "{'Weather': 'https://…@example.com'}"),
        ("UPSTREAMS", '{"Weather": "https://example.com?key=pa/ss"}', "{'Weather': 'https://example.com?…'}"),
    ],
)
def test_password_in_a_url_is_not_shown(monkeypatch: pytest.MonkeyPatch, name: str, value: str, shown: str) -> None:
    """A refused URL is shown without its password, whatever characters that has."""
    said = refused(monkeypatch, **{name: value})

    assert said.startswith(f"ROSTER_{name}={shown}: ")
    assert "pa/ss" not in said
    assert "pass@" not in said


def test_misspelt_name_is_found_wherever_it_stands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A name with our prefix that no setting reads is listed with the nearest setting, from the environment and from `.env`."""
    (tmp_path / ".env").write_text("ROSTER_REGISTRATON=closed\nroster_sse_keepalive_s=1\nOTHER=1\nroster_xyzzy=1\n")
    monkeypatch.setenv("ROSTER_PROT", "80")
    monkeypatch.setenv("ROSTER_PORT", "80")

    assert unknown_variables() == [
        ("ROSTER_PROT", "environment", "ROSTER_PORT"),
        ("ROSTER_REGISTRATON", ".env", "ROSTER_REGISTRATION"),
        ("roster_xyzzy", ".env", None),
    ]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
def test_file_that_is_not_utf8_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, encoding: str) -> None:
    """A `.env` in another encoding stops the start with a sentence."""
    (tmp_path / ".env").write_text("ROSTER_ADMIN_EMAIL=josé@example.com\n", encoding)

    assert refused(monkeypatch).startswith(".env is not text in UTF-8; ")


def test_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    """The first name of a file that an editor on Windows has saved counts as any other."""
    (tmp_path / ".env").write_text("ROSTER_PORT=1\n", "utf-8-sig")

    assert load().port == 1
    assert unknown_variables() == []


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("cors_origins", ("https://a.example", "https://b.example")),
        ("allowed_hosts", ("a.example", "b.example")),
        ("trusted_proxies", ("10.0.0.0/8", "::1/128")),
    ],
)
def test_lists_are_separated_by_commas_or_json(
    monkeypatch: pytest.MonkeyPatch, name: str, values: tuple[str, ...]
) -> None:
    """Both forms of a list are the same; nothing is an empty one."""
    for text in (",".join(values), f" {values[0]} , {values[1]} ,", json.dumps(values)):
        monkeypatch.setenv(f"ROSTER_{name.upper()}", text)
        assert getattr(load(), name) == values
    monkeypatch.setenv(f"ROSTER_{name.upper()}", "")
    assert getattr(load(), name) == ()


NUMBERS = [name for name, field in Settings.model_fields.items() if field.annotation in (int, float)]


@pytest.mark.parametrize("name", NUMBERS)
def test_every_number_has_both_bounds(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A number that no run could bear is refused at the start with its name, at either end."""
    for value in ("-1", "64000000000000"):
        assert refused(monkeypatch, **{name.upper(): value}).startswith(f"ROSTER_{name.upper()}=")


def greatest(name: str) -> int:
    """The upper bound of a number."""
    (bound,) = [limit.le for limit in Settings.model_fields[name].metadata if isinstance(limit, Le)]
    assert isinstance(bound, int)
    return bound


async def test_greatest_numbers_are_borne() -> None:
    """With every number at its upper bound users log in, write, read feeds and use sockets."""
    left = {
        "port",
        "argon2_time_cost",
        "argon2_memory_kib",
        "argon2_parallelism",
        "hash_workers",
        "drain_delay_s",
        "drain_spread_s",
    }
    numbers: dict[str, Any] = {name: greatest(name) for name in NUMBERS if name not in left}
    async with serve(**numbers) as server:
        ada = await server.member()
        body = {"refresh_token": ada.refresh_token}
        await server.json("POST", "/v1/auth/refresh", json=body)
        await server.json("POST", "/v1/auth/forgot", status=202, json={"email": "member1@example.com"})
        name = {"name": "Ada", "email": "ada@example.com", "username": "another"}
        await server.json(
            "POST", "/v1/users", await server.admin(), status=201, json=name, headers={"Idempotency-Key": "1"}
        )
        async with server.feed(ada) as stream:
            assert (await stream.next()).event == "hello"
        async with server.ws(ada) as socket:
            assert (await socket.receive_json())["type"] == "hello"
            await socket.send_json({"type": "join", "room": "r"})
            assert (await socket.receive_json())["type"] == "joined"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("mail.example.com", "smtp://user:password@host"),
        ("http://mail.example.com", "smtp://user:password@host"),
        ("smtp://", "smtp://user:password@host"),
        ("smtp://mail.example.com/path", "smtp://user:password@host"),
        ("smtp://mail.example.com:x", "smtp://user:password@host"),
        ("smtp://[::1", "smtp://user:password@host"),
        ("smtp://user@mail.example.com", "a user needs a password"),
        ("smtp://:password@mail.example.com", "a password a user"),
    ],
)
def test_mail_server_is_named_in_full(monkeypatch: pytest.MonkeyPatch, url: str, reason: str) -> None:
    """An invalid mail server address is refused and not repeated: it may contain a password."""
    said = refused(monkeypatch, SMTP_URL=url, MAIL_FROM="roster@example.com")

    assert said.startswith("ROSTER_SMTP_URL=")
    assert reason in said


def test_mail_server_needs_what_goes_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mail server needs a sender, and encryption if there is a password."""
    assert "ROSTER_MAIL_FROM" in refused(monkeypatch, SMTP_URL="smtp://mail.example.com")
    in_the_open = {"SMTP_URL": "smtp://u:p@mail.example.com", "MAIL_FROM": "a@example.com", "SMTP_STARTTLS": "false"}
    assert "in the open" in refused(monkeypatch, **in_the_open)


def test_address_of_the_admin_is_normalised() -> None:
    """The first administrator's address is kept as every other: else it could not log in with it."""
    assert load(admin_email="Admin@BÜCHER.Example").admin_email == "admin@bücher.example"


def test_address_of_a_private_domain_is_accepted() -> None:
    """For the administrator and the sender of mails alike; mail to it is the operator's business."""
    settings = load(admin_email="admin@corp.local", mail_from="Roster <roster@x.test>")
    assert (settings.admin_email, settings.mail_from) == ("admin@corp.local", "Roster <roster@x.test>")


def test_values_are_made_ready() -> None:
    """Origins are compared in lower case and without a slash at the end, networks as networks, `off` as no limit."""
    settings = load(
        public_url="https://Roster.example.com/",
        cors_origins=("https://App.example.com",),
        trusted_proxies=("10.0.0.0/8", "::1"),
        rate_limit="off",
        login_limit="off",
    )

    assert settings.public_url == "https://roster.example.com"
    assert settings.cors_origins == ("https://app.example.com",)
    assert settings.proxies == (ip_network("10.0.0.0/8"), ip_network("::1"))
    assert (settings.request_rate, settings.login_rate) == (None, None)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("1/second", (1, 1)),
        ("1200/minute", (1200, 60)),
        ("10/15 minutes", (10, 900)),
        ("5/hour", (5, 3600)),
        ("5/2 days", (5, 172_800)),
        ("999999999/second", (999_999_999, 1)),
    ],
)
def test_rate_is_so_many_in_so_long(text: str, rate: tuple[int, int]) -> None:
    """A rate names a number and a unit of time, of which there may be several."""
    assert Rate.parse(text) == rate


@given(st.text(max_size=20) | st.from_regex(r"[0-9]{0,11}/[0-9]{0,5} ?(second|minute|hour|day|week)?s?\n?"))
def test_rate_is_positive_or_refused(text: str) -> None:
    """Whatever is written, a rate lets something pass in some time, or is refused."""
    try:
        most, seconds = Rate.parse(text)
    except ValueError:
        return
    assert most >= 1
    assert seconds >= 1
    assert text.strip() == text


def test_every_setting_says_what_it_is() -> None:
    """Each setting has a sentence: it is its row in the table."""
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
