"""Why the work of one write has to run again."""

from __future__ import annotations

from service.domain.users.user import User


class NeedsPredecessor(Exception):
    """This write depends on an earlier one of the same transaction, whose seqs are not known yet."""


class Duplicate(Exception):
    """A name of this user was taken. Whether the other one is, too, can only be asked once this write has been undone."""

    def __init__(self, user: User, field: str) -> None:
        super().__init__()
        self.user = user
        self.field = field
