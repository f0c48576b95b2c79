"""Bodies of operations that need no credentials."""

from __future__ import annotations

import gzip
import json

from tests.support.hostile import exchange, message
from tests.support.server import Server

JSON = "Content-Type: application/json"


def login(size: int) -> bytes:
    body = json.dumps({"login": "absent", "password": "x"}).encode()
    return body + b" " * (size - len(body))


async def test_public_bodies_have_16_kib(server: Server) -> None:
    """A body of a public operation has 16 KiB at most, announced or in chunks; other operations keep their own bound."""
    for size, status in ((16_384, 401), (16_385, 413)):
        body = login(size)
        announced = message("POST", "/v1/auth/login", JSON, f"Content-Length: {size}", body=body)
        assert (await exchange(server, announced)).status == status
        chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (size, body)
        chunked = message("POST", "/v1/auth/login", JSON, "Transfer-Encoding: chunked", body=chunk)
        assert (await exchange(server, chunked)).status == status
    admin = await server.admin()
    long = json.dumps({"username": "ada", "email": "ada@example.com"}) + " " * 20_000
    headers = {"Content-Type": "application/json"}
    await server.json("POST", "/v1/users", admin, status=201, data=long, headers=headers)


async def test_public_bodies_are_not_compressed(server: Server) -> None:
    """A compressed body of a public operation is refused before it arrives, and the connection is closed."""
    body = gzip.compress(login(300))
    cut = message(
        "POST", "/v1/auth/login", JSON, "Content-Encoding: gzip", f"Content-Length: {len(body)}", body=body[:-8]
    )
    outcome = await exchange(server, cut)

    assert (outcome.status, outcome.goes_on) == (415, False)
    assert outcome.answer is not None
    assert outcome.answer.headers["accept-encoding"] == "identity"
