"""The versions of the measured software."""

from __future__ import annotations

import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version


def versions(*distributions: str) -> str:
    """Python and those of the distributions that are installed, each with its version."""
    named = [f"Python {platform.python_version()}"]
    for name in distributions:
        with suppress(PackageNotFoundError):
            named.append(f"{name} {version(name)}")
    return ", ".join(named)
