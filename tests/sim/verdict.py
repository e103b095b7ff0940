"""What must be so once all is quiet: in the whole cluster, or on one side of a cut."""

from __future__ import annotations

from collections.abc import Sequence

from tests.sim import groups
from tests.sim.engine import Box
from tests.sim.groups import apart
from tests.sim.host import Host
from tests.sim.process import Process
from tests.sim.world import World
from veo_shell.core.dns_config import DnsConfig
from veo_shell.core.life import FELL
from veo_shell.core.membership import GONE
from veo_shell.core.model import (
    Container,
    Health,
    Mode,
    OnPartition,
    OnUnhealthy,
    Restart,
    Service,
    ServiceRecord,
    SlotRecord,
    State,
    Status,
)
from veo_shell.core.specs import is_halted
from veo_shell.core.turns import is_named
from veo_shell.core.view import View
from veo_shell.core.zone import Zone, same_answers
from veo_shell.core.zone_making import compile_zone

Place = tuple[str, str]
"""Of a service, by its uid, which slot; if it is global, which node."""
MAJORITY = Service(name="any", image="any", on_partition=OnPartition.MAJORITY)


def unrest(
    world: World, side: Sequence[Host], *, whole: bool, majority: bool = True
) -> str:
    """Return what is not as it should be on a side, "" if all is.

    `whole`: these are all nodes there are, and nothing of ours runs elsewhere. If so
    they are the `majority`, unless links are broken.
    """
    processes: list[Process] = []
    for host in side:
        if host.process is None:
            return f"{host.name} does not run"
        processes.append(host.process)
    if reason := _disagreement(processes, whole=whole):
        return reason
    voters = set(processes[0].machine.view.voters())
    # One that left may count on, where those that heard it say so are gone too.
    majority = majority and voters <= {process.name for process in processes}
    if whole and majority and not _may_decide(MAJORITY, processes[0]):
        return f"{processes[0].name} sees no majority"
    if reason := _table_unrest(processes, world.hosts if whole else side):
        return reason
    return _dns_unrest(processes, side)


def _disagreement(processes: list[Process], *, whole: bool) -> str:
    """Return how views differ, or who is not heard by whom."""
    first = processes[0]
    names = [process.name for process in processes]
    for process in processes:
        machine = process.machine
        if not machine.is_settled:
            return f"{process.name} is not settled"
        if machine.own.engine_lost:
            return f"{process.name} does not know that its engine is back"
        if machine.own.disk_trouble:
            return f"{process.name} does not know that its disk takes all again"
        if machine.view.digest != first.machine.view.digest:
            return f"{first.name} and {process.name} have different views"
        for name in names:
            status = machine.members.status(name)
            if status is not Status.ALIVE:
                return f"{process.name} holds {name} for {status.value}"
        others = [peer.node for peer in machine.members if peer.status not in GONE]
        if strange := [node for node in others if node not in names]:
            return f"{process.name} does not hold {strange} for dead"
    return ""


# The table and the engines


def _table_unrest(processes: list[Process], hosts: Sequence[Host]) -> str:
    """Return which slot is not filled as it should be, or what else runs."""
    view = processes[0].machine.view
    boxes = _running(hosts)
    expected: set[str] = set()
    for record in view.services():
        assert record.service is not None
        if reason := _service_unrest(processes, record, record.service, boxes):
            return f"{record.service.name} ({record.uid}): {reason}"
        for slot in view.slots(record.uid):
            named = _named(view, slot)
            if slot.wanted and named is not None:
                expected.add(named.name)
    others = sorted(name for name in boxes if name not in expected)
    return f"{', '.join(others)} should not run" if others else ""


def _service_unrest(
    processes: list[Process],
    record: ServiceRecord,
    service: Service,
    boxes: dict[str, Box],
) -> str:
    by_name = {process.name: process for process in processes}
    view = processes[0].machine.view
    decider = by_name[processes[0].machine.situation.coordinator(record.uid)]
    if not _may_decide(service, decider):
        mine = [box.name for box in boxes.values() if _is_of(box, record.uid)]
        return f"{mine} run without a majority" if mine else ""
    wanted = [slot for slot in view.slots(record.uid) if slot.wanted]
    held = {
        slot.slot
        for slot in wanted
        if _waits_for_its_node(by_name, decider, slot, service)
        or groups.is_held_up(view, service)
    }
    if record.update is not None and record.update.is_going_on and not held:
        return f"it is {record.update.state.value}"
    fit = {c.node for c in decider.machine.candidates(service, record.uid) if c.fits}
    if reason := _number_unrest(decider, record, service, wanted, fit):
        return reason
    if service.mode is Mode.GLOBAL:
        fit = set()  # none of it is to be elsewhere
    for slot in wanted:
        is_waiting = slot.slot in held or is_halted(record)
        if (slot.handover or slot.updating) and not is_waiting:
            return f"slot {slot.slot} is being handed over, or on trial"
        is_behind = decider.machine.reconciler.updates.is_behind(slot, record)
        if is_behind and slot.node in by_name and not is_halted(record):
            return f"slot {slot.slot} is of spec {slot.spec_id}, not {record.spec_id}"
        if reason := _place_unrest(by_name, decider, slot, service, fit, boxes):
            return f"slot {slot.slot}: {reason}"
    return ""


