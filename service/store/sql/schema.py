"""The statements that make the tables, for whoever can run text."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy.schema import CreateIndex, CreateTable

from service.store.sql.dialects import Dialect
from service.store.sql.tables import metadata


def making(dialect: Dialect) -> Iterator[str]:
    """Every table with its indexes; harmless where they are there."""
    for table in metadata.sorted_tables:
        yield str(CreateTable(table, if_not_exists=True).compile(dialect=dialect.sql))
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            yield str(CreateIndex(index, if_not_exists=True).compile(dialect=dialect.sql))
