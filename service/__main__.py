"""The command line: `python -m service [serve|openapi|health]`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any


def main() -> None:
    """Run a command; without one, serve."""
    parser = argparse.ArgumentParser(prog="roster", description="User accounts, a live feed, rooms.")
    commands = parser.add_subparsers(dest="command", metavar="command")
    commands.add_parser("serve", help="serve until SIGINT or SIGTERM (what happens without a command)")
    commands.add_parser("openapi", help="print the description of the API, OpenAPI 3.1 as YAML")
    commands.add_parser("health", help="ask the service on this host whether it is ready; exit 0 if it is")
    chosen = parser.parse_args()
    run = {"openapi": _openapi, "health": _health}.get(chosen.command, _serve)
    sys.exit(run())


def _serve() -> str | None:
    from service.serve import serve
    from service.settings import SettingsError

    try:
        _loop_factory_run(serve())
    except SettingsError as error:
        return f"roster: {error}"
    except KeyboardInterrupt:
        return "roster: interrupted"
    return None


def _openapi() -> None:
    from service.openapi import document, to_yaml

    sys.stdout.write(to_yaml(document()))


def _health() -> str | None:
    import urllib.error
    import urllib.request

    from service.settings import load

    settings = load()
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::", "") else settings.host
    address = f"http://{f'[{host}]' if ':' in host else host}:{settings.port}/health/ready"
    request = urllib.request.Request(address, headers={"Host": (*settings.allowed_hosts, host)[0]})
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=3):
            return None
    except urllib.error.URLError as error:
        return f"roster: not ready ({error.reason})"


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
    main()
