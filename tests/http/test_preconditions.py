"""ETags and the conditions that name them."""

from __future__ import annotations

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from service.domain.errors import BadRequest, VersionMismatch
from service.http.preconditions import accepted_versions, etag, not_modified

EPOCH = "k3f9q2xw"
OPAQUE = st.text(
    [chr(code) for code in range(0x21, 0x100) if chr(code).isprintable() and chr(code) != '"'], max_size=12
)


def asking(*headers: tuple[str, str]) -> web.Request:
    return make_mocked_request("GET", "/v1/users/me", headers=CIMultiDict(headers))


def accepted(*values: str) -> frozenset[int] | None:
    return accepted_versions(asking(*(("If-Match", value) for value in values)), EPOCH)


def held(tag: str, *values: str) -> bool:
    return not_modified(asking(*(("If-None-Match", value) for value in values)), tag)


def test_tag_is_the_position_in_quotes() -> None:
    """The ETag of a version is the place in the log at which it was made."""
    assert etag(EPOCH, 42) == '"k3f9q2xw-42"'


@pytest.mark.parametrize(
    ("values", "versions"),
    [
        ([], None),
        (["*"], None),
        ([" * "], None),
        (['"k3f9q2xw-7"'], {7}),
        (['"k3f9q2xw-7","k3f9q2xw-8"'], {7, 8}),
        (['"k3f9q2xw-7"', ' "k3f9q2xw-8" '], {7, 8}),
        (['"other", W/"k3f9q2xw-1","k3f9q2xw-7" , "otherone-3"'], {7}),
        (['"a,b", "k3f9q2xw-7"'], {7}),
    ],
)
def test_if_match_names_versions(values: list[str], versions: set[int] | None) -> None:
    """Strong tags of this epoch are versions; `*` and no header at all are any."""
    assert accepted(*values) == (None if versions is None else frozenset(versions))


@pytest.mark.parametrize(
    "value",
    ['""', '"x"', 'W/"k3f9q2xw-7"', '"otherone-7"', '"k3f9q2xw-07"', '"k3f9q2xw"', '"7"', '"*"', '"k3f9q2xw-7 "'],
)
def test_tags_that_can_match_nothing_are_stale(value: str) -> None:
    """Weak tags, those of another epoch and those that are none of ours never match: not an error, but 412."""
    with pytest.raises((VersionMismatch, BadRequest)) as refused:
        accepted(value)
    assert refused.type is (BadRequest if " " in value else VersionMismatch)


@pytest.mark.parametrize(
    "value", ["x", '"x', 'x"', '"x" "y"', '*, "x"', "k3f9q2xw-7", "W/x", 'w/"x"', '"x";"y"', '"\x7f"']
)
def test_what_is_no_list_of_tags_is_refused(value: str) -> None:
    """A header that is neither `*` nor a list of tags is not understood."""
    with pytest.raises(BadRequest):
        accepted(value)
    with pytest.raises(BadRequest):
        held('"y"', value)


@pytest.mark.parametrize(
    "value", ['"k3f9q2xw-7"', 'W/"k3f9q2xw-7"', '"x","k3f9q2xw-7"', '"x" , W/"k3f9q2xw-7" ,"y"', "*", " * "]
)
def test_copy_is_recognised(value: str) -> None:
    """The present tag, weak or strong, alone or in a list, means that the caller's copy is still true."""
    assert held(etag(EPOCH, 7), value)


@pytest.mark.parametrize("value", ['"k3f9q2xw-8"', '"k3f9q2xw-70"', '"otherone-7"', '""'])
def test_another_copy_is_not(value: str) -> None:
    """Another tag is another copy."""
    assert not held(etag(EPOCH, 7), value)


def test_several_headers_are_one_list() -> None:
    """A list may come in several headers (RFC 9110, 5.3)."""
    assert held(etag(EPOCH, 7), '"x"', '"k3f9q2xw-7"')


@settings(max_examples=30)
@given(st.lists(st.tuples(st.booleans(), OPAQUE), min_size=1, max_size=5), st.sampled_from([",", ", ", " ,  "]))
def test_every_list_of_tags_is_read(tags: list[tuple[bool, str]], separator: str) -> None:
    """Any tags, weak or strong, in any list, are found again, and nothing else is."""
    text = separator.join(f'{"W/" if weak else ""}"{opaque}"' for weak, opaque in tags)

    assert all(held(f'"{opaque}"', text) for _, opaque in tags)
    assert not held('"not one of them"', text)


@settings(max_examples=30)
@given(st.text(max_size=30))
def test_any_header_is_understood_or_refused(text: str) -> None:
    """Whatever stands in the header, it is read or refused, and never anything else."""
    try:
        accepted(text)
        held('"x"', text)
    except (BadRequest, VersionMismatch):
        pass
