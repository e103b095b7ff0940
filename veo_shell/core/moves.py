"""How an instance moves: the new one first, and back where that cannot be.

A new one has taken over once it has been ready for a moment, so that one which ends at
once does not count. It cannot where it has failed for good, or still fails or is
unhealthy after `handover_s`: by then it was tried seven times, as the delays between
the tries double. Getting an image, and health checks that have not decided yet, may
take longer: `begin_s`. Then the slot goes to the next node that fits, and back to the
container that runs if there is none; its record tells where it could not go and why.
That is not tried again by itself: each try costs a majority service its only instance.
Another `drain` tries all nodes again; one that has just come is tried, too. But what
could not be brought to the rest of its group is tried again after `begin_s`. What is
filled anew where it is, as nothing reaches it, has nothing to go back to: it is tried
on and on there, that of a majority service on the next node.
"""

from __future__ import annotations

from collections.abc import Collection

import attrs

from veo_shell.core.model import (
    Container,
    Restart,
    Service,
    ServiceRecord,
    SlotRecord,
    State,
    Status,
    Stuck,
)
from veo_shell.core.places import Places
from veo_shell.core.situation import Situation
from veo_shell.core.slots import Slots
from veo_shell.core.together import Together
from veo_shell.core.trials import Trial, Trials
from veo_shell.core.turns import awaited, has_ended, is_named, stops_first

FAILING = frozenset({State.BACKOFF, State.UNHEALTHY})


