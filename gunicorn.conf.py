"""gunicorn's configuration: `gunicorn` in this folder, or `gunicorn --config …/gunicorn.conf.py`, is all it takes.

The service's own settings (`ROSTER_…`) choose everything. This file sets only what belongs to gunicorn: the runner
brings its keep-alive, its access log and its shutdown timeout along, and gunicorn's settings of these names do nothing.
"""

import faulthandler
import logging
import math
import os
import sys

from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker as BaseWorker

from service.config.load import load
from service.config.settings import PREFIX, SettingsError
from service.server.gunicorn_worker import Worker
from service.server.workers.slots import slots_of_master
from service.telemetry.logs import choose_format

try:
    settings = load()
except SettingsError as error:
    sys.exit(f"roster: {error}")

wsgi_app = "service.server.serve:make_runner"
worker_class = "service.server.gunicorn_worker.Worker"
bind = f"{f'[{settings.host}]' if ':' in settings.host else settings.host}:{settings.port}"
workers = settings.workers
backlog = 2048  # a restart brings every stream back within seconds

# Modules are imported once, in the master: HUP takes new settings, and new code takes a restart. A worker that found newer
# modules beside those that this file imports would have the settings of one version and the code of another.
preload_app = True

# The worst case: readiness fails for drain_delay_s, streams end over drain_spread_s, then slow ones are closed, then
# requests in flight, then tasks, each with shutdown_timeout_s, then what is left to cancel and to close. A worker that takes
# longer is killed and closes nothing.
graceful_timeout = math.ceil(settings.drain_delay_s + settings.drain_spread_s + 3 * settings.shutdown_timeout_s) + 10
# A worker gives no sign of life while it stops.
timeout = graceful_timeout + 10

control_socket_disable = True  # it is not used, and a read-only file system has no place for it
# A heartbeat must not wait for a disk.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # nosec B108  # gunicorn makes the file

# gunicorn's lines have the format of ours, so that stderr has one format.
loglevel = settings.log_level
_FORMS = {"json": "service.telemetry.logs.JsonFormatter", "console": "service.telemetry.logs.ConsoleFormatter"}
_STDERR = {"class": "logging.StreamHandler", "formatter": "generic", "stream": "ext://sys.stderr"}
logconfig_dict = {
    "formatters": {"generic": {"()": _FORMS[choose_format(settings.log_format, sys.stderr)]}},
    "handlers": {"console": _STDERR, "error_console": _STDERR},
    "loggers": {"gunicorn.error": {"level": loglevel.upper(), "handlers": ["error_console"], "propagate": False}},
}


def on_starting(server: Arbiter) -> None:
    if settings.is_shared:
        slots_of_master()


def pre_fork(server: Arbiter, worker: BaseWorker) -> None:
    if isinstance(worker, Worker) and settings.is_shared:
        worker.slots = slots_of_master()


def on_exit(server: Arbiter) -> None:
    if settings.is_shared:
        slots_of_master().remove()


def nworkers_changed(server: Arbiter, new: int, old: int | None) -> None:
    """Refuse a second worker beside a store of one process, from whatever it comes: settings, `--workers`, HUP or TTIN."""
    if new == 1 or settings.is_shared:
        return
    sentence = (
        f"{PREFIX}WORKERS={new}: the memory store lives in one process; with more, each would keep its own accounts and "
        f"tell its own readers only. Set {PREFIX}WORKERS=1."
    )
    if settings.store_kind == "sqlite":
        sentence = f"{PREFIX}WORKERS={new}: a SQLite file belongs to one process. Set {PREFIX}WORKERS=1, or use PostgreSQL and Redis."
    elif settings.store_kind == "postgresql":
        sentence = f"{PREFIX}WORKERS={new}: several processes share rooms through Redis. Set {PREFIX}REDIS_URL, or {PREFIX}WORKERS=1."
    if old is None:
        sys.exit(f"roster: {sentence}")
    logging.getLogger("gunicorn.error").error("%s", sentence)
    server.num_workers = 1


def post_worker_init(worker: BaseWorker) -> None:
    # A worker whose loop is blocked is ended by SIGABRT: this says where it was.
    faulthandler.enable()
