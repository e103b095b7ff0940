"""No DNS names what is dead, stopping or unhealthy: known to be so, or for long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sim.violation import Violation
from veo_shell.core import events as ev
from veo_shell.core.membership import AWAY, GONE
from veo_shell.core.model import (
    Container,
    Health,
    Knock,
    State,
    Status,
    Transport,
)

if TYPE_CHECKING:
    from tests.sim.host import Host
    from tests.sim.process import Process
    from tests.sim.world import World

OWN_STALE_S = 2.0
STALE_S = 8.0
LOST_STALE_S = 22.0
"""So long after a node's end no DNS answers what does not run on it: its verdict has
come, even where it was unknown (15 s) before."""
NEW_S = 6.0
READY = (Health.NONE, Health.HEALTHY)


class DnsWatch:
    """What each node's DNS may answer."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._answers: dict[str, list[Container]] = {}
        self._stale_s: dict[tuple[str, str], float] = {}
        self._lost_s: dict[tuple[str, str], float] = {}

    def handled(self, process: Process, event: ev.Event) -> None:
        """Check what a node knows against what it would answer."""
        machine = process.machine
        key = machine.dns_key
        if key != process.dns_key:
            process.dns_key = key
            answers = machine.answerable()
            self._answers[process.boot_id] = answers
            for container in answers:
                self._check_known(process, container)
        if type(event) is ev.Tried and event.container:
            self._check_door(process, event)

    def look(self, since_s: float) -> None:
        """Check what is so against what each node would answer."""
        for process in self._world.processes():
            self._check_key(process)
            for container in self._answers.get(process.boot_id, ()):
                self._check_stale(process, container, since_s)

    def _check_known(self, process: Process, container: Container) -> None:
        machine = process.machine
        status = machine.members.status(container.node)
        head = machine.view.head(container.node)
        record = machine.view.service(container.uid)
        slot = machine.view.slot(container.uid, container.slot)
        wrong = (
            (container.state is not State.RUNNING and container.state.value)
            or (container.health not in READY and container.health.value)
            or (status in GONE and f"on {container.node}, {status.value}")
            or ((head is None or head.engine_lost) and "its engine is away")
            or (record is not None and record.service is None and "removed")
            or (slot is not None and container.name in slot.ends and "to end")
            or self._is_astray(container)
        )
        if wrong:
            raise Violation(f"{process.name}: DNS has {container.name}: {wrong}")

    def _is_astray(self, container: Container) -> str:
        """Return why it is told to be where it is not, "" if it is there."""
        box = self._world[container.node].engine.boxes.get(container.id)
        is_there = box is None or container.address == box.address or not box.address
        return "" if is_there else f"at {container.address}"

    def _check_door(self, process: Process, event: ev.Tried) -> None:
        is_away = process.machine.members.status(event.node) in AWAY
        if event.knock is Knock.OPEN or not is_away:
            return
        if any(c.name == event.container for c in process.machine.answerable()):
            raise Violation(
                f"{process.name}: DNS has {event.container}, whose port is "
                f"{event.knock.value}"
            )

    def _check_key(self, process: Process) -> None:
        """What DNS may answer changes with the key that is to tell so."""
        if process.boot_id not in self._answers:
            return
        if process.machine.dns_key != process.dns_key:
            return  # the next event will tell
        if process.machine.answerable() != self._answers[process.boot_id]:
            raise Violation(f"{process.name}: its DNS changed, its key did not")

    def _check_stale(
        self, process: Process, container: Container, since_s: float
    ) -> None:
        """Nobody answers for long what does not run, while it can know."""
        mark = process.boot_id, container.id
        host = self._world[container.node]
        is_able = not process.is_frozen and not process.machine.members.strain
        is_stale = is_able and not self._is_ready(host, container)
        is_lost = host.process is None and not self._is_paused(process, container)
        limit_s = OWN_STALE_S if host is process.host else STALE_S
        if self._count(
            self._stale_s,
            mark,
            since_s,
            goes_on=is_stale and self._knows(process, host),
        ) > limit_s or (
            self._count(self._lost_s, mark, since_s, goes_on=is_stale and is_lost)
            > LOST_STALE_S
        ):
            raise Violation(
                f"{process.name}: DNS has {container.name}, which has not been ready "
                "for long"
            )

    def _count(
        self,
        lasting_s: dict[tuple[str, str], float],
        mark: tuple[str, str],
        since_s: float,
        *,
        goes_on: bool,
    ) -> float:
        """Return for how long something goes on."""
        if not goes_on:
            lasting_s.pop(mark, None)
            return 0.0
        lasting_s[mark] = lasting_s.get(mark, 0.0) + since_s
        return lasting_s[mark]

    def _is_ready(self, host: Host, container: Container) -> bool:
        """Tell whether a container runs, and its own node thinks so."""
        box = host.engine.boxes.get(container.id)
        if box is None or not box.running or box.health not in READY:
            return False
        if host.engine.is_stranded(box):
            return False
        if host.process is None:
            return True
        own = host.process.machine.view.container(host.name, container.name)
        return own is not None and own.is_ready

    def _knows(self, process: Process, host: Host) -> bool:
        """Tell whether all is well between this node and that of a container."""
        other = host.process
        if other is None or other.is_frozen or not host.engine.is_well():
            return False
        if other.loop_s < NEW_S or other.machine.members.strain:
            return False
        network = self._world.network
        is_near = not network.weather.odd and network.joins(process.name, other.name)
        return other is process or is_near

    def _is_paused(self, process: Process, container: Container) -> bool:
        """Tell whether nothing can be known of it before its node's pause is over."""
        has_door = any(
            port.protocol is Transport.TCP and port.host_port
            for port in container.ports
        )
        status = process.machine.members.status(container.node)
        return status is Status.PAUSED and not has_door
