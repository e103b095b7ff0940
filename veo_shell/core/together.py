"""How a group moves as one: none of it is settled on a node before all of it is there.

What has nothing to go back to, as its old instance has ended, waits there for the rest,
too: where one of them fails, it goes on with them to the next node.
"""

from __future__ import annotations

from veo_shell.core.model import Container, Service, SlotRecord, State
from veo_shell.core.places import Places
from veo_shell.core.situation import Situation
from veo_shell.core.trials import Trials


class Together:
    """Tells how the rest of a slot's group does that is to come to the slot's node."""

    def __init__(self, situation: Situation, places: Places, trials: Trials) -> None:
        self._situation = situation
        self._places = places
        self._trials = trials

    def _is_steady(self, mate: SlotRecord, named: Container | None) -> bool:
        """Tell whether one is ready, and stays so if it is new: some crash then."""
        now = self._situation.now
        if named is None or not named.is_ready:
            return False
        if not mate.handover:
            return True
        for_s = self._trials.of(mate, named, now).ready_for_s(now)
        return for_s >= self._situation.verdicts.timing.steady_s

    def is_there(
        self, slot: SlotRecord, service: Service, others: list[Container]
    ) -> bool:
        """Tell whether the rest of a slot's group serves on its node, or nowhere.

        And none of it is on its way there. A group that is elsewhere by now is not
        waited for, unless it was tried there as its node was drained. What comes home
        from elsewhere waits for nobody: not all may find room there.
        """
        tried = {stuck.node for stuck in slot.stuck if stuck.decision}
        if self._places.home(service, without=tried) not in (None, slot.node):
            return not self.is_home(service, others)
        if not slot.drained_from:
            return True
        return not self.whose_failed(slot, service) and not any(
            self._is_on_its_way(mate, slot.node)
            or (self._moves(mate, spec) and self._is_off(mate, slot.node))
            for mate, spec in self._situation.mates(slot, service)
        )

    def is_home(self, service: Service, others: list[Container]) -> bool:
        """Tell whether one of these runs where the group of a service is."""
        home = self._places.home(service)
        return any(c.node == home for c in others)

    def serves_elsewhere(self, slot: SlotRecord, service: Service) -> bool:
        """Tell whether any of the rest of a slot's group serves on another node."""
        return any(
            self._is_off(mate, slot.node)
            for mate, _ in self._situation.mates(slot, service)
        )

    def comes(self, slot: SlotRecord, service: Service) -> bool:
        """Tell whether any of the rest of a slot's group is on its way to its node."""
        return any(
            self._is_on_its_way(mate, slot.node)
            for mate, _ in self._situation.mates(slot, service)
        )

    def whose_failed(self, slot: SlotRecord, service: Service) -> str:
        """Return why the rest of a slot's group cannot come to its node, "" if it can.

        One that failed there is on another node again, and its record says so.
        """
        if not slot.drained_from:
            return ""
        decision = self._situation.drain_cause(slot.drained_from)
        for mate, spec in self._situation.mates(slot, service):
            for stuck in mate.stuck if mate.node != slot.node else ():
                if stuck.node == slot.node and (
                    stuck.decision == decision or self._stands(stuck.decision, mate)
                ):
                    return f"{spec.name}: {stuck.reason}"
        return ""

    def _stands(self, decision: str, mate: SlotRecord) -> bool:
        """Tell whether a slot is on the node that was drained by a decision."""
        return (
            bool(decision) and self._situation.drain_cause(mate.node or "") == decision
        )

    def _is_on_its_way(self, mate: SlotRecord, node: str | None) -> bool:
        """Tell whether a slot is to be on a node, and what is to fill it is not ready.

        What is filled anew where it was is on no way.
        """
        if mate.node != node or not mate.handover or mate.updating:
            return False
        named = self._situation.named(mate)
        if named is not None and named.state is State.EXITED:
            return False
        if self._is_steady(mate, named):
            return False
        claimants = self._situation.claimants(mate.uid, mate.slot)
        return not any(c.node == node and c != named for c in claimants)

    def _moves(self, mate: SlotRecord, spec: Service) -> bool:
        """Tell whether a slot is moved, or may be, whatever its new instance does."""
        is_move = mate.handover and not mate.updating
        return is_move or self._situation.is_movable(mate, spec)

    def _is_off(self, mate: SlotRecord, node: str | None) -> bool:
        """Tell whether a slot is served on another node than this one, and not here."""
        named = self._situation.named(mate)
        if mate.node == node and self._is_steady(mate, named):
            return False
        claimants = self._situation.claimants(mate.uid, mate.slot)
        return any(
            c.is_ready and c.node != node and c.name not in mate.ends for c in claimants
        )
