"""What is checked all along, while a history runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sim.engine import TAKEN
from tests.sim.violation import Violation
from tests.sim.watch_dns import DnsWatch
from tests.sim.watch_graves import GraveWatch
from tests.sim.watch_majority import MajorityWatch
from tests.sim.watch_slots import SlotWatch
from tests.sim.watch_verdicts import VerdictWatch
from veo_shell.core import events as ev
from veo_shell.core.life import FELL
from veo_shell.core.model import Restart, State
from veo_shell.core.wire import Delta

if TYPE_CHECKING:
    from tests.sim.engine import Box
    from tests.sim.host import Host
    from tests.sim.process import Process
    from tests.sim.world import World

LOOK_S = 0.5
LOST_ENGINE_S = 15.0


class Watch:
    """The invariants of a history that is under way."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._dns = DnsWatch(world)
        self._graves = GraveWatch()
        self._majority = MajorityWatch(world)
        self._slots = SlotWatch(world)
        self._verdicts = VerdictWatch(world)

    def begin(self) -> None:
        """Look from now on, again and again."""
        self._world.ledger.look()
        for host in self._world.hosts:
            self._check_engine(host)
        self._verdicts.look()
        self._slots.look()
        self._dns.look(LOOK_S)
        self._majority.look()
        self._world.clock.after(LOOK_S, self.begin)

    def handled(self, process: Process, event: ev.Event) -> None:
        """Check what an event may have changed."""
        self._dns.handled(process, event)
        self._verdicts.handled(process)
        self._graves.handled(process)
        self._slots.handled(process)
        if isinstance(event, ev.EngineFailed) and TAKEN in event.reason:
            self._check_refused(process, event)

    def changed(self, box: Box) -> None:
        """Note that a container began or ceased to run, or to be healthy."""
        self._slots.changed(box)

    def told(self, process: Process, delta: Delta, event: ev.Event) -> None:
        """Check that what a node wrote, and gave up, was its to write and give up."""
        for record in delta.records:
            self._slots.wrote(process, record, event)
        for container in delta.containers:
            self._slots.showed(process, container)

    def ordered(self, process: Process, name: str) -> None:
        """Check that a container of a node is its to create and to start."""
        self._slots.ordered(process, name)

    def left(self, host: Host) -> None:
        """Check that a node which left took its work with it."""
        running = [box.name for box in host.engine.own() if box.running]
        was_well = self._world.clock.now - host.engine.trouble_s > LOST_ENGINE_S
        if running and host.engine.is_up and was_well:
            raise Violation(f"{host.name} has left, and {running} run on it")

    def failed(self, host: Host, reason: str) -> None:
        """Check why a node ended by itself: nothing here is a reason."""
        raise Violation(f"{host.name} ended: {reason}")

    @staticmethod
    def _check_refused(process: Process, event: ev.EngineFailed) -> None:
        """Whoever finds its name taken says so, and tries again, or is given up.

        Or ends with its group, if that ended meanwhile.
        """
        for container in process.machine.view.containers():
            told = container.state, container.reason
            is_it = container.name == event.name
            is_over = container.state is State.FAILED and FELL in container.reason
            if is_it and not is_over and told != (State.BACKOFF, event.reason):
                raise Violation(f"{container.name} is {told}: {event.reason}")

    def _check_engine(self, host: Host) -> None:
        """No stranger is touched; no job runs twice."""
        if disturbed := host.engine.strangers.disturbed():
            raise Violation(f"{host.name}: {disturbed} are not ours")
        for box in host.engine.own():
            once = box.service.restart is Restart.NEVER
            if once and box.runs > 1 + box.denied:
                raise Violation(f"{host.name}: {box.name} ran {box.runs} times")
