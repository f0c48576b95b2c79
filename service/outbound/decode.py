"""JSON from strangers that is to be passed on: what is read here can be written again as JSON, or it is refused."""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final, NoReturn

# Python's reader stops near 1,000 levels, depending on how deep the caller stands; whoever writes the value again
# stands deeper and would fail where reading did not.
MAX_DEPTH: Final = 100

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class Undecodable(ValueError):
    """Not JSON, or JSON that cannot be passed on; says nothing about the text."""


def decode(body: bytes | bytearray) -> Any:
    """Read one JSON text in UTF-8 (RFC 8259, 8.1).

    Raises `Undecodable`, besides for what is not JSON, for what other readers would refuse or take differently: NaN
    and Infinity, floats too large, integers of thousands of digits, a name twice in one object, half a surrogate
    pair, more than `MAX_DEPTH` levels.
    """
    try:
        text = body.decode()
        value = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise Undecodable from error
    if _deeper_than(value, MAX_DEPTH) or (_SURROGATE.search(text) and not _is_unicode(value)):
        raise Undecodable
    return value


def _deeper_than(value: Any, levels: int) -> bool:
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(levels):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return False
    return True


def _is_unicode(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Undecodable
    return found


def _float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise Undecodable
    return number


def _constant(_: str) -> NoReturn:
    raise Undecodable


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_float, parse_constant=_constant)
