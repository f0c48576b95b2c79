"""The description of the API: it is what the generator writes, it is complete, and the service keeps to it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # its stubs are a package of their own

from service.app import create_app
from service.http import problems
from service.http.openapi.document import document
from service.http.openapi.text import OpenApi
from tests.support.peer import raw_peer
from tests.support.server import Server, serve, settings_for_tests
from tests.support.sse import Frame

WRITTEN = Path(__file__).parents[2] / "openapi.yaml"
DOCUMENT = document()
OPERATIONS = {
    operation["operationId"]: (path, method, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}

each_operation = pytest.mark.parametrize("name", OPERATIONS)


def resolve(node: dict[str, Any]) -> dict[str, Any]:
    """The target of a reference."""
    while "$ref" in node:
        found: Any = DOCUMENT
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        node = found
    return node


def check(schema: dict[str, Any], value: Any) -> None:
    """Raises unless the value keeps to a schema of the document."""
    Draft202012Validator(
        {**schema, "components": DOCUMENT["components"]}, format_checker=Draft202012Validator.FORMAT_CHECKER
    ).validate(value)


def examples_of(node: dict[str, Any]) -> Iterator[Any]:
    """The examples of a parameter, a header or a media type."""
    if "example" in node:
        yield node["example"]
    for example in node.get("examples", {}).values():
        yield resolve(example)["value"]
    if isinstance(node.get("schema"), dict):
        yield from node["schema"].get("examples", ())


def address(path: str) -> str:
    """A path with its examples filled in."""
    an_id = "0193a5c8-7b1e-7c3a-9f52-3d1f0a6b8c11"
    parameters = {"{id}": an_id, "{slug}": "not-found", "{room}": "lobby"}
    return re.sub(r"{\w+}", lambda found: parameters[found[0]], path)


# The document itself


def test_openapi_yaml_is_what_the_generator_writes() -> None:
    """The file in the tree and the generator agree; `make openapi` writes the file."""
    assert WRITTEN.read_text() == OpenApi().yaml


def test_document_is_openapi() -> None:
    """The document keeps to OpenAPI 3.1, all references included."""
    from openapi_spec_validator import validate  # takes half a second, in every process that collects this file

    validate(DOCUMENT)


def test_every_route_is_described_and_nothing_else() -> None:
    """The paths of the document are those of the router; only static files are left out."""
    resources = create_app(settings_for_tests()).router.resources()
    paths = {resource.canonical for resource in resources} - {"/static/{name}"}

    assert paths == set(DOCUMENT["paths"])


async def test_every_method_is_described_and_nothing_else(server: Server) -> None:
    """The allowed methods of a path are the described ones, with OPTIONS, and HEAD if there is GET."""
    for path, methods in DOCUMENT["paths"].items():
        described = {method.upper() for method in methods} | {"OPTIONS"} | ({"HEAD"} if "get" in methods else set())
        async with server.request("OPTIONS", address(path)) as answer:
            assert answer.status == 204
            assert set(answer.headers["Allow"].split(", ")) == described, path


def test_document_is_built_on_the_first_request() -> None:
    """A process that only serves has imported neither the generator nor YAML."""
    heavy = "{'yaml', 'service.http.openapi.document'}"
    code = f"import sys, service.server.serve; sys.exit(str({heavy} & sys.modules.keys() or ''))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert ran.stderr.strip() == ""


# For generators


def test_streams_and_lines_are_strings() -> None:
    """Generators read one schema for a whole body: event streams and NDJSON are strings, in requests and answers."""
    found = [
        (media_type, content["schema"]["type"])
        for _, _, operation in OPERATIONS.values()
        for node in (operation.get("requestBody", {}), *map(resolve, operation["responses"].values()))
        for media_type, content in node.get("content", {}).items()
        if media_type in ("text/event-stream", "application/x-ndjson")
    ]
    assert {media_type for media_type, _ in found} == {"text/event-stream", "application/x-ndjson"}
    assert {kind for _, kind in found} == {"string"}


def test_names_of_schemas_are_their_own() -> None:
    """No schema has a suffix that tells two models of one name apart, and none the name of one of its members, which a class
    of some languages may not have."""
    for name, schema in DOCUMENT["components"]["schemas"].items():
        assert re.fullmatch(r"[A-Za-z]+", name)
        assert name.lower() not in {member.replace("_", "").lower() for member in schema.get("properties", {})}


def test_feeds_do_not_promise_what_they_say_in_the_stream() -> None:
    """An event stream answers 200 where another operation answers 429, 503 or 507, so it lists none of them."""
    for name in ("follow_feed", "follow_room"):
        assert OPERATIONS[name][2]["responses"].keys() & {"429", "503", "507"} == set()


def test_examples_of_headers_are_ascii() -> None:
    """A mock server such as Prism sends the examples of headers, which hold ASCII alone (RFC 9110, 5.5)."""
    for name, header in DOCUMENT["components"]["headers"].items():
        assert str(header["example"]).isascii(), name


async def test_servers_are_absolute_in_the_file(server: Server) -> None:
    """The file names an absolute URL; a service names ROSTER_PUBLIC_URL, or itself by a relative one."""
    assert DOCUMENT["servers"][0]["url"] == "http://127.0.0.1:8080"
    async with serve(public_url="https://roster.example.com") as public:
        for each, url in ((server, "/"), (public, "https://roster.example.com")):
            described = await each.json("GET", "/openapi.json")
            assert [where["url"] for where in described["servers"]] == [url]


# Every operation


def test_operation_ids_are_names() -> None:
    """Each operation has a name of its own that a program can give to a function."""
    assert len(OPERATIONS) == sum(len(methods) for methods in DOCUMENT["paths"].values())
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", name) for name in OPERATIONS)


@each_operation
def test_operation_says_what_it_is(name: str) -> None:
    """Each operation has a summary, a description, one of the tags and its security, none if it is public."""
    _, _, operation = OPERATIONS[name]

    assert operation["summary"]
    assert operation["description"]
    assert set(operation["tags"]) < {tag["name"] for tag in DOCUMENT["tags"]}
    assert {scheme for either in operation["security"] for scheme in either} <= set(
        DOCUMENT["components"]["securitySchemes"]
    )


@each_operation
def test_operation_has_examples_that_keep_to_their_schemas(name: str) -> None:
    """Each parameter, header, body and answer of each operation has an example, and each example is a valid one."""
    _, _, operation = OPERATIONS[name]
    answers = [resolve(response) for response in operation["responses"].values()]
    described = [
        *operation.get("parameters", ()),
        *operation.get("requestBody", {}).get("content", {}).values(),
        *(resolve(header) for answer in answers for header in answer.get("headers", {}).values()),
        *(media_type for answer in answers for media_type in answer.get("content", {}).values()),
    ]

    for node in described:
        found = list(examples_of(node))
        assert found, node
        for example in found:
            check(node["schema"], example)


@each_operation
def test_operation_describes_its_refusals(name: str) -> None:
    """Each operation has a good answer and refusals; every refusal is a problem with examples of its own status."""
    _, _, operation = OPERATIONS[name]
    responses = {status: resolve(response) for status, response in operation["responses"].items()}
    refusals = {status: found for status, found in responses.items() if status == "default" or status >= "400"}

    assert responses.keys() - refusals.keys()
    assert "default" in refusals
    for status, response in refusals.items():
        content = response["content"]["application/problem+json"]
        assert content["schema"] == {"$ref": "#/components/schemas/Problem"}
        examples = list(examples_of(content))
        assert examples
        assert all(status in (str(example["status"]), "default") for example in examples)


def test_every_kind_of_problem_is_described() -> None:
    """No refusal is left out of the description, and what any request may meet is described once."""
    used = {
        kind
        for _, _, operation in OPERATIONS.values()
        for response in operation["responses"].values()
        for kind in resolve(response).get("content", {}).get("application/problem+json", {}).get("examples", ())
    }

    assert used | {"conflict"} == set(problems.PROBLEM_TYPES)  # a plain conflict is only the parent of the others


def test_examples_of_schemas_keep_to_them() -> None:
    """The examples that stand at fields are valid for these fields."""

    def walk(schema: Any) -> None:
        if isinstance(schema, list):
            for item in schema:
                walk(item)
        elif isinstance(schema, dict):
            if isinstance(schema.get("examples"), list):
                for example in schema["examples"]:
                    check(schema, example)
            for item in schema.values():
                walk(item)

    walk(DOCUMENT["components"]["schemas"])


# The service keeps to it


@each_operation
async def test_credentials_are_wanted_where_the_document_says(server: Server, name: str) -> None:
    """An operation with security refuses a token that is none; a public one does not look at it."""
    path, method, operation = OPERATIONS[name]
    headers = {"Authorization": "Bearer not.a.token", "Content-Type": "application/json"}
    body = None if method == "get" else b"{"
    async with server.request(method.upper(), address(path), headers=headers, data=body) as answer:
        refused = answer.status == 401

    # /metrics is open to loopback, as its `{}` says.
    assert refused == (operation["security"] not in ([], [{}, {"operator": []}]))


@pytest.mark.parametrize(
    ("status", "request_line", "headers"),
    [
        (400, "GET /health/ready?{many}", ["Host: 127.0.0.1"]),
        (405, "DELETE /health/ready", ["Host: 127.0.0.1"]),
        (413, "GET /health/ready", ["Host: 127.0.0.1", "Content-Length: 1000000000000"]),
        (415, "GET /health/ready", ["Host: 127.0.0.1", "Content-Length: 1", "Content-Encoding: compress"]),
        (421, "GET /health/ready", ["Host: elsewhere.example"]),
        (501, "GET /health/ready", ["Host: 127.0.0.1", "Transfer-Encoding: gzip, chunked"]),
    ],
)
async def test_what_any_request_may_meet_is_described(status: int, request_line: str, headers: list[str]) -> None:
    """A refusal that has nothing to do with the operation is a problem that `default` describes."""
    default = resolve(OPERATIONS["get_readiness"][2]["responses"]["default"])["content"]["application/problem+json"]
    lines = [request_line.format(many="&".join("abcdefghij" * 6)) + " HTTP/1.1", *headers]
    async with serve(allowed_hosts=["127.0.0.1"]) as server, raw_peer(server.port) as peer:
        await peer.send("\r\n".join(lines) + "\r\n\r\n")
        answer = await peer.answer()
    problem = json.loads(answer.body)

    assert answer.status == problem["status"] == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["type"].removeprefix("/problems/") in default["examples"]
    check(default["schema"], problem)


async def test_rate_limits_are_sent_as_described() -> None:
    """Answers carry the headers of the limits; the one that refuses also says how long to wait."""
    async with serve(rate_limit="1/minute") as server:
        for status in (200, 429):
            async with server.request("GET", "/openapi.json") as answer:
                assert answer.status == status
                assert answer.headers["RateLimit"].startswith('"address";r=0;t=')
                assert answer.headers["RateLimit-Policy"] == '"address";q=1;w=60, "user";q=1;w=60'
                assert (int(answer.headers.get("Retry-After", "0")) > 0) == (status == 429)


async def test_feed_says_what_is_described(server: Server) -> None:
    """Every event of a stream keeps to the schema of the stream, and its data to the schema of that data."""
    responses = OPERATIONS["follow_feed"][2]["responses"]
    schema = responses["200"]["content"]["text/event-stream"]["schema"]["contentSchema"]
    by_event = {
        event: one["properties"]["data"]["contentSchema"]
        for one in schema["oneOf"]
        for event in one["properties"]["event"]["enum"]
    }
    admin, member = await server.admin(), await server.member()
    await server.json("PATCH", f"/v1/users/{member.id}", member, json={"name": "Ada"})
    await server.json("POST", "/v1/tokens", member, status=201, json={"name": "x", "scopes": ["profile"]})
    await server.json("POST", "/v1/auth/logout", member, status=204)
    await server.json("DELETE", f"/v1/users/{member.id}", admin, status=204)

    frames: list[Frame] = []
    async with server.feed(admin, params={"after": "0", "limit": "6"}) as stream:
        while (frame := await stream.next()) is not None:
            frames.append(frame)
    async with server.feed(admin, headers={"Last-Event-ID": "elsewhere-1"}) as stream:
        frames += [await stream.expect("hello"), await stream.expect("reset")]

    async with serve(sse_keepalive_s=0.05) as other, other.feed(await other.admin()) as stream:
        await stream.expect("hello")
        ping = await stream.frame()
        assert ping is not None
        frames.append(ping)

    assert {frame.event for frame in frames} == by_event.keys()
    for frame in frames:
        check(by_event[frame.event], frame.data)
