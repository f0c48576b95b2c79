"""The failures of outbound calls: each has a stable code and a sentence that every client may see.

| code           | when                                                             | worth another try?      |
|----------------|------------------------------------------------------------------|-------------------------|
| `timeout`      | no whole answer in time: ours, the socket's or the caller's      | later                   |
| `dns`          | the name does not resolve                                        | later, if it ever did   |
| `connection`   | refused, reset, or cut before the answer was whole               | yes                     |
| `tls`          | the certificate is not trusted, or no common version of TLS      | no: an operator must act |
| `protocol`     | what came is not HTTP, or cannot be unpacked                     | no                      |
| `redirect`     | the answer points elsewhere; calls out never follow              | no: the URL must change |
| `too_large`    | the answer, unpacked, is over the bound                          | no                      |
| `not_json`     | the answer does not call itself JSON, as an HTML error page      | by its status           |
| `invalid_json` | it does and is not, or not such as can be passed on              | no                      |
| `internal`     | our fault; the log has the rest                                  | no                      |

The sentences are fixed: texts of exceptions carry URLs, and with them keys, and addresses of the inner network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import aiohttp
from aiohttp.http_exceptions import ContentEncodingError


@dataclass(frozen=True, slots=True)
class Failed:
    """No usable answer.

    Attributes:
        code: a word of the table above.
        detail: one sentence for people; names neither URL nor address.
    """

    code: str
    detail: str


TIMEOUT: Final = Failed("timeout", "The upstream did not answer in time.")
DNS: Final = Failed("dns", "The name of the upstream does not resolve.")
CONNECTION: Final = Failed("connection", "The connection to the upstream could not be made or broke off.")
TLS: Final = Failed("tls", "The upstream cannot be trusted: its certificate or its TLS is not acceptable.")
PROTOCOL: Final = Failed("protocol", "What the upstream sent is not an HTTP answer that can be read.")
REDIRECT: Final = Failed("redirect", "The upstream answered with a redirect; redirects are not followed.")
TOO_LARGE: Final = Failed("too_large", "The upstream's answer is larger than what is taken.")
INVALID_JSON: Final = Failed("invalid_json", "The upstream's answer calls itself JSON and cannot be read as that.")
INTERNAL: Final = Failed("internal", "The upstream could not be asked.")


def not_json(status: int) -> Failed:
    return Failed("not_json", f"The upstream answered {status} with something that is not JSON.")


class Unusable(aiohttp.ClientError):
    """An answer came and is not taken; `failed` says why."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.detail)
        self.failed = failed


_BY_ERROR: Final[Mapping[type[BaseException], Failed]] = {
    aiohttp.ClientConnectorDNSError: DNS,
    aiohttp.ClientSSLError: TLS,
    aiohttp.ServerTimeoutError: TIMEOUT,
    aiohttp.ClientConnectionError: CONNECTION,
    aiohttp.ClientPayloadError: CONNECTION,
    aiohttp.ClientResponseError: PROTOCOL,
    TimeoutError: TIMEOUT,
    OSError: CONNECTION,
}


def failure(error: Exception) -> Failed:
    """The failure for an exception of a call, by the nearest class in the table; `INTERNAL` for any other."""
    if isinstance(error, Unusable):
        return error.failed
    if isinstance(error, aiohttp.ClientPayloadError) and isinstance(error.__cause__, ContentEncodingError):
        return PROTOCOL  # the same class stands for a cut body and for one that does not unpack
    for cls in type(error).__mro__:
        if (failed := _BY_ERROR.get(cls)) is not None:
            return failed
    return INTERNAL
