"""Look up every pinned dependency in a database of known holes: `audit.py constraints.txt`.

Ends with 0 where every one was looked up and none has a hole that is known, 1 where one has, and 2 where they could not all
be looked up. pip-audit by itself ends with 0 there, too: what a registry in front has no answer for it passes over.

Options after the file are pip-audit's; without any it asks PyPI, then OSV.
"""

from __future__ import annotations

import json
import subprocess  # nosec B404  # pip-audit is a program
import sys
from collections.abc import Sequence
from typing import Any, Final

CLEAN: Final = 0
HOLES: Final = 1
NOT_ASKED: Final = 2

_WAYS: Final = (("--vulnerability-service", "pypi"), ("--vulnerability-service", "osv"))


def main(file: str, *options: str) -> int:
    refused = "no database was reached"
    for way in [options] if options else _WAYS:
        ran = _pip_audit(file, way)
        try:
            dependencies = json.loads(ran.stdout)["dependencies"]
        except ValueError:
            refused = (ran.stderr.strip().splitlines() or ["it said nothing"])[-1]
            continue
        skipped = [dependency for dependency in dependencies if "skip_reason" in dependency]
        holes = [dependency for dependency in dependencies if dependency.get("vulns")]
        if holes:
            _tell(*(_line(dependency, hole) for dependency in holes for hole in dependency["vulns"]))
            return HOLES
        if dependencies and not skipped:
            _tell(f"{len(dependencies)} dependencies were looked up; no hole is known in any.")
            return CLEAN
        refused = f"{len(skipped)} of {len(dependencies)} dependencies were not found there"
    _tell(f"NOT AUDITED: the database of known holes cannot be reached from here ({refused[:200]}).")
    return NOT_ASKED


def _pip_audit(file: str, options: Sequence[str]) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "pip_audit",
        "--requirement",
        file,
        "--no-deps",
        "--disable-pip",
        "--format",
        "json",
    ]
    return subprocess.run(  # nosec B603  # of the arguments one is a file's name
        [*command, "--progress-spinner", "off", "--timeout", "10", *options],
        capture_output=True,
        text=True,
        check=False,
    )


def _line(dependency: dict[str, Any], hole: dict[str, Any]) -> str:
    fixed = ", ".join(hole["fix_versions"]) or "no version"
    return f"{dependency['name']} {dependency['version']}: {hole['id']}, fixed in {fixed}"


def _tell(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
