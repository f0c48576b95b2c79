"""ETags and the conditions that name them (RFC 9110, 8.8 and 13)."""

from __future__ import annotations

import re
from typing import Final

from aiohttp import hdrs, web

from service.domain.errors import BadRequest, VersionMismatch
from service.domain.events.position import Position
from service.domain.users.accounts import NOT_NONE

# aiohttp reads headers as UTF-8, so that obs-text may be any character above ASCII. Empty elements of a list count as
# none (RFC 9110, 5.6.1.2).
_TAG: Final = re.compile(r'[ \t,]*(W/)?"([\x21\x23-\x7e\x80-\U0010ffff]*)"[ \t]*(?:,[ \t,]*|\Z)')


def etag(epoch: str, version: int) -> str:
    return f'"{epoch}-{version}"'


def not_modified(request: web.Request, tag: str) -> bool:
    """Whether `If-None-Match` names the present ETag: compared weakly, so `W/` makes no difference."""
    given = ",".join(request.headers.getall(hdrs.IF_NONE_MATCH, ()))
    return given == tag or given.strip() == "*" or any(f'"{opaque}"' == tag for _, opaque in _tags(given))


def accepted_versions(request: web.Request, epoch: str) -> frozenset[int] | None:
    """The versions that `If-Match` accepts, compared strongly; None for any.

    A tag of another epoch or a weak one matches no version, which is not an error: the answer is 412. Raises
    `BadRequest` when the header is no list of ETags, `VersionMismatch` when nothing in it can match.
    """
    given = request.headers.getall(hdrs.IF_MATCH, [])
    if not given:
        return None
    text = ",".join(given)
    if text.strip() == "*":
        return None
    versions = set()
    for weak, opaque in _tags(text):
        try:
            position = Position.parse(opaque)
        except BadRequest:
            continue
        if not weak and position.epoch == epoch:
            versions.add(position.seq)
    if not versions:
        raise VersionMismatch()
    return frozenset(versions)


def excluded_versions(request: web.Request, epoch: str) -> frozenset[int]:
    """The versions with which `If-None-Match` forbids a change (RFC 9110, 13.1.2), compared weakly.

    The user is there: raises `VersionMismatch` for `*`, and `BadRequest` when the header is no list of ETags.
    """
    text = ",".join(request.headers.getall(hdrs.IF_NONE_MATCH, ()))
    if text.strip() == "*":
        raise VersionMismatch(NOT_NONE)
    versions = set()
    for _, opaque in _tags(text):
        try:
            position = Position.parse(opaque)
        except BadRequest:
            continue
        if position.epoch == epoch:
            versions.add(position.seq)
    return frozenset(versions)


def _tags(text: str) -> list[tuple[bool, str]]:
    found, place = [], 0
    while place < len(text):
        match = _TAG.match(text, place)
        if match is None:
            raise BadRequest('`If-Match` and `If-None-Match` take "*" or a list of ETags in quotes.')
        found.append((match[1] is not None, match[2]))
        place = match.end()
    return found
