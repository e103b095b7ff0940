"""Services in groups: which are, and what must be so of them."""

from __future__ import annotations

from random import Random

import attrs

from veo_shell.core.model import (
    Container,
    GroupPolicy,
    GroupRole,
    OnPartition,
    Restart,
    Service,
    SlotRecord,
    State,
    Status,
)
from veo_shell.core.situation import Situation
from veo_shell.core.turns import is_named
from veo_shell.core.view import View

KILLING = (GroupPolicy.MASTER_KILLS_ALL, GroupPolicy.ONE_KILLS_ALL)


def joined(service: Service, rng: Random) -> Service:
    """Return a service that may be in a group, of which there are two."""
    if rng.random() > 0.35:
        return service
    return attrs.evolve(
        service,
        group=rng.choice(("g1", "g1", "g2")),
        group_role=rng.choice((GroupRole.MASTER, GroupRole.SLAVE, GroupRole.SLAVE)),
        group_policy=rng.choice((None, *GroupPolicy)),
    )


def is_held_up(view: View, service: Service) -> bool:
    """Tell whether a master of its group is not there, for which it waits."""
    if service.group is None or service.group_role is GroupRole.MASTER:
        return False
    for record in view.group(service.group):
        assert record.service is not None
        if record.service.group_role is not GroupRole.MASTER:
            continue
        for slot in view.slots(record.uid):
            named = [c for c in view.in_slot(slot.uid, slot.slot) if is_named(slot, c)]
            is_there = slot.done if not named else _is_there(named[0], record.service)
            if slot.wanted and slot.node is not None and not is_there:
                return True
    return False


def _is_there(master: Container, spec: Service) -> bool:
    """Tell whether a master is not waited for: ready, done, or out of the way."""
    if master.state is State.EXITED and master.exit_code == 0:
        return True
    if spec.restart is Restart.NEVER:
        return False  # a job is to end
    is_over = master.state in (State.EXITED, State.FAILED)
    return master.is_ready or (is_over and spec.group_policy not in KILLING)


def is_kept(
    situation: Situation, slot: SlotRecord, service: Service, *, is_gone: bool
) -> bool:
    """Tell whether one of a slot's group is not to leave its node, which is away.

    One that is gone for good keeps only what this side may not decide about.
    """
    mates = situation.mates(slot, service)
    return any(
        (
            not situation.may_decide(spec)
            if is_gone
            else spec.on_partition is not OnPartition.AVAILABLE
        )
        and mate.node == slot.node
        and situation.is_movable(mate, spec)
        for mate, spec in mates
    )


def apart(
    situation: Situation, slot: SlotRecord, service: Service, fit: set[str]
) -> str:
    """Return where the rest of a slot's group is, to which it should be brought."""
    if slot.node is None or not situation.is_movable(slot, service):
        return ""
    mates = {
        mate.node
        for mate, spec in situation.mates(slot, service)
        if situation.is_movable(mate, spec) and mate.node is not None
    }
    alive = {n for n in mates if situation.verdicts.status(n) is Status.ALIVE}
    others = sorted((alive & fit) - {slot.node})
    is_reached = situation.is_reached(slot.node)
    return f"its group is on {others}" if others and is_reached else ""
