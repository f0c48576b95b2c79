"""The command line: `python -m service [serve|health|openapi|settings|scopes|db|keys|token]`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from service.cli import db, keys, token


def main() -> None:
    """Run a command; without one, serve."""
    parser = argparse.ArgumentParser(prog="roster", description="User accounts, a live feed, rooms.")
    commands = parser.add_subparsers(dest="command", metavar="command")
    commands.add_parser("serve", help="serve until SIGINT or SIGTERM (the default command)")
    commands.add_parser("health", help="exit 0 if the service on this host is ready")
    commands.add_parser("openapi", help="print the description of the API (OpenAPI 3.1) as YAML")
    settings = commands.add_parser("settings", help="print every setting with its default and meaning")
    settings.add_argument(
        "--format", choices=("env", "markdown"), default="env", help="as .env.example, or as Markdown tables"
    )
    commands.add_parser(
        "scopes", help="print the scopes of API tokens, with the operations that require each, as Markdown"
    )
    for group in (db, keys, token):
        group.add_to(commands)
    chosen = parser.parse_args()
    match chosen.command:
        case "health":
            sys.exit(_health())
        case "openapi":
            _openapi()
        case "settings":
            _settings(chosen.format)
        case "scopes":
            _scopes()
        case "db":
            sys.exit(db.run(chosen))
        case "keys":
            sys.exit(keys.run(chosen))
        case "token":
            sys.exit(token.run(chosen))
        case _:
            sys.exit(_serve())


def _serve() -> str | None:
    from service.config.settings import SettingsError
    from service.server.serve import serve

    try:
        _loop_factory_run(serve())
    except SettingsError as error:
        return f"roster: {error}"
    except KeyboardInterrupt:
        return "roster: interrupted"
    return None


def _openapi() -> None:
    from service.http.openapi.text import OpenApi

    sys.stdout.write(OpenApi().yaml)


def _settings(form: str) -> None:
    from service.cli.reference import env_example, markdown_table

    sys.stdout.write(env_example() if form == "env" else markdown_table())


def _scopes() -> None:
    from service.cli.reference import scopes_table

    sys.stdout.write(scopes_table())


def _health() -> str | None:
    import http.client
    import urllib.request

    from service.config.load import load
    from service.config.settings import SettingsError
    from service.server.listener import reachable_host

    try:
        settings = load()
    except SettingsError as error:
        return f"roster: {error}"
    host = reachable_host(settings.host)
    address = f"http://{host}:{settings.port}/health/ready"
    request = urllib.request.Request(address, headers={"Host": (*settings.allowed_hosts, host)[0]})
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=3):
            return None
    except (OSError, http.client.HTTPException) as error:  # URLError and HTTPError are OSErrors, with a reason
        return f"roster: not ready ({getattr(error, 'reason', error)})"


def _loop_factory_run(work: Coroutine[Any, Any, None]) -> None:
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    try:
        import uvloop

        factory = uvloop.new_event_loop
    except ImportError:  # not on Windows, not on PyPy
        pass
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(work)


if __name__ == "__main__":
    try:
        main()
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.partition(".")[0] == "service":
            raise
        sys.exit(
            f"roster: {sys.executable} has no package {missing.name}. `make run` makes an environment with all of them; "
            "after that, use .venv/bin/python -m service."
        )
