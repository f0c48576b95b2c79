"""The protocol of one middleware step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from service.http.context import Context

Step = Callable[[web.Request, Context], Awaitable[None] | None]
"""Lets a request pass or raises; returns what has to be waited for, if anything has."""
