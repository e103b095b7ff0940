"""What is to be looked at again once its time has come."""

from __future__ import annotations

import heapq


class Due:
    """Keys, each with the earliest time at which it was said to be due.

    To ask what is due costs nothing for what is not, however much that is.
    """

    def __init__(self) -> None:
        self._at_s: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []  # with what was discarded since

    def add(self, key: str, at_s: float) -> None:
        """Have a key due at a time, or earlier if it is already."""
        if at_s < self._at_s.get(key, float("inf")):
            self._at_s[key] = at_s
            heapq.heappush(self._heap, (at_s, key))

    def discard(self, key: str) -> None:
        """Have a key due no more."""
        self._at_s.pop(key, None)

    def till(self, now: float) -> set[str]:
        """Take out and return what is due by now."""
        found = set()
        while self._heap and self._heap[0][0] <= now:
            at_s, key = heapq.heappop(self._heap)
            if self._at_s.get(key) == at_s:
                del self._at_s[key]
                found.add(key)
        return found
