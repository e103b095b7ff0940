"""What must be done so that the cluster converges, from the view alone.

Level-triggered: called on every change and every tick, it compares what should be
with what is. A coordinator that dies half-way is finished by the next one. Several that
act at once, while nodes disagree on who lives, do no harm: of their records one stands,
and containers that the other one caused are duplicates, which are ended like any.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import attrs

from veo_shell.core.due import Due
from veo_shell.core.everywhere import Everywhere
from veo_shell.core.model import (
    Container,
    Mode,
    Restart,
    Service,
    ServiceRecord,
    SlotRecord,
)
from veo_shell.core.moves import Moves
from veo_shell.core.outbox import Outbox
from veo_shell.core.pen import Pen
from veo_shell.core.places import Places, refusals
from veo_shell.core.situation import AGAIN_S, Situation
from veo_shell.core.slots import Slots, blank
from veo_shell.core.trials import Trials
from veo_shell.core.turns import has_ended, is_named, stops_first
from veo_shell.core.updates import Updates
from veo_shell.core.voters import Voters

PART, PARTS = 16, 8
"""How many services are looked at again at once: that many, or this part of all."""


def missing_slots(
    record: ServiceRecord, slots: list[SlotRecord], running: Sequence[int] = ()
) -> list[int]:
    """Return the numbers to fill, as many as it takes.

    Those that are `running` without a record come first, then the lowest free ones.
    """
    taken = {slot.slot for slot in slots if slot.wanted}
    number = max(record.replicas - len(taken), 0)
    free = (n for n in range(record.replicas + len(taken)) if n not in taken)
    return list(dict.fromkeys([*running, *itertools.islice(free, number)]))[:number]


class Reconciler:
    """What one node decides as the coordinator of services; writes it into the view."""

    def __init__(self, situation: Situation, pen: Pen, out: Outbox) -> None:
        self.view = situation.view
        self.situation = situation
        self.places = Places(situation)
        self._slots = Slots(situation, self.places, pen, out)
        self._trials = Trials()
        self.moves = Moves(situation, self.places, self._slots, self._trials)
        self.updates = Updates(
            situation, self.places, self._slots, self._trials, pen, out
        )
        self.voters = Voters(situation, pen)
        self._verdicts = situation.verdicts
        self._pen = pen
        self._out = out
        self._decided = -1, -1
        self._ticked = False
        self._own = frozenset[str]()
        self._own_of = -1, -1, -1
        self._rest: list[str] = []
        self._part = 0
        self._due = Due()
        self.everywhere = Everywhere(
            situation, self.places, self._slots, self.place, self._due
        )
        self._contested: dict[str, dict[int, tuple[frozenset[str], float]]] = {}

    # When to look

    def tick(self) -> None:
        """Look again at what waits for time to pass: each `decide` at a part of it.

        All at once would hold up who asks this node for names meanwhile.
        """
        self._ticked = True

    def decide(self, now: float) -> None:
        """Decide about all services that something changed for.

        Each decision sees the ones before it, so that instances spread and fit.
        """
        view, self.situation.now = self.view, now
        seen = view.epoch, self._verdicts.revision
        all_of_them, self._decided = seen != self._decided, seen
        if all_of_them:
            self.situation.note_engines()
        if all_of_them or (self._ticked and not self._rest):
            self.voters.admit()
            # Of what is another's now, nothing is kept.
            self._rest = sorted(self._own | self._find_own())
            many = len(self._rest)
            self._part = many if all_of_them else max(PART, many // PARTS)
            self._ticked = False
        part, self._rest = self._rest[: self._part], self._rest[self._part :]
        for uid in sorted({*part, *view.touched, *self._due.till(now)}):
            record = view.service(uid)
            decides = self.situation.coordinator(uid) == self.situation.me
            if record is None or record.service is None or not decides:
                self._due.discard(uid)
                self._contested.pop(uid, None)
                self._trials.forget(uid)
                self.updates.forget(uid)
            else:
                self._service(record, record.service)

    def _find_own(self) -> frozenset[str]:
        """Return the services that this node decides about.

        Kept while neither they nor who may decide change: where others decide about ten
        thousand, to ask for each is most of what a look takes.
        """
        known = *self._decided, self.view.services_revision
        if known != self._own_of:
            coordinator, me = self.situation.coordinator, self.situation.me
            uids = (record.uid for record in self.view.services())
            self._own = frozenset(uid for uid in uids if coordinator(uid) == me)
            self._own_of = known
        return self._own

    # What is written

    def place(
        self,
        uid: str,
        number: int,
        cause: str,
        operation: str = "",
        node: str | None = None,
    ) -> SlotRecord | None:
        """Place a slot anew and return its record; None if it has to stay as it is.

        `node` is the best place, if that was just looked for.
        """
        record = self.view.service(uid)
        assert record is not None
        old = self.view.slot(uid, number) or blank(uid, number)
        spec_id = old.spec_id if old.wanted and old.revision else record.spec_id
        service = record.spec_of(spec_id)
        assert service is not None
        node = node or self.places.best(service, uid)
        if node is None and old.wanted and old.node is None and old.revision:
            return None
        if node is None:
            why = refusals(self.places.candidates(service, uid))
            what = f"slot {number} waits: {why}"
            entry = self._slots.note("waits", what, service, old, cause)
        else:
            what = f"slot {number} placed on {node}"
            kind = "moved" if old.node not in (None, node) else "placed"
            entry = self._slots.note(kind, what, service, old, cause, node)
        return self._slots.write(
            attrs.evolve(
                old,
                node=node,
                wanted=True,
                generation=self.situation.next_generation(old),
                made=0,
                ends=(),  # what runs on after all is contested again
                handover=False,
                drained_from="",
                stuck=(),
                spec_id=spec_id,
                updating=old.updating and node is not None,
                stops_first=False,
                done=False,
                operation=operation or old.operation,
                cause=entry,
            )
        )

    # What to do about one service

    def _service(self, record: ServiceRecord, service: Service) -> None:
        uid = record.uid
        self._due.discard(uid)
        if not self.situation.may_decide(service):
            self._contested.pop(uid, None)
            return
        unrecorded = self._unrecorded(uid)
        if service.mode is Mode.GLOBAL:
            self.everywhere.follow(record, service, unrecorded)
        else:
            self._have_replicas(record, service, unrecorded)
        self._give_up_unrecorded(record, service)
        for slot in self.view.slots(uid):
            if not slot.wanted:
                continue
            if (rested_s := self._slots.rested_at_s(slot)) <= self.situation.now:
                spec = record.spec_of(slot.spec_id) or service
                self._slot(self._with_its_end(slot, spec), spec)
            else:
                self._due.add(uid, rested_s)
        self.updates.go_on(record, self._due)
        self.moves.relocate(record)

    def _have_replicas(
        self, record: ServiceRecord, service: Service, unrecorded: list[int]
    ) -> None:
        slots = self.view.slots(record.uid)
        record = self._recalled(record, service, slots, unrecorded)
        for number in missing_slots(record, slots, unrecorded):
            self._fill(record, service, number)
        self._give_up_surplus(record, service)

    def _fill(self, record: ServiceRecord, service: Service, number: int) -> None:
        """Fill a slot that has no record, with a container of it if one runs."""
        old = self.view.slot(record.uid, number)
        if old is None and (found := self.situation.claimants(record.uid, number)):
            generation = max(c.generation for c in found)
            old = blank(record.uid, number, generation)
            self._slots.settle_on(old, service, found, "taken back")
        else:
            self.place(record.uid, number, record.cause)

    def _unrecorded(self, uid: str) -> list[int]:
        """Return the slots that something runs in and no record is of."""
        return [
            number
            for number in self.view.unrecorded(uid)
            if self.situation.claimants(uid, number)
        ]

    def _recalled(
        self,
        record: ServiceRecord,
        service: Service,
        slots: list[SlotRecord],
        unrecorded: list[int],
    ) -> ServiceRecord:
        """Want as many instances as are found, of what is known from them alone."""
        found = sum(slot.wanted for slot in slots) + len(unrecorded)
        if not record.is_recalled or found <= record.replicas or not unrecorded:
            return record
        text = f"{service.name}: {found} instances are found, and wanted"
        cause = self._out.note(
            "recalled", text, service=service.name, uid=record.uid, cause=record.cause
        )
        return self._pen.write(attrs.evolve(record, replicas=found, cause=cause))

    def _give_up_unrecorded(self, record: ServiceRecord, service: Service) -> None:
        """Have end what runs in slots that nobody ever wrote about, if it is clear."""
        for number in self._unrecorded(record.uid):
            found = self.situation.claimants(record.uid, number)
            slot = blank(record.uid, number, max(c.generation for c in found))
            since_s = self._seen_since_s(slot, found)
            if self.situation.is_clear({c.node for c in found}, since_s):
                why = "no more are wanted"
                self._slots.give_up(slot, service, why, record.cause)
            else:
                self._due.add(record.uid, self.situation.clear_at_s(since_s))

    def _give_up_surplus(self, record: ServiceRecord, service: Service) -> None:
        wanted = [s for s in self.view.slots(record.uid) if s.wanted]
        surplus = len(wanted) - record.replicas
        if surplus <= 0:
            return

        def worth(slot: SlotRecord) -> tuple[bool, bool, int]:
            claimants = self.situation.claimants(slot.uid, slot.slot)
            running = any(is_named(slot, c) for c in claimants)
            drained = slot.node is not None and self.view.is_drained(slot.node)
            return running, not drained, -slot.slot

        for slot in sorted(wanted, key=worth)[:surplus]:
            why = f"{record.replicas} are wanted"
            self._slots.give_up(slot, service, why, record.cause)

    def _with_its_end(self, slot: SlotRecord, service: Service) -> SlotRecord:
        """Note that it is not to be filled again: its node may be removed, or lost.

        Its container has ended for good, or is a job's, which is begun once.
        """
        named = self.situation.named(slot)
        if named is None or not self.situation.is_reached(named.node):
            return slot
        is_begun_job = service.restart is Restart.NEVER and bool(named.id)
        if slot.done is (is_begun_job or has_ended(named)):
            return slot
        return self._slots.write(attrs.evolve(slot, done=not slot.done))

    def _slot(self, slot: SlotRecord, service: Service) -> None:
        named = self.situation.named(slot)
        others = [
            c
            for c in self.situation.claimants(slot.uid, slot.slot)
            if c.name not in slot.ends and c != named
        ]
        since_s = self._seen_since_s(slot, others)
        is_clear = self.situation.is_clear({c.node for c in others}, since_s)
        both_clear = is_clear and self.situation.is_clear({slot.node or ""}, since_s)
        if slot.handover:
            self._due.add(slot.uid, self.situation.now + AGAIN_S)
        elif (others or slot.node is None) and not is_clear:
            self._due.add(slot.uid, self.situation.clear_at_s(since_s))
        if slot.node is None or self.situation.must_move(slot, service):
            self._refill(slot, service, others, is_clear=is_clear)
        elif slot.handover and others and self.situation.is_lost(slot.node):
            if is_clear:
                self._slots.settle_on(slot, service, others, "taken back")
        elif _is_under_way(slot, service, others):
            if slot.updating:
                self.updates.follow(slot, service, named, others, is_clear=is_clear)
            else:
                self.moves.follow(slot, service, named, others, is_clear=both_clear)
        elif others and both_clear:
            running = [named] if named is not None and named.is_up else []
            self._slots.settle_on(slot, service, running + others, "healed")

    def _refill(
        self,
        slot: SlotRecord,
        service: Service,
        others: list[Container],
        *,
        is_clear: bool,
    ) -> None:
        """Fill a slot that has lost its node: by what runs in it already, or anew.

        In the mode global each node has one of its own: what waits is given up then.
        """
        if others and is_clear:
            self._slots.settle_on(slot, service, others, "taken back")
        elif service.mode is Mode.GLOBAL:
            return
        elif not others and (slot.node is not None or is_clear):
            # One that waits may be running on a node that has just come back.
            self.place(slot.uid, slot.slot, self.situation.why_lost(slot))

    def _seen_since_s(self, slot: SlotRecord, others: list[Container]) -> float:
        """Return since when this node has seen just these containers contest a slot.

        A slot that waits is contested too, by none.
        """
        contested = self._contested.setdefault(slot.uid, {})
        names = frozenset(c.name for c in others)
        if slot.node is not None and not names:
            contested.pop(slot.slot, None)
            return self.situation.now
        if contested.get(slot.slot, (None, 0.0))[0] != names:
            contested[slot.slot] = names, self.situation.now
        return contested[slot.slot][1]


def _is_under_way(slot: SlotRecord, service: Service, others: list[Container]) -> bool:
    """Tell whether a new instance is to prove itself, beside old ones or alone."""
    if slot.handover:
        return slot.updating or not (others and stops_first(service))
    return slot.updating and not others
