"""What runs on a host and is not VEO's: nothing may touch it, whatever it is called."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from tests.sim.clock import Clock
from veo_shell.core.model import Identity, Service

if TYPE_CHECKING:
    from tests.sim.engine import Box, Engine

ANOTHER = Identity(
    cluster="another", node="uno@uno", service="web", uid="u1", slot=0, generation=1
)


class Strangers:
    """The strangers of one engine, which Docker itself has run on, whatever happens.

    `touched` are those that were to be started, stopped or removed, by id or by name.
    A new one takes a name just before a container of ours is created under it, when
    that is one of the `_clashes`: the number of the creation, and for how long.
    """

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._boxes: dict[str, Box] = {}
        self._created = 0
        self._clashes: dict[int, float] = {}
        self._in_the_way: list[Box] = []
        self.touched: list[str] = []

    def come(self, random: Random) -> None:
        """Have some from now on, and more that will be in the way of ours."""
        self.add("database")
        self.add("veo-of-another-cluster", ANOTHER)
        for numbers in ((1, 4), (5, 15)):
            self.clash(random.randint(*numbers), for_s=random.uniform(0.2, 20.0))

    def add(self, name: str, identity: Identity | None = None) -> Box:
        """Have one more that runs."""
        box = self._engine.put(name, identity, Service(name=name, image="any"))
        box.running = True
        self._boxes[box.id] = box
        return box

    def clash(self, created: int, *, for_s: float) -> None:
        """Have one in the way of the container that is created as number so and so."""
        self._clashes[created] = for_s

    def meet(self, name: str) -> None:
        """Take the name that a container is to be created under, if it is time to."""
        self._created += 1
        for_s = self._clashes.pop(self._created, 0.0)
        if for_s and self._engine.named(name) is None:
            box = self.add(name)
            self._in_the_way.append(box)
            self._clock.after(for_s, self._rename, box)

    def make_way(self) -> None:
        """Be in the way no more: an operator did as the refusals advised."""
        self._clashes = {}
        for box in self._in_the_way:
            self._rename(box)

    def disturbed(self) -> list[str]:
        """Return which are not as they were, or were to be changed."""
        boxes = self._engine.boxes
        lost = [
            box.name
            for box in self._boxes.values()
            if boxes.get(box.id) is not box or not box.running or box.runs
        ]
        return self.touched + lost

    def _rename(self, box: Box) -> None:
        box.name = f"renamed-{box.id}"
