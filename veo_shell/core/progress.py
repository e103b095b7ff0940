"""How far what an operator asked for has come: what is under way, what stays and why.

Functions of what a node knows now; who waits for something asks them again and again.
"""

from __future__ import annotations

from collections.abc import Collection

import attrs

from veo_shell.core.membership import AWAY, GONE
from veo_shell.core.model import (
    STOP_TIMEOUT_S,
    Container,
    Health,
    Mode,
    Restart,
    Service,
    SlotRecord,
    State,
    Status,
)
from veo_shell.core.places import refusals
from veo_shell.core.reconcile import Reconciler
from veo_shell.core.situation import Situation
from veo_shell.core.turns import awaited, is_named
from veo_shell.core.view import View

BEGINNING = frozenset({State.PENDING, State.CREATING, State.STARTING})


@attrs.frozen(kw_only=True)
class Draining:
    """What is `pending` until a node is drained, and what `stays` there anyhow."""

    pending: tuple[str, ...] = ()
    stays: tuple[str, ...] = ()


def draining(reconciler: Reconciler, node: str) -> Draining:
    """Return how far it is that a node's work moves away; a line for each instance."""
    situation, view = reconciler.situation, reconciler.view
    status = situation.verdicts.status(node)
    slots = list(view.assigned(node))
    if status in GONE or view.head(node) is None:
        return Draining()
    if status in AWAY and slots:
        text = f"{node} is {status.value}: its work moves when it is back, or is dead"
        return Draining(stays=(text,))
    pending = [] if status is Status.ALIVE else [f"{node} is {status.value}"]
    stays = []
    for slot in slots:
        service = view.spec(slot.uid)
        assert service is not None
        if slot.handover:  # it is on its way here, and then away
            pending.append(f"{_label(slot, service)} is on the move")
        elif why := _why_it_stays(reconciler, slot, service):
            stays.append(f"{_label(slot, service)} stays on {node}: {why}")
        else:
            pending.append(f"{_label(slot, service)} waits for its turn")
    pending += _leaving(situation, node)
    if stays and _is_only_worker(situation, node):
        number = (
            "1 instance stays" if len(stays) == 1 else f"{len(stays)} instances stay"
        )
        stays = [f"no other node takes work: {number} on {node}"]
    return Draining(pending=tuple(pending), stays=tuple(stays))


def moving(situation: Situation, uid: str, number: int) -> tuple[str, ...]:
    """Return what is pending until a slot is filled at its place alone."""
    slot, service = situation.view.slot(uid, number), situation.view.spec(uid)
    if slot is None or service is None or not slot.wanted:
        return ()
    if slot.handover:
        return (begins(situation, slot, service),)
    view = situation.view
    held = view.in_slot(uid, number)
    ending = (c for c in held if not is_named(slot, c))
    return tuple(_stops(view, c) for c in ending if situation.is_reached(c.node))


def scaling(situation: Situation, uid: str, replicas: int) -> tuple[str, ...]:
    """Return what is pending until a service has as many instances as it can have."""
    view = situation.view
    wanted = [slot for slot in view.slots(uid) if slot.wanted]
    if len(wanted) != replicas and view.spec(uid) is not None:
        return (f"{len(wanted)} of {replicas} slots are there",)
    return filling(situation, uid)


def standing(reconciler: Reconciler, uid: str) -> tuple[str, ...]:
    """Return what is pending until a service has the instances that it is to have."""
    record = reconciler.view.service(uid)
    if record is None or record.service is None:
        return ()
    service = record.service
    if service.mode is not Mode.GLOBAL:
        return scaling(reconciler.situation, uid, record.replicas)
    free = reconciler.places.free(service, uid)
    places = (f"{service.name} is to begin on {node}" for node in free)
    return (*places, *filling(reconciler.situation, uid))


def filling(situation: Situation, uid: str) -> tuple[str, ...]:
    """Return what is pending until a service's slots are filled, and nothing else."""
    view = situation.view
    service = view.spec(uid)
    wanted = [slot for slot in view.slots(uid) if slot.wanted]
    if service is None:
        return ()
    numbers = {slot.slot for slot in wanted}
    named = {slot.key: situation.named(slot) for slot in wanted if slot.node}
    begin = [
        begins(situation, slot, service)
        for slot in wanted
        if slot.node
        and _is_beginning(named[slot.key])
        and not waits_for_its_node(situation, slot, service)
    ]
    surplus = (c for c in view.instances(uid) if c.slot not in numbers)
    ends = [_stops(view, c) for c in surplus if situation.is_reached(c.node)]
    return (*begin, *ends)


def waits_for_its_node(
    situation: Situation, slot: SlotRecord, service: Service
) -> bool:
    """Tell whether a slot is on a node that is lost, and stays there."""
    is_lost = slot.node is not None and situation.is_lost(slot.node)
    return is_lost and not situation.must_move(slot, service)


def updating(reconciler: Reconciler, uid: str) -> tuple[str, ...]:
    """Return what is pending until a service is all of the spec that stands."""
    situation, view = reconciler.situation, reconciler.view
    record, service = view.service(uid), view.spec(uid)
    if record is None or service is None or record.update is None:
        return ()
    pending = []
    for slot in (s for s in view.slots(uid) if s.wanted):
        if not record.update.is_going_on:
            held = view.in_slot(uid, slot.slot)
            ends = (c for c in held if c.name in slot.ends)
            pending += [_stops(view, c) for c in ends if situation.is_reached(c.node)]
        elif slot.handover:
            pending.append(begins(situation, slot, service))
        elif slot.updating:
            pending.append(f"{_label(slot, service)} proves itself on {slot.node}")
        elif reconciler.updates.is_behind(slot, record):
            pending.append(f"{_label(slot, service)} {_why_behind(situation, slot)}")
    if record.update.is_going_on and not pending:
        return (f"{service.name}: the update is about to be completed",)
    return tuple(pending)


