"""What whoever is logged in shows again, before what a stolen token must not do."""

from __future__ import annotations

from uuid import UUID

from service.domain.errors import InvalidToken, WrongPassword
from service.domain.ports import Hasher, Store
from service.domain.users import Credentials


async def prove(
    store: Store, hasher: Hasher, user_id: UUID, password: str, pointer: str = "/current_password"
) -> Credentials:
    """What is kept of a user whose present password this is.

    Args:
        pointer: where it stands in the body, for who sent a wrong one.

    Raises `WrongPassword`; `InvalidToken` when there is no such user any more.
    """
    user = (await store.user(user_id)).value
    if user is None:
        raise InvalidToken()
    credentials = await store.credentials(user.email)
    if credentials is not None and credentials.user.id != user_id:
        credentials = None  # the address has gone elsewhere meanwhile
    kept = None if credentials is None else credentials.password_hash
    if not await hasher.verify(kept, password) or credentials is None:
        raise WrongPassword(pointer)
    return credentials
