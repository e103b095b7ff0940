"""Python's garbage collector: all else waits while it looks at all there is."""

from __future__ import annotations

import gc
import time
from types import TracebackType
from typing import Any, Self

LONG_S = 0.01
_ALL = 2  # the generation of all that has been there for a while


class Collector:
    """From entering on, has what took long to look at not be looked at again.

    What a node knows of a large cluster is a million objects, which end without the
    collector: there are no cycles in records. What was there when it took long, and
    ends in a cycle later, stays for good: that is what was being done at that moment.
    """

    def __init__(self, long_s: float = LONG_S) -> None:
        self._long_s = long_s
        self._begun_s = 0.0

    def __enter__(self) -> Self:
        gc.callbacks.append(self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        gc.callbacks.remove(self._note)
        gc.unfreeze()

    def _note(self, phase: str, about: dict[str, Any]) -> None:
        if about["generation"] < _ALL:
            return
        now_s = time.thread_time()  # not what others had of the processor meanwhile
        if phase == "start":
            self._begun_s = now_s
        elif now_s - self._begun_s >= self._long_s:
            gc.freeze()
