"""One page of metrics for all workers of a host."""

from __future__ import annotations

from service.server.workers.metric_pages import MetricPages, merge_pages
from service.server.workers.slots import WorkerSlots

_PAGE = """# HELP roster_streams Open streams.
# TYPE roster_streams gauge
roster_streams{kind="feed"} 3.0
# HELP roster_rooms Rooms.
# TYPE roster_rooms gauge
roster_rooms 1.0
"""


def test_samples_carry_their_worker_and_families_stand_once() -> None:
    """Each sample has the label `worker`; help and type of a family precede all its samples."""
    assert merge_pages({0: _PAGE, 3: _PAGE}).decode() == (
        "# HELP roster_streams Open streams.\n"
        "# TYPE roster_streams gauge\n"
        'roster_streams{kind="feed",worker="0"} 3.0\n'
        'roster_streams{kind="feed",worker="3"} 3.0\n'
        "# HELP roster_rooms Rooms.\n"
        "# TYPE roster_rooms gauge\n"
        'roster_rooms{worker="0"} 1.0\n'
        'roster_rooms{worker="3"} 1.0\n'
    )


def test_openmetrics_ends_once() -> None:
    """The end of the page stands at its end, however many pages are merged."""
    page = '# TYPE roster_logins counter\nroster_logins_total{result="ok"} 1.0\n# EOF\n'
    merged = merge_pages({0: page, 1: page}).decode()
    assert merged.count("# EOF\n") == 1
    assert merged.endswith('roster_logins_total{result="ok",worker="1"} 1.0\n# EOF\n')


async def test_pages_of_all_workers_are_collected() -> None:
    """A worker that is asked answers for all; one that ended without closing its page is left out."""
    slots = WorkerSlots()
    first = MetricPages(slots.claim(), lambda accept: f"a 1\nb {len(accept)}\n".encode())
    second = MetricPages(slots.claim(), lambda accept: f"a 2\nb {len(accept)}\n".encode())
    (slots.folder / "metrics.9").touch()
    await first.open()
    await second.open()
    collected = await first.collect("text/plain")
    await first.close()
    await second.close()
    assert sorted(collected.decode().splitlines()) == [
        'a{worker="0"} 1', 'a{worker="1"} 2', 'b{worker="0"} 10', 'b{worker="1"} 10'
    ]  # fmt: skip
    slots.remove()
