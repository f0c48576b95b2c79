"""Phones with an app that shows codes, and their owners."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from pyotp import TOTP

from service.domain.ports import Transaction
from service.http.services import SERVICES
from tests.support.domain import BY
from tests.support.server import Login, Server


@dataclass
class Phone:
    """A user's authenticator app, and the recovery codes on paper."""

    server: Server
    owner: Login
    secret: str
    recovery_codes: list[str]

    def shown(self, steps: int = 0) -> str:
        """The code of now, or so many steps from now; it may have been taken."""
        now = self.server.app[SERVICES].clock()
        return TOTP(self.secret).at(now + timedelta(seconds=30 * steps))

    async def code(self) -> str:
        """A code that will be taken, as if those of before had been shown long ago."""
        user_id = UUID(self.owner.id)

        async def work(transaction: Transaction) -> None:
            found = await transaction.users.find_credentials(user_id)
            assert found is not None
            assert found.second_factor is not None
            await transaction.second_factors.save(user_id, replace(found.second_factor, last_step=0))

        await self.server.app[SERVICES].store.write(work, BY)
        return self.shown()


async def protect(server: Server, owner: Login) -> Phone:
    """Turn on the second factor of a user."""
    begun = await server.json("POST", "/v1/auth/totp", owner, json={"password": owner.password})
    phone = Phone(server, owner, begun["secret"], [])
    confirmed = await server.json("POST", "/v1/auth/totp/confirm", owner, json={"otp": phone.shown()})
    phone.recovery_codes = confirmed["recovery_codes"]
    return phone
