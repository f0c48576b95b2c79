"""Date-times of RFC 3339."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from service.schemas.moments import Moment, parse_moment


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-21T09:30:07Z", "2026-11-21T09:30:07"),
        ("2026-11-21t09:30:07z", "2026-11-21T09:30:07"),
        ("2026-11-21T09:30:07.5-00:00", "2026-11-21T09:30:07.500000"),
        ("2026-11-21T09:30:07.1234567891234567890Z", "2026-11-21T09:30:07.123456"),
        ("2026-11-21T09:30:07.9999999+01:30", "2026-11-21T08:00:07.999999"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00"),
        ("2016-12-31T23:59:60.25z", "2017-01-01T00:00:00.250000"),
        ("1990-12-31T15:59:60-08:00", "1991-01-01T00:00:00"),
        ("2017-01-01T00:59:60+01:00", "2017-01-01T00:00:00"),
        ("0001-01-01T00:00:00+23:59", "0001-01-01T00:00:00"),
        ("9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59"),
    ],
)
def test_every_form_of_rfc_3339_is_read(text: str, moment: str) -> None:
    """Lower-case `t` and `z`, any number of digits, of which six count, and leap seconds in any zone (RFC 3339, 5.6 to 5.8)."""
    assert parse_moment(text) == datetime.fromisoformat(moment).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "", "2026-11-21", "2026-11-21T09:30Z", "2026-11-21T09:30:07", "2026-11-21 09:30:07Z", "2026-11-21T09:30:07.Z",
        "2026-11-21T09:30:07,5Z", "2026-11-21T09:30:07+0100", "2026-11-21T09:30:07Z\n", "2026-02-30T09:30:07Z",
        "2026-11-21T24:00:00Z", "2026-11-21T09:30:61Z", "2026-11-21T09:30:07+24:00", "2026-11-21T09:30:07+01:60",
        "2016-12-31T23:58:60Z", "2016-12-31T22:59:60Z", "2016-12-31T23:59:60+01:00", "9999-12-31T23:59:60Z",
        "\u0662026-11-21T09:30:07Z", "0000-01-01T00:00:00Z",
    ],
)  # fmt: skip
def test_other_texts_are_refused(text: str) -> None:
    """A `:60` that is no leap second in UTC among them."""
    with pytest.raises(ValidationError, match="Must be a moment"):
        TypeAdapter(Moment).validate_python(text)


@given(st.datetimes(timezones=st.just(UTC)))
def test_what_goes_out_comes_in(moment: datetime) -> None:
    """Each moment that the service writes is read as the same."""
    assert parse_moment(moment.isoformat().replace("+00:00", "Z")) == moment
