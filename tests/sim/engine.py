"""A host's engine: slow, and at times failing, hanging, or away.

It survives the node's process, as a real engine does. What happens on it is told to
the process that watches it, through a stream that breaks with either of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import attrs

from tests.sim.clock import Clock
from tests.sim.strangers import ANOTHER, Strangers
from veo_shell.core import commands as cmd
from veo_shell.core import events as ev
from veo_shell.core.model import (
    Health,
    Identity,
    Observed,
    Port,
    Restart,
    Service,
)

if TYPE_CHECKING:
    from random import Random

    from tests.sim.engine_stream import Stream
    from tests.sim.process import Process

TAKEN = "the name is taken by container"
UNREACHABLE = "no Docker Engine answers (connection refused)"
MISSING, CRASHES = "-missing", "-crashes"
"""How the names of images end that no container can be made of, or that runs on."""
STUBBORN_S = 3.0
ENDING_S = 0.4


@attrs.define(eq=False)
class Box:
    """A container on an engine. Without an `identity`, its labels, it is a stranger's.

    `runs` counts its starts, `denied` orders for it that were done, and said not to be.
    `stubborn`: it ignores SIGTERM. `seen_by` is the boot that saw it end with its
    engine. `shut_down`: its host's shutdown ended it, and its node can know that.
    `address` is what its ports are bound to, "" for none.
    `since_s` is when it last began or ceased to run.
    """

    id: str
    name: str
    identity: Identity | None
    service: Service
    running: bool = False
    ever_started: bool = False
    health: Health = Health.NONE
    exit_code: int = 0
    ports: tuple[Port, ...] = ()
    runs: int = 0
    denied: int = 0
    seen_by: str = ""
    shut_down: bool = False
    stubborn: bool = False
    since_s: float = 0.0
    address: str = ""

    @property
    def is_seen(self) -> bool:
        """Tell whether its node follows its process; of some it learns too late."""
        return int(self.id.partition("-")[0]) % 4 > 0

    @property
    def is_ours(self) -> bool:
        """Tell whether its labels are those of a node of this cluster."""
        return self.identity is not None and self.identity.cluster != ANOTHER.cluster

    def observed(self, *, stranded: bool = False) -> Observed:
        """Return what `inspect` tells of it, and its host of its address."""
        assert self.identity is not None
        return Observed(
            id=self.id,
            name=self.name,
            identity=self.identity,
            image=self.service.image,
            running=self.running,
            ever_started=self.ever_started,
            health=self.health,
            exit_code=self.exit_code,
            ports=self.ports if self.running else (),
            address=self.address,
            stranded=stranded,
            service=self.service,
        )


class Refusal(Exception):
    """The engine does not do it."""


class Engine:
    """The containers of one host, by id."""

    def __init__(self, host: str, clock: Clock, random: Random) -> None:
        self._host = host
        self._clock = clock
        self._random = random
        self._ids = 0
        self._ports = 49152
        self.powered = 0
        self.boxes: dict[str, Box] = {}
        self.is_up = True
        self._is_ending = False
        self.failing = 0.0
        self.hung_until_s = 0.0
        self.trouble_s = clock.now  # when it was last hung, failing or away
        self.strangers = Strangers(self, clock)
        self.stream: Stream | None = None
        self.on_change: Callable[[Box], None] = lambda box: None
        self.addresses: set[str] = set()  # the host's
        self.volumes: set[str] = set()

    # What is there

    def own(self) -> list[Box]:
        """Return the containers with our labels, in the order they were made."""
        return [box for box in self.boxes.values() if box.is_ours]

    def found(self, id_or_name: str) -> Box | None:
        """Return the container that Docker takes an id or a name for."""
        return self.boxes.get(id_or_name) or self.named(id_or_name)

    def named(self, name: str) -> Box | None:
        """Return the container of a name."""
        return next((box for box in self.boxes.values() if box.name == name), None)

    def listing(self) -> tuple[Observed, ...]:
        """Return what a filter by our labels finds."""
        return tuple(box.observed(stranded=self.is_stranded(box)) for box in self.own())

    def is_stranded(self, box: Box) -> bool:
        """Tell whether its ports are bound to what is no address of the host's."""
        return box.address not in {"", *self.addresses}

    def is_well(self) -> bool:
        """Tell whether it does at once what it is told to."""
        hung = self._clock.now < self.hung_until_s
        return self.is_up and not hung and not self.failing and not self._is_ending

    # What is ordered

    def create(self, process: Process, order: cmd.CreateContainer) -> None:
        """Make a container; it may have to pull the image first."""

        def work() -> ev.Event:
            box = self._create(order, process.host.address)
            return ev.ContainerCreated(name=order.name, container_id=box.id)

        pulls = self._random.random() < 0.03
        delay_s = self._spell(1.0, 3.0) if pulls else self._spell(0.02, 0.2)
        self._order(process, order.name, delay_s, work)

    def start(self, process: Process, order: cmd.StartContainer) -> None:
        """Start a container."""

        def work() -> ev.Event:
            box = self._held(order.container_id)
            if not box.running and self.is_stranded(box):
                raise Refusal(f"cannot assign requested address {box.address}")
            if not box.running and (holder := self._has_port_of(box)):
                raise Refusal(f"a port is already allocated: {holder}")
            if not box.running:
                self.run(box)
            return ev.StartAnswered(name=order.name, observed=box.observed())

        self._order(process, order.name, self._spell(0.05, 0.3), work)

    def stop_box(self, process: Process, order: cmd.StopContainer) -> None:
        """Stop a container."""

        def work() -> ev.Event:
            box = self.found(order.container_id)
            if box is None:
                return ev.StopAnswered(name=order.name)
            self._held(box.id)
            self.end(box, 137 if box.stubborn else 0)
            seen = box.observed() if box.id in self.boxes else None
            return ev.StopAnswered(name=order.name, observed=seen)

        delay_s = self._stops_in_s(order) + self._spell(0.02, 0.2)
        self._order(process, order.name, delay_s, work, failed=ev.StopAnswered)

    def discard(self, process: Process, order: cmd.DiscardContainer) -> None:
        """Stop a container, then remove it."""

        def stop() -> ev.Event | None:
            box = self.found(order.container_id)
            if box is not None:
                self._held(box.id)
                self.end(box, 137 if box.stubborn else 0)
            return None

        def remove() -> ev.Event:
            box = self.found(order.container_id)
            if box is not None:
                self.remove(box)
            return ev.ContainerDiscarded(name=order.name)

        delay_s = self._stops_in_s(order) + self._spell(0.02, 0.2)

        def then() -> None:
            self._order(process, order.name, self._spell(0.01, 0.1), remove)

        self._order(process, order.name, delay_s, stop, then)

    # What happens by itself, or by hand

    def run(self, box: Box) -> None:
        """Let a container's process begin."""
        box.running = box.ever_started = True
        box.seen_by = ""
        box.shut_down = False
        box.runs += 1
        box.since_s = self._clock.now
        box.ports = tuple(
            attrs.evolve(port, host_port=port.host_port or self._port())
            for port in box.service.ports
        )
        checked = box.service.health_check is not None
        box.health = Health.STARTING if checked else Health.NONE
        self._tell(box, lambda: self._started(box))
        if checked:
            self._clock.after(self._spell(0.3, 1.5), self._pass_check, box, box.runs)
        if box.service.image.endswith(CRASHES):
            self._clock.after(self._spell(0.0, 4.0), self._crash, box, box.runs)
        elif box.service.restart is Restart.NEVER:
            works_s = self._spell(0.0, 12.0) if self._random.random() < 0.9 else 0.0
            self._clock.after(works_s, self._finish, box, box.runs)

    def end(self, box: Box, exit_code: int) -> None:
        """Let a container's process end."""
        if not box.running:
            return
        box.running, box.exit_code, box.health = False, exit_code, Health.NONE
        box.since_s = self._clock.now
        if self.stream is not None and box.is_ours and box.is_seen:
            self.stream.tell_now(ev.ProcessEnded(container_id=box.id))
        exited = ev.ContainerExited(container_id=box.id, exit_code=exit_code)
        self._tell(box, lambda: exited)
        if box.service.auto_remove:
            self._clock.after(self._spell(0.0, 0.05), self.remove, box)

    def remove(self, box: Box) -> None:
        """Let a container be no more."""
        if self.boxes.get(box.id) is not box:
            return
        self.end(box, 137)
        if self.boxes.pop(box.id, None) is not None:
            gone = ev.ContainerGone(container_id=box.id)
            self._tell(box, lambda: gone)

    def set_health(self, box: Box, health: Health) -> None:
        """Let Docker's check change its mind."""
        if box.running and box.health is not health:
            box.health = health
            box.since_s = self._clock.now
            self._tell(
                box, lambda: ev.HealthChanged(container_id=box.id, health=health)
            )

    def put(self, name: str, identity: Identity | None, service: Service) -> Box:
        """Have one more container."""
        box = Box(id=self._id(), name=name, identity=identity, service=service)
        self.boxes[box.id] = box
        self.volumes |= {mount.source for mount in service.mounts}
        if service.mounts and self.stream is not None:
            self.stream.tell(self.holds)
        return box

    def holds(self) -> ev.EngineHolds:
        """Return which volumes there are."""
        return ev.EngineHolds(volumes=tuple(sorted(self.volumes)))

    def wind_down(self) -> None:
        """Let the engine end in order: its containers first, which is still told."""
        self._is_ending, power = True, self.powered
        self.trouble_s = self._clock.now
        for box in self.own():
            if box.running:
                box.seen_by = self.stream.watcher if self.stream is not None else ""
                self.end(box, 137 if box.stubborn else 0)
        self._clock.after(ENDING_S, self._wind_up, power)

    def stop(self, *, containers: bool) -> None:
        """Let the engine go away, with its containers or without."""
        self.is_up = False
        self.trouble_s = self._clock.now
        if self.stream is not None:
            self.stream.break_off()
        if containers:
            for box in self.own():
                if box.running:
                    box.running, box.health = False, Health.NONE
                    box.exit_code = self._random.choice((0, 137))
                    box.since_s = self._clock.now
                    self.on_change(box)

    def come_back(self) -> None:
        """Let the engine answer again, once it has ended if it was about to."""
        if self._is_ending:
            self._wind_up(self.powered)
        self.is_up = True
        self.trouble_s = self._clock.now
        for box in self.own():
            if box.service.auto_remove and box.ever_started and not box.running:
                self.remove(box)

    def lose_power(self) -> None:
        """Let the host go dark: nothing runs, nothing that was ordered is done."""
        self.powered += 1
        self._is_ending = False
        self.stop(containers=True)
        self.failing = self.hung_until_s = 0.0

    def hang(self, for_s: float) -> None:
        """Let nothing be done for a while; all is done afterwards."""
        self.hung_until_s = max(self.hung_until_s, self._clock.now + for_s)

    # Inside

    def _wind_up(self, power: int) -> None:
        if self._is_ending and power == self.powered:
            self._is_ending = False
            self.stop(containers=True)

    def _create(self, order: cmd.CreateContainer, home: str) -> Box:
        if order.service.image.endswith(MISSING):
            raise Refusal(f"{order.service.image}: no such image")
        self.strangers.meet(order.name)
        address = home if order.service.ports else ""
        old = self.named(order.name)
        if old is not None and old.identity != order.identity:
            raise Refusal(f"{order.name}: {TAKEN} {old.id}: rename it")
        is_bound_elsewhere = (
            old is not None and not old.running and old.address != address
        )
        if old is not None and (is_bound_elsewhere or _is_leaving(old)):
            self.remove(old)
            old = None
        if old is None:
            old = self.put(order.name, order.identity, order.service)
            old.stubborn = self._random.random() < 0.1
            old.since_s, old.address = self._clock.now, address
        return old

    def _stops_in_s(self, order: cmd.StopContainer | cmd.DiscardContainer) -> float:
        """Return for how long a container keeps who stops it waiting."""
        box = self.found(order.container_id)
        is_stubborn = box is not None and box.stubborn
        return min(order.timeout_s, STUBBORN_S) if is_stubborn else 0.0

    def is_barred(self, box: Box) -> bool:
        """Tell whether another one has its port at an address that the host has."""
        return any(
            other != box and not self.is_stranded(other) for other in self._rivals(box)
        )

    def _has_port_of(self, box: Box) -> str:
        """Return which container has a port that another one asks for, "" if none."""
        having = (b.name for b in self._rivals(box) if b.address == box.address)
        return next(having, "")

    def _rivals(self, box: Box) -> Iterator[Box]:
        asked = {port.host_port for port in box.service.ports} - {0}
        for other in self.boxes.values():
            ports = {port.host_port for port in other.service.ports}
            if other.running and asked & ports:
                yield other

    def _held(self, container_id: str) -> Box:
        box = self.found(container_id)
        if box is None:
            raise Refusal(f"no such container: {container_id}")
        if not box.is_ours:
            self.strangers.touched.append(box.name)
            raise Refusal(f"{box.name} is not ours")
        return box

    def _order(
        self,
        process: Process,
        name: str,
        delay_s: float,
        work: Callable[[], ev.Event | None],
        then: Callable[[], None] | None = None,
        failed: type[ev.EngineFailed | ev.StopAnswered] = ev.EngineFailed,
    ) -> None:
        """Do something after a while, and tell what came of it, or go on with it."""
        power = self.powered

        def carry_out() -> None:
            if power != self.powered:
                return
            if self._clock.now < self.hung_until_s:
                self.trouble_s = self._clock.now
                self._clock.after(self._spell(0.1, 0.3), carry_out)
                return
            if not process.is_running and self._random.random() < 0.3:
                return  # it was still on its way to the engine
            event = self._done(name, work, failed)
            if event is not None:
                self._clock.after(
                    self._spell(0.001, 0.01), process.arrive, process.feed, event
                )
            elif then is not None:
                then()

        self._clock.after(delay_s, carry_out)

    def _done(
        self,
        name: str,
        work: Callable[[], ev.Event | None],
        failed: type[ev.EngineFailed | ev.StopAnswered],
    ) -> ev.Event | None:
        if not self.is_up or self._is_ending:
            return failed(name=name, reason=UNREACHABLE)
        if self._random.random() < self.failing:
            self.trouble_s = self._clock.now
            if self._random.random() < 0.3:  # it does it, and says that it did not
                self._do_silently(name, work)
            return failed(name=name, reason="the engine: internal error")
        try:
            return work()
        except Refusal as refusal:
            return failed(name=name, reason=str(refusal))

    def _do_silently(self, name: str, work: Callable[[], ev.Event | None]) -> None:
        try:
            work()
        except Refusal:
            return
        box = self.named(name)
        if box is not None:
            box.denied += 1

    def _started(self, box: Box) -> ev.EngineEvent | None:
        is_there = box.id in self.boxes
        return ev.ContainerStarted(observed=box.observed()) if is_there else None

    def _tell(self, box: Box, make: Callable[[], ev.EngineEvent | None]) -> None:
        self.on_change(box)
        if self.stream is not None and box.is_ours:
            self.stream.tell(make)

    def _pass_check(self, box: Box, run: int) -> None:
        if box.runs == run:
            self.set_health(box, Health.HEALTHY)

    def _finish(self, box: Box, run: int) -> None:
        if box.runs == run and box.running:
            self.end(box, self._random.choice((0, 0, 1)))

    def _crash(self, box: Box, run: int) -> None:
        if box.runs == run:
            self.end(box, 1)

    def _spell(self, least_s: float, most_s: float) -> float:
        return least_s + (most_s - least_s) * self._random.random()

    def _id(self) -> str:
        self._ids += 1
        return f"{self._ids:04}-{self._host}"

    def _port(self) -> int:
        self._ports += 1
        return self._ports


def _is_leaving(box: Box) -> bool:
    """Tell whether Docker removes it by itself just now."""
    return box.service.auto_remove and box.ever_started and not box.running
