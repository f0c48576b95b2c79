"""Where log lines go and what they look like.

Lines leave through one thread with a bounded backlog: a full pipe or a stuck reader of stdout must not stop the loop.
Lines that do not fit are dropped, and the next line that fits reports their number.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal, TextIO

from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web import RequestPayloadError

_RESERVED: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# An extra field of many lines, which a person reads better below the line than in it.
_BLOCK: Final = "block"

_ATOMIC_BYTES: Final = 4_096  # PIPE_BUF of Linux

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class LineWriter:
    """Writes batches of lines to a stream from a thread of its own.

    Args:
        most_lines: backlog that is kept while the stream does not take any.
        formatter: of the line that says how many were dropped; None for JSON.
    """

    def __init__(self, stream: TextIO, most_lines: int = 10_000, formatter: logging.Formatter | None = None) -> None:
        self._stream = stream
        self._most = most_lines
        self._lines: deque[str] = deque()
        self._dropped = 0
        self._formatter = formatter or JsonFormatter()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def put(self, *lines: str) -> None:
        """Hand over lines, without their ends; never waits."""
        with self._lock:  # two threads that looked at the same room would fill it twice
            room = max(self._most - len(self._lines), 0)
            self._lines.extend(lines[:room])
            self._dropped += max(len(lines) - room, 0)

    def flush(self) -> None:
        """Have what was handed over written soon."""
        self._wake.set()

    def close(self, timeout_s: float = 1) -> None:
        """Write what is left, if the stream takes it within the time. Safe to call twice."""
        self._closing = True
        self._wake.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            while self._lines:
                batch = [self._lines.popleft() for _ in range(min(len(self._lines), 512))]
                with self._lock:
                    dropped, self._dropped = self._dropped, 0
                if dropped:
                    record = logging.LogRecord("roster", logging.WARNING, "", 0, "log lines dropped", (), None)
                    record.count = dropped
                    batch.append(self._formatter.format(record))
                try:
                    for piece in _pieces(batch):
                        self._stream.write(piece)
                        self._stream.flush()
                except (OSError, ValueError):  # stderr is closed, so the failure cannot be reported
                    self._lines.clear()
            if self._closing:
                return


def _pieces(lines: Iterable[str]) -> Iterator[str]:
    """Lines that are written at once: a pipe takes up to 4,096 bytes as a whole, and mixes larger writes of several processes."""
    piece: list[str] = []
    size = 0
    for line in lines:
        length = len(line.encode(errors="replace")) + 1
        if piece and size + length > _ATOMIC_BYTES:
            yield "".join(piece)
            piece, size = [], 0
        piece.append(f"{line}\n")
        size += length
    yield "".join(piece)


class LineHandler(logging.Handler):
    """A logging handler in front of a `LineWriter`."""

    def __init__(self, writer: LineWriter) -> None:
        super().__init__()
        self.writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.writer.put(self.format(record))
            self.writer.flush()
        except Exception:
            self.handleError(record)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, msg, then the record's `extra` fields.

    Args:
        worker: number of this process among several workers, in every line; None where there is one.
    """

    def __init__(self, worker: int | None = None) -> None:
        super().__init__()
        self._worker = {} if worker is None else {"worker": worker}

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "time": utc(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": record.getMessage(),
            **self._worker,
            **extras(record),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str, ensure_ascii=True, separators=(",", ":"))


class ConsoleFormatter(logging.Formatter):
    """One line for a person: time, level, message, then the `extra` fields; control characters are escaped."""

    def format(self, record: logging.LogRecord) -> str:
        fields = dict(extras(record))
        block = fields.pop(_BLOCK, "")
        extra = "".join(f" {name}={value}" for name, value in fields.items())
        line = _CONTROL.sub(_escaped, f"{record.getMessage()}{extra}")
        for part in block.splitlines():
            line += f"\n    | {_CONTROL.sub(_escaped, part)}"
        if record.exc_info:
            # A traceback has many lines; the last one may contain input of a client.
            line += "".join(
                f"\n{_CONTROL.sub(_escaped, part)}" for part in self.formatException(record.exc_info).split("\n")
            )
        return f"{time.strftime('%H:%M:%S', time.localtime(record.created))} {record.levelname.lower():7} {line}"


def _escaped(character: re.Match[str]) -> str:
    return character[0].encode("unicode_escape").decode()


def extras(record: logging.LogRecord) -> Mapping[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _RESERVED}


def utc(seconds: float) -> str:
    """A moment as RFC 3339 with milliseconds."""
    return utc_ms(int(seconds * 1000))


def utc_ms(milliseconds: int) -> str:
    """The same from whole milliseconds since 1970."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:03d}Z"


def choose_format(setting: Literal["auto", "json", "console"], stream: TextIO) -> Literal["json", "console"]:
    if setting == "auto":
        return "console" if stream.isatty() else "json"
    return setting


def _is_fault(record: logging.LogRecord) -> bool:
    """A request that the parser rejects becomes one line at level info: any client can send such requests at any rate."""
    error = record.exc_info[1] if record.exc_info else None
    if not isinstance(error, (HttpProcessingError, RequestPayloadError)):
        return True
    record.msg, record.args = f"{record.getMessage()} ({type(error).__name__})", None
    record.exc_info = record.exc_text = None
    record.levelno, record.levelname = logging.INFO, "INFO"
    return logging.getLogger().isEnabledFor(logging.INFO)


def set_up(
    level: str, form: Literal["json", "console"], stream: TextIO | None = None, *, worker: int | None = None
) -> LineWriter:
    """Send all logging through one writer; the caller closes it at the end."""
    formatter = JsonFormatter(worker) if form == "json" else ConsoleFormatter()
    writer = LineWriter(stream or sys.stderr, formatter=formatter)
    handler = LineHandler(writer)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Its "Unhandled exception" repeats what our own line says better; its warnings about peers are input, not faults.
    aiohttp_log = logging.getLogger("aiohttp.server")
    aiohttp_log.setLevel(logging.ERROR)
    aiohttp_log.addFilter(_is_fault)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)  # the store says what it brought up to date
    return writer
