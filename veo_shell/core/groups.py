"""Where a group runs: all of its services on one node, its home.

A group that runs nowhere gets a home that fits the whole of it, with all instances of
all its services; it waits as a whole where none does. A service that comes to a group
joins it at home. What does not fit there goes where the whole group does, and is
followed by the rest. Which of several nodes with parts of a group is its home, as after
a partition, every node can tell from its view: there the rest is brought.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping

import attrs

from veo_shell.core.ledger import Account
from veo_shell.core.model import (
    Candidate,
    Restart,
    Service,
    SlotRecord,
)
from veo_shell.core.placement import (
    NodeState,
    homes,
    lack,
    rank,
    refusal,
    stranger,
    taken,
    unfit,
)
from veo_shell.core.ports import HostPort, fixed_ports
from veo_shell.core.situation import Situation
from veo_shell.core.turns import has_ended


@attrs.frozen
class Share:
    """A service of a group, and how many instances of it the group has."""

    service: Service
    count: int
    uid: str = ""


class Groups:
    """Ranks the nodes for what is in a group."""

    def __init__(self, situation: Situation) -> None:
        self._situation = situation
        self._view = situation.view
        self._homes: dict[tuple[str, frozenset[str]], str | None] = {}
        self._seen: tuple[int, int, float] = (-1, -1, 0.0)
        self.foreseen: dict[str, str] = {}
        """Homes of groups of which nothing is in the table yet."""
        self.coming: dict[str, dict[str, Share]] = {}
        """What is to be in a group, by uid, and is not in the table yet."""

    @contextlib.contextmanager
    def expecting(
        self, group: str | None, beside: Iterable[tuple[str, Service]]
    ) -> Iterator[None]:
        """Have what is to be in a group soon counted as in it, for a while."""
        soon = {uid: Share(spec, spec.replicas, uid) for uid, spec in beside}
        if not (group and soon):
            yield
            return
        self.coming[group] = soon
        self._homes.clear()
        try:
            yield
        finally:
            del self.coming[group]
            self._homes.clear()

    def home(
        self,
        group: str,
        states: Collection[NodeState],
        without: Collection[str] = (),
    ) -> str | None:
        """Return the node where a group is, or is to be brought; None if nowhere.

        Of several the one that fits the whole; then that where most of it is ready.
        None of those `without` which it is to be.
        """
        verdicts, now = self._situation.verdicts.revision, self._situation.now
        seen = self._view.digest, verdicts, now
        if seen != self._seen:
            self._seen, self._homes = seen, {}
        key = group, frozenset(without)
        if key not in self._homes:
            self._homes[key] = self._home(group, states, without)
        return self._homes[key] or self.foreseen.get(group)

    def _home(
        self, group: str, states: Collection[NodeState], without: Collection[str]
    ) -> str | None:
        ready, placed = Counter[str](), Counter[str]()
        for slot, _ in self._slots(group):
            if self._is_over(slot):
                continue
            held = self._situation.claimants(slot.uid, slot.slot)
            stay = {c.node for c in held if c.is_ready and c.name not in slot.ends}
            ready.update(stay)
            if slot.node is not None and not self._situation.is_lost(slot.node):
                placed[slot.node] += 1
        nodes = sorted({*ready, *placed}.difference(without))
        if len(nodes) < 2:
            return nodes[0] if nodes else None
        refused = refusals_of(self._shares(group), self._cleared(group, states))
        return max(nodes, key=lambda n: (refused.get(n) == "", ready[n], placed[n]))

    def _is_over(self, slot: SlotRecord) -> bool:
        """Tell whether what filled a slot has ended for good: it is nowhere."""
        named = self._situation.named(slot)
        return slot.done if named is None else has_ended(named)

    def best(
        self,
        service: Service,
        uid: str,
        states: Collection[NodeState],
        without: Collection[str] = (),
    ) -> str | None:
        """Return the node for one more of a service in a group, None if none fits."""
        home = self.home(service.group or "", states, without)
        at_home = [state for state in states if state.node == home]
        if (
            at_home
            and refusal(service, at_home[0], homes(service, states)) is None
            and self._is_room_for_rest(service, uid, at_home[0].node, states)
        ):
            return at_home[0].node
        ranked = self.rank(service, uid, states, states, without)
        return next((c.node for c in ranked if c.fits and c.node not in without), None)

    def rank(
        self,
        service: Service,
        uid: str,
        states: Collection[NodeState],
        now: Collection[NodeState],
        without: Collection[str] = (),
    ) -> list[Candidate]:
        """Rank all nodes for one more instance of a service that is in a group.

        Only home fits, or where that does not, the nodes that fit the whole group.
        `states` are the nodes as that instance finds them, `now` as they are now;
        `without`: nodes that the group is not to be on.
        """
        group = service.group or ""
        home = self.home(group, now, without)
        ranked = rank(service, uid, states)
        at_home = next((c for c in ranked if c.node == home), None)
        fits = (
            at_home
            and at_home.fits
            and self._is_room_for_rest(service, uid, at_home.node, now)
        )
        if at_home and (fits or self._stays(group, at_home.node)):
            what = f"its group {group} runs on {home}"
            return _refused(ranked, {c.node: what for c in ranked if c.node != home})
        is_more = states is now
        shares = self._shares(group, Share(service, service.replicas, uid), is_more)
        cleared = self._cleared(group, now)
        refused = refusals_of(shares, cleared)
        if at_home and not at_home.fits:
            refused[at_home.node] = at_home.reason
        return _refused(rank(_together(shares), uid, cleared), refused)

    def _is_room_for_rest(
        self, service: Service, uid: str, home: str, now: Collection[NodeState]
    ) -> bool:
        """Tell whether what is to be in a group soon fits at its home, too.

        Not asked again of a home that was found for all of it.
        """
        group = service.group or ""
        if not self.coming.get(group) or group in self.foreseen:
            return True
        shares = self._shares(group, Share(service, service.replicas, uid), True)
        return not refusals_of(shares, self._cleared(group, now)).get(home)

    def _stays(self, group: str, home: str) -> bool:
        """Tell whether a group cannot go from its home just now: a job runs there."""
        return not self._situation.is_reached(home) or any(
            slot.node == home
            and spec.restart is Restart.NEVER
            and not (self._is_over(slot) or self._situation.is_movable(slot, spec))
            for slot, spec in self._slots(group)
        )

    def _slots(self, group: str) -> Iterator[tuple[SlotRecord, Service]]:
        """Yield the slots of a group, but those filled as before it was in that."""
        for record in self._view.group(group):
            for slot in self._view.slots(record.uid):
                spec = record.spec_of(slot.spec_id)
                if slot.wanted and spec is not None and spec.group == group:
                    yield slot, spec

    def _shares(
        self, group: str, asked: Share | None = None, is_more: bool = False
    ) -> list[Share]:
        """Return what is in a group, first what is asked for, which may be new.

        `is_more`: of that there is to be one more than is placed.
        """
        shares = dict(self.coming.get(group, {}))
        for record in self._view.group(group):
            assert record.service is not None
            wanted = [slot for slot in self._view.slots(record.uid) if slot.wanted]
            known = shares.get(record.uid)
            count = max(record.replicas, len(wanted), known.count if known else 0)
            spec = known.service if known else record.service
            if asked is not None and asked.uid == record.uid:
                spec = asked.service
                count = max(count, self._placed(wanted) + is_more)
            shares[record.uid] = Share(spec, count, record.uid)
        if asked is None:
            return list(shares.values())
        first = shares.pop(asked.uid, asked)
        return [attrs.evolve(first, service=asked.service), *shares.values()]

    def _placed(self, slots: list[SlotRecord]) -> int:
        is_lost = self._situation.is_lost
        return sum(s.node is not None and not is_lost(s.node) for s in slots)

    def _cleared(
        self, group: str, states: Collection[NodeState]
    ) -> Collection[NodeState]:
        """Return the nodes as they would be without what they have of a group."""
        accounts: dict[str | None, Account] = {}
        held = {state.node: state.account for state in states}
        for record in self._view.group(group):
            assert record.service is not None
            for slot in self._view.slots(record.uid):
                if slot.wanted and slot.node in held:
                    if slot.node not in accounts:
                        accounts[slot.node] = held[slot.node].apart()
                    accounts[slot.node].add(record.service, -1)
        if not accounts:
            return states
        return [
            attrs.evolve(s, account=accounts[s.node]) if s.node in accounts else s
            for s in states
        ]


def refusals_of(shares: list[Share], states: Collection[NodeState]) -> dict[str, str]:
    """Return why each node does not fit a whole group, "" where it does."""
    data = [(share, homes(share.service, states)) for share in shares]
    whole = _together(shares)
    refused = {}
    for state in states:
        told = [
            f"{share.service.name}: {why}"
            for share, at_home in data
            if (why := _why_not(share, state, at_home))
        ]
        if short := lack(whole, state):
            told.append(f"its whole group {whole.group} {short}")
        refused[state.node] = next(iter(told), "") or _clash(shares, state)
    return refused


def _why_not(share: Share, state: NodeState, at_home: Mapping[str, str]) -> str | None:
    service = share.service
    if 0 < service.max_per_node < share.count:
        return (
            f"all {share.count} are to be on the node of its group "
            f"(max_per_node: {service.max_per_node})"
        )
    return (
        unfit(service, state)
        or stranger(state, at_home)
        or taken(service, fixed_ports(service), state)
    )


def _clash(shares: list[Share], state: NodeState) -> str:
    """Return which port of a host a group wants twice, "" if none."""
    wanted = Counter[HostPort]()
    for share in shares:
        for port in fixed_ports(share.service, state.lan_networks):
            wanted[port] += share.count
    for (number, protocol), count in wanted.items():
        if count > 1:
            return (
                f"its group wants port {number}/{protocol.value} {count} times, "
                "and runs on one node"
            )
    return ""


def _together(shares: list[Share]) -> Service:
    """Return a service that reserves what a whole group does."""
    return attrs.evolve(
        shares[0].service,
        cpus=sum(s.service.cpus * s.count for s in shares),
        memory_bytes=sum(s.service.memory_bytes * s.count for s in shares),
        disk_bytes=sum(s.service.disk_bytes * s.count for s in shares),
    )


def _refused(ranked: list[Candidate], refused: Mapping[str, str]) -> list[Candidate]:
    """Return the nodes, those that are refused last, with the reason."""
    told = [
        attrs.evolve(c, fits=not why, reason=why)
        for c in ranked
        for why in [refused.get(c.node, c.reason)]
    ]
    return sorted(told, key=lambda c: (not c.fits, "" if c.fits else c.node))
