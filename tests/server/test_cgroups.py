"""The limits of a container, read from files as the kernel writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.security import argon2_hasher
from service.server import cgroups


def write(root: Path, files: dict[str, str]) -> tuple[Path, Path]:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{text}\n")
    return root, root / "self"


@pytest.mark.parametrize(
    ("files", "cpu", "memory"),
    [
        pytest.param({}, None, None, id="no control groups"),
        pytest.param({"self": "0::/", "cpu.max": "max 100000", "memory.max": "max"}, None, None, id="no limit"),
        pytest.param({"self": "0::/", "cpu.max": "150000 100000", "memory.max": "536870912"}, 1.5, 1 << 29, id="v2"),
        pytest.param(
            {"self": "0::/a/b", "a/cpu.max": "200000 100000", "a/b/cpu.max": "max 100000", "a/b/memory.max": "1024"},
            2.0, 1024, id="v2, limited by a group around it",
        ),
        pytest.param({"self": "0::/on/the/host", "cpu.max": "50000 100000"}, 0.5, None, id="v2, mounted as the root"),
        pytest.param({"self": "0::/../../x", "cpu.max": "max"}, None, None, id="outside of the namespace"),
        pytest.param(
            {
                "self": "4:memory:/docker/1\n3:cpu,cpuacct:/docker/1",
                "cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000",
                "memory/docker/1/memory.limit_in_bytes": "268435456",
                "memory/memory.limit_in_bytes": "9223372036854771712",
            },
            3.0, 1 << 28, id="v1",
        ),
        pytest.param(
            {"self": "3:cpu:/", "cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
            None, None, id="v1, no limit",
        ),
    ],
)  # fmt: skip
def test_limits_of_control_groups(tmp_path: Path, files: dict[str, str], cpu: float | None, memory: int | None) -> None:
    """The tightest limit of the process's group and of those around it counts, in version 2 and 1."""
    root, of_process = write(tmp_path, files)

    assert cgroups.cpu_limit(root, of_process) == cpu
    assert cgroups.memory_limit(root, of_process) == memory


@pytest.mark.parametrize(
    ("cores", "cpu", "memory", "workers"),
    [
        (64, None, None, 16),
        (4, None, None, 3),
        (1, None, None, 1),
        (64, 4.0, None, 3),
        (64, 0.5, None, 1),
        (64, None, 1 << 29, 2),
        (64, 8.0, 1 << 26, 1),
    ],
)
def test_hash_threads_stay_within_the_container(
    monkeypatch: pytest.MonkeyPatch, cores: int, cpu: float | None, memory: int | None, workers: int
) -> None:
    """Threads are cores minus one, of the host or the container, at most 16, and take a quarter of the memory at most."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)))
    monkeypatch.setattr("service.server.cgroups.cpu_limit", lambda: cpu)
    monkeypatch.setattr("service.server.cgroups.memory_limit", lambda: memory)

    assert argon2_hasher.usual_workers() == workers
