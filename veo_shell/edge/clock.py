"""Real time."""

from __future__ import annotations

import time


class SystemClock:
    """The clock of this host that runs on while it is suspended.

    A node that was asleep with its host has a lag, and knows that it missed something.
    """

    def now(self) -> float:
        """Return seconds that only ever grow."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)
