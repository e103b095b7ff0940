"""Writes the records of slots, each with the entry in the journal that says why."""

from __future__ import annotations

import math

import attrs

from veo_shell.core.model import Container, Service, SlotRecord
from veo_shell.core.outbox import Outbox
from veo_shell.core.pen import Pen
from veo_shell.core.places import Places
from veo_shell.core.situation import Situation
from veo_shell.core.turns import is_named, stops_first

REST_S = 0.5
"""A slot that was just decided about is not looked at again for so long."""


class Slots:
    """What a coordinator decides about slots with."""

    def __init__(
        self, situation: Situation, places: Places, pen: Pen, out: Outbox
    ) -> None:
        self._situation = situation
        self._places = places
        self._pen = pen
        self._out = out
        self._written_s: dict[str, float] = {}

    def note(
        self,
        kind: str,
        text: str,
        service: Service,
        slot: SlotRecord,
        cause: str,
        node: str | None = None,
    ) -> str:
        """Note a decision about a slot, and the node if it is on one from then on.

        Return the entry's id.
        """
        return self._out.note(
            kind,
            f"{service.name}: {text}",
            service=service.name,
            uid=slot.uid,
            slot=slot.slot,
            about=node or "",
            cause=cause,
        )

    def give_up(self, slot: SlotRecord, service: Service, why: str, cause: str) -> None:
        """Have a slot be none of the service's any more."""
        text = f"slot {slot.slot} given up: {why}"
        entry = self.note("given_up", text, service, slot, cause, slot.node)
        self.write(given_up(slot, entry))

    def write(self, slot: SlotRecord) -> SlotRecord:
        """Have a slot's record stand."""
        self._written_s[slot.key] = self._situation.now
        return self._pen.write(slot)

    def rested_at_s(self, slot: SlotRecord) -> float:
        """Return from when on a slot is looked at, which this node wrote about.

        Nodes that differ on who lives may undo each other's decisions for a while: not
        as fast as messages pass.
        """
        rested_s = self._written_s.get(slot.key, -math.inf) + REST_S
        if rested_s <= self._situation.now:
            self._written_s.pop(slot.key, None)
        return rested_s

    def settle_on(
        self,
        slot: SlotRecord,
        service: Service,
        found: list[Container],
        how: str,
        cause: str = "",
    ) -> None:
        """Choose among the containers that run in one slot; the others are to end.

        The healthy first, of a group then what is at home, the lowest generation, the
        node's name; where a majority decides, what it decided before all. A new
        decision: nobody stops a container because of one that is older than the
        reunion. It follows from the verdict on the node of the one that stays, unless
        there is another `cause`.
        """

        home = self._places.home(service)

        def order(container: Container) -> tuple[bool, bool, bool, int, str]:
            decided = stops_first(service) and is_named(slot, container)
            return (
                not decided,
                not container.is_ready,
                home is not None and container.node != home,
                container.generation,
                container.node,
            )

        ranked = sorted(found, key=order)
        stays, rest = ranked[0], ranked[1:]
        ends = (*slot.ends, *(c.name for c in rest))
        text = f"slot {slot.slot} {how}: {stays.name} stays"
        if rest:
            text += f", {', '.join(c.name for c in rest)} ends"
        entry = self.note(
            "healed" if rest else "placed",
            text,
            service,
            slot,
            cause or self._situation.verdicts.entry(stays.node) or slot.cause,
            stays.node,
        )
        self._name(slot, stays, ends, entry)

    def _name(
        self, slot: SlotRecord, stays: Container, ends: tuple[str, ...], entry: str
    ) -> None:
        """Have a slot's record name a container that runs, and others that end."""
        situation = self._situation
        # Nodes of protocol 1 know of no container but that of the generation itself,
        # and pass a record on without the rest.
        knows_made = all(head.protocol > 1 for head in situation.view.nodes)
        there = situation.still_there(slot, ends)
        self.write(
            attrs.evolve(
                slot,
                node=stays.node,
                generation=(
                    situation.next_generation(slot) if knows_made else stays.generation
                ),
                made=stays.generation if knows_made else 0,
                ends=tuple(name for name in there if name != stays.name),
                handover=False,
                drained_from="",
                spec_id=stays.spec_id,
                updating=False,
                stops_first=False,
                done=False,
                wanted=True,
                cause=entry,
            )
        )


def blank(uid: str, number: int, generation: int = 0) -> SlotRecord:
    """Return the record of a slot that nothing was decided about."""
    return SlotRecord(
        uid=uid, slot=number, revision=0, writer="", generation=generation, node=None
    )


def given_up(slot: SlotRecord, cause: str) -> SlotRecord:
    """Return the record by which a slot is given up."""
    return attrs.evolve(
        slot,
        wanted=False,
        node=None,
        handover=False,
        drained_from="",
        stuck=(),
        updating=False,
        stops_first=False,
        cause=cause,
    )
