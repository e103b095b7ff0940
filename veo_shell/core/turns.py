"""What a container is to its slot, and what it and its master are to their group."""

from __future__ import annotations

from veo_shell.core.model import (
    Container,
    GroupPolicy,
    GroupRole,
    OnPartition,
    Restart,
    Service,
    ServiceRecord,
    SlotRecord,
    State,
)
from veo_shell.core.view import View


def stops_first(service: Service) -> bool:
    """Tell whether two must never run in one slot, not even while it moves."""
    return service.on_partition is OnPartition.MAJORITY


def has_ended(container: Container) -> bool:
    """Tell whether a container is not to run again, by its restart policy."""
    return container.state in (State.EXITED, State.FAILED)


def has_done(container: Container) -> bool:
    """Tell whether a container has done its work, as a job is to: it ended in order."""
    return container.state is State.EXITED and container.exit_code == 0


def is_named(slot: SlotRecord, container: Container) -> bool:
    """Tell whether a slot's record names this container as the one that fills it."""
    return (container.node, container.slot, container.generation) == (
        slot.node,
        slot.slot,
        slot.container_generation,
    )


def awaited(view: View, service: Service) -> str:
    """Return which master of its group one that is to begin waits for, "" for none.

    Not one that waits itself, for room.
    """
    if service.group is None or service.group_role is GroupRole.MASTER:
        return ""
    for record in view.group(service.group):
        spec = record.service
        if spec is None or spec.group_role is not GroupRole.MASTER:
            continue
        slots = [s for s in view.slots(record.uid) if s.wanted and s.node is not None]
        if not all(_is_there(view, slot, spec) for slot in slots):
            return spec.name
    return ""


def _is_there(view: View, slot: SlotRecord, spec: Service) -> bool:
    """Tell whether a master is ready, or is not waited for any more.

    That is one that has done its work, as a job is to have, or that has ended for
    good, and leaves the others to go on.
    """
    is_job = spec.restart is Restart.NEVER
    for c in view.in_slot(slot.uid, slot.slot):
        if is_named(slot, c):
            is_over = has_ended(c) and not is_job and not ends_all(spec)
            return has_done(c) or is_over or (c.is_ready and not is_job)
    return slot.done


def ends_all(service: Service) -> bool:
    """Tell whether the end of an instance of a service is that of its whole group."""
    is_master = service.group_role is GroupRole.MASTER
    return service.group is not None and (
        service.group_policy is GroupPolicy.ONE_KILLS_ALL
        or (service.group_policy is GroupPolicy.MASTER_KILLS_ALL and is_master)
    )


def end_with(view: View, service: Service) -> list[ServiceRecord]:
    """Return which services end with one, as all of its group does."""
    return view.group(service.group or "") if ends_all(service) else []
