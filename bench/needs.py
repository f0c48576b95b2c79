"""The requirements of a scenario on the machine."""

from __future__ import annotations

import os
import shutil
import sys
from typing import Final

_SPARE_DESCRIPTORS: Final = 200


class LeftOut(Exception):
    """A scenario cannot run on this machine; `str()` says why."""


def compiler() -> str:
    """The C compiler; raises `LeftOut`."""
    if sys.platform != "linux":
        raise LeftOut("its load generator waits with epoll, which only Linux has")
    found = shutil.which(os.environ.get("CC", "cc"))
    if found is None:
        raise LeftOut(
            "its load generator is written in C, and there is no compiler: install one as `cc`, or name it in CC"
        )
    return found


def descriptors(connections: int) -> None:
    """See that this process, and every child from now on, may have so many connections open; raises `LeftOut`."""
    if sys.platform == "win32":
        return
    import resource

    # Twice: a server may still be busy closing those of one round when those of the next come.
    wanted = 2 * connections + _SPARE_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            raise LeftOut(f"it needs {wanted:,} open files and may have {hard:,}: `ulimit -Hn`")
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
