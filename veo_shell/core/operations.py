"""The operators' writes, as the node performs them that decides about them.

Every one carries an operation id; a repeated id is answered, not repeated.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import attrs

from veo_shell.core import events as ev
from veo_shell.core import reconcile
from veo_shell.core.commands import Answer, Refuse
from veo_shell.core.membership import Membership
from veo_shell.core.model import (
    Accepted,
    NodeRecord,
    Record,
    ServiceRecord,
    SlotRecord,
)
from veo_shell.core.outbox import Outbox
from veo_shell.core.view import View
from veo_shell.errors import (
    NoSuitableNode,
    ServiceError,
    UnknownNode,
    UnknownService,
    VeoError,
)

REMEMBERED = 10_000


class Operations:
    """Performs writes on the view and answers them."""

    def __init__(
        self, writer: str, view: View, members: Membership, out: Outbox
    ) -> None:
        self._writer = writer
        self._view = view
        self._members = members
        self._out = out
        self._answers: OrderedDict[str, Answer | Refuse] = OrderedDict()

    def on_asked(self, event: Operation, now: float) -> None:
        """Perform an operation, once, and answer it."""
        known = self._answers.get(event.operation)
        if known is None:
            known = self._perform(event)
            self._answers[event.operation] = known
            if len(self._answers) > REMEMBERED:
                self._answers.popitem(last=False)
        self._out.order(known)

    def _perform(self, event: Operation) -> Answer | Refuse:
        try:
            value = _OPERATIONS[type(event)](self, event)
        except VeoError as error:
            return Refuse(operation=event.operation, error=error)
        return Answer(operation=event.operation, value=value)

    def _add(self, event: ev.AddAsked) -> Accepted:
        found = [r for r in self._view.services() if r.service == event.service]
        old = found[0] if found else None
        uid = old.uid if old else event.uid
        for slot in self._view.slots(uid):
            if slot.operation == event.operation:  # asked before, elsewhere
                return _accepted(slot)
        if self._view.service(uid) != old:  # it is asked again, of another coordinator
            raise ServiceError(
                f"{event.service.name} was removed while it was being added"
            )
        ranked = reconcile.candidates(self._view, self._members, event.service, uid)
        if not event.queue and not any(c.fits for c in ranked):
            refusals = [(c.node, c.reason) for c in ranked]
            raise NoSuitableNode(service=event.service.name, refusals=refusals)
        slot = self._fill_one_more(uid, event)
        where = f"on {slot.node}" if slot.node else "waits: no node fits"
        self._out.report(f"{event.service.name}: slot {slot.slot} {where}")
        return _accepted(slot)

    def _fill_one_more(self, uid: str, event: ev.AddAsked) -> SlotRecord:
        old = self._view.service(uid)
        wanted = sum(1 for slot in self._view.slots(uid) if slot.wanted)
        record = ServiceRecord(
            uid=uid,
            revision=self._view.revision + 1,
            writer=self._writer,
            service=event.service,
            # After a merge more slots can stand than replicas.
            replicas=max(old.replicas if old else 0, wanted) + 1,
        )
        number = reconcile.missing_slots(record, self._view.slots(uid))[-1]
        self._write(record)
        slot = reconcile.place(self._view, self._members, self._writer, uid, number)
        assert slot is not None
        slot = attrs.evolve(slot, operation=event.operation)
        self._write(slot)
        return slot

    def _remove(self, event: ev.RemoveAsked) -> None:
        record = self._view.service(event.uid)
        if record is None:
            raise UnknownService(f"no service has the uid {event.uid}")
        if record.service is not None:
            self._bury(record)

    def _bury(self, record: ServiceRecord) -> None:
        assert record.service is not None
        self._write(
            attrs.evolve(
                record,
                service=None,
                revision=self._view.revision + 1,
                writer=self._writer,
            )
        )
        self._out.report(f"{record.service.name}: removed by an operator")

    def _stop(self, event: ev.StopAsked) -> None:
        record = self._view.service(event.uid)
        slots = {s.slot: s for s in self._view.slots(event.uid) if s.wanted}
        slot = slots.get(event.slot)
        if record is None or not slot or slot.generation != event.generation:
            return
        if len(slots) == 1:
            self._bury(record)
        else:
            self._give_up(record, slot)

    def _give_up(self, record: ServiceRecord, slot: SlotRecord) -> None:
        revision = self._view.revision + 1
        fewer = record.replicas - 1
        self._write(
            attrs.evolve(record, replicas=fewer, revision=revision, writer=self._writer)
        )
        self._write(
            attrs.evolve(
                slot, wanted=False, node=None, revision=revision, writer=self._writer
            )
        )

    def _assign_role(self, event: ev.RoleAssigned) -> None:
        if self._view.head(event.node) is None:
            raise UnknownNode(f"no node is called {event.node}")
        self._write(
            NodeRecord(
                node=event.node,
                revision=self._view.revision + 1,
                writer=self._writer,
                role=event.role,
            )
        )
        self._out.report(f"{event.node}: role {event.role}")

    def _write(self, record: Record) -> None:
        taken = self._view.merge_record(record)
        assert taken, f"{record.key}: a write outranks all that stands"
        self._out.write(record)


def _accepted(slot: SlotRecord) -> Accepted:
    return Accepted(
        uid=slot.uid, slot=slot.slot, generation=slot.generation, node=slot.node
    )


Operation = ev.AddAsked | ev.RemoveAsked | ev.StopAsked | ev.RoleAssigned

_OPERATIONS: dict[type, Callable[[Operations, Any], Any]] = {
    ev.AddAsked: Operations._add,
    ev.RemoveAsked: Operations._remove,
    ev.StopAsked: Operations._stop,
    ev.RoleAssigned: Operations._assign_role,
}
