"""The figures that a long test prints."""

from __future__ import annotations

from collections.abc import Callable

Tell = Callable[[str], None]
"""Prints a figure, whether the test fails or not."""
