"""The banner of the start."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from service.http.services import SERVICES
from service.server.serve import banner
from tests.support.mail import Mails, token_in
from tests.support.places import NewPlace
from tests.support.server import PASSWORD, Server, serve


def told(server: Server) -> str:
    """The line about the administrator, as the terminal shows it."""
    (line,) = [line for line in banner(server.app, server.port).splitlines() if line.startswith("  admin  ")]
    return line.removeprefix("  admin").strip()


async def test_made_password_is_shown_once(new_place: NewPlace) -> None:
    """The start that makes the administrator shows the password; a later one says that it was shown, and shows none."""
    store_url = await new_place("sqlite")
    async with serve(store_url=store_url, admin_password="") as server:
        password = server.app[SERVICES].generated_password
        assert password is not None
        assert told(server) == f"login admin  password {password}  (generated now, shown once)"
        await server.log_in("admin", password)
    async with serve(store_url=store_url, admin_password=PASSWORD) as server:
        assert told(server) == "as before; its password was shown, or set, at the first start (lost: docs/auth.md)"
        await server.log_in("admin", password)  # and not the one that is set now


async def test_chosen_password_is_not_shown() -> None:
    """With a password in the settings the banner says where it is from."""
    async with serve(admin_password=PASSWORD) as server:
        assert told(server) == "login admin  password as ROSTER_ADMIN_PASSWORD says"


async def test_missing_administrator_is_logged(new_place: NewPlace) -> None:
    """If another account has the name, the banner does not offer it as login."""
    url = await new_place("sqlite")
    async with serve(store_url=url, admin_username="grace", admin_email="grace@example.com") as server:
        await server.member("admin")
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file, file:
        file.execute("UPDATE users SET active = 0 WHERE username = 'grace'")
    async with serve(store_url=url) as server:
        assert told(server) == "there is none, as the log says"


async def test_lost_password_of_the_administrator_is_replaced(
    new_place: NewPlace, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a mail server the log has the way to another one, as the page says; and an administrator can move the account
    to an address that is read."""
    url = await new_place("sqlite")
    async with serve(store_url=url, admin_password=""):
        pass
    async with serve(store_url=url, admin_email="other@example.com") as server:
        await server.json("POST", "/v1/auth/forgot", status=202, json={"email": "admin@example.com"})
        token = token_in((await Mails(caplog).newest("admin@example.com")).text)
        body = {"token": token, "password": "known to few"}
        await server.json("POST", "/v1/auth/reset", status=204, json=body)
        admin = await server.log_in("admin", "known to few")

        grace = {"username": "grace", "email": "grace@example.com", "role": "admin", "password": PASSWORD}
        await server.json("POST", "/v1/users", admin, status=201, json=grace)
        moved = {"email": "ops@example.com"}
        await server.json("PATCH", f"/v1/users/{admin.id}", await server.log_in("grace"), json=moved)
        await server.json("POST", "/v1/auth/forgot", status=202, json=moved)
        await Mails(caplog).newest("ops@example.com")
