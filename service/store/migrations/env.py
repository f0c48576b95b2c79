"""Alembic's environment: migrations run in the connection and transaction of the caller."""

from __future__ import annotations

from alembic import context

from service.store.sql.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
