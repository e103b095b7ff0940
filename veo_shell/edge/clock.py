"""Real time."""

from __future__ import annotations

import time


class SystemClock:
    """The monotonic clock of this host."""

    def now(self) -> float:
        """Return seconds that only ever grow."""
        return time.monotonic()
