"""The least that aiohttp can do: one route, bytes that lie ready. Arguments: port, content type; stdin: the body."""

from __future__ import annotations

import sys

import uvloop
from aiohttp import web


def main() -> None:
    port, content_type = int(sys.argv[1]), sys.argv[2]
    body = sys.stdin.buffer.read()
    headers = {"Content-Type": content_type}

    async def read_user(request: web.Request) -> web.Response:
        return web.Response(body=body, headers=headers)

    app = web.Application()
    app.router.add_get("/v1/users/{id}", read_user)
    web.run_app(
        app,
        host="127.0.0.1",
        port=port,
        access_log=None,
        print=None,
        shutdown_timeout=1,
        loop=uvloop.new_event_loop(),
    )


if __name__ == "__main__":
    main()
