"""What is so, as the coordinator of a service has to know it before it decides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from veo_shell.core.holdings import volumes_of
from veo_shell.core.model import (
    NOT_LISTED,
    STOP_TIMEOUT_S,
    Container,
    Mode,
    NodeDocument,
    OnPartition,
    Restart,
    Service,
    SlotRecord,
    State,
    Status,
)
from veo_shell.core.placement import coordinator
from veo_shell.core.ports import fixed_ports
from veo_shell.core.timing import Timing
from veo_shell.core.turns import awaited, has_ended, is_named
from veo_shell.core.view import View

AGAIN_S = 0.1
"""So long to wait for a heartbeat that makes what was seen trusted."""


class Verdicts(Protocol):
    """What deciding needs to know of the nodes: `Membership`, or a what-if of it."""

    @property
    def timing(self) -> Timing:
        """Return the time-outs."""

    @property
    def revision(self) -> int:
        """Return a number that grows whenever a verdict changes."""

    @property
    def steady_since_s(self) -> float:
        """Return since when the same nodes are alive."""

    @property
    def crowd(self) -> float:
        """Return by how much so many peers stretch time-outs, on every node alike."""

    def status(self, node: str) -> Status:
        """Return the verdict on a node; this node itself is alive."""

    def coordinators(self) -> list[str]:
        """Return the nodes among which the coordinator of a service is, in order."""

    def is_mutual(self, node: str) -> bool:
        """Tell whether a node is alive, heard directly, and hears this one."""

    def is_current(
        self, head: NodeDocument, digest: int, since_s: float, now: float
    ) -> bool:
        """Tell whether a document is what its node says now.

        `digest` is that of the whole view that it stands in, `since_s` what the node
        must have been heard after.
        """

    def lost_for_s(self, node: str, now: float) -> float:
        """Return for how long the present verdict on a node has stood."""

    def sees_majority(self, voters: list[str], now: float) -> bool:
        """Tell whether more than half of the voters and this node hear each other."""

    def entry(self, node: str) -> str:
        """Return the journal's id of the verdict on a node, "" if there is none."""

    def boot(self, node: str) -> str:
        """Return which process of a peer the verdict is on, "" if there is none."""


