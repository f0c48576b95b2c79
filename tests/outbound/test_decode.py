from __future__ import annotations

import json

import pytest

from service.outbound.decode import MAX_DEPTH, Undecodable, decode


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"null", None),
        (b' {"a": [1, -2.5e3, "x", true]}\n', {"a": [1, -2500.0, "x", True]}),
        ('{"ä": "€"}'.encode(), {"ä": "€"}),
        (rb'"\ud83d\ude00"', "\U0001f600"),
        (b"9" * 400, int("9" * 400)),
        (b"1e-400", 0.0),
    ],
)
def test_json_is_read(text: bytes, value: object) -> None:
    """A JSON text gives its value."""
    assert decode(text) == value


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[1,]",
        b"[1] [2]",
        b"'a'",
        b"NaN",
        b"[Infinity]",
        b"[-Infinity]",
        b"1e400",
        b"9" * 5000,
        b'{"a":1,"a":2}',
        b'"\xff"',
        b'\xef\xbb\xbf{"a":1}',
        '{"a":1}'.encode("utf-16"),
        rb'"\ud800"',
        rb'{"\uDFff": 1}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
    ],
)
def test_what_is_not_json_is_refused(text: bytes) -> None:
    """What is not JSON, or could not be passed on as JSON, is one kind of error, however it is broken."""
    with pytest.raises(Undecodable):
        decode(text)


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
@pytest.mark.parametrize("inside", ["1", "[]"])
def test_depth_is_bounded_exactly(opening: str, closing: str, inside: str) -> None:
    """`MAX_DEPTH` levels are read, one more is refused, whatever stands inside."""
    levels = MAX_DEPTH - (inside == "[]")
    fits = opening * levels + inside + closing * levels

    assert json.dumps(decode(fits.encode()), separators=(",", ":")) == fits
    with pytest.raises(Undecodable):
        decode(f"[{fits}]".encode())
