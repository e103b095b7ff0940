"""How a service gets a new spec: instance by instance, and back if one fails.

The record of the service names the spec that stands; a slot whose record names another
one is behind. A new instance is on trial (`SlotRecord.updating`) until it has been
ready for the time that the spec's `monitor` says. Start-first, the old one runs beside
it until the new one has been ready for a moment, and goes on if that fails. The next
begins once one is ready, as Swarm does it; `delay` puts time between them.

All that has to be known to go on is in the records, but for how long what is on trial
has been ready: a coordinator that takes over counts that from its beginning.
"""

from __future__ import annotations

import math
from collections.abc import Set

import attrs

from veo_shell.core.due import Due
from veo_shell.core.life import FELL
from veo_shell.core.model import (
    Container,
    OnUpdateFailure,
    Service,
    ServiceRecord,
    SlotRecord,
    State,
    UpdateState,
    UpdateStatus,
)
from veo_shell.core.outbox import Outbox
from veo_shell.core.pen import Pen
from veo_shell.core.places import Places, refusals
from veo_shell.core.situation import AGAIN_S, Situation
from veo_shell.core.slots import Slots
from veo_shell.core.specs import back, is_halted, must_stop_first
from veo_shell.core.trials import Trial, Trials
from veo_shell.core.turns import has_done

NANO = 1_000_000_000
BROKEN = frozenset({State.BACKOFF, State.FAILED, State.UNHEALTHY, State.EXITED})


