"""Everything that is said to a database, in one place."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    Interval,
    Select,
    Table,
    and_,
    bindparam,
    case,
    cast,
    delete,
    false,
    func,
    insert,
    literal_column,
    null,
    or_,
    select,
    text,
    true,
    tuple_,
    union,
    update,
)

from service.domain.events.query import EXAMINED_MAX
from service.store.sql.dialects import Dialect, LockingSelect, Statement
from service.store.sql.rows import (
    ANSWER,
    CREDENTIALS,
    ENTRY,
    EVENT,
    MAIL,
    MAIL_TOKEN,
    SECOND_FACTOR,
    SESSION,
    SIGNING_KEY,
    TOKEN,
    USER,
)
from service.store.sql.tables import (
    DELETION,
    ROLE_CHANGE,
    answers,
    audit,
    events,
    holds,
    leases,
    log,
    mail_tokens,
    mails,
    recovery_codes,
    runs,
    secrets,
    sessions,
    signing_keys,
    tickets,
    tokens,
    users,
)


def _always(statement: Any) -> Statement:
    return Statement(lambda _: statement)


def _delete_expired(table: Table) -> Statement:
    """Delete the rows that have expired, but for those that another transaction has locked."""
    keys = list(table.primary_key)
    expired = select(*keys).where(table.c.expires_at <= bindparam("now")).with_for_update(skip_locked=True)
    return _always(delete(table).where(tuple_(*keys).in_(expired)))


def _put(table: Table, *kept: str) -> Statement:
    """Insert a row, or replace what it says where its key is there already, but for the columns that are `kept`."""
    keys = list(table.primary_key.columns)
    named = [column.name for column in table.columns if column.name not in kept]

    def build(dialect: Dialect) -> Any:
        row = dialect.insert(table).values({name: bindparam(name) for name in named})
        changed = {name: row.excluded[name] for name in named if name not in table.primary_key.columns}
        return row.on_conflict_do_update(index_elements=keys, set_=changed)

    return Statement(build)


def _insert_rows(table: Table) -> Statement:
    return Statement(lambda dialect: dialect.insert_rows(table), in_columns=True)


def _user_by(*conditions: Any) -> Select[Any]:
    return select(*CREDENTIALS).where(*conditions)


# The log

_MOMENT: Final = bindparam("moment", type_=log.c.audited.type)
POSITION: Final = _always(select(log.c.epoch, log.c.seq, log.c.first))
TAKE_SEQS: Final = Statement(
    lambda dialect: (
        dialect.with_patience(update(log))
        .values(
            seq=log.c.seq + bindparam("count"),
            # Places go on from the last one, or from this moment where that is later.
            audited=case((log.c.audited < _MOMENT, _MOMENT), else_=log.c.audited) + bindparam("entries"),
        )
        .returning(log.c.epoch, log.c.seq, log.c.first, log.c.audited)
    )
)
LEAVE_EPOCH: Final = _always(update(log).where(log.c.epoch == bindparam("epoch")).values(epoch=bindparam("new")))
KEEP_EVENTS: Final = _insert_rows(events)
REDACT: Final = _always(
    update(events).where(events.c.subject == bindparam("id"), events.c.seq < bindparam("before")).values(user=null())
)
NEW_ENOUGH: Final = _always(
    select(func.min(events.c.seq)).where(events.c.time >= bindparam("since"), events.c.seq < bindparam("before"))
)
HOLD: Final = Statement(
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
FORGET_HOLDS: Final = _always(delete(holds).where(holds.c.expires_at <= bindparam("now")))
HELD: Final = _always(select(func.min(holds.c.after)).where(holds.c.expires_at > bindparam("now")))
ROLE_CHANGED: Final = _always(
    select(events.c.seq)
    .where(events.c.subject == bindparam("subject"), events.c.seq > bindparam("after"), text(ROLE_CHANGE))
    .limit(1)
)
DELETED_IDS: Final = Statement(
    lambda dialect: select(events.c.subject).where(dialect.among(events.c.subject, "ids"), text(DELETION))
)
TRIM: Final = _always(delete(events).where(events.c.seq < bindparam("before")))
TRIMMED: Final = _always(update(log).values(first=bindparam("before")))

# The audit

KEEP_ENTRIES: Final = _insert_rows(audit)
KEEP_ENTRY: Final = _always(insert(audit))
# So many at once that none pays for all.
FORGET_ENTRIES: Final = _always(
    delete(audit).where(
        audit.c.place.in_(
            select(audit.c.place)
            .where(audit.c.place < bindparam("before"))
            .order_by(audit.c.place)
            .limit(bindparam("limit"))
        )
    )
)


def list_entries(*, actor: bool, subject: bool, action: bool, first: bool, end: bool) -> Statement:
    """A page of the audit, the newest entry first; each argument is whether that is asked for."""
    conditions = []
    if actor:
        conditions.append(audit.c.actor == bindparam("actor"))
    if subject:
        conditions.append(audit.c.subject == bindparam("subject"))
    if action:
        conditions.append(audit.c.action == bindparam("action"))
    if first:
        conditions.append(audit.c.place >= bindparam("first"))
    if end:
        conditions.append(audit.c.place < bindparam("end"))
    return _always(select(*ENTRY.columns).where(*conditions).order_by(audit.c.place.desc()).limit(bindparam("limit")))


# Processes, by the clock of the database: those of hosts differ

_RECENT: Final = leases.c.renewed_at >= func.now() - cast(bindparam("after"), Interval)
LEASES: Final = _always(select(leases.c.host, leases.c.pid, leases.c.begun_at).where(_RECENT).order_by("begun_at"))
RENEW_LEASE: Final = Statement(
    lambda dialect: (
        dialect.insert(leases)
        .values(
            {name: bindparam(name) for name in ("id", "host", "pid")}
            | {name: func.now() for name in ("begun_at", "renewed_at")}
        )
        .on_conflict_do_update(index_elements=[leases.c.id], set_={"renewed_at": func.now()})
    )
)
END_LEASE: Final = _always(delete(leases).where(leases.c.id == bindparam("id")))
FORGET_LEASES: Final = _always(delete(leases).where(~_RECENT))

RUN: Final = _always(select(runs.c.identity))
KEEP_RUN: Final = _always(insert(runs))
FORGET_RUN: Final = _always(delete(runs))

# Secrets

OFFER_SECRET: Final = Statement(
    lambda dialect: (
        dialect.insert(secrets).values(name=bindparam("name"), value=bindparam("value")).on_conflict_do_nothing()
    )
)
SECRET: Final = _always(select(secrets.c.value).where(secrets.c.name == bindparam("name")))

# Keys of access tokens

# If two processes find no key and each creates one, the second waits for the first to commit.
LOCK_LOG: Final = _always(select(log.c.id).with_for_update())
SIGNING_KEYS: Final = _always(select(*SIGNING_KEY.columns).order_by(signing_keys.c.signs_from, signing_keys.c.kid))
KEEP_SIGNING_KEY: Final = _always(insert(signing_keys))
FORGET_SIGNING_KEY: Final = _always(delete(signing_keys).where(signing_keys.c.kid == bindparam("kid")))

# Users

READ_USER: Final = _always(
    select(log.c.epoch, log.c.seq, *USER.columns).select_from(log.outerjoin(users, users.c.id == bindparam("id")))
)
LOCK_USER: Final = LockingSelect(lambda _: _user_by(users.c.id == bindparam("id")), finds_one=True)
LOCK_USER_ID: Final = LockingSelect(lambda _: select(users.c.id).where(users.c.id == bindparam("id")), finds_one=True)
USER_BY_LOGIN: Final = _always(
    # An address before a name: a name has no @, so at most one of the two is there.
    _user_by(or_(users.c.email == bindparam("login"), users.c.username == bindparam("login")))
)
WITH_NAMES: Final = _always(
    select(users.c.username, users.c.email).where(
        or_(users.c.username == bindparam("username"), users.c.email == bindparam("email")),
        users.c.id != bindparam("id"),
    )
)


def _holders(dialect: Dialect) -> Any:
    # Three looks into an index. Of one `OR` PostgreSQL's plan for any values, made while users were few, was a walk through
    # all of them with five hundred comparisons each: ten seconds for the lines that take one.
    named = {"ids": users.c.id, "usernames": users.c.username, "emails": users.c.email}
    found = union(*(select(users.c.id).where(dialect.among(column, name)) for name, column in named.items()))
    return _user_by(users.c.id.in_(found))


LOCK_HOLDERS: Final = LockingSelect(_holders)
# Two transactions that each leave one administrator would leave none.
LOCK_ACTIVE_ADMINS: Final = LockingSelect(
    lambda _: select(users.c.id).where(users.c.role == "admin", users.c.active.is_(True))
)
PUT_USER: Final = _put(users, "password_hash", *(column.name for column in SECOND_FACTOR.columns))
PUT_PASSWORD: Final = _always(
    update(users).where(users.c.id == bindparam("user")).values(password_hash=bindparam("hash"))
)
SET_VERSION: Final = _always(update(users).where(users.c.id == bindparam("user")).values(version=bindparam("seq")))
EVERY_USER: Final = _always(select(*USER.columns))
DELETE_USER: Final = _always(delete(users).where(users.c.id == bindparam("id")))


def list_users(sort: str, *, after: bool, q: bool, role: bool, active: bool) -> Statement:
    """A page of users: `sort` as in `UserQuery`, the rest whether it is asked for."""

    def build(dialect: Dialect) -> Any:
        return _users_page(dialect, sort, after=after, q=q, role=role, active=active)

    return Statement(build)


def _users_page(dialect: Dialect, sort: str, *, after: bool, q: bool, role: bool, active: bool) -> Select[Any]:
    column = users.c[sort.removeprefix("-")]
    turned = sort.startswith("-")
    key = (column, users.c.id)
    after_key, after_id = bindparam("after_key", type_=column.type), bindparam("after_id", type_=users.c.id.type)
    conditions = []
    if after:
        # As rows: an index is entered at the very place, also among many who were made at the same moment.
        here, there = tuple_(*key), tuple_(after_key, after_id)
        conditions.append(here < there if turned else here > there)
    if q:
        conditions.append(dialect.place_of(users.c.folded, bindparam("q", type_=users.c.folded.type)) > 0)
    if role:
        conditions.append(users.c.role == bindparam("role"))
    if active:
        conditions.append(users.c.active == bindparam("active"))
    order = [one.desc() if turned else one.asc() for one in key]
    page = select(*USER.columns).where(*conditions).order_by(*order).limit(bindparam("limit")).subquery()
    # With the position of the log, in one statement: one statement sees one state.
    return (
        select(log.c.epoch, log.c.seq, *page.c)
        .select_from(log.outerjoin(page, true()))
        .order_by(*(page.c[one.name].desc() if turned else page.c[one.name] for one in key))
    )


# Sessions and tickets

OWNER_OF_SESSION: Final = _always(select(sessions.c.user_id).where(sessions.c.id == bindparam("id")))
SESSION_BY_ID: Final = _always(select(*SESSION.columns).where(sessions.c.id == bindparam("id")))
SESSION_WITH_USER: Final = _always(
    select(*SESSION.columns, *USER.columns)
    .join(users, users.c.id == sessions.c.user_id)
    .where(sessions.c.id == bindparam("id"))
)
SESSIONS_OF: Final = _always(
    select(*SESSION.columns)
    .where(sessions.c.user_id == bindparam("user"))
    .order_by(sessions.c.created_at, sessions.c.id)
)
PUT_SESSION: Final = _put(sessions)
DELETE_SESSION: Final = _always(delete(sessions).where(sessions.c.id == bindparam("id")))
FORGET_SESSIONS: Final = _delete_expired(sessions)
TOKEN_BY_ID: Final = _always(select(*TOKEN.columns).where(tokens.c.id == bindparam("id")))
TOKEN_WITH_USER: Final = _always(
    select(*TOKEN.columns, *USER.columns)
    .join(users, users.c.id == tokens.c.user_id)
    .where(tokens.c.digest == bindparam("digest"))
)
TOKENS_OF: Final = _always(
    select(*TOKEN.columns).where(tokens.c.user_id == bindparam("user")).order_by(tokens.c.created_at, tokens.c.id)
)
PUT_TOKEN: Final = _always(insert(tokens))
TOKEN_USED: Final = _always(
    update(tokens)
    .where(
        tokens.c.id == bindparam("token"),
        or_(tokens.c.last_used_at.is_(None), tokens.c.last_used_at < bindparam("moment")),
    )
    .values(last_used_at=bindparam("moment"))
)
DELETE_TOKEN: Final = _always(delete(tokens).where(tokens.c.id == bindparam("id")))
FORGET_TOKENS: Final = _delete_expired(tokens)
KEEP_TICKET: Final = _put(tickets)
FORGET_TICKETS: Final = _delete_expired(tickets)
TAKE_TICKET: Final = _always(
    delete(tickets).where(tickets.c.digest == bindparam("digest")).returning(tickets.c.session_id, tickets.c.expires_at)
)

# Mails and their tokens

_THIS_MAIL: Final = and_(
    mails.c.email == bindparam("of_email"), mails.c.kind == bindparam("of_kind"), mails.c.due_at == bindparam("seen")
)
FIND_MAIL: Final = _always(
    select(*MAIL.columns).where(mails.c.email == bindparam("of_email"), mails.c.kind == bindparam("of_kind"))
)
PUT_MAIL: Final = _put(mails)
# By when it was due, as it was read: of two who would send it one finds it as it was.
CLAIM_MAIL: Final = _always(
    update(mails)
    .where(_THIS_MAIL)
    .values(due_at=bindparam("until"), tries=mails.c.tries + 1, state="sending")
    .returning(mails.c.tries)
)
DROP_MAIL: Final = _always(delete(mails).where(_THIS_MAIL).returning(mails.c.kind))
DUE_MAILS: Final = _always(
    select(*MAIL.columns).where(mails.c.due_at <= bindparam("now")).order_by(mails.c.due_at).limit(bindparam("limit"))
)
_THIS_TOKEN: Final = and_(
    mail_tokens.c.user_id == bindparam("of_user"), mail_tokens.c.purpose == bindparam("of_purpose")
)
FIND_MAIL_TOKEN: Final = _always(select(*MAIL_TOKEN.columns).where(_THIS_TOKEN))
PUT_MAIL_TOKEN: Final = _put(mail_tokens)
TAKE_MAIL_TOKEN: Final = _always(
    delete(mail_tokens).where(_THIS_TOKEN, mail_tokens.c.digest == bindparam("seen")).returning(*MAIL_TOKEN.columns)
)
FORGET_MAIL_TOKENS: Final = _always(delete(mail_tokens).where(mail_tokens.c.user_id == bindparam("of_user")))
FORGET_MAIL_TOKEN: Final = _always(delete(mail_tokens).where(_THIS_TOKEN))
MAIL_TOKEN_TO: Final = _always(
    select(*MAIL_TOKEN.columns)
    .where(mail_tokens.c.email == bindparam("of_email"), mail_tokens.c.purpose == bindparam("of_purpose"))
    .order_by(
        case((mail_tokens.c.digest.is_(None), 0), else_=1),
        case((mail_tokens.c.digest.is_(None), mail_tokens.c.expires_at)),
        mail_tokens.c.expires_at.desc(),
        mail_tokens.c.user_id.desc(),
    )
    .limit(1)
)
EXPIRED_MAIL_TOKENS: Final = _always(
    select(*MAIL_TOKEN.columns)
    .where(mail_tokens.c.expires_at <= bindparam("now"))
    .order_by(mail_tokens.c.expires_at)
    .limit(bindparam("limit"))
)


# Second factors

PUT_SECOND_FACTOR: Final = _always(
    update(users)
    .where(users.c.id == bindparam("user"))
    .values({column.name: bindparam(f"new_{column.name}") for column in SECOND_FACTOR.columns})
)
DELETE_SECOND_FACTOR: Final = _always(
    update(users)
    .where(users.c.id == bindparam("user"))
    .values({column.name: null() for column in SECOND_FACTOR.columns})
)
# Of two who bring one code one finds an older step; so it is also where nothing was locked before.
TAKE_STEP: Final = _always(
    update(users)
    .where(users.c.id == bindparam("user"), users.c.totp_step < bindparam("step"))
    .values(totp_step=bindparam("step"))
    .returning(users.c.totp_step)
)
PUT_RECOVERY_CODE: Final = _always(insert(recovery_codes))
TAKE_RECOVERY_CODE: Final = _always(
    delete(recovery_codes)
    .where(recovery_codes.c.user_id == bindparam("of_user"), recovery_codes.c.digest == bindparam("presented"))
    .returning(recovery_codes.c.user_id)
)
FORGET_RECOVERY_CODES: Final = _always(delete(recovery_codes).where(recovery_codes.c.user_id == bindparam("of_user")))
_CODES_LEFT: Final = (
    select(func.count()).select_from(recovery_codes).where(recovery_codes.c.user_id == users.c.id).scalar_subquery()
)
READ_SECOND_FACTOR: Final = _always(
    select(*SECOND_FACTOR.columns, _CODES_LEFT).where(users.c.id == bindparam("user"), users.c.totp_secret.is_not(None))
)


# Answers to requests with a key


def _claim(dialect: Dialect) -> Any:
    """Take a key, unless it is remembered; another transaction that is taking it is waited for."""
    given = ("route", "key", "fingerprint", "expires_at")
    row = dialect.insert(answers).from_select(
        ["user_id", *given],
        # Only for an existing user: the error of the foreign key could not be distinguished from others.
        select(users.c.id, *(cast(bindparam(name), answers.c[name].type) for name in given)).where(
            users.c.id == bindparam("user_id")
        ),
    )
    renewed = {name: row.excluded[name] for name in ("fingerprint", "expires_at")}
    emptied = dict.fromkeys(("status", "headers", "body", "subject"), null())
    return row.on_conflict_do_update(
        index_elements=list(answers.primary_key), set_=renewed | emptied, where=answers.c.expires_at <= bindparam("now")
    ).returning(answers.c.key)


_OF_CLAIM: Final = and_(
    answers.c.user_id == bindparam("user_id"), answers.c.route == bindparam("route"), answers.c.key == bindparam("key")
)
CLAIM: Final = Statement(_claim)
FIND_ANSWER: Final = _always(select(answers.c.fingerprint, *ANSWER.columns).where(_OF_CLAIM))
KEEP_ANSWER: Final = _always(
    update(answers).where(_OF_CLAIM).values({column.name: bindparam(f"new_{column.name}") for column in ANSWER.columns})
)
EMPTY_ANSWERS: Final = _always(
    update(answers).where(answers.c.subject == bindparam("id")).values(headers=null(), body=null())
)
# So many at once that they grow fewer, and none pays for all. Those that another transaction has taken are its own.
_EXPIRED: Final = (
    select(*answers.primary_key)
    .where(answers.c.expires_at <= bindparam("now"))
    .order_by(answers.c.expires_at)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)
FORGET_ANSWERS: Final = _always(delete(answers).where(tuple_(*answers.primary_key).in_(_EXPIRED)))


def list_events(*, until: bool, subject: bool, types: int | None) -> Statement:
    """Events after a seq, with the row of the log: `types` is how many are asked for, None for all.

    With types, at most `EXAMINED_MAX` events are read; the last column is the seq of the last one where there may be more,
    else null.
    """
    conditions = [events.c.seq > bindparam("after")]
    if until:
        conditions.append(events.c.seq <= bindparam("until"))
    if subject:
        conditions.append(events.c.subject == bindparam("subject"))
    found = select(*EVENT.columns).where(*conditions).order_by(events.c.seq)
    end: Any = null()
    if types is not None:
        examined = found.limit(literal_column(str(EXAMINED_MAX))).cte("examined")
        end = (
            select(case((func.count() == EXAMINED_MAX, func.max(examined.c.seq))))
            .select_from(examined)
            .scalar_subquery()
        )
        wanted = or_(false(), *(examined.c.type == bindparam(f"type{number}") for number in range(types)))
        found = select(*examined.c).where(wanted).order_by(examined.c.seq)
    page = found.limit(bindparam("limit")).subquery()
    return _always(
        select(log.c.epoch, log.c.seq, log.c.first, *page.c, end)
        .select_from(log.outerjoin(page, true()))
        .order_by(page.c.seq)
    )


# Looking after all of it

COUNT_USERS: Final = _always(select(func.count(), func.max(users.c.version)).select_from(users))
COUNT_EVENTS: Final = _always(select(func.count(), func.min(events.c.seq), func.max(events.c.seq)).select_from(events))
SET_EPOCH: Final = _always(update(log).values(epoch=bindparam("epoch")))