class Situation:
    """The view and the verdicts, and what follows from the two; writes nothing."""

    def __init__(self, me: str, view: View, verdicts: Verdicts) -> None:
        self.me = me
        self.view = view
        self.verdicts = verdicts
        self.now = 0.0
        self._coordinators: dict[str, str] = {}
        self._able: list[str] = []
        self._knows_groups = True
        self._seen = -1, -1
        self._engine_lost_s: dict[str, float] = {}

    def coordinator(self, uid: str, service: Service | None = None) -> str:
        """Return the node that decides about a service: one about all of a group.

        `service`: what is asked for, where no record of it is in the view yet.
        """
        seen = self.view.epoch, self.verdicts.revision
        if seen != self._seen:
            self._seen = seen
            self._let_decide(self._find_able())
            # Nodes of protocol 1 know nothing of groups: all are to agree who decides.
            self._knows_groups = all(head.protocol > 1 for head in self.view.nodes)
        service = service or self.view.spec(uid)
        is_grouped = service is not None and service.group and self._knows_groups
        key = f"group/{service.group}" if service and is_grouped else uid
        if key not in self._coordinators:
            self._coordinators[key] = coordinator(key, self._able)
        return self._coordinators[key]

    def _let_decide(self, nodes: list[str]) -> None:
        """Have the coordinators chosen among these nodes.

        One that is still there is outranked by none but those that came: to rank all of
        them for each service would be much of what a failover costs.
        """
        came = [node for node in nodes if node not in self._able]
        stay = set(nodes)
        self._able = nodes
        self._coordinators = {
            key: coordinator(key, [node, *came]) if came else node
            for key, node in self._coordinators.items()
            if node in stay and self.view.service(key) is not None
        }

    def _find_able(self) -> list[str]:
        """Return the nodes that can decide: those whose disks take it, if any does."""
        nodes = self.verdicts.coordinators()
        heads = [self.view.head(node) for node in nodes]
        full = {head.node for head in heads if head is not None and head.disk_trouble}
        return [node for node in nodes if node not in full] or nodes

    def is_movable(self, slot: SlotRecord, service: Service) -> bool:
        """Tell whether an instance may run elsewhere: a job would run twice.

        Unless its master is not there yet, without which none begins.
        """
        named = self.named(slot)
        if service.restart is Restart.NEVER:
            is_there = named is not None and (bool(named.id) or has_ended(named))
            is_made = slot.done or is_there
            return not is_made and bool(awaited(self.view, service))
        return not (slot.done if named is None else has_ended(named))

    def mates(
        self, slot: SlotRecord, service: Service
    ) -> Iterator[tuple[SlotRecord, Service]]:
        """Yield the other slots of a slot's group, with what they are filled by."""
        for record in self.view.group(service.group) if service.group else ():
            for mate in self.view.slots(record.uid):
                spec = record.spec_of(mate.spec_id)
                if mate.wanted and spec is not None and mate.key != slot.key:
                    yield mate, spec

    def data_at(self, slot: SlotRecord, service: Service) -> str:
        """Return the volume for which an instance stays on its node, "" for none.

        Also of a node that is lost: elsewhere it would begin without its data. What is
        in a group stays for the data of any of it.
        """
        there = [spec for m, spec in self.mates(slot, service) if m.node == slot.node]
        bound = frozenset[str]().union(*map(volumes_of, [service, *there]))
        head = self.view.head(slot.node) if bound and slot.node else None
        return min(bound.intersection(head.volumes if head else ()), default="")

    def why_bound(self, slot: SlotRecord, service: Service) -> str:
        """Return why an instance stays on its node, lost or not; "" if it need not."""
        if service.mode is Mode.GLOBAL:
            return "mode: global, each node has its own"
        volume = self.data_at(slot, service)
        return f"its volume {volume} is there" if volume else ""

    def must_move(self, slot: SlotRecord, service: Service) -> bool:
        """Tell whether a placed slot needs another node: a group as a whole.

        What never ran for another one that has its port leaves nothing behind: nor is
        it a job that has begun.
        """
        if service.mode is not Mode.GLOBAL and self.is_kept_out(slot, service):
            return True
        if not self._is_to_move(slot, service) or self.why_bound(slot, service):
            return False
        return all(
            not self.is_movable(mate, spec)
            or (self._is_to_move(mate, spec) and self.may_decide(spec))
            for mate, spec in self.mates(slot, service)
            if mate.node == slot.node
        )

    def _is_to_move(self, slot: SlotRecord, service: Service) -> bool:
        assert slot.node is not None
        if not self.is_movable(slot, service):
            return False
        head = self.view.head(slot.node)
        if head is None or self.verdicts.status(slot.node) is Status.LEFT:
            return True
        if service.on_partition is OnPartition.KEEP:
            return False
        lost_s = self._lost_s(head)
        if lost_s is None:
            return False
        if service.on_partition is OnPartition.AVAILABLE:
            return True
        return lost_s >= self.verdicts.timing.majority_s * self.verdicts.crowd

    def is_kept_out(self, slot: SlotRecord, service: Service) -> bool:
        """Tell whether it cannot run where it is, as another one has its port there.

        So it is where two coordinators placed both at the same moment, or apart.
        """
        named = self.named(slot)
        if named is None or named.state is not State.BACKOFF:
            return False
        return self.has_rival(slot, service) and self.is_reached(named.node)

    def has_rival(self, slot: SlotRecord, service: Service) -> bool:
        """Tell whether another one runs on its node, and has a port that it wants."""
        head = self.view.head(slot.node or "")
        lans = head.lan_networks if head else ()
        ports = frozenset(fixed_ports(service, lans))
        if not ports or slot.node is None:
            return False
        for other in self.view.assigned(slot.node):
            spec, holder = self.view.spec_of(other), self.named(other)
            needs_one = spec and ports.intersection(fixed_ports(spec, lans))
            if needs_one and other.key != slot.key and holder and holder.is_up:
                return True
        return False

    def is_lost(self, node: str) -> bool:
        """Tell whether nothing can be expected of a node any more."""
        head = self.view.head(node)
        if head is None or self.verdicts.status(node) is Status.LEFT:
            return True
        return self._lost_s(head) is not None

    def _lost_s(self, head: NodeDocument) -> float | None:
        """Return for how long a node has been lost for its work, None if it is not."""
        if self.verdicts.status(head.node) is Status.DEAD:
            return self.verdicts.lost_for_s(head.node, self.now)
        if head.engine_lost:
            away_s = self.now - self._engine_lost_s.get(head.node, self.now)
            over_s = away_s - self.verdicts.timing.engine_s
            return over_s if over_s >= 0 else None
        return None

    def may_decide(self, service: Service) -> bool:
        """Tell whether this side of a partition may decide about a service."""
        if service.on_partition is not OnPartition.MAJORITY:
            return True
        return self.verdicts.sees_majority(self.view.voters(), self.now)

    def claimants(self, uid: str, number: int) -> list[Container]:
        """Return the containers that run in a slot, on nodes that are reached."""
        return [
            c
            for c in self.view.in_slot(uid, number)
            if c.is_up and self.is_reached(c.node)
        ]

    def is_reached(self, node: str) -> bool:
        """Tell whether a node is alive and has its engine."""
        head = self.view.head(node)
        alive = self.verdicts.status(node) is Status.ALIVE
        return alive and head is not None and not head.engine_lost

    def is_clear(self, nodes: Iterable[str], since_s: float) -> bool:
        """Tell whether what was seen since then on these nodes can be trusted.

        The same nodes are alive for a while, and what they run is as they say now: not
        as it was before they were lost. Each has been heard after it was seen for a
        while: this process may have been frozen with its clock, and what waited for it
        is of long ago.
        """
        steady_s = self.verdicts.timing.steady_s
        if self.now - max(self.verdicts.steady_since_s, since_s) < steady_s:
            return False
        return all(self._is_current(node, since_s + steady_s) for node in nodes)

    def clear_at_s(self, since_s: float) -> float:
        """Return when `is_clear` is to be asked again, if no verdict changes."""
        steady_s = self.verdicts.timing.steady_s
        return max(
            max(self.verdicts.steady_since_s, since_s) + steady_s, self.now + AGAIN_S
        )

    def _is_current(self, node: str, since_s: float) -> bool:
        head = self.view.head(node)
        return (
            head is not None
            and self.is_reached(node)
            and self.verdicts.is_current(head, self.view.digest, since_s, self.now)
        )

    def named(self, slot: SlotRecord) -> Container | None:
        """Return the container that a slot's record names, if it is there."""
        for container in self.view.in_slot(slot.uid, slot.slot):
            if is_named(slot, container):
                return container
        return None

    def drain_cause(self, node: str) -> str:
        """Return the journal's id of the decision by which a node is drained."""
        record = self.view.node_record(node)
        return record.drained_by if record is not None else ""

    def stuck(self, slot: SlotRecord, service: Service, node: str) -> dict[str, str]:
        """Return where a slot could not go since its node was drained, and why.

        Nor another slot of its group.
        """
        decision = self.drain_cause(node)
        slots = [slot, *(mate for mate, _ in self.mates(slot, service))]
        told = (stuck for s in slots for stuck in s.stuck)
        return {s.node: s.reason for s in told if s.decision == decision}

    def job_beside(self, slot: SlotRecord, service: Service) -> str:
        """Return which of a slot's group is to end first on its node, "" for none.

        What runs once runs on where it is, and what is in its group with it.
        """
        for mate, spec in self.mates(slot, service):
            named = self.named(mate)
            is_there = named is not None and not has_ended(named)
            if is_there and spec.restart is Restart.NEVER and mate.node == slot.node:
                return spec.name
        return ""

    def still_there(self, slot: SlotRecord, names: tuple[str, ...]) -> tuple[str, ...]:
        """Leave out what is gone, and what is on nodes that are not reached.

        The first need no order to end; of the others a new decision is made when they
        are back.
        """
        held = self.view.in_slot(slot.uid, slot.slot)
        known = {c.name for c in held if self.is_reached(c.node)}
        return tuple(sorted({name for name in names if name in known}))

    def next_generation(self, slot: SlotRecord) -> int:
        """Return one that no container of the slot has: its name is to be its own."""
        held = self.view.in_slot(slot.uid, slot.slot)
        return 1 + max([slot.generation, *(c.generation for c in held)])

    def why_lost(self, slot: SlotRecord) -> str:
        """Return the journal's id of what took a slot's node away."""
        if slot.node is None or self.is_reached(slot.node):
            return slot.cause
        return self.verdicts.entry(slot.node) or slot.cause

    def leaving_s(self, node: str) -> float:
        """Return after how long a node that leaves has stopped what runs there."""
        held = (c for c in self.view.containers(node) if c.may_run)
        records = [self.view.service(c.uid) for c in held]
        times_s = [r.stops_within_s if r else STOP_TIMEOUT_S for r in records]
        return self.verdicts.timing.leaving_s(max(times_s, default=0))

    def note_engines(self) -> None:
        """Note since when nodes have been without their engine."""
        lost = {
            h.node for h in self.view.nodes if h.engine_lost not in ("", NOT_LISTED)
        }
        known = self._engine_lost_s
        self._engine_lost_s = {node: known.get(node, self.now) for node in sorted(lost)}
