"""What Alembic runs a migration in: the connection, and the transaction, of whoever asked for it."""

from __future__ import annotations

from alembic import context

from service.store.sql.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
