"""The seeds that every run of the tests has."""

from __future__ import annotations

FIXED = tuple(str(number) for number in range(1, 241))

KEPT: tuple[str, ...] = ()
"""Histories that failed once. A change of `plan`, `faults` or `operators` makes others
of them; the tests of the core that each led to stay."""
