"""Several upstreams asked at once and answered together, in the order asked, failures in place."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiohttp import ClientSession

from service.outbound.failures import INTERNAL, TIMEOUT, Failed, failure
from service.outbound.fetch import FetchedResponse, fetch

log = logging.getLogger("roster.outbound")


@dataclass(frozen=True, slots=True)
class Aggregate:
    """What came.

    Attributes:
        results: by name, in the order asked.
    """

    results: Mapping[str, FetchedResponse | Failed]

    @property
    def complete(self) -> bool:
        """Whether every upstream gave an answer."""
        return all(isinstance(result, FetchedResponse) for result in self.results.values())


class Aggregator:
    """Asks upstreams by the names that settings give them.

    Args:
        upstreams: URL by name.
        concurrency: upstreams that one aggregate asks at the same time.
        timeout_s: what one aggregate waits for at most, in seconds.
        max_bytes: largest answer of one upstream, unpacked.
    """

    def __init__(
        self,
        session: ClientSession,
        upstreams: Mapping[str, str],
        *,
        concurrency: int,
        timeout_s: float,
        max_bytes: int,
    ) -> None:
        self._session = session
        self._upstreams = upstreams
        self._concurrency = concurrency
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes

    async def fetch(self, names: Sequence[str], request_id: str) -> Aggregate:
        """Ask the named upstreams; a name that stands twice is asked once.

        An upstream that is late is `TIMEOUT` in its place. Every task has ended when this returns or
        raises, so cancelling is safe: it closes the connections in use. Raises KeyError for a name that no setting
        defines, before any request is sent.
        """
        urls = {name: self._upstreams[name] for name in names}
        results: dict[str, FetchedResponse | Failed] = {}
        slots = asyncio.Semaphore(self._concurrency)

        async def ask(name: str, url: str) -> None:
            async with slots:
                results[name] = await self._ask(name, url, request_id)

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._timeout_s), asyncio.TaskGroup() as tasks:
                for name, url in urls.items():
                    tasks.create_task(ask(name, url), name=f"aggregate {name}")
        if late := [name for name in urls if name not in results]:
            log.warning(
                "upstreams timed out; the response lacks them", extra={"upstreams": late, "request_id": request_id}
            )
        return Aggregate({name: results.get(name, TIMEOUT) for name in urls})

    async def _ask(self, name: str, url: str, request_id: str) -> FetchedResponse | Failed:
        try:
            return await fetch(self._session, url, request_id=request_id, max_bytes=self._max_bytes)
        except Exception as error:
            # One upstream never takes the others with it, not even by a fault of ours or of a library.
            failed = failure(error)
            log.warning(
                "upstream failed; the response lacks it",
                extra={"upstream": name, "code": failed.code, "cause": _cause(error), "request_id": request_id},
                exc_info=error if failed is INTERNAL else None,
            )
            return failed


def _cause(error: Exception) -> str:
    # aiohttp's own sentences hold the URL, and URLs hold keys; those of the operating system and of TLS do not.
    cause = str(error.__cause__) if isinstance(error.__cause__, OSError) else ""
    return f"{type(error).__name__}: {cause}" if cause else type(error).__name__
