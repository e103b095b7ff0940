"""Who decides about slots, and that no decision leaves a service with less."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sim.groups import is_held_up
from tests.sim.ledger import rank
from tests.sim.violation import Violation
from veo_shell.core import events as ev
from veo_shell.core.life import FELL
from veo_shell.core.model import (
    Container,
    GroupRole,
    Health,
    Identity,
    Mode,
    NodeRecord,
    OnPartition,
    Record,
    Restart,
    ServiceRecord,
    SlotRecord,
    State,
    Status,
)
from veo_shell.core.turns import is_named

if TYPE_CHECKING:
    from tests.sim.engine import Box
    from tests.sim.process import Process
    from tests.sim.world import World

RECENT_S = 8.0
"""So old may be what a node knows of a container elsewhere when it stops its own."""
OPERATIONS = (
    ev.AddAsked,
    ev.RemoveAsked,
    ev.StopAsked,
    ev.ScaleAsked,
    ev.UpdateAsked,
    ev.RollbackAsked,
    ev.MoveAsked,
    ev.RoleAssigned,
    ev.DrainAsked,
    ev.RemoveNodeAsked,
)
Slot = tuple[str, int]


class SlotWatch:
    """What was ready last in each slot."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._ready_s: dict[Slot, dict[str, float]] = {}
        self._written: dict[str, SlotRecord] = {}
        self._shown: set[tuple[str, str]] = set()
        self._held: set[tuple[str, str]] = set()
        self._revisions: dict[str, int] = {}

    def look(self) -> None:
        """Note what is ready now."""
        for host in self._world.hosts:
            for box in host.engine.own():
                self.changed(box)

    def handled(self, process: Process) -> None:
        """Note what a node knows before its next event, which may have it decide."""
        self._revisions[process.boot_id] = process.machine.view.revision

    def changed(self, box: Box) -> None:
        """Note that a container is ready, if it is."""
        if _is_ready(box):
            slot = self._ready_s.setdefault(_slot(box.identity), {})
            slot[box.id] = self._world.clock.now

    def showed(self, process: Process, container: Container) -> None:
        """No container is given up for one that is not ready, or was not just now.

        Who stood still until now goes by what it saw before.
        """
        mark = process.boot_id, container.name
        if container.state not in (State.PENDING, State.CREATING):
            self._held.add(mark)
        was_ready = mark in self._shown
        if container.is_ready:
            self._shown.add(mark)
        else:
            self._shown.discard(mark)
        box = process.host.engine.boxes.get(container.id)
        runs = was_ready and box is not None and box.running
        if not runs or container.state is not State.STOPPING:
            return
        if container.reason == "restarted by an operator" or FELL in container.reason:
            return
        if self._must_end(process, container):
            return
        ready_s = self._ready_s.get((container.uid, container.slot), {})
        others = [at_s for name, at_s in ready_s.items() if name != container.id]
        since_s = self._world.clock.now - RECENT_S
        if process.unwell_s >= since_s:
            since_s -= process.stood_s
        if not others or max(others) < since_s:
            raise Violation(
                f"{process.name} gives up {container.name}, and nothing else is ready "
                "in its slot"
            )

    def ordered(self, process: Process, name: str) -> None:
        """No slot is filled by an old table: before another's view, or once it moved.

        What a node finds on its engine it may start again before it hears the others.
        """
        view = process.machine.view
        mine = (c for c in view.containers() if c.node == process.name)
        container = next(c for c in mine if c.name == name)
        if not process.may_decide and (process.boot_id, name) not in self._held:
            raise Violation(f"{process.name} makes {name} before it saw another's view")
        service = view.spec(container.uid)
        is_new = (process.boot_id, name) not in self._held
        if service is not None and is_new and is_held_up(view, service):
            raise Violation(f"{process.name} makes {name} before its group's master")
        slot = view.slot(container.uid, container.slot)
        if slot is not None and slot.stops_first and is_named(slot, container):
            mark = container.uid, container.slot
            # It may run itself: somebody started it by hand before its node did.
            others = (b for b in process.host.engine.own() if b.name != name)
            if any(box.running and _slot(box.identity) == mark for box in others):
                raise Violation(f"{process.name} makes {name} beside the one before")
        if slot is None or slot.handover or is_named(slot, container):
            return
        if slot.revision <= self._revisions.get(process.boot_id, 0):
            raise Violation(f"{process.name} starts {name}, and {slot} names another")

    @staticmethod
    def _must_end(process: Process, container: Container) -> bool:
        """Tell whether it ends whatever else runs."""
        view = process.machine.view
        service = view.spec(container.uid)
        slot = view.slot(container.uid, container.slot)
        if service is None or slot is None or not slot.wanted:
            return True
        stops_first = slot.stops_first or service.on_partition is OnPartition.MAJORITY
        if stops_first or service.restart is not Restart.ALWAYS:
            return True
        return process.is_leaving or view.is_removed(process.machine.own)

    def wrote(self, process: Process, record: Record, event: ev.Event) -> None:
        """Only who coordinates decides, and nobody before it saw another's view.

        A node that leaves may always say so.
        """
        is_asked = isinstance(event, (*OPERATIONS, ev.Leaving))
        if isinstance(record, SlotRecord):
            self._check_slot(process, record, is_asked)
        if is_asked:
            return
        left = "" if not isinstance(record, NodeRecord) or record.votes else record.node
        if left == process.name and process.is_leaving:
            return
        if not process.may_decide:
            raise Violation(
                f"{process.name} wrote {record.key} before it saw another's view"
            )
        if left:
            if process.machine.members.status(left) is not Status.LEFT:
                raise Violation(f"{process.name} ends the vote of {left}")
            return  # who coordinates may not have heard that it left
        about = record.key if isinstance(record, NodeRecord) else record.uid
        # Whose disk fails decides no more, with what it says of that; whoever runs what
        # is left of a service makes it known again.
        is_recall = isinstance(record, ServiceRecord) and record.is_recalled
        if isinstance(event, ev.SaveFailed) or is_recall:
            return
        if process.machine.situation.coordinator(about) != process.name:
            raise Violation(
                f"{process.name} wrote {record.key}, which another node coordinates"
            )

    def _check_slot(self, process: Process, record: SlotRecord, is_asked: bool) -> None:
        old = self._written.get(record.key)
        if old is None or rank(old) < rank(record):
            self._written[record.key] = record
        if old is not None and not is_asked:
            self._check_job(process, old, record)
            self._check_global(process, old, record)
            self._check_update(process, old, record)
            self._check_data(process, old, record)

    def _check_job(self, process: Process, old: SlotRecord, new: SlotRecord) -> None:
        """A job is not moved, but where it never began: it would run twice."""
        service = process.machine.view.spec(new.uid)
        if service is None or service.restart is not Restart.NEVER:
            return
        is_later = old.generation < new.generation and old.revision < new.revision
        stood = old.wanted and old.node is not None and is_later
        waits = service.group_role is GroupRole.SLAVE and not old.done
        if new.updating or waits or service.mode is Mode.GLOBAL:
            return  # it is another job, or has not begun: its master is not there
        moved = stood and new.wanted and new.node != old.node and not new.made
        named = process.machine.situation.named(old)
        is_unmade = named is not None and not named.id  # as its name is taken
        if moved and not is_unmade and not self._is_kept_from_beginning(old):
            raise Violation(
                f"{process.name} moves {service.name}, a job, to {new.node}"
            )

    def _is_kept_from_beginning(self, slot: SlotRecord) -> bool:
        """Tell whether a slot's container is there, and was never started."""
        mark = slot.uid, slot.slot, slot.container_generation
        boxes = [
            box
            for host in self._world.hosts
            for box in host.engine.own()
            if (i := box.identity) and (i.uid, i.slot, i.generation) == mark
        ]
        return bool(boxes) and not any(box.ever_started for box in boxes)

    @staticmethod
    def _check_global(process: Process, old: SlotRecord, new: SlotRecord) -> None:
        """What a dead node has of a global service is kept for it."""
        view, service = process.machine.view, process.machine.view.spec(new.uid)
        if service is None or service.mode is not Mode.GLOBAL or old.node is None:
            return
        is_dead = process.machine.members.status(old.node) is Status.DEAD
        is_member = view.head(old.node) is not None
        if not (is_dead and is_member) or view.is_drained(old.node) or service.roles:
            return  # it was given up, and its number is another's now
        is_later = old.generation < new.generation and old.revision < new.revision
        stood = old.wanted and is_later
        if stood and new.wanted and new.node != old.node and not new.made:
            raise Violation(
                f"{process.name} moves {service.name}, which is global, from "
                f"{old.node} to {new.node}"
            )

    @staticmethod
    def _check_data(process: Process, old: SlotRecord, new: SlotRecord) -> None:
        """What has its data on a node begins on no other one, also if that is lost."""
        view = process.machine.view
        service = view.spec_of(new)
        is_later = old.generation < new.generation and old.revision < new.revision
        moves = is_later and new.node not in (None, old.node) and not new.made
        head = view.head(old.node) if old.wanted and old.node is not None else None
        if service is None or not service.sticky or head is None or not moves:
            return
        if left := {mount.source for mount in service.mounts} & {*head.volumes}:
            raise Violation(f"{process.name} begins {new} without {left}")

    @staticmethod
    def _check_update(process: Process, old: SlotRecord, new: SlotRecord) -> None:
        """An update leaves one that is ready, while others are on their way."""
        view, uid = process.machine.view, new.uid
        if not (new.updating and new.stops_first) or old.stops_first:
            return
        slots = {slot.slot: slot for slot in view.slots(uid) if slot.wanted}
        others = [slot for slot in slots.values() if slot.slot != new.slot]
        is_reached = process.machine.situation.is_reached  # else it is a memory
        up = [c for c in view.instances(uid) if c.is_ready and is_reached(c.node)]
        held = [c for c in up if c.slot in slots]
        ready = {c.slot for c in held if c.name not in slots[c.slot].ends}
        stopped = any(c.slot == new.slot for c in held)
        on_their_way = any(slot.updating and slot.handover for slot in others)
        if stopped and on_their_way and not ready - {new.slot}:
            raise Violation(f"{process.name} stops the last that is ready of {uid}")


def _is_ready(box: Box) -> bool:
    return box.running and box.health in (Health.NONE, Health.HEALTHY)


def _slot(identity: Identity | None) -> Slot:
    assert identity is not None
    return identity.uid, identity.slot
