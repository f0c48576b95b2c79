"""Content codings of request bodies."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.http.content_coding import PIECE, CodingError, Decoder
from tests.support.ndjson import NDJSON, ndjson, person, post_import
from tests.support.server import Server

CODINGS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "raw deflate": ("deflate", lambda data: zlib.compress(data, wbits=-15)),
}


def decode(coding: str, *pieces: bytes) -> bytes:
    decoder = Decoder(coding)
    found = [piece for data in pieces for piece in decoder.feed(data)]
    decoder.end()
    assert max(map(len, found), default=0) <= PIECE
    return b"".join(found)


@pytest.mark.parametrize("kind", CODINGS)
@given(data=st.binary(max_size=300), cut=st.integers(0, 400), repeat=st.sampled_from([1, 2_000]))
def test_coding_is_undone_however_it_arrives(kind: str, data: bytes, cut: int, repeat: int) -> None:
    """A whole body is decoded wherever it is cut on its way; a body that ends early or goes on raises."""
    coding, encode = CODINGS[kind]
    packed = encode(data * repeat)
    assert decode(coding, packed[:cut], packed[cut:]) == data * repeat
    with pytest.raises(CodingError):
        decode(coding, packed[: min(cut, len(packed) - 1)])
    with pytest.raises(CodingError):
        decode(coding, packed + b"\x78more")


def test_members_of_gzip_are_one_body() -> None:
    """RFC 1952, 2.2: members follow each other; the last one has to be complete like the first."""
    packed = gzip.compress(b"a") * 500
    assert decode("gzip", packed) == b"a" * 500
    with pytest.raises(CodingError):
        decode("gzip", packed[:-1])


@pytest.mark.parametrize("kind", CODINGS)
@pytest.mark.parametrize("where", ["in its trailer", "at a flushed line end"])
async def test_import_of_a_cut_body_is_400_with_progress(server: Server, kind: str, where: str) -> None:
    """An import whose compressed body ends before its coding does is answered with 400 and how far it got."""
    if kind == "raw deflate" and where == "in its trailer":
        pytest.skip("it has none")
    coding, _ = CODINGS[kind]
    packer = zlib.compressobj(wbits={"gzip": 31, "deflate": 15, "raw deflate": -15}[kind])
    name = f"{kind[:3]}.{where[:2]}."
    packed = packer.compress(ndjson(person(f"{name}{number}") for number in range(600)))
    packed += packer.flush(zlib.Z_SYNC_FLUSH) if where == "at a flushed line end" else packer.flush()[:-2]
    admin = await server.admin()
    headers = {**NDJSON, "Content-Encoding": coding}
    async with server.request("POST", "/v1/users/import", admin, data=packed, headers=headers) as answer:
        problem = json.loads(await answer.text())
    assert (answer.status, problem["progress"]["created"]) == (400, 500)


@pytest.mark.parametrize("kind", CODINGS)
async def test_json_of_a_cut_body_is_400(server: Server, kind: str) -> None:
    """A compressed JSON body whose coding does not end is answered with a problem at once, and changes nothing."""
    coding, encode = CODINGS[kind]
    admin = await server.admin()
    name = kind.replace(" ", "")
    packed = encode(json.dumps({"username": name, "email": f"{name}@example.com"}).encode())
    headers = {"Content-Type": "application/json", "Content-Encoding": coding}
    for status, body in ((400, packed[: -8 if kind == "gzip" else -1]), (201, packed)):
        async with server.request("POST", "/v1/users", admin, data=body, headers=headers) as answer:
            assert answer.status == status, await answer.text()
            if status == 400:
                assert json.loads(await answer.text())["type"] == "/problems/bad-request"


async def test_whole_compressed_import_is_taken(server: Server) -> None:
    """Several members of gzip, as of concatenated files, are one body."""
    admin = await server.admin()
    body = b"".join(gzip.compress(ndjson([person(f"member{number}")])) for number in range(5))
    imported = await post_import(server, admin, body, headers={"Content-Encoding": "gzip"})
    assert imported.counts == (5, 0, 0, 0)
