"""One page of metrics for all workers of a host: each serves its own on a socket, and the one that is asked collects them."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from service.server.workers.slots import WorkerSlot

_TIMEOUT_S: Final = 0.5
_MOST_BYTES: Final = 16 << 20
_SAMPLE: Final = re.compile(r"([A-Za-z_:][A-Za-z0-9_:]*)(?:\{(.*)\})? (.*)")
_EOF: Final = "# EOF"


class MetricPages:
    """The pages of this worker and of the others.

    Args:
        render: the page of this worker in the format that an `Accept` header prefers.
    """

    def __init__(self, slot: WorkerSlot, render: Callable[[str], bytes]) -> None:
        self._slot = slot
        self._render = render
        self._server: asyncio.AbstractServer | None = None

    async def open(self) -> None:
        path = self._path(self._slot.number)
        with contextlib.suppress(FileNotFoundError):  # of a worker that was killed
            path.unlink()
        self._server = await asyncio.start_unix_server(self._answer, path)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._path(self._slot.number).unlink(missing_ok=True)

    async def collect(self, accept: str) -> bytes:
        """The samples of all workers that answer within half a second, each with the label `worker`."""
        numbers = sorted(int(path.suffix[1:]) for path in self._slot.slots.folder.glob("metrics.*"))
        pages = await asyncio.gather(*(self._fetch(number, accept) for number in numbers))
        return merge_pages({number: page for number, page in zip(numbers, pages, strict=True) if page is not None})

    async def _fetch(self, number: int, accept: str) -> str | None:
        if number == self._slot.number:
            return self._render(accept).decode()
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                reader, writer = await asyncio.open_unix_connection(self._path(number), limit=_MOST_BYTES)
                try:
                    writer.write(accept.encode("latin-1", "replace") + b"\n")
                    return (await reader.read()).decode()
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return None  # it ended, or its loop is busy: its samples are missing on this page

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                accept = (await reader.readline()).decode("latin-1").rstrip("\n")
                writer.write(self._render(accept))
                await writer.drain()
        except (OSError, TimeoutError, ValueError):
            pass
        finally:
            writer.close()

    def _path(self, number: int) -> Path:
        return self._slot.slots.folder / f"metrics.{number}"


def merge_pages(pages: Mapping[int, str]) -> bytes:
    """One page of several, in which every sample carries the number of its worker as the label `worker`."""
    families: dict[str, list[str]] = {}
    ends = False
    for worker, page in pages.items():
        samples = families.setdefault("", [])  # what stands before the first family, which is nothing
        for line in page.splitlines():
            if line == _EOF:
                ends = True
            elif line.startswith("#"):
                _, keyword, name, *_ = line.split(" ", 3)
                if keyword in ("HELP", "TYPE", "UNIT"):
                    samples = families.setdefault(name, [])
                if line not in samples:
                    samples.append(line)
            elif line:
                samples.append(_label(line, worker))
    lines = [line for samples in families.values() for line in samples]
    return ("\n".join((*lines, *((_EOF,) if ends else ()))) + "\n").encode()


def _label(sample: str, worker: int) -> str:
    found = _SAMPLE.fullmatch(sample)
    if found is None:
        return sample
    name, labels, rest = found.groups()
    return f'{name}{{{f"{labels}," if labels else ""}worker="{worker}"}} {rest}'
