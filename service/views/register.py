"""Making an account of one's own."""

from __future__ import annotations

from datetime import timedelta

from aiohttp import web

from service import problems
from service.domain import accounts, registrations
from service.domain.accounts import NewUser
from service.domain.errors import RegistrationClosed
from service.domain.passwords import refuse_common
from service.keys import CLOCK, POSTBOX, SETTINGS, STORE
from service.operations import Access, Operation, Reply, operation
from service.schemas.auth import Accepted
from service.schemas.users import Registration, UserAnswer
from service.views.base import View
from service.views.mailed import accepted, count
from service.views.users import created


class Register(View):
    @operation(
        Operation(
            id="register",
            summary="Register an account",
            description=(
                "Makes an account with the role `member`. `ROSTER_REGISTRATION=closed` answers 403. `verify` answers 202 "
                "whatever it finds, after the same time: a mail tells the owner of the address how to go on."
            ),
            tag="auth",
            access=Access.PUBLIC,
            writes=True,
            body=Registration,
            body_examples={
                "ada": {
                    "username": "ada",
                    "email": "ada@example.com",
                    "name": "Ada Lovelace",
                    "password": "correct horse battery staple",
                }
            },
            replies={
                201: Reply("The account that was made.", UserAnswer, headers=("Location", "ETag", "Roster-Position")),
                202: Reply("The address will be asked.", Accepted, headers=("Cache-Control",)),
            },
            refusals=(problems.FORBIDDEN, problems.TAKEN),
        )
    )
    async def post(self) -> web.Response:
        app = self.request.app
        mode = app[SETTINGS].registration
        if mode == "closed":
            raise RegistrationClosed()
        new = NewUser(**(await self.body(Registration)).model_dump())
        if mode == "verify":
            return await self._ask_address(new, new.password or "")
        registration = accounts.create(app[STORE], self.hasher, app[CLOCK], self.by, new, None)
        return created(await self.write(registration, "register"))

    async def _ask_address(self, new: NewUser, password: str) -> web.Response:
        """Do all that takes time, and is the same for every address; the rest happens behind the answer."""
        app = self.request.app
        count(self, new.email)
        refuse_common(password, new.username, new.email, new.name)
        password_hash = await self.hasher.hash(password)
        ttl = timedelta(seconds=app[SETTINGS].verify_ttl_s)
        registration = registrations.register(app[STORE], app[CLOCK], self.by, new, password_hash, ttl)
        app[POSTBOX].later(registration, "register")
        return accepted()
