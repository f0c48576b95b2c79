"""JSON in, for every text there is."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.http.strict_json import MAX_DEPTH, Malformed, parse_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)
# Letters of JSON, so that what comes out of them is often nearly right.
NEARLY = st.lists(
    st.sampled_from(
        [
            *'{}[]:,"\\ \n\t-+.eE019',
            "true",
            "null",
            "NaN",
            "Infinity",
            '"a"',
            "\\u00",
            "\\ud800",
            "\\udc00",
            "é",
            "\0",
            "\ufeff",
        ]
    ),
    max_size=30,
).map("".join)


def read(text: bytes | str) -> Any:
    """The value of a text; Ellipsis for a text that is refused."""
    try:
        return parse_json(text)
    except Malformed:
        return ...


@given(VALUES, st.booleans(), st.sampled_from([None, 1]))
def test_what_json_writes_is_read(value: Any, ascii_only: bool, indent: int | None) -> None:
    """Every value that can be written is read back, as bytes or as text, in either way to write it."""
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)

    assert parse_json(text) == value
    assert parse_json(text.encode()) == value
    assert parse_json(bytearray(text.encode())) == value


@given(st.binary(max_size=60) | NEARLY.map(str.encode))
def test_what_is_read_can_be_written(text: bytes) -> None:
    """Any bytes are refused or give a value that strict JSON in UTF-8 can carry, the same that Python reads."""
    value = read(text)

    if value is not ...:
        assert parse_json(json.dumps(value, ensure_ascii=False, allow_nan=False).encode()) == value
        assert json.loads(text) == value


@given(NEARLY)
def test_refusal_is_a_sentence_without_the_text(text: str) -> None:
    """A refusal is one short sentence; of the text it shows at most the name of a number that is none."""
    try:
        parse_json(text)
    except Malformed as error:
        sentence = str(error)
        assert sentence.startswith("The body is")
        assert sentence.endswith(".")
        assert len(sentence) < 120
        assert sentence.isprintable()


@given(st.dictionaries(st.text(min_size=1, max_size=3), st.integers(), min_size=1), st.data())
def test_name_that_stands_twice_is_refused(value: dict[str, int], data: st.DataObject) -> None:
    """Of two equal names, however they are spelled, none wins."""
    name = data.draw(st.sampled_from(sorted(value)))
    pairs = [*value.items(), (name, 0)]
    text = ",".join(
        f"{json.dumps(key, ensure_ascii=bool(place % 2))}:{number}" for place, (key, number) in enumerate(pairs)
    )

    for whole in (f"{{{text}}}", f'[{{"a":{{{text}}}}}]'):
        with pytest.raises(Malformed, match="stands twice"):
            parse_json(whole)


@pytest.mark.parametrize(("opening", "closing", "levels"), [("[", "]", 1), ('{"a":', "}", 1), ('[{"a":', "}]", 2)])
def test_depth_has_an_edge(opening: str, closing: str, levels: int) -> None:
    """A hundred levels are read, one more is not, and neither are as many as there is room for."""
    most = MAX_DEPTH // levels

    assert read(opening * most + "1" + closing * most) is not ...
    for more in (most + 1, 500, 1_000, 100_000):
        with pytest.raises(Malformed, match="nested"):
            parse_json(opening * more + "1" + closing * more)
    with pytest.raises(Malformed):
        parse_json(opening * 100_000)


def test_brackets_in_strings_and_in_a_row_are_not_depth() -> None:
    """Only what stands inside each other is deep."""
    values: tuple[Any, ...] = ("[" * 10_000, [[]] * 10_000, [{}] * 10_000, {"[" * 200: "{" * 200})
    for value in values:
        assert parse_json(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("-0", 0),
        ("-0.0", 0.0),
        ("1E400", ...),
        ("-1e400", ...),
        ("1e308", 1e308),
        ("1e309", ...),
        ("1e-400", 0.0),
        ("9" * 4300, int("9" * 4300)),
        ("9" * 4301, ...),
        ("1." + "0" * 5000 + "1", 1.0),
        ("9007199254740993", 9007199254740993),
        ("NaN", ...),
        ("-Infinity", ...),
        ("01", ...),
        ("1.", ...),
        (".1", ...),
        ("+1", ...),
        ("1_0", ...),
        ("0x1", ...),
        ("٣", ...),
        ("1e", ...),
        ("- 1", ...),
    ],
)
def test_numbers(text: str, value: Any) -> None:
    """Numbers are those of RFC 8259, 6, as far as they can be kept: a float that would be infinite is refused."""
    assert read(text) == value
    assert read(f"[{text}]") == (... if value is ... else [value])
    if isinstance(value, float):
        assert math.isfinite(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (rb'"\ud83d\ude00"', "😀"),
        (rb'"\uD83D\uDE00"', "😀"),
        ('"😀"'.encode(), "😀"),
        (rb'"\\ud800"', "\\ud800"),
        (rb'"\u0000"', "\0"),
        (rb'"\u2028"', "\u2028"),
        ('"\u2028"'.encode(), "\u2028"),
        (rb'"\/\b\f\n\r\t\"\\"', '/\b\f\n\r\t"\\'),
        (b'"\x7f"', "\x7f"),
        (rb'"\ud800"', ...),
        (rb'"\udc00"', ...),
        (rb'"\udc00\ud800"', ...),
        (rb'"\ud800\ud800"', ...),
        (rb'"\ud83d\u0041"', ...),
        (rb'{"\ud800":1}', ...),
        (rb'[[{"a":["\uDBFF"]}]]', ...),
        (b'"\xed\xa0\x80"', ...),
        (b'"\xc0\x80"', ...),
        (b'"\xf4\x90\x80\x80"', ...),
        (b'"\xff"', ...),
        (b'"\xe2\x82"', ...),
        (b'"\x1f"', ...),
        (b'"a\nb"', ...),
        (rb'"\u12"', ...),
        (rb'"\u-123"', ...),
        (rb'"\x41"', ...),
        (rb'"\a"', ...),
        (rb"'a'", ...),
        (b'"a', ...),
    ],
)
def test_strings(text: bytes, value: Any) -> None:
    """Strings are Unicode in UTF-8, with the escapes of RFC 8259, 7, and no half of a surrogate pair."""
    assert read(text) == value


@pytest.mark.parametrize(
    "text",
    [
        b"", b" ", b"\xef\xbb\xbf{}", b"\xff\xfe{\x00}\x00", b"\x00{\x00}", b"\x0c1", b"\xc2\xa01", b"1\x00", b"{}x", b"[1,]",
        b"[,1]", b"[1 2]", b'{"a":1,}', b'{"a"}', b'{"a":}', b"{:1}", b"{1:1}", b"{a:1}", b"{,}", b"[", b"]", b"[}", b"nul",
        b"True", b"/* */1", b"1//", b"#1", b"undefined", b"()", b"[1]]", b"<x/>",
    ],
)  # fmt: skip
def test_other_texts_are_refused(text: bytes) -> None:
    """A body that is not exactly one JSON text is refused."""
    assert read(text) is ...


@pytest.mark.parametrize("text", [b" [] ", b"\t\r\n{}\n", b"null", b'""', b"false", b"1"])
def test_any_value_may_stand_alone(text: bytes) -> None:
    """A JSON text is any value, with blanks around it (RFC 8259, 2)."""
    assert read(text) == json.loads(text)
