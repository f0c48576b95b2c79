"""User accounts over HTTP."""

from __future__ import annotations

from tests.support.server import Server


async def test_member_reads_itself(server: Server) -> None:
    """A member reads its own account, with its version as ETag."""
    ada = await server.member("ada")

    async with server.request("GET", f"/v1/users/{ada.id}", ada) as answer:
        user = await answer.json()

    epoch = answer.headers["Roster-Position"].split("-")[0]
    assert user["username"] == "ada"
    assert answer.headers["ETag"] == f'"{epoch}-{user["version"]}"'
