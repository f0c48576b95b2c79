"""The knowledge that the description of an API cannot give to generators of requests."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import schemathesis
from hypothesis import strategies as st

# To a schema any name is a domain; mail is only sent to some. `example.com` is there for such as these (RFC 2606).
schemathesis.openapi.format(
    "email",
    st.builds("{}@{}.example.com".format, st.from_regex(r"[a-z0-9]{1,20}", fullmatch=True), st.sampled_from("abc")),
)


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Name what is there, and keep those alive whose sessions the run lives by."""
    query, headers, body = case.query or {}, case.headers or {}, case.body
    # Every way to say who asks is tried at once; two together are refused.
    query.pop("ticket", None)
    # An administrator finds the members in its list, may delete them, and would be thought to own what each reads of itself.
    admin, *members = os.environ["ROSTER_IDS"].split()
    if (case.path_parameters or {}).get("id") in members:
        case.path_parameters["id"] = admin
    if isinstance(body, dict):
        # The last administrator cannot be deleted, demoted or deactivated: as long as there is no other.
        if body.get("role") == "admin":
            body["role"] = "member"
        if case.operation.method in ("put", "patch"):
            body["current_password"] = os.environ["ROSTER_ADMIN_PASSWORD"]
    if case.meta is not None and case.meta.generation.mode.is_positive:
        if isinstance(body, dict) and isinstance(body.get("password"), str):
            # A schema does not know which ones everybody has.
            body["password"] = f"known to few: {body['password']}"[:1024]
        query.pop("cursor", None)  # only the service can write one
        if "sources" in query:
            query["sources"] = "weather,news"
        if "If-Match" in headers:
            headers["If-Match"] = "*"
        if case.operation.method in ("put", "patch", "delete"):
            headers.pop("If-None-Match", None)  # any user has a state, which `*` excludes
        if "Idempotency-Key" in headers:
            # A key goes with one body, and another one with it is refused.
            headers["Idempotency-Key"] = f'"{hashlib.sha256(repr(body).encode()).hexdigest()}"'
