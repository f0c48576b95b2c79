"""Columns that hold JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from service.store.sql.row_mapper import Codec


def _encode_json(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(dict(value))


def _decode_json(text: str | None) -> Any:
    return None if text is None else json.loads(text)


JSON: Final = Codec(_encode_json, _decode_json)
