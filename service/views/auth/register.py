"""Registration."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from aiohttp import web

from service.domain.errors import RegistrationClosed
from service.domain.users import accounts, registration
from service.domain.users.accounts import NewUser
from service.http import problems
from service.http.operations import (
    Access,
    Operation,
    Reply,
    operation,
)
from service.http.services import CONTEXT
from service.http.view import View
from service.schemas.auth import Accepted
from service.schemas.users import PendingRegistration, Registration, UserAnswer
from service.views.auth.email_flows import accepted, count
from service.views.users.users import created


class RegistrationView(View):
    @operation(
        Operation(
            id="register",
            summary="Register an account",
            description=(
                "Creates an account with the role `member`. `ROSTER_REGISTRATION=open` answers 201. `verify` ignores the "
                "password, which may be left out, and answers 202 for every address, after the same time: the owner of the "
                "address receives a mail with a token, and sets the password with it (`POST /v1/auth/verify`). `closed` "
                "answers 403. A network may register 60 accounts an hour (`ROSTER_REGISTRATION_LIMIT`)."
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
            refusals=(problems.FORBIDDEN, problems.ALREADY_EXISTS),
        )
    )
    async def post(self) -> web.Response:
        services = self.services
        mode = services.settings.registration
        if mode == "closed":
            raise RegistrationClosed()
        body = await self.body(PendingRegistration if mode == "verify" else Registration)
        limit = services.registration_limit
        if limit is not None:
            limit.hit(self.request[CONTEXT].client)
        new = NewUser(**body.model_dump())
        if mode == "verify":
            # The client need not be the owner of the address: a password that it chose must not open the account.
            return self._request_confirmation(replace(new, password=None))
        registration = accounts.create(services.store, self.hasher, services.clock, self.by, new, None)
        return created(await self.write(registration, "register"))

    def _request_confirmation(self, new: NewUser) -> web.Response:
        """Answer every address alike, after the same time; the registration runs after the response."""
        services = self.services
        count(self, new.email)
        ttl = timedelta(seconds=services.settings.verify_ttl_s)
        work = registration.register(services.store, services.clock, self.by, new, ttl)
        services.mail_worker.later(work, "register")
        return accepted()
