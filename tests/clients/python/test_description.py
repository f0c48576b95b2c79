"""The client against `openapi.yaml`: every field, every operation, every problem."""

from __future__ import annotations

from operator import attrgetter
from pathlib import Path
from typing import Any, Final

import pytest
import roster_client
import yaml
from roster_client import AsyncRoster, errors, models
from roster_client.models.decode import fields_of

import service
from service.http.problems import PROBLEM_TYPES

ROOT: Final = Path(__file__).parents[3]
DESCRIPTION: Final[dict[str, Any]] = yaml.load((ROOT / "openapi.yaml").read_text(encoding="utf-8"), yaml.CSafeLoader)
MODELS: Final = [
    model for model in vars(models).values() if isinstance(model, type) and issubclass(model, models.Model)
]

METHODS: Final = {
    "register": "account.register",
    "verify_address": "account.verify",
    "change_address": "account.change_address",
    "forgot_password": "account.forgot_password",
    "reset_password": "account.reset_password",
    "log_out": "log_out",
    "change_password": "password",
    "create_ticket": "ticket",
    "get_me": "me",
    "aggregate": "aggregate",
    "get_totp": "totp.status",
    "begin_totp": "totp.begin",
    "confirm_totp": "totp.confirm",
    "renew_recovery_codes": "totp.renew_recovery_codes",
    "remove_totp": "totp.remove",
    "list_sessions": "sessions.list",
    "end_session": "sessions.end",
    "end_other_sessions": "sessions.end_others",
    "list_users": "users.list",
    "create_user": "users.create",
    "get_user": "users.get",
    "replace_user": "users.replace",
    "update_user": "users.update",
    "delete_user": "users.delete",
    "remove_totp_of_user": "users.remove_totp",
    "list_tokens": "tokens.list",
    "create_token": "tokens.create",
    "revoke_token": "tokens.revoke",
    "list_events": "events.list",
    "follow_feed": "feed",
    "list_audit": "audit.list",
    "list_rooms": "rooms.list",
    "list_members": "rooms.members",
    "list_messages": "rooms.messages",
    "send_message": "rooms.send",
}
"""The method of each operation."""

NO_METHOD: Final = {
    "log_in": "part of the credentials",
    "refresh_tokens": "part of the credentials",
    "update_me": "users.update(await roster.me())",
    "delete_me": "users.delete(await roster.me())",
    "get_jwks": "for services that verify tokens themselves",
    "open_echo": "for tests of networks",
    "open_websocket": "a stream",
    "follow_room": "a stream",
    "import_users": "a stream",
    "export_users": "a stream",
    **dict.fromkeys(["get_liveness", "get_readiness", "get_metrics"], "for operators"),
    **dict.fromkeys(["get_home", "get_docs", "get_problems", "get_problem", "get_security_txt"], "a page"),
    **dict.fromkeys(["get_openapi_yaml", "get_openapi_json"], "the description itself"),
}
"""Operations without a method, each with the reason."""


@pytest.mark.parametrize(
    "model", [model for model in MODELS if model is not models.Model], ids=lambda model: model.__name__
)
def test_model_has_the_fields_of_its_schema(model: type[models.Model]) -> None:
    """A model has each field of the schema of its name, and no other."""
    schema = DESCRIPTION["components"]["schemas"][model.__name__]
    assert set(fields_of(model)) == set(schema["properties"])


def test_every_operation_has_a_method() -> None:
    """Each operation of the description has a method of the client, or a reason not to have one."""
    operations = {
        operation["operationId"]
        for operations in DESCRIPTION["paths"].values()
        for method, operation in operations.items()
        if method != "parameters"
    }
    assert {*METHODS, *NO_METHOD} == operations
    assert METHODS.keys().isdisjoint(NO_METHOD)


async def test_every_named_method_exists() -> None:
    """The methods of the table are methods of a client."""
    async with AsyncRoster("http://127.0.0.1:1") as roster:
        for name in METHODS.values():
            assert callable(attrgetter(name)(roster)), name


@pytest.mark.parametrize("slug", sorted(PROBLEM_TYPES))
def test_every_problem_has_its_slug(slug: str) -> None:
    """A problem of the service becomes an `HttpProblem` with its slug."""
    kind = PROBLEM_TYPES[slug]
    problem = errors.create_problem(kind.status, {"type": kind.uri, "detail": "Why."}, {"X-Request-ID": "1-2"})
    assert (problem.slug, problem.detail, problem.request_id) == (slug, "Why.", "1-2")


def test_every_error_is_exported_and_described() -> None:
    """Each error class has a docstring, and stands in `__all__`."""
    classes = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert classes == set(errors.__all__)
    assert all(vars(errors)[name].__doc__ for name in classes)


def test_unknown_field_is_kept() -> None:
    """A field of a later version of the service is in `extra`."""
    sender = models.Sender.from_json({"id": "1", "username": "ada", "colour": "red"})
    assert sender.extra == {"colour": "red"}


@pytest.mark.parametrize("value", [None, [], {}, {"id": "1"}])
def test_malformed_value_is_incomplete(value: object) -> None:
    """A value that lacks a field raises `Incomplete` instead of an error of Python."""
    with pytest.raises(errors.Incomplete, match="Sender"):
        models.Sender.from_json(value)


def test_version_is_that_of_the_service() -> None:
    """Client and service have one version."""
    assert roster_client.__version__ == service.__version__
