"""Virtual time, and work that takes some of it."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Generator
from random import Random
from typing import Any

Resume = Callable[[Any], None]
Step = Callable[[Resume], None]
Steps = Generator[Step, Any, Any]
"""Work written in order: it yields what to wait for and is sent what came of it."""


def chance(seed: str) -> Random:
    """Return the chance that a seed makes; it has nothing to do with secrets."""
    return Random(seed)  # noqa: S311


class Clock:
    """What is still to happen, in order of time; at the same time, as it was asked."""

    def __init__(self, now_s: float = 1000.0) -> None:
        self.now = now_s
        self._queue: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = itertools.count()

    def at(self, when_s: float, work: Callable[..., None], *args: Any) -> None:
        """Let something happen at a time, now if that is over."""
        heapq.heappush(self._queue, (when_s, next(self._count), work, args))

    def after(self, delay_s: float, work: Callable[..., None], *args: Any) -> None:
        """Let something happen later."""
        heapq.heappush(self._queue, (self.now + delay_s, next(self._count), work, args))

    def run(self, for_s: float) -> None:
        """Let time pass."""
        queue, end_s = self._queue, self.now + for_s
        while queue and queue[0][0] <= end_s:
            when_s, _, work, args = heapq.heappop(queue)
            self.now = max(self.now, when_s)
            work(*args)
        self.now = end_s

    def sleep(self, delay_s: float) -> Step:
        """Return the step that waits."""
        return lambda resume: self.after(delay_s, resume, None)

    def begin(self, steps: Steps) -> None:
        """Do work step by step from now on."""

        def go_on(value: Any) -> None:
            try:
                step = steps.send(value)
            except StopIteration:
                return
            step(go_on)

        go_on(None)
