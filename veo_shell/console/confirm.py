"""What takes something away is asked about once, or confirmed by `--yes`.

Light to import: see `client`.
"""

from __future__ import annotations

import sys


def can_ask() -> bool:
    """Tell whether there is somebody at a terminal."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def ask(question: str) -> bool:
    """Ask whoever is at the terminal; tell whether the answer is yes."""
    sys.stdout.write(f"{question} [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
