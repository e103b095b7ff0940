"""The operators' writes, as the node performs them that decides about them.

Every one carries an operation id; a repeated id is answered, not repeated, by the node
that did it and by the next one that decides. It is answered once it is on this node's
disk and on another's (`core/copies.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, TypeVar

import attrs

from veo_shell.core import events as ev
from veo_shell.core.copies import Copies
from veo_shell.core.model import (
    Accepted,
    Candidate,
    Mode,
    NodeRecord,
    Record,
    Service,
    ServiceRecord,
    SlotRecord,
    UpdateState,
    UpdateStatus,
)
from veo_shell.core.outbox import Outbox
from veo_shell.core.pen import Pen
from veo_shell.core.places import refusals
from veo_shell.core.reconcile import Reconciler, missing_slots
from veo_shell.core.slots import given_up
from veo_shell.core.specs import are_alike, forward, is_halted, replicas_with
from veo_shell.core.turns import end_with
from veo_shell.core.view import View
from veo_shell.core.wire import MAX_RECORD_BYTES, PROTOCOL, packed_bytes
from veo_shell.errors import (
    NoSuitableNode,
    Refused,
    ServiceError,
    UnknownNode,
    UnknownService,
    VeoError,
)

OPERATIONS_KEPT = 10

Changed = TypeVar("Changed", ServiceRecord, NodeRecord)


class Operations:
    """Performs writes on the view and has them answered."""

    def __init__(
        self,
        view: View,
        pen: Pen,
        reconciler: Reconciler,
        copies: Copies,
        out: Outbox,
    ) -> None:
        self._view = view
        self._pen = pen
        self._reconciler = reconciler
        self._copies = copies
        self._out = out
        self._written: dict[str, Record] = {}
        self._cause = ""

    def on_asked(self, event: Operation, now: float) -> None:
        """Perform an operation, once, and answer it."""
        if self._copies.repeat(event.operation):
            return
        self._written, self._cause = {}, event.cause
        try:
            self._copies.check_disk()
            value = OPERATIONS[type(event)](self, event)
        except VeoError as error:
            self._copies.refuse(event.operation, error)
            return
        self._copies.answer(event.operation, value, tuple(self._written.values()), now)

    # Services

    def _add(self, event: ev.AddAsked) -> list[Accepted]:
        named = self._view.named(event.service.name)
        found = [r for r in named if r.service == event.service]
        # Two sides that did not see each other may each have added it.
        own = [r for r in found if r.uid == event.uid]
        old = next(iter(own or found), None)
        uid = old.uid if old else event.uid
        slots = self._view.slots(uid)
        done = [s for s in slots if s.operation == event.operation]
        was_done = old is not None and event.operation in old.operations
        if was_done and not done:  # and its slots were moved since
            done = [s for s in slots if s.wanted]
        if done:  # asked before, elsewhere
            self._confirm(self._view.service(uid), *done)
            return [_accepted(slot) for slot in done]
        if was_done or self._view.service(uid) != old:
            raise ServiceError(
                f"{event.service.name} was removed while it was being added"
            )
        if event.service.mode is Mode.GLOBAL:
            self._check_global(event.service, stands=old is not None)
        places = self._reconciler.places
        with places.groups.expecting(event.service.group, event.beside):
            node = places.best(event.service, uid)
            if node is None and not event.queue:
                ranked = places.candidates(event.service, uid)
                raise self._refused(event.service, ranked)
        cause = self._note("added", "added by an operator", event.service, uid)
        slots = self._fill(old, uid, event, cause, node)
        return [_accepted(slot) for slot in slots]

    def _check_global(self, service: Service, *, stands: bool) -> None:
        """Refuse to add once more what runs everywhere, and what older nodes end."""
        if stands:
            raise Refused(f"{_once(service)}: there is none to add")
        self._refuse_older(
            f"{service.name} is not added", "would have one in the whole cluster"
        )

    def _refuse_older(self, what: str, why: str) -> None:
        """Refuse what the older nodes do not know: any of them may have to decide."""
        if older := sorted(h.node for h in self._view.nodes if h.protocol < PROTOCOL):
            raise Refused(
                f"{what} while {', '.join(older)} run an older VEO, "
                f"which {why}: upgrade these first"
            )

    def _refused(self, service: Service, ranked: list[Candidate]) -> NoSuitableNode:
        """Note that a service fits nowhere; return the error that tells it.

        The name stands for a uid, which it has none of: what is refused again and again
        is not to push the rest out of the journal.
        """
        why = refusals(ranked)
        self._note("refused", f"refused: {why}", service, service.name)
        reasons = [(c.node, c.reason) for c in ranked]
        return NoSuitableNode(service=service.name, refusals=reasons)

    def _fill(
        self,
        old: ServiceRecord | None,
        uid: str,
        event: ev.AddAsked,
        cause: str,
        node: str | None,
    ) -> list[SlotRecord]:
        """Add what a spec begins with, or one more of what stands; return the slots.

        `node` is the best place for the first of them.
        """
        wanted = sum(1 for slot in self._view.slots(uid) if slot.wanted)
        # After a merge more slots can stand than replicas.
        before = max(old.replicas if old else 0, wanted)
        record = self._changed(
            old or ServiceRecord(uid=uid, revision=0, writer="", service=event.service),
            event.operation,
            replicas=before + (1 if old else event.service.replicas),
            cause=cause,
        )
        missing = missing_slots(record, self._view.slots(uid))
        self._write(record)
        if event.service.mode is Mode.GLOBAL:
            placed = self._reconciler.everywhere.fill(
                uid, event.service, cause, event.operation
            )
            self._written.update((slot.key, slot) for slot in placed)
            return placed
        slots = []
        for number in missing if old is None else missing[-1:]:
            slot = self._reconciler.place(uid, number, cause, event.operation, node)
            assert slot is not None
            self._written[slot.key] = slot
            slots.append(slot)
            node = None
        return slots

    def _remove(self, event: ev.RemoveAsked) -> None:
        record = self._view.service(event.uid)
        if record is None:
            raise UnknownService(f"no service has the uid {event.uid}")
        if record.service is None:
            self._confirm(record)
        else:
            self._bury(record, event.operation)

    def _bury(self, record: ServiceRecord, operation: str) -> None:
        assert record.service is not None
        cause = self._note(
            "service_removed", "removed by an operator", record.service, record.uid
        )
        gone = {"service": None, "old_specs": (), "update": None}
        self._write(self._changed(record, operation, **gone, cause=cause))

    def _stop(self, event: ev.StopAsked) -> None:
        record = self._view.service(event.uid)
        slots = {s.slot: s for s in self._view.slots(event.uid) if s.wanted}
        slot = slots.get(event.slot)
        if record is None or record.service is None:
            return
        if event.operation in record.operations:
            self._confirm(record)
            return
        if slot is None:
            return
        if not self._fills(slot, event.generation):
            raise Refused(self._replaced(slot, record.service))
        if record.service.mode is Mode.GLOBAL:
            raise Refused(
                f"{_once(record.service)}: it would be back. Restart it, keep it off "
                "the node by constraints, drain the node, or remove the service"
            )
        if len(slots) == 1:
            self._bury(record, event.operation)
            for mate in end_with(self._view, record.service):
                self._bury(mate, event.operation)
            return
        text = f"slot {slot.slot} stopped by an operator"
        cause = self._note("stopped", text, record.service, record.uid, slot.slot)
        fewer = max(record.replicas - 1, 0)
        self._write(self._changed(record, event.operation, replicas=fewer, cause=cause))
        self._write(given_up(slot, cause))

    def _fills(self, slot: SlotRecord, generation: int) -> bool:
        """Tell whether the container of a generation fills a slot, or hands it over."""
        held = self._view.in_slot(slot.uid, slot.slot) if slot.handover else []
        return generation in {slot.container_generation, *(c.generation for c in held)}

    def _replaced(self, slot: SlotRecord, service: Service) -> str:
        named = self._reconciler.situation.named(slot)
        by = named.name if named else f"one on {slot.node or 'no node yet'}"
        return f"it was replaced: {by} fills slot {slot.slot} of {service.name} now"

    def _scale(self, event: ev.ScaleAsked) -> int:
        record = self._standing(event.uid)
        assert record.service is not None
        if event.operation in record.operations:
            self._confirm(record)
            return record.replicas
        if record.service.mode is Mode.GLOBAL:
            raise Refused(
                f"{_once(record.service)}: `hosts`, `roles` and `constraints` say "
                "which those are"
            )
        text = f"scaled from {record.replicas} to {event.replicas} by an operator"
        cause = self._note("scaled", text, record.service, record.uid)
        self._write(
            self._changed(record, event.operation, replicas=event.replicas, cause=cause)
        )
        return event.replicas

    def _update(self, event: ev.UpdateAsked) -> int:
        """Give a service another spec.

        Return the revision of its record, 0 if no instance is to be replaced.
        """
        record = self._standing(event.uid)
        old, new = record.service, event.service
        assert old is not None
        if event.operation in record.operations:
            self._confirm(record)
            return record.revision if record.update is not None else 0
        if not is_halted(record) and new == old:
            return 0
        self._refuse_older(
            f"{old.name} is not updated", "would make its instances of other specs"
        )
        if not is_halted(record) and are_alike(old, new):
            replicas = replicas_with(record, new)
            cause = self._note("updated", "changed by an operator", new, event.uid)
            changes = {"service": new, "replicas": replicas, "cause": cause}
            self._write(self._changed(record, event.operation, **changes))
            return 0
        spec_id = hashlib.blake2b(event.operation.encode(), digest_size=4).hexdigest()
        text = f"updated to spec {spec_id} by an operator"
        return self._renew(record, event, new, spec_id, text, UpdateState.UPDATING)

    def _roll_back(self, event: ev.RollbackAsked) -> int:
        record = self._standing(event.uid)
        assert record.service is not None
        if event.operation in record.operations:
            self._confirm(record)
            return record.revision
        if not record.old_specs:
            raise Refused(
                f"{record.service.name} has had no spec before this one: "
                "there is nothing to go back to"
            )
        last = record.old_specs[-1]
        which = f"spec {last.spec_id}" if last.spec_id else "its first spec"
        text = f"rolled back to {which} by an operator"
        state = UpdateState.ROLLING_BACK
        return self._renew(record, event, last.service, last.spec_id, text, state)

    def _renew(
        self,
        record: ServiceRecord,
        event: ev.UpdateAsked | ev.RollbackAsked,
        service: Service,
        spec_id: str,
        text: str,
        state: UpdateState,
    ) -> int:
        cause = self._note("updated", text, service, record.uid)
        renewed = self._changed(
            forward(record, service, spec_id),
            event.operation,
            update=UpdateStatus(state=state),
            cause=cause,
        )
        while packed_bytes(renewed) > MAX_RECORD_BYTES - 4096 and renewed.old_specs[1:]:
            renewed = attrs.evolve(renewed, old_specs=renewed.old_specs[1:])
        return self._write(renewed)

    def _standing(self, uid: str) -> ServiceRecord:
        record = self._view.service(uid)
        if record is None or record.service is None:
            raise UnknownService(f"no service has the uid {uid}")
        return record

    def _move(self, event: ev.MoveAsked) -> int:
        """Begin to move a slot; return the revision of its record, 0 if it is not."""
        slot = self._view.slot(event.uid, event.slot)
        service = self._view.spec(event.uid)
        if slot is None or not slot.wanted or service is None:  # any more
            return 0
        if slot.operation == event.operation or slot.node == event.node:
            self._confirm(slot)
            return slot.revision
        if slot.handover:  # its old instance runs still, on a third node
            return 0
        situation = self._reconciler.situation
        is_bound = bool(situation.why_bound(slot, service))
        if is_bound or not situation.is_movable(slot, service):
            return 0
        text = f"slot {slot.slot} moves to {event.node}: the nodes are rebalanced"
        cause = self._note("rebalanced", text, service, event.uid, slot.slot)
        moved = self._reconciler.moves.begin(slot, event.node, cause, event.operation)
        if moved is None:
            return 0
        self._written[moved.key] = moved
        return moved.revision

    # Nodes

    def _assign_role(self, event: ev.RoleAssigned) -> int:
        text = f"{event.node}: role {event.role}, by an operator"
        return self._change_node(event, "role", text, role=event.role)

    def _drain(self, event: ev.DrainAsked) -> int:
        what = "is drained" if event.drained else "takes work again"
        text = f"{event.node} {what}, by an operator"
        kind = "drained" if event.drained else "undrained"
        return self._change_node(event, kind, text, drained=event.drained)

    def _remove_node(self, event: ev.RemoveNodeAsked) -> None:
        head, old = self._view.head(event.node), self._view.node_record(event.node)
        if head is None and old is not None and old.removed:
            self._confirm(old)
            return
        text = f"{event.node} removed from the cluster by an operator"
        gone = self._node_record(event.node).removing(head.identity if head else "")
        self._change_node(event, "node_removed", text, **gone)

    def _change_node(
        self,
        event: ev.RoleAssigned | ev.DrainAsked | ev.RemoveNodeAsked,
        kind: str,
        text: str,
        **changes: Any,
    ) -> int:
        """Write a decision about a node; return the revision of its record."""
        node = event.node
        old = self._node_record(node)
        if event.operation in old.operations:  # also of one that joined afresh since
            self._confirm(old)
            return old.revision
        if self._view.head(node) is None:
            raise UnknownNode(f"no node is called {node}")
        cause = self._out.note(kind, text, about=node, cause=self._cause)
        if isinstance(event, ev.DrainAsked):
            changes["drained_by"] = cause if event.drained else ""
        return self._write(self._changed(old, event.operation, **changes, cause=cause))

    def _node_record(self, node: str) -> NodeRecord:
        known = self._view.node_record(node)
        return known or NodeRecord(node=node, revision=0, writer="")

    # Writing

    def _changed(self, record: Changed, operation: str, **changes: Any) -> Changed:
        operations = (*record.operations, operation)[-OPERATIONS_KEPT:]
        return attrs.evolve(record, **changes, operations=operations)

    def _note(
        self, kind: str, text: str, service: Service, uid: str, slot: int = -1
    ) -> str:
        return self._out.note(
            kind,
            f"{service.name}: {text}",
            service=service.name,
            uid=uid,
            slot=slot,
            cause=self._cause,
        )

    def _write(self, record: ServiceRecord | SlotRecord | NodeRecord) -> int:
        written = self._written[record.key] = self._pen.write(record)
        return written.revision

    def _confirm(self, *records: Record | None) -> None:
        """Have what an earlier coordinator wrote for this operation kept twice."""
        for record in records:
            if record is not None:
                self._out.learn(record)
                self._written[record.key] = record


def _accepted(slot: SlotRecord) -> Accepted:
    return Accepted(
        uid=slot.uid, slot=slot.slot, generation=slot.generation, node=slot.node
    )


def _once(service: Service) -> str:
    return f"{service.name} runs once on every node that fits (mode: global)"


Operation = (
    ev.AddAsked
    | ev.RemoveAsked
    | ev.StopAsked
    | ev.ScaleAsked
    | ev.UpdateAsked
    | ev.RollbackAsked
    | ev.MoveAsked
    | ev.RoleAssigned
    | ev.DrainAsked
    | ev.RemoveNodeAsked
)

OPERATIONS: dict[type, Callable[[Operations, Any], Any]] = {
    ev.AddAsked: Operations._add,
    ev.RemoveAsked: Operations._remove,
    ev.StopAsked: Operations._stop,
    ev.ScaleAsked: Operations._scale,
    ev.UpdateAsked: Operations._update,
    ev.RollbackAsked: Operations._roll_back,
    ev.MoveAsked: Operations._move,
    ev.RoleAssigned: Operations._assign_role,
    ev.DrainAsked: Operations._drain,
    ev.RemoveNodeAsked: Operations._remove_node,
}
