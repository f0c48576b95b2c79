"""The CPU and memory limits of the container: Linux control groups, version 2 and 1."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

_ROOT: Final = Path("/sys/fs/cgroup")
_OF_PROCESS: Final = Path("/proc/self/cgroup")
_UNLIMITED_BYTES: Final = 1 << 60  # version 1 shows "no limit" as a number near 2^63


def cpu_limit(root: Path = _ROOT, of_process: Path = _OF_PROCESS) -> float | None:
    """CPU cores that the tightest group grants; None where no group limits them."""
    limits = [_ratio(*_read(folder / "cpu.max").partition(" ")[::2]) for folder in _groups(root, of_process, "")]
    limits += [
        _ratio(_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us"))
        for folder in _groups(root, of_process, "cpu")
    ]
    return min((limit for limit in limits if limit is not None), default=None)


def memory_limit(root: Path = _ROOT, of_process: Path = _OF_PROCESS) -> int | None:
    """Bytes that the tightest group grants; None where no group limits them."""
    texts = [_read(folder / "memory.max") for folder in _groups(root, of_process, "")]
    texts += [_read(folder / "memory.limit_in_bytes") for folder in _groups(root, of_process, "memory")]
    limits = [int(text) for text in texts if text.isdecimal()]
    return min((limit for limit in limits if 0 < limit < _UNLIMITED_BYTES), default=None)


def _groups(root: Path, of_process: Path, controller: str) -> Iterator[Path]:
    """The folders of the process's group and of the groups around it; of version 2 without a controller.

    Inside a container the group is often mounted as the root, although its path names the host's.
    """
    for line in _read(of_process).splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controller in controllers.split(","):
            mounted = root / controller
            parts = Path(path.lstrip("/"))
            if ".." not in parts.parts:
                yield mounted / parts
                yield from ((mounted / parent) for parent in parts.parents)


def _ratio(quota: str, period: str) -> float | None:
    if quota.isdecimal() and period.isdecimal() and int(quota) and int(period):
        return int(quota) / int(period)
    return None


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, ValueError):
        return ""
