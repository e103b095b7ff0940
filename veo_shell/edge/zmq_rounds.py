"""When sockets are read: at once while they are few, in rounds when they are many.

A message that comes alone costs a node more than one among others: the loop is woken
for it, on a processor that has slept since and has nothing at hand. So of 100 peers'
heartbeats those of one round are read together, each up to a round late. What takes
longer than a turn of the loop may is read in as many as it takes: who asks this node
for names does not wait for all of it.
"""

from __future__ import annotations

import asyncio
import logging
import select
import time
from collections import deque
from collections.abc import Callable

logger = logging.getLogger(__name__)

FEW = 50
"""So many are read at once: of their heartbeats, two a second each, a round has two."""
ROUND_S = 0.02
TURN_S = 0.001
"""After so long the loop's other work has its turn, whatever is left to be read."""


class Rounds:
    """Has the loop read many descriptors, as `add_reader` has it read one."""

    def __init__(self, few: int = FEW) -> None:
        self._few = few
        self._loop = asyncio.get_running_loop()
        self._poll = select.epoll()
        self._readers: dict[int, Callable[[], None]] = {}
        self._left: deque[int] = deque()
        self._next: asyncio.Handle | None = None
        self._loop.add_reader(self._poll.fileno(), self._look)

    def add_reader(self, descriptor: int, read: Callable[[], None]) -> None:
        """Have `read` called whenever there is something to read."""
        self._readers[descriptor] = read
        self._poll.register(descriptor, select.EPOLLIN)

    def remove_reader(self, descriptor: int) -> None:
        """Undo `add_reader`, before the descriptor is closed."""
        self._poll.unregister(descriptor)
        del self._readers[descriptor]

    def close(self) -> None:
        """Read no more."""
        self._read_at_once()
        self._loop.remove_reader(self._poll.fileno())
        self._poll.close()

    def _look(self) -> None:
        if not self._left:
            self._left.extend(descriptor for descriptor, _ in self._poll.poll(0))
        is_any, end_s = bool(self._left), time.monotonic() + TURN_S
        while self._left and time.monotonic() < end_s:
            read = self._readers.get(self._left.popleft())
            if read is not None:  # one that was read before may have had it removed
                self._read(read)
        if is_any and len(self._readers) > self._few:
            self._read_in(0.0 if self._left else ROUND_S)
        else:
            self._read_at_once()

    def _read(self, read: Callable[[], None]) -> None:
        """Go on with the others if one cannot be read, as the loop itself does."""
        try:
            read()
        except Exception:
            logger.exception("a socket could not be read")

    def _read_in(self, wait_s: float) -> None:
        if self._next is None:
            self._loop.remove_reader(self._poll.fileno())
        self._next = self._loop.call_later(wait_s, self._look)

    def _read_at_once(self) -> None:
        """Look when something comes, with no round to wait for."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
            self._loop.add_reader(self._poll.fileno(), self._look)
