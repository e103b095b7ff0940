"""What must be done so that the cluster converges, from the view alone.

Level-triggered: called on every change and every tick, it compares what should be
with what is. A coordinator that dies half-way is finished by the next one.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from veo_shell.core.membership import GONE, Membership
from veo_shell.core.model import (
    Candidate,
    NodeDocument,
    Restart,
    Room,
    Service,
    ServiceRecord,
    SlotRecord,
)
from veo_shell.core.placement import NodeState, coordinator, rank
from veo_shell.core.view import View


def reserved(view: View, node: str) -> Room:
    """Return what the slots placed on a node reserve together: the plain sum."""
    specs = [view.spec(slot.uid) for slot in view.assigned(node)]
    held = [spec for spec in specs if spec is not None]
    return Room(
        cpus=sum(spec.cpus for spec in held),
        memory_bytes=sum(spec.memory_bytes for spec in held),
        disk_bytes=sum(spec.disk_bytes for spec in held),
    )


def candidates(
    view: View, members: Membership, service: Service, uid: str
) -> list[Candidate]:
    """Rank all nodes for one more instance of a service."""
    return rank(
        service, uid, [_state(view, members, service, head) for head in view.nodes]
    )


def _state(
    view: View, members: Membership, service: Service, head: NodeDocument
) -> NodeState:
    specs = [view.spec(slot.uid) for slot in view.assigned(head.node)]
    return NodeState(
        node=head.node,
        status=members.status(head.node),
        role=view.role(head.node),
        resources=head.resources,
        engine_lost=head.engine_lost,
        reserved=reserved(view, head.node),
        instances=sum(1 for spec in specs if spec and spec.name == service.name),
    )


def coordinates(view: View, members: Membership, me: str) -> Iterable[ServiceRecord]:
    """Return the services that this node decides about."""
    alive = members.alive()
    return [r for r in view.services() if coordinator(r.uid, alive) == me]


def missing_slots(record: ServiceRecord, slots: list[SlotRecord]) -> list[int]:
    """Return the numbers to fill: the lowest that are free, as many as it takes."""
    taken = {slot.slot for slot in slots if slot.wanted}
    free = (n for n in range(record.replicas + len(taken)) if n not in taken)
    return [next(free) for _ in range(record.replicas - len(taken))]


def place(
    view: View, members: Membership, writer: str, uid: str, slot: int
) -> SlotRecord | None:
    """Return the record that places a slot anew; None if it has to stay as it is."""
    service = view.spec(uid)
    assert service is not None
    old = next((s for s in view.slots(uid) if s.slot == slot), None)
    if old is None:
        old = SlotRecord(
            uid=uid, slot=slot, revision=0, writer="", generation=0, node=None
        )
    ranked = candidates(view, members, service, uid)
    node = next((c.node for c in ranked if c.fits), None)
    if node is None and old.wanted and old.node is None and old.revision:
        return None
    return attrs.evolve(
        old,
        node=node,
        wanted=True,
        generation=old.generation + (node is not None),
        revision=view.revision + 1,
        writer=writer,
    )


def must_move(view: View, members: Membership, slot: SlotRecord) -> bool:
    """Tell whether a wanted slot needs a (new) node."""
    if slot.node is None:
        return True
    service = view.spec(slot.uid)
    lost = members.status(slot.node) in GONE
    return lost and service is not None and service.restart is not Restart.NEVER


def decide(view: View, members: Membership, me: str, writer: str) -> list[SlotRecord]:
    """Write what this node as coordinator decides into the view; return the records.

    Each decision sees the ones before it, so that instances spread and fit.
    """
    written: list[SlotRecord] = []
    for record in coordinates(view, members, me):
        slots = view.slots(record.uid)
        numbers = missing_slots(record, slots)
        numbers += [s.slot for s in slots if s.wanted and must_move(view, members, s)]
        for number in numbers:
            placed = place(view, members, writer, record.uid, number)
            if placed is not None:
                view.merge_record(placed)
                written.append(placed)
    return written
