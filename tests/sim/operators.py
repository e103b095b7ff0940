"""Operators: what they ask for, and how a node has it decided for them."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

import attrs

from tests.sim.clock import Step, Steps, chance
from tests.sim.groups import KILLING, joined
from tests.sim.mesh import Outcome
from tests.sim.process import Process
from tests.sim.spec_changes import SpecChanges, in_mode
from tests.sim.verdict import Place, place_of
from tests.sim.violation import Violation
from veo_shell.core import commands as cmd
from veo_shell.core import events as ev
from veo_shell.core.membership import AWAY, GONE
from veo_shell.core.model import (
    HealthCheck,
    HealthKind,
    Mode,
    Mount,
    MountKind,
    OnPartition,
    OnUnhealthy,
    Placement,
    Port,
    Restart,
    Service,
    Status,
)
from veo_shell.core.progress import draining, why_not_leave
from veo_shell.errors import PeerUnreachable, StoreError

if TYPE_CHECKING:
    from tests.sim.world import World

MOST_SERVICES = 8
PATIENCE_S = 30.0
LONG_S = 12.0
TAKES_OUT_S = 75.0
"""By then a node is removed, or was not."""
RESTARTS_S = 8.0
"""By then an instance that was restarted has stopped, and is started again."""
GLOBAL = 0.15
"""So large a part of the services runs once on every node that fits."""
POLICIES = (
    *[OnPartition.AVAILABLE] * 4,
    *[OnPartition.MAJORITY] * 3,
    OnPartition.KEEP,
)
RESTARTS = (*[Restart.ALWAYS] * 5, *[Restart.ON_FAILURE] * 2, Restart.NEVER)


class Operators:
    """All who type commands, at any node.

    `added` is by uid what a service begins with, and the operation; a uid is in
    `changed` once something else was asked for it.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._number = 0
        self._busy: dict[str, float] = {}
        self.specs = SpecChanges(self)
        self.added: dict[str, tuple[str, Service]] = {}
        self.changed: set[str] = set()
        self._changed_now: set[str] = set()
        self._nodes_changed = False

    def begin_anew(self) -> None:
        """Forget which services were changed, for `unsure`."""
        self._changed_now = set()
        self._nodes_changed = False

    def unsure(self, world: World) -> set[Place]:
        """Return the places that may be empty for a moment, by an operator's will.

        Those of jobs that end, and of majority services: they stop before they start.
        """
        return {
            place_of(box)
            for host in world.hosts
            for box in host.engine.own()
            if box.identity is not None
            and (
                self._nodes_changed
                or box.identity.uid in self._changed_now
                or box.service.restart is Restart.NEVER
                or box.service.group_policy in KILLING
                or box.service.on_partition is OnPartition.MAJORITY
            )
        }

    def verbs(self) -> dict[str, Callable[[Random], None]]:
        """Return what operators do, by name."""
        return {
            "add": self._add,
            "add again": self._add_again,
            "remove": self._remove,
            "dispute": self._dispute,
            "scale": self._scale,
            "stop": self._stop,
            "move": self._move,
            "drain": self._drain,
            "undrain": self._undrain,
            "assign role": self._assign_role,
            "remove node": self._remove_node,
            "rush": self._rush,
            "update": self.specs.update,
            "roll back": self.specs.roll_back,
        }

    @property
    def is_idle(self) -> bool:
        """Tell whether nobody waits for an answer any more."""
        now = self._world.clock.now
        return all(limit_s < now for limit_s in self._busy.values())

    # Services

    def _add(self, rng: Random) -> None:
        via = self._somebody(rng)
        if via is None or len(list(via.machine.view.services())) >= MOST_SERVICES:
            return
        self._number += 1
        uid = f"{rng.getrandbits(64):016x}"
        care = chance(f"care {uid}")
        service = _cared_for(self._service(rng, via), care)
        service = _placed(service, chance(f"place {uid}"))
        if chance(f"mode {uid}").random() < GLOBAL:
            service = in_mode(service, Mode.GLOBAL, 1)
        else:
            service = joined(service, care)
        if care.random() < 0.3 and service.restart is not Restart.NEVER:
            after_s = care.uniform(0.0, 12.0)
            self._begin(f"restart {uid}", after_s + RESTARTS_S)
            self._world.clock.after(after_s, self._restart, uid, care)
        operation = self._world.new_id("add")
        self.added[uid] = operation, service
        self.ask(
            rng,
            via,
            uid,
            ev.AddAsked(
                operation=operation, uid=uid, service=service, queue=rng.random() < 0.4
            ),
        )

    def _add_again(self, rng: Random) -> None:
        via, uid = self.some_service(rng)
        if via is not None and uid:
            service = via.machine.view.spec(uid)
            assert service is not None
            self._change(uid)
            operation = self._world.new_id("add")
            # Under a uid of its own: what stands under another is looked for there.
            event = ev.AddAsked(
                operation=operation, uid=uid, service=service, queue=True
            )
            self.ask(rng, via, uid, event)

    def _remove(self, rng: Random) -> None:
        via, uid = self.some_service(rng)
        if via is not None and uid:
            self._change(uid)
            operation = self._world.new_id("remove")
            self.ask(rng, via, uid, ev.RemoveAsked(operation=operation, uid=uid))

    def _dispute(self, rng: Random) -> None:
        """Remove a service, and change it where that may not be known yet."""
        one, uid = self.some_service(rng)
        if one is None or not uid:
            return
        self._change(uid)
        reach = self._world.network.joins
        apart = [p for p in self._world.processes() if not reach(one.name, p.name)]
        other = rng.choice(apart or [one])
        operation = self._world.new_id("remove")
        self.ask(rng, one, uid, ev.RemoveAsked(operation=operation, uid=uid))
        for replicas in range(1, rng.randint(2, 5)):
            operation = self._world.new_id("scale")
            event = ev.ScaleAsked(operation=operation, uid=uid, replicas=replicas)
            self.ask(rng, other, uid, event)

    def _scale(self, rng: Random) -> None:
        via, uid = self.some_service(rng)
        if via is not None and uid:
            self._change(uid)
            operation = self._world.new_id("scale")
            replicas = rng.choice((0, 1, 1, 2, 2, 3))
            event = ev.ScaleAsked(operation=operation, uid=uid, replicas=replicas)
            self.ask(rng, via, uid, event)

    def _stop(self, rng: Random) -> None:
        via = self._somebody(rng)
        held = list(via.machine.view.containers()) if via is not None else []
        if via is not None and held:
            victim = rng.choice(held)
            self._change(victim.uid)
            spec = via.machine.view.spec(victim.uid)
            for uid, (_, service) in self.added.items():
                if spec is not None and spec.group and service.group == spec.group:
                    self._change(uid)
            event = ev.StopAsked(
                operation=self._world.new_id("stop"),
                uid=victim.uid,
                slot=victim.slot,
                generation=victim.generation,
            )
            self.ask(rng, via, victim.uid, event)

    def _restart(self, uid: str, rng: Random) -> None:
        """Restart an instance, as its own node knows it, twice under one operation."""
        held = [
            (process, container)
            for process in self._world.processes()
            for container in process.machine.view.instances(uid)
            if container.node == process.name
        ]
        if held:
            process, container = rng.choice(held)
            operation = self._world.new_id("restart")
            self._world.log("operator", f"{operation}: {container.name}")
            event = ev.RestartAsked(operation=operation, name=container.name)
            for after_s in (0.0, rng.uniform(0.0, 1.0)):
                process.arrive(self._world.clock.after, after_s, process.feed, event)

    def _move(self, rng: Random) -> None:
        via, uid = self.some_service(rng)
        if via is None or not uid:
            return
        service, situation = via.machine.view.spec(uid), via.machine.situation
        assert service is not None
        slots = [
            slot
            for slot in via.machine.view.slots(uid)
            if slot.wanted and situation.is_movable(slot, service)
        ]
        if slots:
            event = ev.MoveAsked(
                operation=self._world.new_id("move"),
                uid=uid,
                slot=rng.choice(slots).slot,
                node=self._some_node(rng, via),
            )
            self.ask(rng, via, uid, event)

    def changing(self, uid: str, verb: str) -> str:
        """Note that something is asked for a service; return the operation's id."""
        self._change(uid)
        return self._world.new_id(verb)

    def _change(self, uid: str) -> None:
        self.changed.add(uid)
        self._changed_now.add(uid)

    def _rush(self, rng: Random) -> None:
        """Do many things at once, at many nodes."""
        verbs = (self._add, self._add_again, self._scale, self._stop, self._move)
        for _ in range(rng.randint(3, 8)):
            rng.choice(verbs)(rng)

    # Nodes

    def _drain(self, rng: Random) -> None:
        via = self._somebody(rng)
        self._nodes_changed = True
        if via is not None:
            operation = self._world.new_id("drain")
            node = self._some_node(rng, via)
            event = ev.DrainAsked(operation=operation, node=node, drained=True)
            self.ask(rng, via, "", event)

    def _undrain(self, rng: Random) -> None:
        via = self._somebody(rng)
        if via is None:
            return
        heads = sorted(head.node for head in via.machine.view.nodes)
        drained = [node for node in heads if via.machine.view.is_drained(node)]
        if drained:
            operation = self._world.new_id("undrain")
            node = rng.choice(drained)
            event = ev.DrainAsked(operation=operation, node=node, drained=False)
            self.ask(rng, via, "", event)

    def _assign_role(self, rng: Random) -> None:
        via = self._somebody(rng)
        self._nodes_changed = True
        if via is not None:
            event = ev.RoleAssigned(
                operation=self._world.new_id("role"),
                node=self._some_node(rng, via),
                role=rng.choice(("edge", "core", "master")),
            )
            self.ask(rng, via, "", event)

    def _remove_node(self, rng: Random) -> None:
        """Remove a node as the verb does by force: a live one is drained first."""
        self._nodes_changed = True
        via = self._somebody(rng)
        if via is None or not self._world.ledger.may_lose():
            return
        node = self._some_node(rng, via)
        if sum(1 for host in self._world.hosts if not host.is_gone) > 2:
            self._world.ledger.lose(self._world[node], within_s=TAKES_OUT_S)
            self._world.clock.begin(self._take_out(via, node))

    def _take_out(self, via: Process, node: str) -> Steps:
        """Wait as the verb does, all the while: it is not quiet between its steps."""
        self._begin(task := f"take out {node}", TAKES_OUT_S)
        yield from self._taken_out(via, node)
        self._busy.pop(task, None)

    def _taken_out(self, via: Process, node: str) -> Steps:
        machine = via.machine
        if why_not_leave(machine.situation, node):
            return
        if machine.members.status(node) not in GONE | AWAY:
            operation = self._world.new_id("drain")
            event = ev.DrainAsked(operation=operation, node=node, drained=True)
            yield from self._coordinate(1.0, via, "", event)
            for _ in range(30):
                yield via.sleep(0.5)
                if not draining(machine.reconciler, node).pending:
                    break
        if machine.members.status(node) not in GONE | AWAY:
            yield from self._have_leave(via, node)
        if not machine.is_leaving:
            operation = self._world.new_id("remove-node")
            removal = ev.RemoveNodeAsked(operation=operation, node=node)
            yield from self._coordinate(1.0, via, "", removal)

    def _have_leave(self, via: Process, node: str) -> Steps:
        """Have a node leave as `NodeMonitor._have_leave` does, and wait for it."""
        leaver, machine = self._world[node].process, via.machine
        if leaver is not None and self._world.network.joins(via.name, node):
            leaver.arrive(self._world.clock.begin, leaver.leave())
        limit_s = via.now + machine.situation.leaving_s(node)
        while machine.view.head(node) is not None and via.now < limit_s:
            if machine.members.status(node) is Status.DEAD:
                break
            yield via.sleep(0.1)

    # Asking

    def ask(self, rng: Random, via: Process, uid: str, event: Any) -> None:
        """Have something decided that somebody types at a node."""
        target = f"{via.name}: {_brief(event)}"
        self._world.log("operator", target)
        self._world.clock.begin(self._coordinate(rng.random(), via, uid, event))

    def _coordinate(self, chance: float, via: Process, uid: str, event: Any) -> Steps:
        """Have it decided as `ContainerSup._coordinate` does, by who is to decide."""
        outcome, timing = None, self._world.timing
        self._begin(event.operation)
        while outcome is None:
            way = self._way(via, uid, event)
            for _ in range(2):
                outcome = _reached((yield self._decided(via, way[0], event)))
                if outcome is not None:
                    break
            if outcome is None or (_is_full(outcome) and not way[1]):
                limit_s = via.now + timing.dead_s + timing.suspect_s
                while self._way(via, uid, event) == way and via.now < limit_s:
                    yield via.sleep(0.1)
                if self._way(via, uid, event) == way:
                    break
                outcome = None
        self._told(event.operation, outcome)
        if outcome is not None and _is_full(outcome) and (able := self._able(via)):
            raise Violation(f"{via.name}: refused for a disk, and {able} could write")
        if chance < 0.2 and uid and via.is_running:
            # Somebody asks again, late, and whom he takes for the coordinator.
            self._begin(event.operation)
            yield via.sleep(20 * chance)
            nodes = via.machine.members.alive()
            yield self._decided(via, nodes[int(1000 * chance) % len(nodes)], event)
            self._busy.pop(event.operation, None)

    def _way(self, via: Process, uid: str, event: Any) -> tuple[str, str]:
        """Return who decides, and why its disk takes nothing."""
        situation = via.machine.situation
        service = event.service if isinstance(event, ev.AddAsked) else None
        target = situation.coordinator(uid or f"node/{event.node}", service)
        head = situation.view.head(target)
        return target, head.disk_trouble if head is not None else ""

    def _able(self, via: Process) -> list[str]:
        """Return who could decide for a node that has long been well, and heard all."""
        world, since_s = self._world, self._world.clock.now - LONG_S
        others = [host for host in world.hosts if host is not via.host]
        ways = [w for h in others for w in ((h.name, via.name), (via.name, h.name))]
        is_well = all(world.network.bad_s(way) < since_s for way in ways)
        if not is_well or via.loop_s < LONG_S or via.machine.members.strain:
            return []
        deciding = via.machine.members.coordinators()
        return [
            process.name
            for process in world.processes()
            if process.name in deciding
            and process.loop_s > LONG_S
            and not process.is_frozen
            and process.host.disk.full_until_s < since_s
        ]

    def _decided(self, via: Process, node: str, event: Any) -> Step:
        def begin(resume: Callable[[Outcome], None]) -> None:
            via.arrive(via.mesh.call, node, event, resume)

        return begin

    def _begin(self, operation: str, at_most_s: float = PATIENCE_S) -> None:
        """Note that somebody waits: not for ever, as the node asked may end."""
        self._busy[operation] = self._world.clock.now + at_most_s

    def _told(self, operation: str, outcome: Outcome) -> None:
        self._busy.pop(operation, None)
        if outcome is None:
            text = "no answer"
        elif isinstance(outcome, cmd.Refuse):
            text = f"refused: {type(outcome.error).__name__}: {outcome.error}"
        else:
            text = f"done, {outcome.copies} copies"
        self._world.log("operator", f"{operation}: {text}")

    # Choosing

    def _somebody(self, rng: Random) -> Process | None:
        processes = [p for p in self._world.processes() if p.machine.is_settled]
        return rng.choice(processes) if processes else None

    def some_service(self, rng: Random) -> tuple[Process | None, str]:
        """Choose who asks, and a service that it knows, "" if it knows none."""
        via = self._somebody(rng)
        uids = [record.uid for record in via.machine.view.services()] if via else []
        return via, rng.choice(uids) if uids else ""

    def _some_node(self, rng: Random, via: Process) -> str:
        return rng.choice(sorted(head.node for head in via.machine.view.nodes))

    def _service(self, rng: Random, via: Process) -> Service:
        def one_in(number: int) -> bool:
            return rng.random() * number < 1

        ports = (Port(name="web", container_port=80),)
        check = HealthCheck(kind=HealthKind.SHELL, cmd=("true",))
        service = Service(
            name=f"s{self._number}",
            image="image",
            replicas=rng.choice((1, 1, 2, 2, 3)),
            restart=rng.choice(RESTARTS),
            on_partition=rng.choice(POLICIES),
            cpus=rng.choice((0.0, 0.5, 1.0, 2.0)),
            ports=ports if one_in(2) else (),
            health_check=check if one_in(3) else None,
            auto_remove=one_in(6),
            restart_count=4 if one_in(10) else 0,
        )
        if one_in(6):
            service = attrs.evolve(service, roles=("edge",))
        if one_in(6):
            hosts = tuple({self._some_node(rng, via): None for _ in range(2)})
            service = attrs.evolve(service, hosts=hosts)
        return service


