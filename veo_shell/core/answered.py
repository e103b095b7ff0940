"""What DNS answers for: which containers, which not and why, and how services stand."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import attrs

from veo_shell.core.doors import Doors
from veo_shell.core.membership import AWAY, GONE, Membership
from veo_shell.core.model import (
    Container,
    Health,
    Mode,
    Service,
    ServiceRecord,
    SlotRecord,
    StandingService,
    Status,
)
from veo_shell.core.turns import has_done, is_named
from veo_shell.core.view import View
from veo_shell.core.zone_records import ServiceStatus, Standing


class Answered:
    """Read from what a node knows at the moment of asking; nothing is kept."""

    def __init__(self, view: View, members: Membership, doors: Doors) -> None:
        self._view = view
        self._members = members
        self._doors = doors

    def containers(self) -> list[Container]:
        """Return the containers that DNS may answer for.

        Ready ones of services that stand, on nodes that are not dead and have their
        engine: a container whose service was removed is out at once, before its node
        has stopped it, and one whose engine went away most likely went with it. On a
        node whose daemon is away, only while its published port takes connections.
        """
        return [c for c in self._view.containers() if not self.why_not(c)]

    def standing(self, name: str, uids: Collection[str]) -> Standing:
        """Return how the services of a name stand, of which these may be.

        `name` is in lower case: services whose names differ in case are one in DNS.
        """
        containers, statuses = [], []
        for uid in sorted(uids):
            own = self._instances(uid)
            containers += [c for c in own if c.service.lower() == name]
            record = self._view.service(uid)
            spec = record.service if record else None
            if record and spec and spec.name.lower() == name:
                statuses.append(self._status(record, spec, own))
        return Standing(
            containers=tuple(containers),
            statuses=tuple(statuses),
            # What is only published there is not what a node's address is called
            on_host=frozenset(c.name for c in containers if self._mode(c) == "host"),
        )

    def services(self) -> list[StandingService]:
        """Return the services that should run, and how they stand: as DNS tells it."""
        return [
            self._standing(record, record.service)
            for record in self._view.services()
            if record.service is not None
        ]

    def age_s(self, now: float) -> float:
        """Return how old the view is: for how long its most silent part was not heard.

        That of the living; if all others are lost, since the last of them was heard.
        """
        heard = [peer for peer in self._members if peer.status is not Status.LEFT]
        ages_s = [now - peer.heard_s for peer in heard if peer.status not in GONE]
        lost_s = min((now - peer.heard_s for peer in heard), default=0.0)
        return max(ages_s, default=lost_s)

    def explain(self, uids: Iterable[str]) -> list[str]:
        """Return, for each instance of services, how it is answered."""
        records = filter(None, map(self._view.service, sorted(uids)))
        return [
            line
            for record in records
            if record.service is not None
            for line in self._explain(record)
        ]

    def _explain(self, record: ServiceRecord) -> Iterator[str]:
        for slot in self._view.slots(record.uid):
            held = self._view.in_slot(record.uid, slot.slot)
            if not held and slot.wanted and not slot.done:
                yield f"{slot.slot}: {_nowhere(slot)}"
            for container in held:
                why_not = self.why_not(container)
                where = ", ".join(container.addresses)
                told = f"not answered: {why_not}" if why_not else where
                yield f"{slot.slot}: {container.name} on {container.node}: {told}"

    def why_not(self, container: Container) -> str:
        """Return why DNS does not answer a container, "" where it does."""
        if not container.is_ready:
            return _unready(container)
        return self._let_go(container) or self._out_of_reach(container)

    def _let_go(self, container: Container) -> str:
        record = self._view.service(container.uid)
        if record is None:
            return ""
        slot = self._view.slot(container.uid, container.slot)
        if slot is not None and container.name in slot.ends:
            return "another one has its place"
        return "" if record.service is not None else "its service was removed"

    def _out_of_reach(self, container: Container) -> str:
        head = self._view.head(container.node)
        if head is None:
            return f"nothing is known of {container.node}"
        if head.engine_lost:
            return f"its engine is away: {head.engine_lost}"
        status = self._members.status(container.node)
        if status in AWAY:
            is_closed = self._doors.is_closed(container)
            return f"{head.node} is {status.value}, its port closed" * is_closed
        return f"{head.node} is {status.value}" if status in GONE else ""

    def _instances(self, uid: str) -> list[Container]:
        return [c for c in self._view.instances(uid) if not self.why_not(c)]

    def _standing(self, record: ServiceRecord, spec: Service) -> StandingService:
        status = self._status(record, spec, self._instances(record.uid))
        return StandingService(
            **attrs.asdict(spec, recurse=False),
            uid=record.uid,
            ready=status.healthy,
            wanted=status.wanted,
            update_status=record.update,
        )

    def _status(
        self, record: ServiceRecord, spec: Service, answered: list[Container]
    ) -> ServiceStatus:
        return ServiceStatus(
            name=spec.name,
            variant=spec.variant,
            revision=record.revision,
            wanted=self._wanted(record),
            healthy=len(answered),
        )

    def _mode(self, container: Container) -> str | None:
        record = self._view.service(container.uid)
        spec = record.spec_of(container.spec_id) if record else None
        return spec.network_mode if spec else None

    def _wanted(self, record: ServiceRecord) -> int:
        """Return how many should be ready: none that has done its work."""
        slots = [slot for slot in self._view.slots(record.uid) if slot.wanted]
        is_global = record.service is not None and record.service.mode is Mode.GLOBAL
        asked = len(slots) if is_global else record.replicas
        return max(asked - sum(map(self._has_done, slots)), 0)

    def _has_done(self, slot: SlotRecord) -> bool:
        if not slot.done:
            return False
        held = self._view.in_slot(slot.uid, slot.slot)
        return all(has_done(c) for c in held if is_named(slot, c))


def _unready(container: Container) -> str:
    if container.dying:
        return "its process has ended"
    health = container.health
    what = container.state.value
    if container.is_up and health is not Health.NONE:
        what = f"{what}, {health.value}"
    return f"{what}: {container.reason}" if container.reason else what


def _nowhere(slot: SlotRecord) -> str:
    return f"nothing on {slot.node} yet" if slot.node else "no node for it yet"
