"""What must be done so that the cluster converges, from the view alone.

Level-triggered: called on every change and every tick, it compares what should be
with what is. A coordinator that dies half-way is finished by the next one. Several that
act at once, while nodes disagree on who lives, do no harm: of their records one stands,
and containers that the other one caused are duplicates, which are ended like any.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

import attrs

from veo_shell.core.membership import Timing
from veo_shell.core.model import (
    Candidate,
    Container,
    NodeDocument,
    NodeRecord,
    OnPartition,
    Restart,
    Service,
    ServiceRecord,
    SlotRecord,
    State,
    Status,
)
from veo_shell.core.outbox import Outbox
from veo_shell.core.placement import NodeState, best, coordinator, rank, unfit
from veo_shell.core.view import View, pair

REST_S = 0.5
"""A slot that was just decided about is not looked at again for so long."""

R = TypeVar("R", SlotRecord, NodeRecord)


class Verdicts(Protocol):
    """What deciding needs to know of the nodes: `Membership`, or a what-if of it."""

    @property
    def timing(self) -> Timing: ...
    @property
    def revision(self) -> int: ...
    @property
    def steady_since_s(self) -> float: ...
    @property
    def crowd(self) -> float: ...
    def status(self, node: str) -> Status: ...
    def coordinators(self) -> list[str]: ...
    def is_mutual(self, node: str) -> bool: ...
    def is_current(self, node: str, pair: tuple[int, int], digest: int) -> bool: ...
    def lost_for_s(self, node: str, now: float) -> float: ...
    def sees_majority(self, voters: list[str], now: float) -> bool: ...
    def entry(self, node: str) -> str: ...


def missing_slots(record: ServiceRecord, slots: list[SlotRecord]) -> list[int]:
    """Return the numbers to fill: the lowest that are free, as many as it takes."""
    taken = {slot.slot for slot in slots if slot.wanted}
    free = (n for n in range(record.replicas + len(taken)) if n not in taken)
    return [next(free) for _ in range(record.replicas - len(taken))]


class Reconciler:
    """What one node decides as the coordinator of services; writes it into the view."""

    def __init__(
        self, me: str, writer: str, view: View, verdicts: Verdicts, out: Outbox
    ) -> None:
        self._me = me
        self._writer = writer
        self.view = view
        self._verdicts = verdicts
        self._out = out
        self._coordinators: dict[str, str] = {}
        self._seen_revision = -1
        self._decided = -1, -1
        self._ticked = False
        self._unsteady: set[str] = set()
        self._engine_lost_s: dict[str, float] = {}
        self._written_s: dict[str, float] = {}
        self._states_seen = -1, -1
        self._node_states: list[NodeState] = []
        # Of one service, the last that was placed: its replicas come in a row.
        self._fitting: dict[Service, list[NodeState]] = {}
        self.now = 0.0

    # Who decides

    def coordinator(self, uid: str) -> str:
        """Return the node that decides about a service."""
        if self._verdicts.revision != self._seen_revision:
            self._coordinators.clear()
            self._seen_revision = self._verdicts.revision
        if uid not in self._coordinators:
            self._coordinators[uid] = coordinator(uid, self._verdicts.coordinators())
        return self._coordinators[uid]

    # When to look

    def tick(self) -> None:
        """Look again at what waits for time to pass, at the next `decide`."""
        self._ticked = True

    def decide(self, now: float) -> None:
        """Decide about all services that something changed for.

        Each decision sees the ones before it, so that instances spread and fit.
        """
        view, self.now = self.view, now
        seen = view.epoch, self._verdicts.revision
        all_of_them, self._decided = seen != self._decided, seen
        if all_of_them:
            self._note_engines(now)
        if all_of_them or self._ticked:
            self._admit_voters()
            uids = {r.uid for r in view.services()}
        else:
            uids = view.touched | self._unsteady
        self._ticked = False
        for uid in sorted(uids):
            record = view.service(uid)
            if record is None or record.service is None:
                self._unsteady.discard(uid)
            elif self.coordinator(uid) == self._me:
                self._service(record, record.service, now)

    # Where

    def candidates(self, service: Service, uid: str) -> list[Candidate]:
        """Rank all nodes for one more instance of a service."""
        if not self._may_decide(service):
            why = "no majority of the nodes is seen (on_partition: majority)"
            nodes = sorted(head.node for head in self.view.nodes)
            return [Candidate(node=node, fits=False, reason=why) for node in nodes]
        return rank(service, uid, self._states())

    def place(
        self, uid: str, number: int, cause: str, operation: str = ""
    ) -> SlotRecord | None:
        """Place a slot anew and return its record; None if it has to stay as it is."""
        service = self.view.spec(uid)
        assert service is not None
        old = self.view.slot(uid, number) or SlotRecord(
            uid=uid, slot=number, revision=0, writer="", generation=0, node=None
        )
        node = self._best(service, uid)
        if node is None and old.wanted and old.node is None and old.revision:
            return None
        if node is None:
            refusals = _refusals(self.candidates(service, uid))
            what = f"slot {number} waits: {refusals}"
            entry = self._note("waits", what, service, uid, number, cause)
        else:
            what = f"slot {number} placed on {node}"
            entry = self._note("placed", what, service, uid, number, cause)
        return self._write(
            attrs.evolve(
                old,
                node=node,
                wanted=True,
                generation=self._next_generation(old),
                made=0,
                ends=(),  # what runs on after all is contested again
                handover=False,
                operation=operation or old.operation,
                cause=entry,
            )
        )

    def move(
        self, slot: SlotRecord, node: str, cause: str, operation: str = ""
    ) -> SlotRecord | None:
        """Have a slot filled on another node, and then no more on its own."""
        service = self.view.spec(slot.uid)
        assert service is not None
        ranked = {c.node: c for c in self.candidates(service, slot.uid)}
        if node not in ranked or not ranked[node].fits or slot.node is None:
            return None
        text = f"slot {slot.slot} moves from {slot.node} to {node}"
        entry = self._note("moved", text, service, slot.uid, slot.slot, cause)
        old = self._named(slot)
        ends = (*slot.ends, old.name) if old and _stops_first(service) else slot.ends
        return self._write(
            attrs.evolve(
                slot,
                node=node,
                generation=self._next_generation(slot),
                made=0,
                ends=self._still_there(slot, ends),
                handover=True,
                operation=operation or slot.operation,
                cause=entry,
            )
        )

    def is_movable(self, slot: SlotRecord, service: Service) -> bool:
        """Tell whether an instance may run elsewhere: a job would run twice."""
        named = self._named(slot)
        ended = named is not None and has_ended(named)
        return service.restart is not Restart.NEVER and not ended

    # What to do about one service

    def _service(self, record: ServiceRecord, service: Service, now: float) -> None:
        uid = record.uid
        self._unsteady.discard(uid)
        if not self._may_decide(service):
            return
        slots = self.view.slots(uid)
        for number in missing_slots(record, slots):
            self._fill(record, service, number)
        self._give_up_surplus(record, service)
        for slot in self.view.slots(uid):
            if slot.wanted and self._is_rested(slot):
                self._slot(slot, service, now)
        self._drain(record, service)

    def _fill(self, record: ServiceRecord, service: Service, number: int) -> None:
        """Fill a slot that has no record, with a container of it if one runs."""
        old = self.view.slot(record.uid, number)
        if old is None and (found := self._claimants(record.uid, number)):
            old = SlotRecord(
                uid=record.uid,
                slot=number,
                revision=0,
                writer="",
                generation=max(c.generation for c in found),
                node=None,
            )
            self._settle_on(old, service, found, "taken back")
        else:
            self.place(record.uid, number, record.cause)

    def _give_up_surplus(self, record: ServiceRecord, service: Service) -> None:
        wanted = [s for s in self.view.slots(record.uid) if s.wanted]
        surplus = len(wanted) - record.replicas
        if surplus <= 0:
            return

        def worth(slot: SlotRecord) -> tuple[bool, bool, int]:
            claimants = self._claimants(slot.uid, slot.slot)
            running = any(is_named(slot, c) for c in claimants)
            drained = slot.node is not None and self.view.is_drained(slot.node)
            return running, not drained, -slot.slot

        for slot in sorted(wanted, key=worth)[:surplus]:
            text = f"slot {slot.slot} given up: {record.replicas} are wanted"
            entry = self._note(
                "given up", text, service, record.uid, slot.slot, record.cause
            )
            self._write(given_up(slot, entry))

    def _slot(self, slot: SlotRecord, service: Service, now: float) -> None:
        named = self._named(slot)
        others = [
            c
            for c in self._claimants(slot.uid, slot.slot)
            if c.name not in slot.ends and c != named
        ]
        is_clear = self._is_clear([c.node for c in others], now)
        if (others or slot.node is None) and not is_clear:
            self._unsteady.add(slot.uid)
        if slot.node is None or self._must_move(slot, service, now):
            if others and is_clear:
                self._settle_on(slot, service, others, "taken back")
            elif not others and (slot.node is not None or is_clear):
                # One that waits may be running on a node that has just come back.
                self.place(slot.uid, slot.slot, self._why_lost(slot))
        elif slot.handover and not (others and _stops_first(service)):
            self._hand_over(slot, service, named, others)
        elif others and is_clear and self._is_known(slot.node):
            running = [named] if named is not None and named.is_up else []
            self._settle_on(slot, service, running + others, "healed")

    def _hand_over(
        self,
        slot: SlotRecord,
        service: Service,
        named: Container | None,
        others: list[Container],
    ) -> None:
        """End the old instance once the new one is ready, or has done its job."""
        taken_over = (
            named is not None
            and (named.is_ready or has_ended(named))
            and self._is_reached(named.node)
        )
        if named is not None and taken_over:
            ends = self._still_there(slot, (*slot.ends, *(c.name for c in others)))
            text = f"slot {slot.slot} is taken over by {named.name}"
            entry = self._note(
                "taken over", text, service, slot.uid, slot.slot, slot.cause
            )
            self._write(attrs.evolve(slot, ends=ends, handover=False, cause=entry))
        elif not _stops_first(service) and not any(
            c != named for c in self.view.in_slot(slot.uid, slot.slot)
        ):
            self._write(attrs.evolve(slot, handover=False))  # there is nothing to end

    def _settle_on(
        self, slot: SlotRecord, service: Service, found: list[Container], how: str
    ) -> None:
        """Choose among the containers that run in one slot; the others are to end.

        The healthy first, then the lowest generation, then the node's name; where a
        majority decides, what it decided. A new decision: nobody stops a container
        because of one that is older than the reunion.
        """

        def order(container: Container) -> tuple[bool, bool, int, str]:
            decided = _stops_first(service) and is_named(slot, container)
            return (
                not decided,
                not container.is_ready,
                container.generation,
                container.node,
            )

        ranked = sorted(found, key=order)
        stays, rest = ranked[0], ranked[1:]
        ends = self._still_there(slot, (*slot.ends, *(c.name for c in rest)))
        text = f"slot {slot.slot} {how}: {stays.name} stays"
        if rest:
            text += f", {', '.join(c.name for c in rest)} ends"
        entry = self._note(
            "heal" if rest else "placed",
            text,
            service,
            slot.uid,
            slot.slot,
            self._verdicts.entry(stays.node) or slot.cause,
        )
        # Nodes of protocol 1 know of no container but that of the generation itself,
        # and pass a record on without the rest.
        knows_made = all(head.protocol > 1 for head in self.view.nodes)
        self._write(
            attrs.evolve(
                slot,
                node=stays.node,
                generation=(
                    self._next_generation(slot) if knows_made else stays.generation
                ),
                made=stays.generation if knows_made else 0,
                ends=tuple(name for name in ends if name != stays.name),
                handover=False,
                wanted=True,
                cause=entry,
            )
        )

    def _drain(self, record: ServiceRecord, service: Service) -> None:
        """Begin to move one slot away from a drained node, none while one moves."""
        wanted = [s for s in self.view.slots(record.uid) if s.wanted]
        if any(slot.handover for slot in wanted):
            return
        for slot in wanted:
            if slot.node is None or not self.view.is_drained(slot.node):
                continue
            if not self.is_movable(slot, service):
                continue
            if self._verdicts.status(slot.node) is not Status.ALIVE:
                continue
            if (node := self._best(service, slot.uid)) is not None:
                decision = self.view.node_record(slot.node)
                self.move(slot, node, decision.cause if decision else "")
                return

    def _is_rested(self, slot: SlotRecord) -> bool:
        """Tell whether this node did not write about a slot just now.

        Nodes that differ on who lives may undo each other's decisions for a while: not
        as fast as messages pass.
        """
        written_s = self._written_s.get(slot.key)
        if written_s is None:
            return True
        if self.now - written_s < REST_S:
            self._unsteady.add(slot.uid)
            return False
        del self._written_s[slot.key]
        return True

    # What is so

    def _must_move(self, slot: SlotRecord, service: Service, now: float) -> bool:
        """Tell whether a placed slot needs another node."""
        assert slot.node is not None
        head = self.view.head(slot.node)
        if not self.is_movable(slot, service):
            return False
        if head is None or self._verdicts.status(slot.node) is Status.LEFT:
            return True
        if service.on_partition is OnPartition.KEEP:
            return False
        lost_s = self._lost_s(head, now)
        if lost_s is None:
            return False
        if service.on_partition is OnPartition.AVAILABLE:
            return True
        return lost_s >= self._verdicts.timing.majority_s * self._verdicts.crowd

    def _lost_s(self, head: NodeDocument, now: float) -> float | None:
        """Return for how long a node has been lost for its work, None if it is not."""
        if self._verdicts.status(head.node) is Status.DEAD:
            return self._verdicts.lost_for_s(head.node, now)
        if head.engine_lost:
            away_s = now - self._engine_lost_s.get(head.node, now)
            over_s = away_s - self._verdicts.timing.engine_s
            return over_s if over_s >= 0 else None
        return None

    def _may_decide(self, service: Service) -> bool:
        """Tell whether this side of a partition may decide about a service."""
        if service.on_partition is not OnPartition.MAJORITY:
            return True
        return self._verdicts.sees_majority(self.view.voters(), self.now)

    def _claimants(self, uid: str, number: int) -> list[Container]:
        """Return the containers that run in a slot, on nodes that are reached."""
        return [
            c
            for c in self.view.in_slot(uid, number)
            if c.is_up and self._is_reached(c.node)
        ]

    def _is_reached(self, node: str) -> bool:
        head = self.view.head(node)
        alive = self._verdicts.status(node) is Status.ALIVE
        return alive and head is not None and not head.engine_lost

    def _is_clear(self, nodes: list[str], now: float) -> bool:
        """Tell whether what is known of what runs on these nodes can be trusted.

        The same nodes are alive for a while, and what they run is as they say now: not
        as it was before they were lost.
        """
        steady_s = self._verdicts.timing.steady_s
        if now - self._verdicts.steady_since_s < steady_s:
            return False
        return all(self._is_current(node) for node in nodes)

    def _is_known(self, node: str) -> bool:
        """Tell whether it is known what runs on a node; of a lost one, it is not."""
        return self._is_reached(node) and self._is_current(node)

    def _is_current(self, node: str) -> bool:
        head = self.view.head(node)
        assert head is not None
        return self._verdicts.is_current(node, pair(head), self.view.digest)

    def _named(self, slot: SlotRecord) -> Container | None:
        """Return the container that a slot's record names, if it is there."""
        for container in self.view.in_slot(slot.uid, slot.slot):
            if is_named(slot, container):
                return container
        return None

    def _still_there(self, slot: SlotRecord, names: tuple[str, ...]) -> tuple[str, ...]:
        """Leave out what is gone, and what is on nodes that are not reached.

        The first need no order to end; of the others a new decision is made when they
        are back.
        """
        held = self.view.in_slot(slot.uid, slot.slot)
        known = {c.name for c in held if self._is_reached(c.node)}
        return tuple(sorted({name for name in names if name in known}))

    def _next_generation(self, slot: SlotRecord) -> int:
        """Return one that no container of the slot has: its name is to be its own."""
        held = self.view.in_slot(slot.uid, slot.slot)
        return 1 + max([slot.generation, *(c.generation for c in held)])

    def _why_lost(self, slot: SlotRecord) -> str:
        return (self._verdicts.entry(slot.node) if slot.node else "") or slot.cause

    def _best(self, service: Service, uid: str) -> str | None:
        """Return the node that `candidates` has first, None if no node fits."""
        if not self._may_decide(service):
            return None
        states = self._states()
        if service not in self._fitting:
            able = [state for state in states if unfit(service, state) is None]
            self._fitting = {service: able}
        return best(service, uid, self._fitting[service])

    def _states(self) -> list[NodeState]:
        """Return what placement looks at, made anew when a node has changed."""
        seen = self.view.epoch, self._verdicts.revision
        if seen != self._states_seen:
            self._states_seen = seen
            self._fitting = {}
            self._node_states = [
                NodeState(
                    node=head.node,
                    status=self._verdicts.status(head.node),
                    role=self.view.role(head.node),
                    resources=head.resources,
                    account=self.view.account(head.node),
                    engine_lost=head.engine_lost,
                    drained=self.view.is_drained(head.node),
                )
                for head in self.view.nodes
            ]
        return self._node_states

    def _note_engines(self, now: float) -> None:
        lost = {h.node for h in self.view.nodes if h.engine_lost}
        known = self._engine_lost_s
        self._engine_lost_s = {node: known.get(node, now) for node in sorted(lost)}

    def _admit_voters(self) -> None:
        """Count a node towards majorities once all that count hear each other.

        So a side of a partition cannot make itself the larger one by newcomers. One
        that left counts no more: nobody else can take it for one that it sees.
        """
        for node in self.view.voters():
            if self._verdicts.status(node) is Status.LEFT:
                self._count(node, votes=False)
        voters = self.view.voters()
        if not all(self._verdicts.is_mutual(node) for node in voters):
            return
        for head in sorted(self.view.nodes, key=lambda head: head.node):
            if head.node in voters or not self._verdicts.is_mutual(head.node):
                continue
            self._count(head.node, votes=True)

    def _count(self, node: str, *, votes: bool) -> None:
        """Write whether a node counts, if it is on this one to write it."""
        if self.coordinator(f"node/{node}") == self._me:
            old = self.view.node_record(node) or NodeRecord(
                node=node, revision=0, writer=""
            )
            self._write(attrs.evolve(old, votes=votes))

    # Writing

    def _note(
        self, kind: str, text: str, service: Service, uid: str, slot: int, cause: str
    ) -> str:
        return self._out.note(
            kind,
            f"{service.name}: {text}",
            service=service.name,
            uid=uid,
            slot=slot,
            cause=cause,
        )

    def _write(self, record: R) -> R:
        """Write a record under the next revision; return it as it then stands."""
        written = attrs.evolve(
            record, revision=self.view.revision + 1, writer=self._writer
        )
        taken = self.view.merge_record(written)
        assert taken, f"{written.key}: a write outranks all that stands"
        self._out.write(written)
        if isinstance(written, SlotRecord):
            self._written_s[written.key] = self.now
        return written


def _stops_first(service: Service) -> bool:
    """Tell whether two must never run in one slot, not even while it moves."""
    return service.on_partition is OnPartition.MAJORITY


def given_up(slot: SlotRecord, cause: str) -> SlotRecord:
    """Return the record by which a slot is given up."""
    return attrs.evolve(slot, wanted=False, node=None, handover=False, cause=cause)


def has_ended(container: Container) -> bool:
    """Tell whether a container is not to run again, by its restart policy."""
    return container.state in (State.EXITED, State.FAILED)


def is_named(slot: SlotRecord, container: Container) -> bool:
    """Tell whether a slot's record names this container as the one that fills it."""
    return (container.node, container.slot, container.generation) == (
        slot.node,
        slot.slot,
        slot.container_generation,
    )


def _refusals(ranked: list[Candidate]) -> str:
    """Return in one line why no node fits."""
    reasons = [f"{c.node}: {c.reason}" for c in ranked]
    return "; ".join(reasons) or "no node is known"
