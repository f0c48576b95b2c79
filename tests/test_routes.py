"""The whole surface."""

from __future__ import annotations

from service.http.view import View
from tests.support.server import Server


def test_every_path_begins_with_the_pipeline(server: Server) -> None:
    """Whatever serves a path is a view of ours: nothing is reached around limits, credentials and the log line."""
    handlers = [route.handler for route in server.app.router.routes()]

    assert handlers
    assert all(isinstance(handler, type) and issubclass(handler, View) for handler in handlers)
