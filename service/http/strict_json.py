"""JSON as RFC 8259 and I-JSON (RFC 7493) mean it, where Python's own reader is too kind.

Refused besides what is not JSON: names that stand twice in an object, NaN and Infinity, numbers too large for a float,
integers of thousands of digits, half a surrogate pair, nesting without end, anything but UTF-8, a byte order mark. What
is read here can be written again, and means the same to every other reader.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final, NoReturn

# Python's parser stops near 1,000 levels, depending on the depth of the caller's stack; serializing the value again
# needs a deeper stack, and would fail where parsing did not.
MAX_DEPTH: Final = 100

_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")


class Malformed(Exception):
    """A text that is not JSON; `str()` is one sentence that says where, without repeating the text."""


def parse_json(body: bytes | bytearray | str) -> Any:
    """Read one JSON text; raises `Malformed`."""
    try:
        text = body if isinstance(body, str) else body.decode("utf-8")
        value = _DECODER.decode(text)
    except UnicodeDecodeError as error:
        raise Malformed(f"The body is not UTF-8 (byte {error.start}).") from None
    except json.JSONDecodeError as error:
        raise Malformed(f"The body is not JSON: {error.msg} (line {error.lineno}, column {error.colno}).") from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError:  # int() refuses more than 4,300 digits
        raise Malformed("The body is not JSON that can be read here: a number is too long.") from None
    if text.count("[") + text.count("{") > MAX_DEPTH and _is_deep(value):
        raise _too_deep()
    if _SURROGATE.search(text) and not _is_unicode(value):
        raise Malformed("The body is not I-JSON: a string holds half a surrogate pair (RFC 7493, 2.1).")
    return value


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
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


def _too_deep() -> Malformed:
    return Malformed(f"The body is nested more than {MAX_DEPTH} levels deep.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Malformed("The body is not I-JSON: a name stands twice in one object (RFC 7493, 2.3).")
    return found


def _float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise Malformed("The body is not I-JSON: a number is too large (RFC 7493, 2.2).")
    return number


def _constant(text: str) -> NoReturn:
    raise Malformed(f"The body is not JSON: {text} is not a number there.")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_float, parse_constant=_constant)
