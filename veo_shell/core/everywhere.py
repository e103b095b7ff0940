"""One instance of a service on every node that fits: `mode: global`, as in Swarm.

A slot belongs to its node for as long as that is a member that fits, lost or not: there
is nowhere to move it to. Where a node has two, as the sides of a partition both gave it
one, the better one stays. A node that is full gets its own as soon as there is room.
Where none fits, one slot waits, so that it can be told why.

A slot is numbered by its node, so that the sides of a partition give no two nodes the
same: as they meet, one of the two would lose it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Collection

from veo_shell.core.due import Due
from veo_shell.core.model import (
    Container,
    Service,
    ServiceRecord,
    SlotRecord,
    Status,
)
from veo_shell.core.places import Places
from veo_shell.core.situation import Situation
from veo_shell.core.slots import Slots, blank
from veo_shell.core.turns import is_named

Place = Callable[[str, int, str, str, str | None], SlotRecord | None]
"""`Reconciler.place`: of which service and slot, the cause, the operation, the node."""
NUMBERS = 10_000


def own_number(node: str) -> int:
    """Return which number the slot of a node has, in any service and on any side."""
    digest = hashlib.blake2b(node.encode(), digest_size=8).digest()
    return int.from_bytes(digest) % NUMBERS


class Everywhere:
    """Gives each fitting node its slot, and gives up those of the others."""

    def __init__(
        self,
        situation: Situation,
        places: Places,
        slots: Slots,
        place: Place,
        due: Due,
    ) -> None:
        self._situation = situation
        self._view = situation.view
        self._places = places
        self._slots = slots
        self._place = place
        self._due = due

    def follow(
        self, record: ServiceRecord, service: Service, unrecorded: Collection[int]
    ) -> None:
        """Have a slot for each node that is to have one, and no other.

        `unrecorded`: in these something runs, and no record is of them.
        """
        self._give_up_surplus(record, service)
        for number in unrecorded:
            self._take_back(record.uid, service, number)
        self.fill(record.uid, service, record.cause)

    def fill(
        self, uid: str, service: Service, cause: str, operation: str = ""
    ) -> list[SlotRecord]:
        """Place a slot on each node that fits and has none; return what was placed.

        What waited becomes none of these: on another side it may become another node's.
        """
        wanted = [slot for slot in self._view.slots(uid) if slot.wanted]
        taken = {slot.slot for slot in wanted if slot.node is not None}
        contested = {c.node for c in self._contested(uid)}
        free = self._places.free(service, uid)
        placed = []
        for node in (node for node in free if node not in contested):
            number = self._number(uid, node, taken)
            at_s = self._may_begin_at_s(uid, number, node, is_new=bool(operation))
            if at_s > self._situation.now:
                self._due.add(uid, at_s)
                continue
            taken.add(number)
            placed.append(self._place(uid, number, cause, operation, node))
        for slot in wanted if taken else ():
            if slot.slot not in taken:
                self._slots.give_up(slot, service, "nothing has to wait", cause)
        if not wanted and not free:
            number = self._number(uid, "", taken)
            placed.append(self._place(uid, number, cause, operation, None))
        return [slot for slot in placed if slot is not None]

    def _may_begin_at_s(
        self, uid: str, number: int, node: str, *, is_new: bool
    ) -> float:
        """Return from when on a node may be given its slot.

        Not at once as it is heard again: what it was given on its side of a partition
        is known a moment later, unless the service `is_new`.
        """
        now, verdicts = self._situation.now, self._situation.verdicts
        heard_s = now - (math.inf if is_new else verdicts.lost_for_s(node, now))
        old = self._view.slot(uid, number)
        rested_s = self._slots.rested_at_s(old) if old else now
        return max(heard_s + verdicts.timing.steady_s, rested_s)

    def _number(self, uid: str, node: str, taken: Collection[int]) -> int:
        """Return a node's number, or the next that is free; 0 of what waits for any.

        None in which something runs elsewhere: that would contest the slot, which is
        another node's from now on.
        """
        number = own_number(node) if node else 0
        while number in taken or any(
            c.node != node for c in self._view.in_slot(uid, number)
        ):
            number += 1
        return number

    def _contested(self, uid: str) -> list[Container]:
        """Return what runs, and of which it is to be decided yet whether it ends."""
        return [
            container
            for container in self._view.instances(uid)
            if container.is_up
            and (slot := self._view.slot(uid, container.slot)) is not None
            and slot.wanted
            and not is_named(slot, container)
            and container.name not in slot.ends
        ]

    def _take_back(self, uid: str, service: Service, number: int) -> None:
        """Have a slot of what runs on a node that is to have one, and has none."""
        found = [
            container
            for container in self._situation.claimants(uid, number)
            if uid not in self._view.account(container.node).slots
            and container.node not in self._places.misfits(service)
            and not self._view.is_drained(container.node)
        ]
        if found:
            slot = blank(uid, number, max(c.generation for c in found))
            self._slots.settle_on(slot, service, found, "taken back")

    def _give_up_surplus(self, record: ServiceRecord, service: Service) -> None:
        """Give up the slots of nodes that are to have none, and one of two on a node.

        One that waits for any node is no more needed once another has a node.
        """
        kept: dict[str, SlotRecord] = {}
        slots = [slot for slot in self._view.slots(record.uid) if slot.wanted]
        for slot in sorted(slots, key=self._worth):
            if slot.node is None:
                why, cause = "nothing has to wait" if kept else "", record.cause
                kept.setdefault("", slot)
            else:
                why, cause = self._why_not(slot, service, slot.node)
                other = slot if why else kept.setdefault(slot.node, slot)
                if other != slot:
                    why = f"{slot.node} has slot {other.slot}"
            if why:
                self._slots.give_up(slot, service, why, cause or record.cause)

    def _worth(self, slot: SlotRecord) -> tuple[bool, bool, bool, int]:
        """Return what sorts the slots that had better stay first."""
        named = self._situation.named(slot)
        return (
            slot.node is None,
            named is None or not named.is_ready,
            named is None or not named.is_up,
            slot.slot,
        )

    def _why_not(
        self, slot: SlotRecord, service: Service, node: str
    ) -> tuple[str, str]:
        """Return why a node is to have its slot no more, "" if it is; and the cause.

        A job, or what has ended, is not to begin again as its node is undrained.
        """
        status = self._situation.verdicts.status(node)
        if self._view.head(node) is None or status is Status.LEFT:
            return f"{node} is no member any more", self._situation.verdicts.entry(node)
        if why := self._places.misfits(service).get(node):
            return f"{node}: {why}", ""
        if self._situation.is_kept_out(slot, service):
            return f"another one has its port on {node}", ""
        if self._view.is_drained(node) and self._situation.is_movable(slot, service):
            return f"{node} is drained", self._situation.drain_cause(node)
        return "", ""
