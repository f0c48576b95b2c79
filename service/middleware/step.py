"""The protocol of one middleware step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from service.http.context import Context

Step = Callable[[web.Request, Context], Awaitable[None] | None]
"""Accepts a request, or raises. Returns None, or an awaitable that the caller awaits."""
