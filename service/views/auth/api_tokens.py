"""API tokens: what programs have instead of a login."""

from __future__ import annotations

from datetime import datetime, timedelta

from aiohttp import web

from service.domain.auth import api_tokens
from service.domain.auth.api_tokens import Maker, NewToken
from service.domain.errors import FieldError, Invalid
from service.http import problems
from service.http.operations import (
    Access,
    Operation,
    Reply,
    operation,
)
from service.http.path_ids import id_in_path
from service.http.view import (
    NO_STORE,
    PRIVATE,
    View,
    json_response,
)
from service.schemas.tokens import TokenCreate, TokenFilter, TokenList, TokenMade, token_answer, token_made
from service.security import api_token_secret

_TAG = "tokens"


class ApiTokensView(View):
    @operation(
        Operation(
            id="list_tokens",
            summary="List API tokens",
            description="Your own; administrators may ask for those of another user. The secret of a token is not shown again.",
            tag=_TAG,
            access=Access.BEARER,
            scope="tokens",
            query=TokenFilter,
            replies={200: Reply("The tokens that have not ended.", TokenList)},
            refusals=(problems.NOT_FOUND,),
        )
    )
    async def get(self) -> web.Response:
        services = self.services
        wanted = self.query(TokenFilter)
        found = await api_tokens.tokens_of(services.store, services.clock, self.caller, wanted.user or self.caller.id)
        answer = TokenList.model_construct(items=[token_answer(token) for token in found])
        return json_response(answer.model_dump_json().encode(), headers=PRIVATE)

    @operation(
        Operation(
            id="create_token",
            summary="Make an API token",
            description=(
                "For a program that acts for you, with only the scopes it needs. Its rights follow your role: "
                "a scope never adds to them. An API token may create others, with its own scopes and no longer lifetime."
            ),
            tag=_TAG,
            access=Access.BEARER,
            scope="tokens",
            writes=True,
            body=TokenCreate,
            body_examples={
                "reader": {"name": "nightly export", "scopes": ["users:read", "events:read"], "expires_in": 2592000}
            },
            replies={
                201: Reply(
                    "The token, shown this once: it is kept as a hash alone.", TokenMade, headers=("Cache-Control",)
                )
            },
            refusals=(problems.CONFLICT, problems.FORBIDDEN),
        )
    )
    async def post(self) -> web.Response:
        services, principal = self.services, self.principal
        body = await self.body(TokenCreate)
        text = api_token_secret.make()
        new = NewToken(
            body.name,
            api_token_secret.digest_of(text),
            api_token_secret.prefix(text),
            frozenset(body.scopes),
            self._end(body),
        )
        maker = Maker(
            principal.caller.id,
            principal.caller.role,
            principal.session_id,
            principal.scopes,
            is_token=principal.token is not None,
            expires_at=None if principal.token is None else principal.token.expires_at,
        )
        made = await self.write(api_tokens.make(services.store, services.clock, self.by, maker, new), "make token")
        return json_response(token_made(made, text).model_dump_json().encode(), status=201, headers=NO_STORE)

    def _end(self, body: TokenCreate) -> datetime | None:
        services, life_s = self.services, body.expires_in
        most_s = services.settings.api_token_ttl_s
        if most_s and "expires_in" not in body.model_fields_set:
            life_s = min(body.expires_in or most_s, most_s)
        if most_s and (life_s is None or life_s > most_s):
            raise Invalid(
                FieldError("/expires_in", "less_than_equal", f"Must be a number of seconds, {most_s:,} at most.")
            )
        return None if life_s is None else services.clock() + timedelta(seconds=life_s)


class ApiTokenView(View):
    @operation(
        Operation(
            id="revoke_token",
            summary="Revoke an API token",
            description=(
                "Ends it, and the streams that it opened, within a second everywhere. Another's id answers 404, but to an "
                "administrator."
            ),
            tag=_TAG,
            access=Access.BEARER,
            scope="tokens",
            writes=True,
            replies={204: Reply("It has ended.", headers=("Cache-Control",))},
            refusals=(problems.NOT_FOUND,),
        )
    )
    async def delete(self) -> web.Response:
        services = self.services
        revoking = api_tokens.revoke(services.store, services.clock, self.by, self.caller, id_in_path(self.request))
        await self.write(revoking, "revoke token")
        return web.Response(status=204, headers=NO_STORE)
