"""The events of an engine, on their way to the process that watches it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.sim.clock import Steps
from tests.sim.engine import UNREACHABLE, Engine
from veo_shell.core import events as ev

if TYPE_CHECKING:
    from tests.sim.process import Process

Told = ev.EngineEvent | ev.EngineHolds

RELIST_S = 30.0
REWATCH_FIRST_S, REWATCH_MAX_S = 0.1, 5.0


class Stream:
    """The engine's events on their way to one process: a listing first, and at times.

    Events that come while the engine is listed are told after the listing, though it
    may know of them already, as with the real one.
    """

    def __init__(self, engine: Engine, process: Process) -> None:
        self._engine = engine
        self._process = process
        self._clock = process.world.clock
        self._random = process.world.random
        self._queue: deque[Callable[[], Told | None]] = deque()
        self._is_open = False
        self._is_pumping = False
        self._number = 0
        if engine.stream is not None:
            engine.stream.close()
        engine.stream = self
        self._clock.begin(self._connect())

    @property
    def watcher(self) -> str:
        """Return the boot of the process that is told at once, "" for none."""
        is_told = self._is_open and not self._process.is_frozen
        return self._process.boot_id if is_told else ""

    def tell(self, make: Callable[[], Told | None]) -> None:
        """Tell of an event; what it tells is read when it arrives."""
        if self._is_open:
            self._queue.append(make)
            self._pump_later()

    def tell_now(self, event: ev.ProcessEnded) -> None:
        """Tell what the kernel does, whatever the engine is at."""
        if self._is_open:
            self._feed(event)

    def break_off(self) -> None:
        """End with the engine; connect again when that is back."""
        if self._is_open:
            self.close()
            self._feed(ev.EngineLost(reason=UNREACHABLE))
            self._clock.begin(self._connect())

    def close(self) -> None:
        """End with the process."""
        self._is_open = False
        self._queue.clear()
        self._number += 1

    def _connect(self) -> Steps:
        delay_s, told = REWATCH_FIRST_S, False
        number = self._number
        while not self._engine.is_up:
            if not told and number == 0:
                self._feed(ev.EngineLost(reason=UNREACHABLE))
                told = True
            yield self._clock.sleep(delay_s)
            delay_s = min(2 * delay_s, REWATCH_MAX_S)
            if number != self._number or not self._process.is_running:
                return
        self._is_open = True
        self._list()
        yield from self._list_again(number)

    def _list_again(self, number: int) -> Steps:
        while True:
            yield self._clock.sleep(RELIST_S)
            if number != self._number or not self._process.is_running:
                return
            self._list()

    def _list(self) -> None:
        self.tell(lambda: ev.EngineListed(containers=self._engine.listing()))
        if self._engine.volumes:
            self.tell(self._engine.holds)

    def _pump_later(self) -> None:
        if not self._is_pumping:
            self._is_pumping = True
            self._clock.after(self._delay_s(), self._pump, self._number)

    def _pump(self, number: int) -> None:
        if number != self._number:
            self._is_pumping = False
            if self._queue:
                self._pump_later()
            return
        if self._clock.now < self._engine.hung_until_s:
            self._clock.after(0.2, self._pump, number)
            return
        event = self._queue.popleft()()
        is_listing = isinstance(event, ev.EngineListed)
        delay_s = 5 * self._delay_s() if is_listing else 0.0
        self._clock.after(delay_s, self._pass_on, event, number)

    def _pass_on(self, event: Told | None, number: int) -> None:
        self._is_pumping = False
        if number == self._number and event is not None:
            self._feed(event)
        if self._queue:
            self._pump_later()

    def _feed(self, event: Told) -> None:
        self._process.arrive(self._process.feed, event)

    def _delay_s(self) -> float:
        return 0.001 + 0.01 * self._random.random()
