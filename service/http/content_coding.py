"""Content codings of request bodies: gzip and deflate (RFC 9110, 8.4.1), undone piece by piece.

aiohttp's own decoder is switched off in `Runner`: it takes a gzip body without its trailer as whole (RFC 1952, 2.2), and one of
deflate without its end stops the connection instead of being answered.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any, Final

from aiohttp import hdrs, web

PIECE: Final = 1 << 16  # bytes that are decoded at a time
# A member of gzip ends anywhere, and zlib copies what follows it: short slices keep a body of tiny members cheap.
_SLICE: Final = 4_096
_GZIP_BITS: Final = 31
_ZLIB_BITS: Final = 15
_RAW_BITS: Final = -15


class CodingError(ValueError):
    """The body is not what `Content-Encoding` says, or ends before the coding does."""


class Decoder:
    """Decodes one body.

    Args:
        coding: `gzip`, which may have several members, or `deflate`, with zlib's header (RFC 1950) or, as some clients send
            it, without.
    """

    def __init__(self, coding: str) -> None:
        self._is_gzip = coding == "gzip"
        self._member: Any = None
        self._is_whole = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decode what has arrived, into pieces of at most `PIECE` bytes, some of them empty; raises `CodingError`."""
        for start in range(0, len(data), _SLICE):
            rest = data[start : start + _SLICE]
            while rest:
                if self._member is None:
                    self._begin(rest[0])
                try:
                    piece = self._member.decompress(rest, PIECE)
                except zlib.error as error:
                    raise CodingError(str(error)) from None
                yield piece
                rest = self._member.unconsumed_tail
                # All input may be taken while output is left.
                while len(piece) == PIECE and not rest and not self._member.eof:
                    piece = self._member.decompress(b"", PIECE)
                    yield piece
                    rest = self._member.unconsumed_tail
                if self._member.eof:
                    rest = self._member.unused_data
                    self._member = None
                    self._is_whole = True

    def end(self) -> None:
        """Raises `CodingError` where the last member, with its checksum and length, is not complete."""
        if not self._is_whole:
            raise CodingError("The coding does not end.")

    def _begin(self, first: int) -> None:
        if self._is_whole and not self._is_gzip:
            raise CodingError("Data follows the end of the coding.")
        raw = first & 0xF != 8  # RFC 1950, 2.2: the low half of the first byte is 8
        self._member = zlib.decompressobj(_GZIP_BITS if self._is_gzip else _RAW_BITS if raw else _ZLIB_BITS)
        self._is_whole = False


def create_decoder(request: web.Request) -> Decoder | None:
    """The decoder of the request's body; None where the body is not encoded. Guards have refused every other coding."""
    coding = request.headers.get(hdrs.CONTENT_ENCODING)
    if coding is None:
        return None
    coding = coding.strip().lower()
    return Decoder(coding) if coding in ("gzip", "deflate") else None