def _why_behind(situation: Situation, slot: SlotRecord) -> str:
    if slot.node is None or situation.is_reached(slot.node):
        return "waits for its turn"
    return f"waits for {slot.node}, which is not reached"


def why_not_remove(situation: Situation, node: str) -> str:
    """Return why a node cannot be removed in order now, "" if it can."""
    status = situation.verdicts.status(node)
    if status in GONE and (left := data_left(situation, node)):
        return (
            f"{node} is {status.value}, and has data: {'; '.join(left)}: start it, or "
            f"remove_node({node!r}, force=True) has that begin anew without"
        )
    if status not in AWAY:
        return ""
    return (
        f"{node} is {status.value}, and its containers may run on: start it, or wait "
        f"until it is dead; remove_node({node!r}, force=True) has its work started "
        "elsewhere now, whatever still runs there"
    )


def data_left(situation: Situation, node: str) -> list[str]:
    """Return which instances' data would be left on a node, a line for each."""
    found = []
    for slot in situation.view.assigned(node):
        service = situation.view.spec(slot.uid)
        assert service is not None
        if volume := situation.data_at(slot, service):
            found.append(f"{_label(slot, service)} has its volume {volume} there")
    return found


def why_not_leave(
    situation: Situation, node: str, staying: Collection[str] | None = None
) -> str:
    """Return why a node must not leave the cluster, "" if it may.

    The last one would end its services, and set aside what is known of them. `staying`
    are those that say that they take over, if they were asked.
    """
    others = sorted(n for n in situation.verdicts.coordinators() if n != node)
    names = sorted({r.service.name for r in situation.view.services() if r.service})
    if (others if staying is None else staying) or not names:
        return ""
    last = f"{node} is the last node that lives"
    if others:
        last = f"as {node} would leave, none of {', '.join(others)} says that it stays"
    return (
        f"{last}: nothing could take over "
        f"{', '.join(names)}. `veo stop` ends the node and leaves its containers "
        "running; container_sup.remove_service ends a service"
    )


def _why_it_stays(reconciler: Reconciler, slot: SlotRecord, service: Service) -> str:
    """Return why a slot is not moved away from its node, "" if it is to be."""
    assert slot.node is not None
    if service.restart is Restart.NEVER:
        return "it is a job (restart: never)"
    if not reconciler.situation.is_movable(slot, service):
        return "it has ended"
    if service.mode is Mode.GLOBAL:  # it is given up
        may_decide = reconciler.situation.may_decide(service)
        return "" if may_decide else "no majority of the nodes is seen"
    if why := reconciler.situation.why_bound(slot, service):
        return why
    if job := reconciler.situation.job_beside(slot, service):
        return f"{job} of its group, a job (restart: never), runs there"
    ranked = reconciler.places.candidates(service, slot.uid)
    fits = [c.node for c in ranked if c.fits]
    stuck = reconciler.situation.stuck(slot, service, slot.node)
    if not set(fits) <= set(stuck):
        return ""
    failed = "; ".join(f"{n} could not take it over: {stuck[n]}" for n in fits)
    others = [c for c in ranked if not c.fits and c.node != slot.node]
    return failed or f"it fits nowhere else: {refusals(others)}"


def _is_only_worker(situation: Situation, node: str) -> bool:
    """Tell whether all other nodes are gone, or drained."""
    others = {n for n in situation.verdicts.coordinators() if n != node}
    return all(situation.view.is_drained(other) for other in others)


def _leaving(situation: Situation, node: str) -> list[str]:
    """Return what is on its way from a node, and what stops there."""
    view, found = situation.view, []
    for record in view.services():
        assert record.service is not None
        for slot in view.slots(record.uid):
            if slot.handover and slot.node != node and _is_from(situation, slot, node):
                found.append(begins(situation, slot, record.service))
    for container in view.containers(node):
        held = view.slot(container.uid, container.slot)
        is_to = held is not None and (container.name in held.ends or not held.wanted)
        if is_to or container.state is State.STOPPING:
            found.append(_stops(view, container))
    return found


def _is_from(situation: Situation, slot: SlotRecord, node: str) -> bool:
    held = situation.view.in_slot(slot.uid, slot.slot)
    return slot.drained_from == node or any(c.node == node for c in held)


def begins(situation: Situation, slot: SlotRecord, service: Service) -> str:
    """Return what is told of a slot until what is to fill it runs."""
    named = situation.named(slot)
    said = f" ({named.state.value} {named.reason}".rstrip() if named else ""
    if named is not None and named.is_up and named.health is Health.STARTING:
        said += ", its health check has not succeeded yet"
    if named is None and (master := awaited(situation.view, service)):
        said = f" (once {master} is ready, a master of its group"
    return f"{_label(slot, service)} begins on {slot.node}{said}{')' if said else ''}"


def _stops(view: View, container: Container) -> str:
    """Return what is told of one that is to end, until it is gone."""
    record = view.service(container.uid)
    spec = record.spec_of(container.spec_id) if record else None
    may_s = spec.stop_timeout_s if spec else STOP_TIMEOUT_S
    within = f", or is killed after {may_s} s" if may_s > STOP_TIMEOUT_S else ""
    return f"{container.name} stops{within}"


def _is_beginning(container: Container | None) -> bool:
    return container is None or container.state in BEGINNING


def _label(slot: SlotRecord, service: Service) -> str:
    return f"{service.name} slot {slot.slot}"
