"""What `cloud_containers` lists: the containers of nodes that live, and what waits."""

from __future__ import annotations

import attrs

from veo_shell.core.membership import GONE
from veo_shell.core.model import (
    Accepted,
    Container,
    Mode,
    OnPartition,
    Restart,
    Service,
    SlotRecord,
    State,
    Status,
)
from veo_shell.core.places import Places
from veo_shell.core.progress import waits_for_its_node
from veo_shell.core.situation import Situation
from veo_shell.core.turns import has_ended, is_named


class Listed:
    """Read from what a node knows at the moment of asking; nothing is kept."""

    def __init__(self, situation: Situation, places: Places) -> None:
        self.situation = situation
        self.view = situation.view
        self._verdicts = situation.verdicts
        self._places = places

    def containers(self) -> list[Container]:
        """Return the containers of nodes that are not dead, and the slots that wait."""
        seen = [seen for c in self.view.containers() if (seen := self._as_seen(c))]
        return seen + self.waiting()

    def _as_seen(self, container: Container) -> Container | None:
        """Return a container with what is known of its node; None of a dead one."""
        status = self._verdicts.status(container.node)
        head = self.view.head(container.node)
        if status in GONE or head is None:
            return None
        if status is not Status.ALIVE:
            reason = f"its node is {status.value}"
        elif head.engine_lost:
            reason = "its engine is away"
        else:
            return container
        return attrs.evolve(container, reason=reason)

    def waiting(self) -> list[Container]:
        """Return the slots that have no node, or a lost one, with the reason."""
        waiting = []
        for record in self.view.services():
            assert record.service is not None
            for slot in self.view.slots(record.uid):
                is_global = record.service.mode is Mode.GLOBAL
                if is_global and waits_for_its_node(
                    self.situation, slot, record.service
                ):
                    continue  # it is there again as soon as that is
                if reason := self.why_waiting(record.service, slot):
                    waiting.append(pending(slot, record.service, reason))
        return waiting

    def why_waiting(self, service: Service, slot: SlotRecord) -> str:
        """Return why nothing runs in a slot, "" where something does, or is to."""
        if not slot.wanted:
            return ""
        if slot.node is None:
            return self._refusals(service, slot.uid)
        if self.view.head(slot.node) is None:
            return f"{slot.node} is no member any more"
        named = [c for c in self.view.instances(slot.uid) if is_named(slot, c)]
        ended = any(has_ended(container) for container in named)
        if not named and self._is_banned(service):
            return f"no majority of the nodes is seen ({_policy(service)})"
        if ended or self._verdicts.status(slot.node) not in GONE:
            return ""
        if service.restart is Restart.NEVER:
            return f"{slot.node} is lost, restart: never"
        if volume := self.situation.data_at(slot, service):
            return f"{slot.node} is lost, and has its volume {volume}"
        if service.mode is Mode.GLOBAL:
            return f"{slot.node} is lost: there it begins once that is back"
        if service.on_partition is OnPartition.AVAILABLE:
            return f"{slot.node} is lost: about to be placed anew"
        return f"{slot.node} is lost, {_policy(service)}"

    def _is_banned(self, service: Service) -> bool:
        """Tell whether this side of a partition may run none of it."""
        if service.on_partition is not OnPartition.MAJORITY:
            return False
        voters, now = self.view.voters(), self.situation.now
        return not self._verdicts.sees_majority(voters, now)

    def _refusals(self, service: Service, uid: str) -> str:
        ranked = self._places.for_one_more(service, uid)
        reasons = [f"{c.node}: {c.reason}" for c in ranked if not c.fits]
        return "; ".join(reasons) or "no node fits yet"


def pending(slot: Accepted | SlotRecord, service: Service, reason: str) -> Container:
    """Return what stands for a container that is not there yet."""
    return Container(
        name="",
        service=service.name,
        uid=slot.uid,
        slot=slot.slot,
        generation=slot.generation,
        node="",
        address="",
        image=service.image,
        state=State.PENDING,
        reason=reason,
    )


def _policy(service: Service) -> str:
    return f"on_partition: {service.on_partition.value}"