def _waits_for_its_node(
    by_name: dict[str, Process], decider: Process, slot: SlotRecord, service: Service
) -> bool:
    """Tell whether a slot stays with a node that is away: so does its update.

    As one of a job does, which may have begun there.
    """
    if slot.node is None or slot.node in by_name:
        return False
    situation = decider.machine.situation
    is_kept = service.on_partition is OnPartition.KEEP
    is_bound = is_kept or bool(situation.why_bound(slot, service))
    return is_bound or not situation.is_movable(slot, service)


def _place_unrest(
    by_name: dict[str, Process],
    decider: Process,
    slot: SlotRecord,
    service: Service,
    fit: set[str],
    boxes: dict[str, Box],
) -> str:
    situation = decider.machine.situation
    fits = bool(fit - situation.stuck(slot, service, slot.node or "").keys())
    if where := apart(situation, slot, service, fit if fits else set()):
        return f"it is on {slot.node}, and {where}"
    if slot.node not in by_name:
        return _lost_slot_unrest(slot, service, decider, fits=fits)
    return _slot_unrest(by_name[slot.node], slot, service, boxes, fits=fits)


def _number_unrest(
    decider: Process,
    record: ServiceRecord,
    service: Service,
    wanted: list[SlotRecord],
    fit: set[str],
) -> str:
    if service.mode is Mode.GLOBAL:
        return _everywhere_unrest(decider, service, wanted, fit)
    if len(wanted) != record.replicas:
        return f"{len(wanted)} slots are wanted, not {record.replicas}"
    return ""


def _everywhere_unrest(
    decider: Process, service: Service, wanted: list[SlotRecord], fit: set[str]
) -> str:
    """Return which node has none, two, or one that it is not to have."""
    view, status = decider.machine.view, decider.machine.members.status
    nodes = [slot.node for slot in wanted if slot.node is not None]
    if fit:
        return f"{sorted(fit)} have none, though they fit"
    if len(wanted) != (len(set(nodes)) or 1):
        return f"{[slot.node for slot in wanted]} have slots"
    for slot in wanted:
        if (node := slot.node) is None:
            continue
        if view.head(node) is None or status(node) is Status.LEFT:
            return f"{node} has a slot, and has left"
        is_asked = not service.roles or view.role(node) in service.roles
        if not is_asked or (service.hosts and node not in service.hosts):
            return f"{node} has a slot, and does not fit"
        stays = service.restart is Restart.NEVER or slot.done
        if view.is_drained(node) and not (stays or _is_done(view, slot, service)):
            return f"{node} has a slot, and is drained"
    return ""


def _may_decide(service: Service, process: Process) -> bool:
    machine = process.machine
    if service.on_partition is not OnPartition.MAJORITY:
        return True
    return machine.members.sees_majority(machine.view.voters(), process.now)


def _lost_slot_unrest(
    slot: SlotRecord, service: Service, decider: Process, *, fits: bool
) -> str:
    """Return why a slot whose node is not there should be elsewhere."""
    view = decider.machine.view
    if not fits:
        return ""
    if slot.node is None:
        return "it waits, though a node fits"
    if slot.done or service.restart is Restart.NEVER or _is_done(view, slot, service):
        return ""
    if _has_its_data(decider, slot, service):
        return ""
    status = decider.machine.members.status(slot.node)
    gone = view.head(slot.node) is None or status is Status.LEFT
    situation = decider.machine.situation
    is_kept = service.on_partition is OnPartition.KEEP and not gone
    if is_kept or groups.is_kept(situation, slot, service, is_gone=gone):
        return ""
    return f"it is on {slot.node}, which is {status.value}"


