"""One log line for an outage."""

from __future__ import annotations

from service.telemetry.quiet import Quiet


def test_fault_is_due_again_only_after_a_minute_without_it() -> None:
    """A fault that goes on has one line; after a minute of silence the next one has a line again."""
    moments = iter((0.0, 1.0, 50.0, 109.0, 169.0, 169.0))
    quiet = Quiet(lambda: next(moments))
    assert [quiet.is_due("full") for _ in range(5)] == [True, False, False, False, True]
    assert quiet.is_due("another fault")


def test_faults_that_vary_without_end_take_bounded_memory() -> None:
    """Keys beyond the bound forget the earlier ones instead of growing."""
    quiet = Quiet(lambda: 0.0)
    assert all(quiet.is_due(number) for number in range(2_500))
    assert len(quiet._until) <= 1_000
