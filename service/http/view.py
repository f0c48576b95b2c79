"""The base class of views: read a body or a query, run a write, render a response, HEAD and OPTIONS."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Generator, Mapping
from typing import Any, ClassVar, Final, TypeVar

from aiohttp import hdrs, web
from aiohttp.web import StreamResponse
from pydantic import BaseModel, ValidationError

from service.domain.audit import AuditSource
from service.domain.errors import Invalid, InvalidToken, Unauthenticated
from service.domain.users.accounts import Caller
from service.http import problems
from service.http.content_coding import CodingError, create_decoder
from service.http.operations import Operation, operation_of
from service.http.problems import HttpProblem
from service.http.services import CONTEXT, SERVICES, Services
from service.http.strict_json import Malformed, parse_json
from service.middleware.cors import CorsMixin, is_preflight
from service.schemas.errors import field_errors
from service.security.authenticator import Principal
from service.security.hash_admission import AdmittedHasher

B = TypeVar("B", bound=BaseModel)
T = TypeVar("T")

# The response differs between users, and may change at any time.
PRIVATE: Final[Mapping[str, str]] = {hdrs.CACHE_CONTROL: "private, no-cache", hdrs.VARY: "Authorization, Origin"}
# A secret, or true at this moment alone.
NO_STORE: Final[Mapping[str, str]] = {hdrs.CACHE_CONTROL: "no-store"}

_VERBS = ("get", "post", "put", "patch", "delete")


class View(web.View, CorsMixin):
    """A resource. Its methods are marked with `operation`; HEAD comes with `get`, OPTIONS always."""

    operations: ClassVar[Mapping[str, Operation]] = {}
    method_hint: ClassVar[str] = ""
    """A sentence that ends the detail of a 405: what to use instead of a method that is missing."""
    _methods: ClassVar[Mapping[str, str]] = {}
    _place: AdmittedHasher | None = None
    _decoded: bytes | None = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        promised = {verb.upper(): operation_of(getattr(cls, verb, None)) for verb in _VERBS}
        operations = {verb: operation for verb, operation in promised.items() if operation is not None}
        if "GET" in operations:
            # RFC 9110, 9.3.2: the same as GET without the content, which aiohttp leaves out by itself.
            operations["HEAD"] = operations["GET"]
            if not hasattr(cls, "head"):
                cls.head = cls.get  # type: ignore[attr-defined]  # subclasses with GET have it
        cls.operations = operations
        cls._methods = {method: method.lower() for method in (*operations, hdrs.METH_OPTIONS)}

    @property
    def services(self) -> Services:
        return self.request.app[SERVICES]

    def __await__(self) -> Generator[Any, None, StreamResponse]:
        """Run the middleware and the view; aiohttp awaits this."""
        request = self.request
        return request.app[SERVICES].serve(request, self).__await__()

    def respond(self) -> Awaitable[StreamResponse]:
        """Call the method that the request names; raises 405 for one that the view lacks."""
        name = self._methods.get(self.request.method)
        if name is None:
            raise web.HTTPMethodNotAllowed(self.request.method, self.allowed)
        answer: Awaitable[StreamResponse] = getattr(self, name)()
        return answer

    @property
    def allowed(self) -> list[str]:
        return sorted(self._methods)

    async def options(self) -> StreamResponse:
        """A preflight goes to aiohttp-cors; any other OPTIONS asks what is allowed (RFC 9110, 9.3.7)."""
        if is_preflight(self.request):
            if not self.request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS, "").isascii():
                # The library would repeat it in its refusal, and a byte that is not UTF-8 cannot be written.
                raise HttpProblem(problems.BAD_REQUEST, "Names of headers are ASCII.")
            preflight: StreamResponse = await super().options()  # type: ignore[no-untyped-call]  # aiohttp-cors is not typed
            return preflight
        return web.Response(status=204, headers={hdrs.ALLOW: ", ".join(self.allowed)})

    @property
    def principal(self) -> Principal:
        """The authenticated caller; the middleware guarantees one for operations that require credentials."""
        principal = self.request[CONTEXT].principal
        if principal is None:
            raise Unauthenticated()
        return principal

    @property
    def caller(self) -> Caller:
        return self.principal.caller

    @property
    def hasher(self) -> AdmittedHasher:
        """The hasher of this request: it respects the share of its network, and drops the job if the client disconnects."""
        if self._place is None:
            self._place = self.services.hash_admission.of(self.request[CONTEXT].client)
        return self._place

    @property
    def by(self) -> AuditSource:
        """By what way this request comes."""
        context = self.request[CONTEXT]
        principal = context.principal
        if principal is None:
            return AuditSource.request(context.client, context.request_id, None, is_token=False)
        return AuditSource.request(
            context.client, context.request_id, principal.session_id, is_token=principal.token is not None
        )

    async def write(self, work: Coroutine[Any, Any, T], name: str) -> T:
        """Carry a write to its end, whether the client waits for it or goes away; in the latter case it hashes nothing more."""
        try:
            return await self.services.tasks.finish(work, name)
        except asyncio.CancelledError:
            if self._place is not None:
                self._place.leave()
            raise

    async def body(self, model: type[B], *media_types: str) -> B:
        """Read the JSON body as `model`; raises `HttpProblem` when it cannot be read and `Invalid` when it breaks a rule."""
        accepted = media_types or ("application/json",)
        charset = (self.request.charset or "utf-8").lower()
        if self.request.content_type not in accepted or charset not in ("utf-8", "utf8"):
            accept: dict[str, str] = {hdrs.ACCEPT: ", ".join(accepted)}
            if self.request.method == "PATCH":
                accept["Accept-Patch"] = ", ".join(accepted)  # RFC 5789, 2.2
            raise HttpProblem(
                problems.UNSUPPORTED_MEDIA_TYPE, f"Send the body as {' or '.join(accepted)}, in UTF-8.", accept
            )
        try:
            value = parse_json(await self.read())
        except Malformed as error:
            raise HttpProblem(problems.MALFORMED_JSON, str(error)) from None
        try:
            return model.model_validate(value)
        except ValidationError as error:
            raise Invalid(*field_errors(error)) from None

    async def read(self) -> bytes:
        """The whole body, within the limits of size and time; raises `InvalidToken` where rights ended meanwhile."""
        here_already = self.request.content.is_eof()
        try:
            async with asyncio.timeout(self.services.settings.body_timeout_s):
                body = await self._decode(await self.request.read())
        except TimeoutError:
            raise HttpProblem(problems.TIMEOUT, headers={hdrs.CONNECTION: "close"}) from None
        except (web.RequestPayloadError, CodingError):
            # Framing that breaks off or a coding that does not decode: what follows on this connection is unknown.
            raise HttpProblem(
                problems.BAD_REQUEST, "The body does not arrive as its headers announce it.", {hdrs.CONNECTION: "close"}
            ) from None
        principal = self.request[CONTEXT].principal
        # Who sends the last byte half a minute after its credentials may have lost them since.
        if principal is not None and not here_already and not await self.services.authenticator.revalidate(principal):
            raise InvalidToken()
        return body

    async def _decode(self, body: bytes) -> bytes:
        """Undo the content coding; raises `CodingError`, and `HttpProblem` where it is larger then than a body may be."""
        decoder = create_decoder(self.request)
        if decoder is None:
            return body
        if self._decoded is None:
            most = self.request.client_max_size
            decoded = bytearray()
            for piece in decoder.feed(body):
                decoded += piece
                if len(decoded) > most:
                    raise web.HTTPRequestEntityTooLarge(most)
                await asyncio.sleep(0)  # a body of many tiny members takes half a second
            decoder.end()
            self._decoded = bytes(decoded)
        return self._decoded

    def query(self, model: type[B]) -> B:
        """Read the query parameters as `model`; raises `HttpProblem`, with a bad parameter named."""
        given = self.request.query
        if len(given) != len(set(given)):
            raise HttpProblem(problems.BAD_REQUEST, "A query parameter stands twice.")
        try:
            return model.model_validate(dict(given))
        except ValidationError as error:
            # Not 422, as for a body: parameters are part of the address.
            raise HttpProblem(
                problems.BAD_REQUEST,
                "A query parameter is not what it must be; `errors` names each.",
                errors=field_errors(error),
            ) from None


def json_response(body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)