class Moves:
    """Begins hand-overs, and ends them one way or the other."""

    def __init__(
        self, situation: Situation, places: Places, slots: Slots, trials: Trials
    ) -> None:
        self._situation = situation
        self._view = situation.view
        self._places = places
        self._slots = slots
        self._trials = trials
        self._together = Together(situation, places, trials)
        self._apart_s: dict[str, float] = {}

    def begin(
        self,
        slot: SlotRecord,
        node: str,
        cause: str,
        operation: str = "",
        drained_from: str = "",
        without: Collection[str] = (),
    ) -> SlotRecord | None:
        """Have a slot filled on another node, and then no more on its own.

        Not while its node does not tell what runs there: two would.
        """
        service = self._view.spec_of(slot)
        assert service is not None
        ranked = {
            c.node: c
            for c in self._places.candidates(service, slot.uid, without=without)
        }
        if node not in ranked or not ranked[node].fits or slot.node is None:
            return None
        if not self._situation.is_reached(slot.node):
            return None
        text = f"slot {slot.slot} moves from {slot.node} to {node}"
        entry = self._slots.note("moving", text, service, slot, cause, node)
        operation = operation or slot.operation
        to = attrs.evolve(
            slot, operation=operation, drained_from=drained_from, handover=True
        )
        return self._send(to, service, node, entry)

    def relocate(self, record: ServiceRecord) -> None:
        """Begin to move one slot from where it is not to stay, none while one moves.

        Of what is in a group all of them.
        """
        assert record.service is not None
        at_once = record.service.group is not None
        wanted = [s for s in self._view.slots(record.uid) if s.wanted]
        if any(slot.handover for slot in wanted) and not at_once:
            return
        for slot in wanted:
            service = record.spec_of(slot.spec_id)
            assert service is not None
            if slot.node is None or slot.handover:
                continue
            if not self._situation.is_movable(slot, service):
                continue
            if self._situation.verdicts.status(slot.node) is not Status.ALIVE:
                continue
            slot = self._ready_to_try(slot, service)
            assert slot.node is not None
            moves = (
                self._drain(slot, service, slot.node)
                or self._bring_home(slot, service)
                or self._rescue(slot, service)
            )
            if moves and not at_once:
                return

    def _ready_to_try(self, slot: SlotRecord, service: Service) -> SlotRecord:
        """Have forgotten after a while that a slot could not come to its group.

        Not what wants a majority: to try it costs its only instance each time.
        """
        is_apart = any(not stuck.decision for stuck in slot.stuck)
        if not is_apart or stops_first(service):
            self._apart_s.pop(slot.key, None)
            return slot
        since_s = self._apart_s.setdefault(slot.key, self._situation.now)
        if self._situation.now - since_s < self._situation.verdicts.timing.begin_s:
            return slot
        del self._apart_s[slot.key]
        kept = tuple(stuck for stuck in slot.stuck if stuck.decision)
        return self._slots.write(attrs.evolve(slot, stuck=kept))

    def _drain(self, slot: SlotRecord, service: Service, source: str) -> bool:
        """Begin to move a slot from a drained node; tell whether it was."""
        if not self._view.is_drained(source):
            return False
        if self._situation.why_bound(slot, service):
            return False
        if self._situation.job_beside(slot, service):
            return False
        refused = self._situation.stuck(slot, service, source)
        node = self._places.best(service, slot.uid, without=refused)
        cause = self._situation.drain_cause(source)
        return node is not None and bool(
            self.begin(slot, node, cause, drained_from=source, without=refused)
        )

    def _bring_home(self, slot: SlotRecord, service: Service) -> bool:
        """Begin to move a slot to where the rest of its group is; tell whether.

        Not one that another than the named one runs in: one of these is to stay.
        """
        claimants = self._situation.claimants(slot.uid, slot.slot)
        if any(c.name not in slot.ends and not is_named(slot, c) for c in claimants):
            return False
        home = self._places.home(service)
        if home in (None, slot.node) or self._situation.data_at(slot, service):
            return False
        assert home is not None
        assert slot.node is not None
        if home in self._situation.stuck(slot, service, slot.node):
            return False
        return bool(self.begin(slot, home, slot.cause))

    def _rescue(self, slot: SlotRecord, service: Service) -> bool:
        """Begin to fill a slot anew on its node, if what fills it cannot be reached.

        The node has room for it, as what fills it now is to end; but where another one
        has its port by now it moves, if it can.
        """
        named = self._situation.named(slot)
        if named is None or not (named.is_up and named.is_stranded):
            return False
        if self._situation.has_rival(slot, service):
            return self._evade(slot, service, named.node)
        text = f"slot {slot.slot} is filled anew on {named.node}: {named.reason}"
        entry = self._slots.note("moving", text, service, slot, slot.cause, named.node)
        to = attrs.evolve(slot, handover=True)
        self._send(to, service, named.node, entry)
        return True

    def _evade(self, slot: SlotRecord, service: Service, source: str) -> bool:
        if service.group or self._situation.why_bound(slot, service):
            return False
        refused = self._situation.stuck(slot, service, source)
        node = self._places.best(service, slot.uid, without=refused)
        return node is not None and bool(
            self.begin(slot, node, slot.cause, without=refused)
        )

    def follow(
        self,
        slot: SlotRecord,
        service: Service,
        named: Container | None,
        others: list[Container],
        *,
        is_clear: bool,
    ) -> None:
        """End a hand-over: taken over, taken back, or tried on another node.

        `others` run in the slot too; `is_clear`: what is seen of all can be trusted.
        """
        trial = self._trials.of(slot, named, self._situation.now)
        is_rescue = bool(others) and all(c.node == slot.node for c in others)
        in_slot = self._view.in_slot(slot.uid, slot.slot)
        is_lost = self._situation.is_lost
        is_alone = not any(c != named and not is_lost(c.node) for c in in_slot)
        left = self._together.whose_failed(slot, service)
        if named is not None and (
            (is_rescue and has_ended(named))
            or (
                self._has_taken_over(
                    trial,
                    named,
                    is_alone=is_alone and not (service.group or stops_first(service)),
                )
                and (
                    is_rescue
                    or self._together.is_there(slot, service, others)
                    or (not left and self._has_waited(trial))
                )
            )
        ):
            self._end(slot, service, named, others)
        elif others and (why := self._why_called_off(slot, service, others)):
            if is_clear:
                self._take_back(slot, service, named, others, why)
        elif is_alone and not left and self._may_settle(slot, service, named):
            self._slots.write(attrs.evolve(slot, handover=False, drained_from=""))
        elif reason := self._why_failed(trial, named) or left:
            failed = self._stuck(slot, reason)
            is_reached = self._situation.is_reached(slot.node or "")
            if others:
                if is_clear and not is_rescue:
                    why = f"{slot.node}: {reason}"
                    self._take_back(failed, service, named, others, why)
            elif (is_alone or stops_first(service)) and is_reached:
                self._go_on(failed, service, reason)

    def _has_waited(self, trial: Trial) -> bool:
        """Tell whether it was waited for the rest of a group long enough, if it is."""
        for_s = self._situation.now - trial.begun_s
        return for_s >= self._situation.verdicts.timing.begin_s

    # What is seen

    def _has_taken_over(
        self, trial: Trial, named: Container, *, is_alone: bool
    ) -> bool:
        """Tell whether the new one is ready, and stays so, or has done its job."""
        if not self._situation.is_reached(named.node):
            return False
        if named.state is State.EXITED or (is_alone and named.is_ready):
            return True
        ready_s = trial.ready_for_s(self._situation.now)
        return ready_s >= self._situation.verdicts.timing.steady_s

    def _may_settle(
        self, slot: SlotRecord, service: Service, named: Container | None
    ) -> bool:
        """Tell whether what has nothing to go back to may stay, however it does there.

        Not while some of its group serves elsewhere, nor what wants a majority: that
        is tried on the next node, unless it only waits for its master. A job that has
        begun stays.
        """
        if service.restart is Restart.NEVER:
            return not self._situation.is_movable(slot, service)
        if self._together.serves_elsewhere(slot, service):
            return False
        if not stops_first(service):
            return True
        is_idle = named is None and bool(awaited(self._view, service))
        return is_idle and not self._together.comes(slot, service)

    def _why_called_off(
        self, slot: SlotRecord, service: Service, others: list[Container]
    ) -> str:
        """Return why a slot is not to move any more, "" if it is."""
        if slot.drained_from and not self._view.is_drained(slot.drained_from):
            return "it is drained no more"
        if service.restart is Restart.NEVER:
            return "it has begun"
        if slot.node == self._places.home(service):
            return ""
        return "its group stays" if self._together.is_home(service, others) else ""

    def _why_failed(self, trial: Trial, named: Container | None) -> str:
        """Return why the new one cannot take over, "" while it may."""
        timing = self._situation.verdicts.timing
        for_s = self._situation.now - trial.begun_s
        if named is not None and (
            named.state is State.FAILED
            or (named.state in FAILING and for_s >= timing.handover_s)
        ):
            return named.reason or f"it is {named.state.value}"
        if for_s >= timing.begin_s and (named is None or not named.is_ready):
            state = named.state.value if named is not None else "not there"
            return f"it is {state} after {timing.begin_s:g} s"
        return ""

    # What is written

    def _send(
        self, slot: SlotRecord, service: Service, node: str, entry: str
    ) -> SlotRecord:
        """Have a slot filled by a new container on a node."""
        old = self._situation.named(slot)
        ends = (*slot.ends, old.name) if old and stops_first(service) else slot.ends
        return self._slots.write(
            attrs.evolve(
                slot,
                node=node,
                generation=self._situation.next_generation(slot),
                made=0,
                ends=self._situation.still_there(slot, ends),
                done=False,
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
        """End the old instance: the new one is ready, or has done its job."""
        ends = (*slot.ends, *(c.name for c in others))
        text = f"slot {slot.slot} is taken over by {named.name}"
        entry = self._slots.note("moved", text, service, slot, slot.cause, named.node)
        self._slots.write(
            attrs.evolve(
                slot,
                ends=self._situation.still_there(slot, ends),
                handover=False,
                drained_from="",
                stuck=tuple(stuck for stuck in slot.stuck if not stuck.decision),
                cause=entry,
            )
        )

    def _stuck(self, slot: SlotRecord, reason: str) -> SlotRecord:
        """Return a slot's record that tells where it could not go."""
        assert slot.node is not None
        decision = self._situation.drain_cause(slot.drained_from)
        before = [s for s in slot.stuck if s.decision == decision]
        here = Stuck(node=slot.node, reason=reason, decision=decision)
        return attrs.evolve(slot, stuck=(*before, here))

    def _take_back(
        self,
        slot: SlotRecord,
        service: Service,
        named: Container | None,
        others: list[Container],
        why: str,
    ) -> None:
        """Have the container that runs go on; `drain` tries the next node."""
        if named is not None:
            slot = attrs.evolve(slot, ends=(*slot.ends, named.name))
        how = f"cannot move ({why}) and is taken back"
        self._slots.settle_on(slot, service, others, how, slot.cause)

    def _go_on(self, slot: SlotRecord, service: Service, reason: str) -> None:
        """Try the next node, or the one that it left: its old instance is gone."""
        tried, source = {s.node for s in slot.stuck}, slot.drained_from
        node = None
        if not self._situation.why_bound(slot, service):
            node = self._places.best(service, slot.uid, without=tried)
        is_over = node is None
        if node is None and self._situation.is_reached(source):
            node = source
        text = f"slot {slot.slot} cannot run on {slot.node}: {reason}"
        text += f"; moves to {node}" if node is not None else "; stays there"
        entry = self._slots.note(
            "moving", text, service, slot, slot.cause, node or slot.node
        )
        if is_over:
            slot = attrs.evolve(slot, handover=False, drained_from="")
        if node is None:
            self._slots.write(attrs.evolve(slot, cause=entry))
        else:
            self._send(slot, service, node, entry)
