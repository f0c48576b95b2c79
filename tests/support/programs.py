"""Servers that some tests run and not every machine has: proxies, and the pooler of PostgreSQL connections."""

from __future__ import annotations

import os
import shutil

import pytest

# Debian keeps servers where only root's PATH looks.
_FOLDERS = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin"))


def find_program(name: str) -> str | None:
    """The path of a program; None where it is not installed."""
    return shutil.which(name, path=_FOLDERS)


def require_programs(*names: str) -> None:
    """Skip the test where one of these is not installed. Under CI the test fails instead, as nothing is left out there."""
    missing = [name for name in names if find_program(name) is None]
    if missing:
        report = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        report(f"not installed: {', '.join(missing)}")
