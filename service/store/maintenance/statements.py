"""Statements of maintenance."""

from __future__ import annotations

from typing import Final

from sqlalchemy import bindparam, func, select, update

from service.store.sql.builders import fixed
from service.store.sql.tables import events, log, users

COUNT_USERS: Final = fixed(select(func.count(), func.max(users.c.version)).select_from(users))
COUNT_EVENTS: Final = fixed(select(func.count(), func.min(events.c.seq), func.max(events.c.seq)).select_from(events))
SET_EPOCH: Final = fixed(update(log).values(epoch=bindparam("epoch")))