def _cared_for(service: Service, rng: Random) -> Service:
    """Return the service with how its containers are stopped, and when."""
    choices = [*[None] * 5, OnUnhealthy.LEAVE, OnUnhealthy.KILL]
    return attrs.evolve(
        service,
        stop_timeout_s=rng.choice((*[10] * 6, 1, 30)),
        on_unhealthy=rng.choice(choices) if service.health_check else None,
    )


def _placed(service: Service, rng: Random) -> Service:
    """Return the service with what else decides where it may run."""
    number = 8000 + rng.randrange(3)  # several want the same
    ports = (Port(name="fixed", container_port=9000, host_port=number),)
    data = Mount(kind=MountKind.VOLUME, source=f"data-{service.name}", target="/data")
    return attrs.evolve(
        service,
        ports=(*service.ports, *(ports if rng.random() < 0.2 else ())),
        mounts=(data,) if rng.random() < 0.2 else (),
        sticky=rng.random() < 0.7,
        max_per_node=1 if rng.random() < 0.2 else 0,
        placement=rng.choice((*[Placement.SPREAD] * 3, Placement.BINPACK)),
    )


def _reached(outcome: Outcome) -> Outcome:
    """Return what a node said, None where it says that another is to be asked."""
    if isinstance(outcome, cmd.Refuse) and isinstance(outcome.error, PeerUnreachable):
        return None
    return outcome


def _is_full(outcome: Outcome) -> bool:
    """Tell whether a node said that its disk takes nothing."""
    return isinstance(outcome, cmd.Refuse) and isinstance(outcome.error, StoreError)


def _brief(event: Any) -> str:
    """Return an event in one line that can be read."""
    fields = attrs.asdict(event, recurse=False)
    spec = fields.pop("service", None)
    if spec is not None:
        told = attrs.asdict(
            spec,
            recurse=False,
            filter=lambda field, value: value != field.default,
        )
        fields["service"] = {k: getattr(v, "value", v) for k, v in told.items()}
    said = ", ".join(f"{key}={value}" for key, value in fields.items())
    return f"{type(event).__name__} {said}"
