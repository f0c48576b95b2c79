"""Pages for people, and the description of the API."""

from __future__ import annotations

import html
import re

import pytest
import yaml

from service import __version__
from service.http.problems import PROBLEM_TYPES
from tests.support.server import Server, serve

PAGES = ["/", "/docs", "/problems", "/problems/not-found"]


async def page(server: Server, path: str) -> str:
    async with server.request("GET", path) as answer:
        assert answer.status == 200
        assert answer.content_type == "text/html"
        return await answer.text()


async def test_home_says_what_this_is(server: Server) -> None:
    """The first page names the version and leads to the documentation."""
    text = await page(server, "/")

    assert __version__ in text
    assert 'href="/docs"' in text


async def test_home_shows_commands_for_the_public_address() -> None:
    """A client cannot choose the target of the commands on the page by its Host header."""
    async with (
        serve(public_url="https://roster.example") as server,
        server.request("GET", "/", headers={"Host": "attacker.example"}) as answer,
    ):
        text = await answer.text()

    assert "curl -N https://roster.example/v1/feed" in text
    assert "attacker.example" not in text


@pytest.mark.parametrize("path", PAGES)
async def test_page_runs_nothing_but_its_own_files(server: Server, path: str) -> None:
    """No script, style or frame from elsewhere: the policy says so, and the page keeps to it."""
    async with server.request("GET", path) as answer:
        policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
        text = await answer.text()

    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["form-action"] == "'self'"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert not re.search(r"\bstyle=|\bon\w+=|<style|<script(?! src=)", text)


@pytest.mark.parametrize("path", PAGES)
async def test_everything_a_page_refers_to_is_served_here(server: Server, path: str) -> None:
    """Each link, script and style of a page is a path of this service that answers."""
    text = await page(server, path)
    found = re.findall(r'(?:src|href)="([^"]*)"', text)

    assert found
    for reference in found:
        assert reference.startswith("/")
        async with server.request("GET", reference) as answer:
            assert answer.status == 200, reference


@pytest.mark.parametrize("path", PAGES)
async def test_page_answers_head_like_get(server: Server, path: str) -> None:
    """HEAD gets the headers of the page without its text."""
    async with server.request("HEAD", path) as answer:
        assert answer.status == 200
        assert int(answer.headers["Content-Length"]) > 0
        assert await answer.read() == b""


@pytest.mark.parametrize("slug", PROBLEM_TYPES)
async def test_every_kind_of_problem_has_a_page(server: Server, slug: str) -> None:
    """The `type` of each problem leads to a page with its title and what to do about it."""
    text = await page(server, f"/problems/{slug}")

    assert PROBLEM_TYPES[slug].title in text
    assert str(PROBLEM_TYPES[slug].status) in text
    assert PROBLEM_TYPES[slug].code in text
    assert "`" not in text
    assert 'href="/problems"' in text
    for code in re.findall("`([^`]*)`", PROBLEM_TYPES[slug].remedy):
        assert f"<code>{html.escape(code)}</code>" in text


async def test_list_leads_to_every_kind_of_problem(server: Server) -> None:
    """Each with its status and title."""
    text = await page(server, "/problems")

    for slug, kind in PROBLEM_TYPES.items():
        assert f'{kind.status} <a href="/problems/{slug}">{html.escape(kind.title)}</a>' in text


@pytest.mark.parametrize("slug", ["nothing", "Not-Found", "%3Cscript%3E", "not-found%00"])
async def test_another_problem_is_not_found(server: Server, slug: str) -> None:
    """An unknown problem has no page, and its name is not repeated unescaped."""
    problem = await server.json("GET", f"/problems/{slug}", status=404)

    assert problem["type"] == "/problems/not-found"
    assert "<script>" not in str(problem)


async def test_both_descriptions_say_the_same(server: Server) -> None:
    """YAML and JSON are two spellings of one document."""
    async with server.request("GET", "/openapi.yaml") as answer:
        assert answer.content_type == "application/yaml"
        from_yaml = yaml.safe_load(await answer.text())
    from_json = await server.json("GET", "/openapi.json")

    assert from_yaml == from_json
    assert from_json["info"]["version"] == __version__