def _slot_unrest(
    process: Process,
    slot: SlotRecord,
    service: Service,
    boxes: dict[str, Box],
    *,
    fits: bool,
) -> str:
    """Return why a slot is not filled by its container, or should be elsewhere."""
    view, is_job = process.machine.view, service.restart is Restart.NEVER
    named = _named(view, slot)
    is_held_up = groups.is_held_up(view, service)
    if named is None and is_held_up:
        return ""
    if named is None:
        missing = f"{process.name} has no container for generation {slot.generation}"
        return "" if is_job or slot.done else missing
    box, is_done = boxes.get(named.name), _is_done(view, slot, service)
    ended = process.host.engine.boxes.get(named.id)
    is_told = ended is not None and ended.seen_by == process.boot_id
    if is_told and not is_job:
        return f"{named.name} was ended by its engine, not by itself"
    if ended is not None and ended.shut_down and not is_job:
        return f"{named.name} was ended by its host's shutdown, not by itself"
    if box is None and is_held_up:
        return ""
    if box is None and not is_done:
        return f"{named.name} does not run: {named.state.value} {named.reason}"
    if box is not None and (box.id != named.id or not named.is_up):
        return f"{named.name} runs, and its node says {named.state.value}"
    stays = is_job or is_done or _has_its_data(process, slot, service)
    if view.is_drained(process.name) and fits and not stays:
        return f"it is on {process.name}, which is drained"
    return ""


def _has_its_data(process: Process, slot: SlotRecord, service: Service) -> bool:
    """Tell whether the node of a slot has its volume: it starts nowhere else.

    Not one that has left, as far as it is known here.
    """
    bound = {mount.source for mount in service.mounts if service.sticky}
    if not bound or slot.node is None or process.machine.view.head(slot.node) is None:
        return False
    return bool(bound & process.world[slot.node].engine.volumes)


def _is_done(view: View, slot: SlotRecord, service: Service) -> bool:
    """Tell whether the container of a slot has ended for good, by its policy."""
    named = _named(view, slot)
    return named is not None and _has_ended(named, service)


def _has_ended(container: Container, service: Service) -> bool:
    if container.state is State.FAILED:
        is_killed = service.on_unhealthy is OnUnhealthy.KILL
        fell = FELL in container.reason
        return is_killed or fell or service.restart_count > 0
    if container.state is not State.EXITED:
        return False
    finished = container.exit_code == 0
    never = service.restart is Restart.NEVER
    return never or (service.restart is Restart.ON_FAILURE and finished)


def _named(view: View, slot: SlotRecord) -> Container | None:
    return next((c for c in view.instances(slot.uid) if is_named(slot, c)), None)


def filled(world: World) -> set[Place]:
    """Return the places in which something runs."""
    return {place_of(box) for box in _running(world.hosts).values()}


def place_of(box: Box) -> Place:
    """Return which place a container of ours fills."""
    identity = box.identity
    assert identity is not None
    if box.service.mode is Mode.GLOBAL:
        return identity.uid, identity.node
    return identity.uid, f"slot {identity.slot}"


def _is_of(box: Box, uid: str) -> bool:
    return box.identity is not None and box.identity.uid == uid


def _running(hosts: Sequence[Host]) -> dict[str, Box]:
    return {
        box.name: box
        for host in hosts
        for box in host.engine.own()
        if box.running and box.id not in host.left_behind
    }


# DNS


def _dns_unrest(processes: list[Process], side: Sequence[Host]) -> str:
    """Return whose DNS differs, or names what is not so."""
    first = zone_of(processes[0])
    for process in processes[1:]:
        if not same_answers(zone_of(process), first):
            return f"the DNS of {processes[0].name} and {process.name} differ"
    answered = sorted(c.name for c in processes[0].machine.answerable())
    healthy = (Health.NONE, Health.HEALTHY)
    stranded = {
        box.name
        for host in side
        for box in host.engine.own()
        # A job is not run again for it, nor what another one has the port of.
        if host.engine.is_stranded(box)
        and (box.service.restart is Restart.NEVER or host.engine.is_barred(box))
    }
    running = [box for box in _running(side).values() if box.name not in stranded]
    ready = [box.name for box in running if box.health in healthy]
    if answered != sorted(ready):
        return f"DNS has {answered}, and {sorted(ready)} run and are healthy"
    return ""


def zone_of(process: Process) -> Zone:
    """Return what a node's DNS answers, as any other would that has the same view."""
    machine = process.machine
    counting = (
        head
        for head in machine.view.nodes
        if machine.members.status(head.node) not in GONE
    )
    return compile_zone(
        config=DnsConfig(),
        serial=1,
        primary="",
        nodes=counting,
        containers=machine.answerable(),
    )
