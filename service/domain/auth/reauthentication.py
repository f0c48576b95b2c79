"""Reauthentication: what a stolen session must not do asks for the password and the second factor again."""

from __future__ import annotations

from uuid import UUID

from service.domain.audit import AuditSource
from service.domain.auth.mfa import require_code
from service.domain.errors import InvalidToken, WrongPassword
from service.domain.ports import Clock, Hasher, Store, Transaction
from service.domain.users.user import Credentials


async def verify_password(
    store: Store, hasher: Hasher, user_id: UUID, password: str, pointer: str = "/password"
) -> str:
    """Return the stored hash that the user's own password matches, for `require_reauth`.

    It computes a hash, so call it outside of a transaction.

    Raises `WrongPassword`, naming the field at `pointer`; `InvalidToken` if the user was deleted.
    """
    user = (await store.users.find(user_id)).value
    if user is None:
        raise InvalidToken()
    credentials = await store.users.find_by_login(user.email)
    kept = credentials.password_hash if credentials is not None and credentials.user.id == user_id else None
    if not await hasher.verify(kept, password) or kept is None:
        raise WrongPassword(pointer)
    return kept


async def require_reauth(
    transaction: Transaction,
    clock: Clock,
    user_id: UUID,
    proven: str,
    otp: str | None = None,
    pointer: str = "/password",
) -> Credentials:
    """Return the credentials of a user whose password matched the hash `proven`, and consume the code.

    A password that was changed after the check is wrong.

    Raises `WrongPassword`, `OtpFieldMissing`, `OtpFieldWrong`; `InvalidToken` if the user was deleted.
    """
    found = await transaction.users.find_credentials(user_id)
    if found is None:
        raise InvalidToken()
    if found.password_hash != proven:
        raise WrongPassword(pointer)  # the password was changed after the check
    await require_code(transaction, clock, found, otp)
    return found


async def reauthenticate(
    store: Store,
    hasher: Hasher,
    clock: Clock,
    by: AuditSource,
    user_id: UUID,
    password: str,
    otp: str | None,
    pointer: str = "/password",
) -> str:
    """Verify the password and consume the code, for an action after the response. Raises like `verify_password` and `require_reauth`."""
    proven = await verify_password(store, hasher, user_id, password, pointer)

    async def work(transaction: Transaction) -> None:
        await require_reauth(transaction, clock, user_id, proven, otp, pointer)

    await store.write(work, by)
    return proven
