"""`roster.totp`."""

from __future__ import annotations

from collections.abc import Sequence

from roster_client.http import ApiClient
from roster_client.models import TotpSecret, TotpStatus


class AsyncTotp:
    """The second factor of the own account (RFC 6238)."""

    def __init__(self, http: ApiClient) -> None:
        self._http = http

    async def status(self) -> TotpStatus:
        """Whether a second factor is on."""
        return TotpStatus.from_json(await self._http.json("GET", "/v1/auth/totp"))

    async def begin(self, password: str) -> TotpSecret:
        """Request a secret for an authenticator app. The second factor is on after `confirm`."""
        return TotpSecret.from_json(await self._http.json("POST", "/v1/auth/totp", json={"password": password}))

    async def confirm(self, otp: str) -> Sequence[str]:
        """Turn the second factor on with a code of the app. Returns the recovery codes, which are not shown again."""
        answer = await self._http.json("POST", "/v1/auth/totp/confirm", json={"otp": otp})
        return list(answer["recovery_codes"])

    async def renew_recovery_codes(self, password: str, otp: str) -> Sequence[str]:
        """Replace all recovery codes."""
        body = {"password": password, "otp": otp}
        answer = await self._http.json("POST", "/v1/auth/totp/recovery-codes", json=body)
        return list(answer["recovery_codes"])

    async def remove(self, password: str, otp: str) -> None:
        """Turn the second factor off."""
        await self._http.request("POST", "/v1/auth/totp/remove", json={"password": password, "otp": otp})
