"""The second factor of the caller, and its removal by an administrator."""

from __future__ import annotations

import logging
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web
from pydantic import BaseModel

from service.domain.auth import second_factors, totp
from service.http import problems
from service.http.operations import (
    Access,
    Operation,
    Reply,
    operation,
)
from service.http.path_ids import id_in_path
from service.http.view import NO_STORE, json_response
from service.schemas.totp import RecoveryCodeSet, TotpBegin, TotpConfirm, TotpProof, TotpSecret, TotpStatus
from service.views.auth.reauth import ReauthView

_TAG: Final = "auth"
_CODES: Final = Reply("The recovery codes, shown this once.", RecoveryCodeSet, headers=("Cache-Control",))

log = logging.getLogger("roster.auth")


class SecondFactorView(ReauthView):
    """The base of views that change a second factor."""

    def done(self, change: str) -> None:
        """Count a change, and wake the mail worker, which notifies the owner."""
        self.services.metrics.second_factors.labels(change).inc()
        self.services.mail_worker.wake()


class TotpView(SecondFactorView):
    @operation(
        Operation(
            id="get_totp",
            summary="Look at your second factor",
            description="Whether a login takes a code, since when, and how many recovery codes are left.",
            tag=_TAG,
            access=Access.BEARER,
            scope="sessions",
            replies={200: Reply("The state of the second factor.", TotpStatus, headers=("Cache-Control",))},
        )
    )
    async def get(self) -> web.Response:
        factor, left = await self.services.store.second_factors.find(self.caller.id) or (None, 0)
        since = None if factor is None else factor.since
        return _shown(TotpStatus(enabled=since is not None, since=since, recovery_codes_left=left))

    @operation(
        Operation(
            id="begin_totp",
            summary="Begin a second factor",
            description=(
                "Makes a secret for an app that shows codes (TOTP, RFC 6238). Nothing asks for a code before one has "
                "confirmed it; beginning again makes another secret. Wrong passwords count as failed logins."
            ),
            tag=_TAG,
            access=Access.BEARER,
            scope="sessions",
            writes=True,
            body=TotpBegin,
            replies={200: Reply("The secret, shown this once.", TotpSecret, headers=("Cache-Control",))},
            refusals=(problems.CONFLICT,),
        )
    )
    async def post(self) -> web.Response:
        services = self.services
        body = await self.body(TotpBegin)
        hasher = self.hasher
        begun = await self.throttled(
            lambda: second_factors.begin(
                services.store, hasher, services.clock, self.by, self.caller.id, body.password
            ),
            "begin a second factor",
        )
        issuer = urlsplit(services.settings.public_url).hostname or "Roster"
        return _shown(TotpSecret(secret=begun.secret, uri=totp.uri(begun.secret, issuer, begun.user.username)))


class TotpConfirmationView(SecondFactorView):
    @operation(
        Operation(
            id="confirm_totp",
            summary="Turn on your second factor",
            description=(
                "With the first code of the app. From then on a login takes a code as well, and so does what asks for your "
                "password. Ends all your other sessions, with their streams. Wrong codes count as failed logins."
            ),
            tag=_TAG,
            access=Access.BEARER,
            scope="sessions",
            writes=True,
            body=TotpConfirm,
            replies={200: _CODES},
            refusals=(problems.CONFLICT,),
        )
    )
    async def post(self) -> web.Response:
        services, principal = self.services, self.principal
        body = await self.body(TotpConfirm)

        async def confirm() -> list[str]:
            user_id, session_id = principal.caller.id, principal.session_id
            codes = await second_factors.confirm(services.store, services.clock, self.by, user_id, session_id, body.otp)
            self.done("on")
            return codes

        codes = await self.throttled(confirm, "confirm a second factor", proves=False)
        return _shown(RecoveryCodeSet(recovery_codes=codes))


class RecoveryCodesView(SecondFactorView):
    @operation(
        Operation(
            id="renew_recovery_codes",
            summary="Make new recovery codes",
            description="Those of before are worth nothing then. Wrong passwords and codes count as failed logins.",
            tag=_TAG,
            access=Access.BEARER,
            scope="sessions",
            writes=True,
            body=TotpProof,
            replies={200: _CODES},
            refusals=(problems.CONFLICT,),
        )
    )
    async def post(self) -> web.Response:
        services = self.services
        body = await self.body(TotpProof)
        hasher = self.hasher

        async def renew() -> list[str]:
            codes = await second_factors.renew_codes(
                services.store, hasher, services.clock, self.by, self.caller.id, body.password, body.otp
            )
            self.done("codes")
            return codes

        codes = await self.throttled(renew, "renew recovery codes")
        return _shown(RecoveryCodeSet(recovery_codes=codes))


class TotpRemovalView(SecondFactorView):
    @operation(
        Operation(
            id="remove_totp",
            summary="Turn off your second factor",
            description=(
                "Ends all your other sessions, with their streams. One that was only begun is forgotten, without a code. "
                "Wrong passwords and codes count as failed logins. No DELETE, because what it takes stands in a body."
            ),
            tag=_TAG,
            access=Access.BEARER,
            scope="sessions",
            writes=True,
            body=TotpProof,
            replies={204: Reply("The password alone logs in.", headers=("Cache-Control",))},
            refusals=(problems.CONFLICT,),
        )
    )
    async def post(self) -> web.Response:
        services, principal = self.services, self.principal
        body = await self.body(TotpProof)
        hasher = self.hasher

        async def remove() -> None:
            user_id, session_id = principal.caller.id, principal.session_id
            was_on = await second_factors.remove(
                services.store,
                hasher,
                services.clock,
                self.by,
                user_id,
                session_id,
                body.password,
                body.otp,
            )
            if was_on:
                self.done("off")

        await self.throttled(remove, "remove a second factor")
        return web.Response(status=204, headers=NO_STORE)


class UserTotpView(SecondFactorView):
    @operation(
        Operation(
            id="remove_totp_of_user",
            summary="Turn off the second factor of a user",
            description=(
                "For administrators, when a user has lost the phone and the recovery codes. Ends all sessions of the user, "
                "with their streams, and notifies the owner by mail. Your own second factor is removed with a code, not here."
            ),
            tag="users",
            access=Access.BEARER,
            scope="sessions",
            writes=True,
            replies={204: Reply("The user's password alone logs in.", headers=("Cache-Control",))},
            refusals=(problems.FORBIDDEN, problems.NOT_FOUND),
        )
    )
    async def delete(self) -> web.Response:
        services, caller = self.services, self.caller
        user_id = id_in_path(self.request)

        async def remove() -> None:
            await second_factors.remove_from(services.store, services.clock, self.by, caller, user_id)
            self.done("removed")
            # After this, the password alone is enough to log in; the log line lets operators notice social engineering.
            log.warning(
                "an administrator removed a second factor", extra={"user": str(user_id), "actor": str(caller.id)}
            )

        await self.write(remove(), "remove a user's second factor")
        return web.Response(status=204, headers=NO_STORE)


def _shown(answer: BaseModel) -> web.Response:
    return json_response(answer.model_dump_json().encode(), headers=NO_STORE)
