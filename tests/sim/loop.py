"""A process's loop, which may be late or stand still, and its clock with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.sim.clock import Step

if TYPE_CHECKING:
    from tests.sim.world import World

MOST_QUEUED = 2000
Work = tuple[Callable[..., None], tuple[Any, ...]]


class Loop:
    """`arrive` and `timer` are the only ways into it.

    While it is frozen (SIGSTOP, a busy loop) what arrives queues up, and timers are
    late. Of a suspended host the clock stands still too: `behind_s` is by how much.
    `unwell_s` is when it was last frozen, `stood_s` for how long.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.is_running = True
        self.is_frozen = False
        self.behind_s = 0.0
        self.born_s = world.clock.now
        self.unwell_s = self.born_s
        self.stood_s = 0.0
        self._frozen_s = 0.0
        self._frozen_since_s = 0.0
        self._suspended = False
        self._arrived: list[Work] = []
        self._late: list[tuple[float, Callable[..., None], tuple[Any, ...]]] = []

    @property
    def now(self) -> float:
        """Return what its clock shows."""
        return self.world.clock.now - self.behind_s

    @property
    def loop_s(self) -> float:
        """Return for how long its loop has run."""
        now = self.world.clock.now
        frozen_s = now - self._frozen_since_s if self.is_frozen else 0.0
        return now - self.born_s - self._frozen_s - frozen_s

    def arrive(self, work: Callable[..., None], *args: Any) -> None:
        """Have the loop do something about what came from outside."""
        if self.is_frozen:
            if len(self._arrived) < MOST_QUEUED:
                self._arrived.append((work, args))
        elif self.is_running:
            work(*args)

    def timer(self, delay_s: float, work: Callable[..., None], *args: Any) -> None:
        """Have the loop do something after a time of its clock."""
        self.world.clock.after(delay_s, self._due, self.behind_s, work, args)

    def sleep(self, delay_s: float) -> Step:
        """Return the step that waits by its clock, and for its loop."""
        return lambda resume: self.timer(delay_s, resume, None)

    def freeze(self, for_s: float, *, suspended: bool) -> None:
        """Let its loop stand still; `suspended`: its clock with it."""
        if self.is_frozen or not self.is_running:
            return
        self.is_frozen, self._suspended = True, suspended
        self._frozen_since_s = self.world.clock.now
        self.world.clock.after(for_s, self._thaw)

    def thaw(self) -> None:
        """Let a frozen loop go on now."""
        if self.is_frozen:
            self._thaw()

    def end(self) -> None:
        """Do nothing any more."""
        self.is_running = self.is_frozen = False
        self._arrived, self._late = [], []

    def _due(
        self, behind_s: float, work: Callable[..., None], args: tuple[Any, ...]
    ) -> None:
        if not self.is_running:
            return
        if self.is_frozen:
            self._late.append((self.world.clock.now, work, args))
        elif self.behind_s > behind_s:
            rest_s = self.behind_s - behind_s
            self.world.clock.after(rest_s, self._due, self.behind_s, work, args)
        else:
            work(*args)

    def _thaw(self) -> None:
        if not self.is_frozen or not self.is_running:
            return
        self.is_frozen = False
        self.unwell_s = self.world.clock.now
        self.stood_s = for_s = self.world.clock.now - self._frozen_since_s
        self._frozen_s += for_s
        arrived, self._arrived = self._arrived, []
        late, self._late = self._late, []
        if self._suspended:
            self.behind_s += for_s
            for due_s, *item in late:  # a clock that stood still rings none
                self.world.clock.at(due_s + for_s, self._due, self.behind_s, *item)
            late = []
        # A loop finds its sockets readable and its timers due at once, and may look at
        # these first, or before it has read those to the end.
        at = self.world.random.choice((0.0, self.world.random.random(), 1.0))
        before = round(at * len(arrived))
        timers = [(work, args) for _, work, args in late]
        for work, args in [*arrived[:before], *timers, *arrived[before:]]:
            self.arrive(work, *args)
