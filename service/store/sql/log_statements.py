"""Statements about the log of events and its row."""

from __future__ import annotations

from typing import Final

from sqlalchemy import bindparam, case, delete, func, null, select, text, true, update

from service.store.sql.builders import fixed, insert_rows
from service.store.sql.dialects import Statement
from service.store.sql.tables import DELETION, ROLE_CHANGE, events, holds, log

_MOMENT: Final = bindparam("moment", type_=log.c.audit_sequence.type)
POSITION: Final = fixed(select(log.c.epoch, log.c.seq, log.c.first))
TAKE_SEQS: Final = Statement(
    lambda dialect: (
        dialect.with_patience(update(log))
        .values(
            seq=log.c.seq + bindparam("count"),
            # Places go on from the last one, or from this moment where that is later.
            audit_sequence=case((log.c.audit_sequence < _MOMENT, _MOMENT), else_=log.c.audit_sequence)
            + bindparam("entries"),
        )
        .returning(log.c.epoch, log.c.seq, log.c.first, log.c.audit_sequence)
    )
)
START_EPOCH: Final = fixed(update(log).where(log.c.epoch == bindparam("epoch")).values(epoch=bindparam("new")))
INSERT_EVENTS: Final = insert_rows(events)
REDACT_EVENTS: Final = fixed(
    update(events).where(events.c.subject == bindparam("id"), events.c.seq < bindparam("before")).values(user=null())
)
FIRST_SINCE: Final = fixed(
    select(func.min(events.c.seq)).where(events.c.time >= bindparam("since"), events.c.seq < bindparam("before"))
)
SAVE_HOLD: Final = Statement(
    lambda dialect: (
        dialect.insert(holds)
        .from_select(
            ["id", "after", "expires_at"],
            select(
                bindparam("hold", type_=holds.c.id.type), log.c.seq, bindparam("until", type_=holds.c.expires_at.type)
            ).where(true()),
        )
        .on_conflict_do_update(index_elements=[holds.c.id], set_={"expires_at": bindparam("until")})
    )
)
DELETE_EXPIRED_HOLDS: Final = fixed(delete(holds).where(holds.c.expires_at <= bindparam("now")))
OLDEST_HOLD: Final = fixed(select(func.min(holds.c.after)).where(holds.c.expires_at > bindparam("now")))
ROLE_CHANGED: Final = fixed(
    select(events.c.seq)
    .where(events.c.subject == bindparam("subject"), events.c.seq > bindparam("after"), text(ROLE_CHANGE))
    .limit(1)
)
DELETED_USERS: Final = Statement(
    lambda dialect: select(events.c.subject).where(dialect.is_any_of(events.c.subject, "ids"), text(DELETION))
)
DELETE_EVENTS: Final = fixed(delete(events).where(events.c.seq < bindparam("before")))
SET_FIRST: Final = fixed(update(log).values(first=bindparam("before")))
# If two processes find no key and each creates one, the second waits for the first to commit.
LOCK_LOG: Final = fixed(select(log.c.id).with_for_update())
