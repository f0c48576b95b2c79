"""The log as pages; as a stream it is tested in test_feed.py."""

from __future__ import annotations

from typing import Any

from service.http.services import SERVICES
from tests.support.server import Login, Server, serve


async def page(server: Server, by: Login, query: str = "", *, status: int = 200) -> Any:
    return await server.json("GET", f"/v1/events?{query}", by, status=status)


def seqs(items: list[Any]) -> list[int]:
    return [int(event["id"].split("-")[1]) for event in items]


async def test_admin_reads_everything(server: Server) -> None:
    """An administrator reads every event from the oldest on, and receives the head."""
    admin, ada = await server.admin(), await server.member("ada")
    await server.json("PATCH", f"/v1/users/{ada.id}", ada, json={"name": "Ada"})
    async with server.request("GET", "/v1/events", admin) as answer:
        log = await answer.json()

    assert [(event["type"], event["subject"], event["actor"]) for event in log["items"]] == [
        ("user.created", admin.id, None),
        ("user.created", ada.id, ada.id),
        ("user.updated", ada.id, ada.id),
    ]
    assert seqs(log["items"]) == [1, 2, 3]
    assert log["next"] is None
    assert answer.headers["Roster-Position"] == log["items"][-1]["id"]
    assert answer.headers["Cache-Control"] == "private, no-cache"
    assert {"Authorization", "Origin"} <= {name.strip() for name in answer.headers["Vary"].split(",")}


async def test_member_reads_what_is_about_itself(server: Server) -> None:
    """A member reads the events whose subject it is, and of others not even that there are any."""
    admin, ada = await server.admin(), await server.member("ada")
    await server.member("bob")
    await server.json("PATCH", f"/v1/users/{ada.id}", admin, json={"name": "Ada"})
    await server.json("PATCH", f"/v1/users/{admin.id}", admin, json={"name": "Root"})

    found = await page(server, ada)
    assert [(event["type"], event["subject"], event["actor"]) for event in found["items"]] == [
        ("user.created", ada.id, ada.id),
        ("user.updated", ada.id, admin.id),
    ]
    assert found["next"] is None


async def test_pages_lead_to_the_head(server: Server) -> None:
    """Following `next` gives every event once, in order, to the end; from the head on there is nothing yet."""
    admin = await server.admin()
    for number in range(6):
        await server.member(f"user{number}")
    found, following = [], "after=0"
    while following:
        part = await page(server, admin, f"limit=2&{following}")
        assert len(part["items"]) <= 2
        found += seqs(part["items"])
        following = part["next"] and f"after={part['next']}"

    assert found == list(range(1, 8))
    head = await server.app[SERVICES].store.events.read_position()
    assert await page(server, admin, f"after={head}") == {"items": [], "next": None}


async def test_types_are_chosen(server: Server) -> None:
    """Only the types asked for are given, and `next` still leads through the whole log."""
    admin, ada = await server.admin(), await server.member("ada")
    for number in range(3):
        await server.json("PATCH", f"/v1/users/{ada.id}", ada, json={"name": str(number)})
        await server.member()
    async with server.request("POST", "/v1/auth/logout", ada):
        pass

    found = await page(server, admin, "types=user.updated,session.ended&limit=3")
    assert [event["type"] for event in found["items"]] == ["user.updated"] * 3
    rest = await page(server, admin, f"types=user.updated,session.ended&after={found['next']}")
    assert [event["type"] for event in rest["items"]] == ["session.ended"]
    assert rest["next"] is None


async def test_place_that_is_lost_is_410() -> None:
    """A place that was trimmed, of another log or not written yet answers 410 with why, where to go on and how."""
    async with serve(event_retention_count=3) as server:
        admin, ada = await server.admin(), await server.member("ada")
        for number in range(5):
            await server.json("PATCH", f"/v1/users/{ada.id}", ada, json={"name": str(number)})
        head = await server.app[SERVICES].store.events.read_position()
        lost = {
            f"{head.epoch}-{head.seq - 4}": "trimmed",
            f"{head.epoch}-0": "trimmed",
            f"{head.epoch}-{head.seq + 1}": "ahead",
            f"otherone-{head.seq}": "epoch",
            "otherone-0": "epoch",
        }
        for by, resync in ((admin, "/v1/users"), (ada, "/v1/users/me")):
            for after, reason in lost.items():
                problem = await page(server, by, f"after={after}", status=410)
                assert problem["type"] == "/problems/position-unavailable"
                assert (problem["reason"], problem["position"], problem["resync"]) == (reason, str(head), resync)
                await server.json("GET", problem["resync"], by)

        kept = [head.seq - 2, head.seq - 1, head.seq]
        for after in ("0", f"{head.epoch}-{head.seq - 3}"):
            assert seqs((await page(server, admin, f"after={after}"))["items"]) == kept
        assert seqs((await page(server, admin))["items"]) == kept


async def test_malformed_questions_are_400(server: Server) -> None:
    """An invalid position, type or parameter is refused and named."""
    admin = await server.admin()
    for query, name in {
        "after=1": "after",
        "after=": "after",
        "after=x-01": "after",
        "types=user.renamed": "types",
        "types=": "types",
        "limit=0": "limit",
        "limit=101": "limit",
        "ticket=x": "ticket",
    }.items():
        problem = await page(server, admin, query, status=400)
        assert [error["pointer"] for error in problem["errors"]] == [f"/{name}"]
    await page(server, admin, "limit=1&limit=2", status=400)
    await server.json("GET", "/v1/events", status=401)


async def test_deleted_user_has_no_event_with_its_data(server: Server) -> None:
    """Events about a user that was deleted keep id, type, subject and what changed, and no copy of the user."""
    admin, ada = await server.admin(), await server.member("ada")
    await server.json("PATCH", f"/v1/users/{ada.id}", ada, json={"name": "Ada"})
    before = (await page(server, admin))["items"]
    async with server.request("DELETE", f"/v1/users/{ada.id}", admin):
        pass

    after = (await page(server, admin))["items"]
    assert after[:3] == [before[0]] + [event | {"user": None} for event in before[1:]]
    assert after[2]["changed"] == ["name"]
    assert [(event["type"], event.get("reason")) for event in after[3:]] == [
        ("session.ended", "deleted"),
        ("user.deleted", None),
    ]


async def test_promoted_user_reads_the_whole_log(server: Server) -> None:
    """A new administrator that begins at the oldest event reaches the newest, page by page."""
    admin, ada = await server.admin(), await server.member("ada")
    await server.json("PATCH", f"/v1/users/{ada.id}", admin, json={"role": "admin"})
    ada = await server.log_in("ada")
    for name in ("one", "two"):
        await server.json("PATCH", f"/v1/users/{ada.id}", ada, json={"name": name})

    found, following = [], ""
    while following is not None:
        log = await page(server, ada, f"limit=1{following and '&after='}{following}")
        found += log["items"]
        following = log["next"]
    assert seqs(found) == [1, 2, 3, 4, 5]
