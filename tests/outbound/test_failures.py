from __future__ import annotations

import re

import pytest

from service.outbound import failures
from service.outbound.failures import Failed, failure, not_json

CATALOGUE = [value for value in vars(failures).values() if isinstance(value, Failed)] + [not_json(503)]


def test_every_code_is_in_the_table() -> None:
    """The table at the head of the module and the codes that are issued are the same."""
    assert failures.__doc__ is not None
    assert {failed.code for failed in CATALOGUE} == set(re.findall(r"^\| `(\w+)`", failures.__doc__, re.MULTILINE))


@pytest.mark.parametrize("failed", CATALOGUE, ids=lambda failed: failed.code)
def test_details_are_sentences_without_addresses(failed: Failed) -> None:
    """Each detail is a sentence, and names neither host nor URL."""
    assert re.fullmatch(r"[A-Z][^:/]*(: [^:/]*)?\.", failed.detail)


def test_unknown_error_is_our_fault() -> None:
    """An exception that no table foresees is `internal`."""
    assert failure(ZeroDivisionError()) is failures.INTERNAL
