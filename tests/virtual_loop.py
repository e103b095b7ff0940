"""An event loop that takes no time to wait, for what is about times and intervals."""

from __future__ import annotations

import asyncio
import selectors


class Waiting(selectors.DefaultSelector):
    """Time that is passed by waiting for what is due next, and by nothing else."""

    now = 1000.0

    def select(
        self, timeout: float | None = None
    ) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += timeout or 0.0
        return super().select(0.0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop that waits without taking any time."""

    def __init__(self) -> None:
        self._waiting = Waiting()
        super().__init__(self._waiting)

    def time(self) -> float:
        return self._waiting.now

    def stand_still(self, for_s: float) -> None:
        """Be busy: time passes, and nothing that was due meanwhile is done."""
        self._waiting.now += for_s
