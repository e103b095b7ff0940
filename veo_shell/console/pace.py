"""A console prints on a terminal no faster than a terminal has a use for.

All that is printed there is copied by the kernel and by whatever shows it: a loop that
prints would take two processors for that, from the node too, and a terminal far away
would show for minutes what was printed before Ctrl-C.
"""

from __future__ import annotations

import io
import sys
import time

LETTERS_PER_S = 1_000_000.0
"""Ten thousand lines a second."""
BURST_LETTERS = 1_000_000.0
"""This much, the table of a large cluster, goes out at once."""
BREATH_S = 0.05


class Pace:
    """Says how long to wait after letters have been written."""

    def __init__(self, now_s: float) -> None:
        self._left = BURST_LETTERS
        self._at_s = now_s

    def wait_s(self, letters: int, now_s: float) -> float:
        """Count letters that were written; return for how long to write none.

        Rarely and then for a while, since each wait costs as much as a line.
        """
        gained = (now_s - self._at_s) * LETTERS_PER_S
        self._left = min(self._left + gained, BURST_LETTERS) - letters
        self._at_s = now_s
        return BREATH_S - self._left / LETTERS_PER_S if self._left < 0 else 0.0


def standard_streams() -> None:
    """Give stdout and stderr a pace, each that is a terminal."""
    pace = Pace(time.monotonic())
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper) and stream.isatty():
            paced = _Paced(stream, pace)
            setattr(sys, name, paced)
            setattr(sys, f"__{name}__", paced)


class _Paced(io.TextIOWrapper):
    """What is written through it is written at once, and then waited for.

    So Ctrl-C, which ends the wait, leaves nothing that has been printed by half.
    """

    def __init__(self, stream: io.TextIOWrapper, pace: Pace) -> None:
        encoding, errors = stream.encoding, stream.errors
        super().__init__(
            stream.detach(), encoding=encoding, errors=errors, line_buffering=True
        )
        self._pace = pace

    def write(self, text: str) -> int:
        written = super().write(text)
        if wait_s := self._pace.wait_s(written, time.monotonic()):
            time.sleep(wait_s)
        return written
