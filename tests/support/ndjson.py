"""Bodies of many lines, and what is answered to them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, Iterable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from tests.support.server import Login, Server

NDJSON = {"Content-Type": "application/x-ndjson"}


def person(number: int | str, **fields: Any) -> dict[str, Any]:
    """A line about a user with a name and an address of this number."""
    return {"username": f"person{number}", "email": f"person{number}@example.com", **fields}


def ndjson(rows: Iterable[object]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@dataclass(frozen=True, slots=True)
class Imported:
    """The answer to an import.

    Attributes:
        summary: its first line.
        refusals: the others.
    """

    summary: dict[str, Any]
    refusals: list[dict[str, Any]]

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Created, updated, skipped, refused."""
        summary = self.summary
        return summary["created"], summary["updated"], summary["skipped"], summary["refused"]


async def post_import(
    server: Server, by: Login, body: bytes | AsyncIterable[bytes] | Iterable[object], query: str = "", **kwargs: Any
) -> Imported:
    """Import a body, or rows; it must be answered with 200."""
    data = body if isinstance(body, AsyncIterable) else BytesIO(body if isinstance(body, bytes) else ndjson(body))
    headers = {**NDJSON, **kwargs.pop("headers", {})}
    async with server.request("POST", f"/v1/users/import{query}", by, data=data, headers=headers, **kwargs) as answer:
        text = await answer.text()
        assert answer.status == 200, f"{answer.status} {text}"
        assert answer.content_type == "application/x-ndjson"
        summary, *refusals = [json.loads(line) for line in text.splitlines()]
        assert answer.headers["Roster-Position"] == summary["position"]
    return Imported(summary, refusals)


async def export(server: Server, by: Login) -> tuple[list[dict[str, Any]], str]:
    """Every user, in the order of their versions, and the position at which that is true."""
    async with server.request("GET", "/v1/users/export", by) as answer:
        text = await answer.text()
        assert answer.status == 200, text
        assert answer.content_type == "application/x-ndjson"
        *users, end = [json.loads(line) for line in text.splitlines()]
        position = answer.headers["Roster-Position"]
        assert end == {"end": True, "users": len(users), "position": position}
        return sorted(users, key=lambda user: user["version"]), position
