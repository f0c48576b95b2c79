"""Why the work of one write has to run again."""

from __future__ import annotations

from service.domain.users.user import User


class Postponed(Exception):
    """This write must run in a later transaction.

    It reads what an earlier write of this transaction changed, whose seqs are not known yet, or a row that another process has
    locked. It changed nothing of which it was not undone.
    """


class Duplicate(Exception):
    """A name of this user was taken. Whether the other user still exists can only be asked once this write has been undone."""

    def __init__(self, user: User, field: str) -> None:
        super().__init__()
        self.user = user
        self.field = field
