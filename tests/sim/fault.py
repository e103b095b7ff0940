"""What all kinds of faults need: whom to hit, and whether it may be."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.sim.host import Host
    from tests.sim.world import World

Kinds = dict[str, Callable[[Random], None]]


class Faults(ABC):
    """Some kinds of faults: each happens now and mends itself later.

    `is_over`: nothing begins any more.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.is_over = False

    @abstractmethod
    def kinds(self) -> Kinds:
        """Return the faults by name."""

    def may_lose(self) -> bool:
        """Tell whether a disk may be lost now."""
        return self.world.ledger.may_lose()

    def some_running(self, rng: Random) -> Host | None:
        """Choose a host whose node runs."""
        running = [process.host for process in self.world.processes()]
        return rng.choice(running) if running else None

    def some_powered(self, rng: Random) -> Host | None:
        """Choose a host that is on."""
        powered = [host for host in self.world.hosts if host.is_powered]
        return rng.choice(powered) if powered else None

    def log(self, host: Host, text: str) -> None:
        """Write down what happens to a host."""
        self.world.log(host.name, f"* {text}")
