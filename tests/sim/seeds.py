"""The seeds that every run of the tests has."""

from __future__ import annotations

FIXED = tuple(str(number) for number in range(1, 241))

FAILED_ONCE = (253, 350, 431, 492, 589, 700, 874, 949, 1095, 1220, 1338, 1496, 1551)
FAILED_TOO = (
    607,
    1104,
    2076,
    2174,
    2213,
    2248,
    3708,
    "79b4fa6e",
    "0e0738c0",
    "cbbf99e8",
    "4eec409b",
    "7f16d8a9",
    "4a011fa8",
    "0c161e4a",
    "8a177759",
    "8d28cf1c",
    "4bf3721d",
    "9b38fbba",
    "68f3fdca",
    "7878bb4b",
)
KEPT = tuple(map(str, (*FAILED_ONCE, *FAILED_TOO)))
"""Histories that failed once, besides those above. A change of `plan`, `faults` or
`operators` makes others of them; the tests of the core that each led to stay."""
