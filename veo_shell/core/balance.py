"""Which instance to move so that a service is spread evenly: as few as it takes."""

from __future__ import annotations

from collections.abc import Collection

from veo_shell.core.model import Placement, Service, ServiceRecord, SlotRecord
from veo_shell.core.reconcile import Reconciler


def next_step(
    reconciler: Reconciler,
    avoid: Collection[tuple[str, str]] = (),
    fixed: Collection[str] = (),
) -> tuple[SlotRecord, str] | None:
    """Return a slot and the node to move it to; None where all is even.

    `avoid`: services, by uid, and nodes that could not take one of their instances.
    `fixed`: slots, by key, that stay where they are.

    A service is even when no node has two instances more than another that fits it;
    one that is on the move is left alone, and so is one that is to be packed.
    """
    for record in reconciler.view.services():
        assert record.service is not None
        taboo = {node for uid, node in avoid if uid == record.uid}
        if (step := _step(reconciler, record, taboo, fixed)) is not None:
            return step
    return None


def _step(
    reconciler: Reconciler,
    record: ServiceRecord,
    taboo: Collection[str],
    fixed: Collection[str],
) -> tuple[SlotRecord, str] | None:
    view, service = reconciler.view, record.service
    assert service is not None
    if service.placement is Placement.BINPACK or service.group:
        return None
    slots = [
        slot
        for slot in view.slots(record.uid)
        if slot.wanted and slot.node and _may_move(reconciler, slot, service)
    ]
    if any(slot.handover for slot in slots):
        return None
    ranked = reconciler.places.candidates(service, record.uid)
    fits = [c.node for c in ranked if c.fits and c.node not in taboo]
    if not fits or not slots:
        return None

    def placed(node: str) -> int:
        return view.account(node).instances[service.name]

    least = min(fits, key=placed)
    most = max(sorted({s.node for s in slots if s.node}), key=placed)
    if placed(most) - placed(least) < 2:
        return None
    from_there = [s for s in slots if s.node == most and s.key not in fixed]
    return (from_there[-1], least) if from_there else None


def _may_move(reconciler: Reconciler, slot: SlotRecord, service: Service) -> bool:
    situation = reconciler.situation
    is_bound = bool(situation.why_bound(slot, service))
    return situation.is_movable(slot, service) and not is_bound