class Updates:
    """Replaces the instances of services whose spec has changed."""

    def __init__(
        self,
        situation: Situation,
        places: Places,
        slots: Slots,
        trials: Trials,
        pen: Pen,
        out: Outbox,
    ) -> None:
        self._situation = situation
        self._view = situation.view
        self._places = places
        self._slots = slots
        self._trials = trials
        self._pen = pen
        self._out = out
        self._ready_s: dict[str, float] = {}

    def forget(self, uid: str) -> None:
        """Know nothing any more of a service's update."""
        self._ready_s.pop(uid, None)

    # One slot

    def follow(
        self,
        slot: SlotRecord,
        service: Service,
        named: Container | None,
        others: list[Container],
        *,
        is_clear: bool,
    ) -> None:
        """Have the new instance of a slot take over, or note that it has proved itself.

        `others` run in the slot too; `is_clear`: what is seen of them can be trusted.
        What fails is dealt with in `go_on`.
        """
        trial = self._trials.of(slot, named, self._situation.now)
        if slot.stops_first and others:
            if is_clear:  # it was not reached as it was to stop
                self._slots.write(attrs.evolve(slot, ends=self._ends(slot, others)))
            return
        if named is None and slot.done and not others:  # and is gone since
            done = attrs.evolve(slot, handover=False, updating=False, stops_first=False)
            self._slots.write(done)
        if named is None or not self._situation.is_reached(named.node):
            return
        if named.is_up and named.is_stranded:
            self._begin_again(slot, service, named)
            return
        is_done = has_done(named)
        if _why_failed(trial, named) and not is_done:
            return
        ready_s = trial.ready_for_s(self._situation.now)
        is_steady = ready_s >= self._situation.verdicts.timing.steady_s
        is_proven = ready_s >= service.update.monitor_ns / NANO
        if slot.handover and (is_steady or is_done or (not others and ready_s >= 0)):
            self._end(slot, service, named, others)
        elif not slot.handover and (is_proven or is_done):
            self._slots.write(attrs.evolve(slot, updating=False))

    def _begin_again(
        self, slot: SlotRecord, service: Service, named: Container
    ) -> None:
        """Have another one made of the same spec: nothing reaches this one any more."""
        text = f"slot {slot.slot} is filled anew on {named.node}: {named.reason}"
        entry = self._slots.note(
            "replacing", text, service, slot, slot.cause, named.node
        )
        self._slots.write(
            attrs.evolve(
                slot,
                generation=self._situation.next_generation(slot),
                made=0,
                ends=self._ends(slot, [named]),
                handover=True,
                cause=entry,
            )
        )

    def _end(
        self,
        slot: SlotRecord,
        service: Service,
        named: Container,
        others: list[Container],
    ) -> None:
        text = f"slot {slot.slot} is updated: {named.name} takes over"
        entry = self._slots.note(
            "replaced", text, service, slot, slot.cause, named.node
        )
        self._slots.write(
            attrs.evolve(
                slot,
                ends=self._ends(slot, others),
                handover=False,
                stops_first=False,
                cause=entry,
            )
        )

    def _ends(self, slot: SlotRecord, more: list[Container]) -> tuple[str, ...]:
        names = (*slot.ends, *(c.name for c in more))
        return self._situation.still_there(slot, names)

    # The whole service

    def go_on(self, record: ServiceRecord, due: Due) -> None:
        """Begin the next replacements, or end the update one way or the other."""
        if is_halted(record):
            self._end_trials(record)
            return  # not so what is completed, or was none: sides may have differed
        slots = [slot for slot in self._view.slots(record.uid) if slot.wanted]
        on_trial = [s for s in slots if s.updating and s.spec_id == record.spec_id]
        if failed := self._failed(on_trial):
            self._fail(record, *failed)
            return
        behind = [
            slot
            for slot in slots
            if self.is_behind(slot, record) and not self._is_lost(slot, record)
        ]
        if behind:
            self._replace(record, slots, behind, due)
        elif not on_trial and record.update and record.update.is_going_on:
            self._complete(record)
        if behind or on_trial:
            due.add(record.uid, self._situation.now + AGAIN_S)

    def is_behind(self, slot: SlotRecord, record: ServiceRecord) -> bool:
        """Tell whether a slot is to be filled by an instance of the spec that stands.

        One that has done its work does not do it again.
        """
        if slot.spec_id == record.spec_id:
            return False
        named = self._situation.named(slot)
        return not (slot.done if named is None else has_done(named))

    def _is_lost(self, slot: SlotRecord, record: ServiceRecord) -> bool:
        """Tell whether a slot stays on a node that is lost: its turn is later."""
        service = record.spec_of(slot.spec_id)
        return (
            slot.node is not None
            and service is not None
            and self._situation.is_lost(slot.node)
            and not self._situation.must_move(slot, service)
        )

    def _failed(self, on_trial: list[SlotRecord]) -> tuple[SlotRecord, str] | None:
        """Return the first slot whose new instance has failed, and why."""
        for slot in on_trial:
            named = self._situation.named(slot)
            trial = self._trials.of(slot, named, self._situation.now)
            if named is not None and has_done(named):
                continue
            begin_s = self._situation.verdicts.timing.begin_s
            if reason := _why_failed(trial, named):
                return slot, reason
            if trial.ready_s is None and self._situation.now - trial.begun_s > begin_s:
                state = named.state.value if named is not None else "not there"
                return slot, f"it is {state} after {begin_s:g} s"
        return None

    def _replace(
        self,
        record: ServiceRecord,
        slots: list[SlotRecord],
        behind: list[SlotRecord],
        due: Due,
    ) -> None:
        """Begin as many replacements as may be under way at once."""
        service, now = record.service, self._situation.now
        assert service is not None
        behind = [slot for slot in behind if not self._goes_back(slot, record)]
        moves = any(slot.handover and not slot.updating for slot in slots)
        begun = [s for s in slots if s.handover and s.spec_id == record.spec_id]
        beginning = sum(not self._has_begun(slot) for slot in begun)
        ready_s = self._ready_s.get(record.uid, -math.inf)
        if (next_s := ready_s + service.update.delay_ns / NANO) > now:
            due.add(record.uid, next_s)
        elif not moves:
            # What does not serve goes first: one that is ready is to be there always.
            for slot in sorted(behind, key=self._serves):
                if self._view.service(record.uid) is not record:
                    return  # it has failed
                if beginning < service.update.parallelism:
                    beginning += self._begin(slot, record, service)

    def _has_begun(self, slot: SlotRecord) -> bool:
        """Tell whether the new instance of a slot is ready, though on trial; note when.

        What it replaces runs on beside it until it has been for a moment.
        """
        named = self._situation.named(slot)
        trial = self._trials.of(slot, named, self._situation.now)
        if trial.ready_s is not None:
            last_s = self._ready_s.get(slot.uid, -math.inf)
            self._ready_s[slot.uid] = max(last_s, trial.ready_s)
        return trial.ready_s is not None

    def _serves(self, slot: SlotRecord, without: Set[str] = frozenset()) -> bool:
        claimants = self._situation.claimants(slot.uid, slot.slot)
        gone = {*slot.ends, *without}
        return any(c.is_ready and c.name not in gone for c in claimants)

    def _goes_back(self, slot: SlotRecord, record: ServiceRecord) -> bool:
        """Have an old instance of the spec that stands go on, if it runs beside."""
        claimants = self._situation.claimants(slot.uid, slot.slot)
        old = [c for c in claimants if c.spec_id == record.spec_id]
        if not (slot.updating and slot.handover and old):
            return False
        self._take_back(slot, record, old)
        return True

    def _take_back(
        self, slot: SlotRecord, record: ServiceRecord, old: list[Container]
    ) -> None:
        assert record.service is not None
        named = self._situation.named(slot)
        ends = slot.ends if named is None else (*slot.ends, named.name)
        self._slots.settle_on(
            attrs.evolve(slot, ends=ends),
            record.service,
            old,
            "is not updated",
            record.cause,
        )

    def _begin(self, slot: SlotRecord, record: ServiceRecord, service: Service) -> bool:
        """Have a slot filled by a new instance if it can be now; tell whether it is."""
        if slot.node is None:  # it is placed when a node fits
            self._slots.write(attrs.evolve(slot, spec_id=record.spec_id))
            return False
        if not self._situation.is_reached(slot.node) or self._is_last(slot, record):
            return False
        node, first = self._place(slot, service)
        if node is None:
            ranked = self._places.candidates(service, slot.uid, slot)
            self._fail(record, slot, f"no node fits: {refusals(ranked)}")
            return False
        named, held = (
            self._situation.named(slot),
            self._view.in_slot(slot.uid, slot.slot),
        )
        older = [c for c in held if c.is_up and c != named]
        is_void = slot.updating and slot.handover and older  # and never took over
        if not (first or is_void) and not self._places.has_room_beside(
            service, slot.uid, node
        ):
            return False
        to_end = [c for c in held if first or (is_void and c == named)]
        how = "once that has stopped" if first else "beside that"
        text = f"slot {slot.slot} is updated: a new one begins on {node}, {how}"
        entry = self._slots.note("replacing", text, service, slot, record.cause, node)
        self._slots.write(
            attrs.evolve(
                slot,
                node=node,
                generation=self._situation.next_generation(slot),
                made=0,
                ends=self._ends(slot, to_end),
                handover=True,
                drained_from="",
                stuck=(),
                spec_id=record.spec_id,
                updating=True,
                stops_first=first,
                done=False,
                cause=entry,
            )
        )
        return True

    def _is_last(self, slot: SlotRecord, record: ServiceRecord) -> bool:
        """Tell whether to wait, as nothing else serves and others are on their way.

        One that has just begun may end as soon: until it is steady it does not count.
        """
        if not self._serves(slot):
            return False
        others = [
            s for s in self._view.slots(record.uid) if s.wanted and s.slot != slot.slot
        ]
        fresh = [s for s in others if s.updating and not self._is_steady(s)]
        names = {c.name for s in fresh if (c := self._situation.named(s))}
        return bool(fresh) and not any(self._serves(s, without=names) for s in others)

    def _is_steady(self, slot: SlotRecord) -> bool:
        named, now = self._situation.named(slot), self._situation.now
        ready_s = self._trials.of(slot, named, now).ready_for_s(now)
        return ready_s >= self._situation.verdicts.timing.steady_s

    def _place(self, slot: SlotRecord, service: Service) -> tuple[str | None, bool]:
        """Return the node for a new instance, and whether the old one stops first.

        Its own node, if it fits there; else one beside the old one, rather than an
        interruption. Where its data is on its node, no other. A drained one only if
        there is no other.
        """
        beside, alone = (
            [
                c.node
                for c in self._places.candidates(service, slot.uid, leaves)
                if c.fits
            ]
            for leaves in (None, slot)
        )
        if slot.node not in alone and self._is_no_worse(slot, service):
            alone.append(slot.node or "")
        if self._situation.why_bound(slot, service):
            beside, alone = ([n for n in f if n == slot.node] for f in (beside, alone))
        if service.group and slot.node in alone:  # it does not go from its group
            beside = [node for node in beside if node == slot.node]
        head = self._view.head(slot.node or "")
        lans = head.lan_networks if head else ()
        first = must_stop_first(service, lans) or not beside
        fits = alone if first else beside
        others = [node for node in fits if node != slot.node]
        if slot.node in fits and not (others and self._view.is_drained(slot.node)):
            return slot.node, first
        return next(iter(others), None), first

    def _is_no_worse(self, slot: SlotRecord, service: Service) -> bool:
        """Tell whether its node has against a spec what it has against the old one.

        So it is where too much was placed on it, by the sides of a partition.
        """
        old = self._view.spec_of(slot)
        assert old is not None
        told = [
            c.reason
            for spec in (old, service)
            for c in self._places.candidates(spec, slot.uid, slot)
            if c.node == slot.node
        ]
        return len(told) == 2 and told[0] == told[1]

    # How it ends

    def _complete(self, record: ServiceRecord) -> None:
        assert record.update is not None
        is_back = record.update.state is UpdateState.ROLLING_BACK
        state = UpdateState.ROLLED_BACK if is_back else UpdateState.COMPLETED
        self._note_state(record, state, record.update.reason)

    def _fail(self, record: ServiceRecord, slot: SlotRecord, reason: str) -> None:
        """Do what the spec says of an update that fails."""
        service, update = record.service, record.update
        assert service is not None
        why = f"slot {slot.slot}: {reason}"
        if update is not None and update.state is UpdateState.ROLLING_BACK:
            both = f"{update.reason}; and then as it was rolled back, {why}"
            self._pause(record, UpdateState.ROLLBACK_PAUSED, both)
        elif service.update.on_failure is OnUpdateFailure.CONTINUE and slot.updating:
            self._bear_with(slot, record, service, reason)
        elif service.update.on_failure is OnUpdateFailure.ROLLBACK and record.old_specs:
            self._note_state(back(record), UpdateState.ROLLING_BACK, why)
        else:
            self._pause(record, UpdateState.PAUSED, why)

    def _note_state(
        self, record: ServiceRecord, state: UpdateState, reason: str
    ) -> ServiceRecord:
        assert record.service is not None
        self._ready_s.pop(record.uid, None)
        kind, what = SAID[state]
        text = f"{record.service.name}: {what}"
        entry = self._out.note(
            kind,
            f"{text}: {reason}" if reason else text,
            service=record.service.name,
            uid=record.uid,
            cause=record.cause,
        )
        update = UpdateStatus(state=state, reason=reason)
        return self._pen.write(attrs.evolve(record, update=update, cause=entry))

    def _pause(self, record: ServiceRecord, state: UpdateState, reason: str) -> None:
        """Do nothing more; what has not taken over yet is taken back."""
        record = self._note_state(record, state, reason)
        for slot in self._view.slots(record.uid):
            claimants = self._situation.claimants(slot.uid, slot.slot)
            old = [c for c in claimants if c != self._situation.named(slot)]
            if slot.wanted and slot.updating and slot.handover and old:
                self._take_back(slot, record, old)

    def _end_trials(self, record: ServiceRecord) -> None:
        """Have what fails, and is all there is in its slot, be on trial no more.

        It would be under way for ever, and hold up whatever moves.
        """
        for slot in self._view.slots(record.uid):
            named = self._situation.named(slot)
            if not (slot.wanted and slot.updating) or named is None:
                continue
            trial = self._trials.of(slot, named, self._situation.now)
            claimants = self._situation.claimants(slot.uid, slot.slot)
            if _why_failed(trial, named) and not any(c != named for c in claimants):
                self._slots.write(
                    attrs.evolve(
                        slot, handover=False, updating=False, stops_first=False
                    )
                )

    def _bear_with(
        self, slot: SlotRecord, record: ServiceRecord, service: Service, reason: str
    ) -> None:
        """Go on though one fails: it takes over all the same."""
        named = self._situation.named(slot)
        claimants = self._situation.claimants(slot.uid, slot.slot)
        old = [c for c in claimants if c != named]
        text = f"slot {slot.slot} fails, and is updated all the same: {reason}"
        entry = self._slots.note(
            "replaced", text, service, slot, record.cause, slot.node
        )
        self._slots.write(
            attrs.evolve(
                slot,
                ends=self._ends(slot, old),
                handover=False,
                updating=False,
                stops_first=False,
                cause=entry,
            )
        )


SAID = {
    UpdateState.PAUSED: ("update_failed", "the update is paused"),
    UpdateState.COMPLETED: ("update_completed", "the update is completed"),
    UpdateState.ROLLING_BACK: ("update_failed", "the update is rolled back"),
    UpdateState.ROLLBACK_PAUSED: ("update_failed", "it cannot be rolled back"),
    UpdateState.ROLLED_BACK: ("rolled_back", "all is rolled back"),
}


def _why_failed(trial: Trial, named: Container | None) -> str:
    """Return why a new instance has failed, "" if it has not."""
    if named is None or (named.state is State.BACKOFF and FELL in named.reason):
        return ""  # not there yet, or stopped for another of its group
    if named.state in BROKEN:
        return named.reason or f"it is {named.state.value}"
    return "it ended, and was started again" if named.restarts else ""
