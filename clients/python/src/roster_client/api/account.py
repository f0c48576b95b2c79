"""`roster.account`: requests without a login, and those that a mail confirms."""

from __future__ import annotations

from typing import Any

from roster_client.http import ApiClient
from roster_client.models import User


class AsyncAccount:
    """Registration, and the e-mail address and password of an account."""

    def __init__(self, http: ApiClient) -> None:
        self._http = http

    async def register(
        self, username: str, email: str, password: str, *, name: str = "", age: int | None = None
    ) -> User | None:
        """Register an account; None if a mail must confirm it first. Raises `AlreadyExists` and `InvalidFields`."""
        body = {"username": username, "email": email, "password": password, "name": name, "age": age}
        answer = await self._http.request("POST", "/v1/auth/register", json=body, authorized=False)
        return User.from_json(answer.json(), etag=answer.headers.get("ETag")) if answer.status == 201 else None

    async def verify(self, token: str, *, password: str | None = None) -> None:
        """Confirm an address with the token of a mail. `password` is needed where the mail asks for one."""
        body: dict[str, Any] = {"token": token} if password is None else {"token": token, "password": password}
        await self._http.request("POST", "/v1/auth/verify", json=body, authorized=False)

    async def change_address(self, email: str, current_password: str, *, otp: str | None = None) -> None:
        """Request another e-mail address; the token of a mail to it confirms the change."""
        body = {"email": email, "current_password": current_password, "otp": otp}
        await self._http.request("POST", "/v1/auth/address", json=body)

    async def forgot_password(self, email: str) -> None:
        """Request a mail with a token for `reset_password`. The response never reveals whether the address is registered."""
        await self._http.request("POST", "/v1/auth/forgot", json={"email": email}, authorized=False)

    async def reset_password(self, token: str, password: str) -> None:
        """Set a new password with the token of a mail. It ends all sessions and API tokens."""
        body = {"token": token, "password": password}
        await self._http.request("POST", "/v1/auth/reset", json=body, authorized=False)
