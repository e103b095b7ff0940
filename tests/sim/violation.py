"""What no history may show."""

from __future__ import annotations


class Violation(Exception):
    """Something that must never be so, is."""
