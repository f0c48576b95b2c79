"""Date-times of RFC 3339, as every body and query parameter takes them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

EXAMPLE: Final = "2026-11-21T09:30:00.123456Z"
_SHAPE: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})T([0-9]{2}:[0-9]{2}):([0-9]{2})(?:\.([0-9]+))?(Z|[+-][0-9]{2}:[0-5][0-9])\Z",
    re.ASCII | re.IGNORECASE,
)
_SECOND: Final = timedelta(seconds=1)


def parse_moment(text: str) -> datetime:
    """The moment in UTC that a `date-time` of RFC 3339 (5.6) names; raises ValueError for any other text.

    `T` and `Z` may be lower case. Digits of the fraction beyond the microsecond are cut. A leap second, `23:59:60` in UTC, is
    the second after it, because `datetime` has no such second; any other `:60` is refused. Within a day of the first and the
    last year a moment that UTC cannot express is taken as if its offset was UTC.
    """
    match = _SHAPE.match(text)
    if match is None:
        raise ValueError("no date-time of RFC 3339")
    date, minute, second, fraction, offset = match.groups()
    is_leap = second == "60"
    local = datetime.fromisoformat(
        f"{date}T{minute}:{'59' if is_leap else second}.{(fraction or '0')[:6]:0<6}{offset.upper()}"
    )
    try:
        moment = local.astimezone(UTC)
    except OverflowError:
        moment = local.replace(tzinfo=UTC)
    if not is_leap:
        return moment
    if (moment.hour, moment.minute) != (23, 59):
        raise ValueError("no leap second")
    try:
        return moment + _SECOND
    except OverflowError:
        raise ValueError("later than any date") from None


def _moment(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return parse_moment(value)
    except ValueError:
        raise PydanticCustomError("datetime_parsing", f"Must be a moment, as `{EXAMPLE}`") from None


Moment = Annotated[datetime, BeforeValidator(_moment), Field(examples=[EXAMPLE])]
