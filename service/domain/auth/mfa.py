"""The second factor, wherever a password alone is not enough."""

from __future__ import annotations

from service.domain.auth import recovery_codes, totp
from service.domain.errors import OtpFieldMissing, OtpFieldWrong
from service.domain.mail.notices import notify_owner
from service.domain.ports import Clock, Transaction
from service.domain.users.user import Credentials


async def consume_code(transaction: Transaction, clock: Clock, owner: Credentials, otp: str) -> bool:
    """Whether this is a code of now or a recovery code, neither used before. It is used up by that, if the write commits.

    A code is used once although it is good for a while: who looked over a shoulder has nothing (RFC 6238, 5.2).
    """
    now, user, factor = clock(), owner.user, owner.second_factor
    step = None if factor is None else totp.step_of(factor.secret, otp, now)
    if step is not None:
        return await transaction.second_factors.consume_totp_step(user.id, step)
    digest = recovery_codes.digest_of(otp)
    if digest is None or not await transaction.second_factors.consume_recovery_code(user.id, digest):
        return False
    await transaction.audit.record("recovery_code.used", user.id, user.id)
    # A recovery code may have been used by a thief, so the owner is notified.
    await notify_owner(transaction, clock, user.email, "code_used")
    return True


async def require_code(transaction: Transaction, clock: Clock, owner: Credentials, otp: str | None) -> None:
    """Consume the code of a signed-in user whose password was verified. A user without a second factor needs none.

    Raises `OtpFieldMissing`, `OtpFieldWrong`.
    """
    if not owner.asks_otp:
        return
    if otp is None:
        raise OtpFieldMissing()
    if not await consume_code(transaction, clock, owner, otp):
        raise OtpFieldWrong()
