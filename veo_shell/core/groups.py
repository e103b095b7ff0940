"""Where a group runs: all of its services on one node, its home.

A group that runs nowhere gets a home that fits the whole of it, with all instances of
all its services; it waits as a whole where none does. A service that comes to a group
joins it at home. What does not fit there goes where the whole group does, and is
followed by the rest. Which of several nodes with parts of a group is its home, as after
a partition, every node can tell from its view: there the rest is brought.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

import attrs

from veo_shell.core.model import (
    Candidate,
    GroupPolicy,
    GroupRole,
    Service,
    ServiceRecord,
    SlotRecord,
    Status,
)
from veo_shell.core.placement import (
    NodeState,
    homes,
    lack,
    rank,
    stranger,
    taken,
    unfit,
)
from veo_shell.core.ports import HostPort, fixed_ports
from veo_shell.core.situation import Situation
from veo_shell.core.view import View


def ends_all(service: Service) -> bool:
    """Tell whether the end of an instance of a service is that of its whole group."""
    is_master = service.group_role is GroupRole.MASTER
    return service.group is not None and (
        service.group_policy is GroupPolicy.ONE_KILLS_ALL
        or (service.group_policy is GroupPolicy.MASTER_KILLS_ALL and is_master)
    )


def end_with(view: View, service: Service) -> list[ServiceRecord]:
    """Return which services end with one, as all of its group does."""
    return view.group(service.group or "") if ends_all(service) else []


@attrs.frozen
class Share:
    """A service of a group, and how many instances of it the group has."""

    service: Service
    count: int


class Groups:
    """Ranks the nodes for what is in a group."""

    def __init__(self, situation: Situation) -> None:
        self._situation = situation
        self._view = situation.view
        self.foreseen: dict[str, str] = {}
        """Homes of groups of which nothing is in the table yet."""

    def home(self, group: str, states: Collection[NodeState]) -> str | None:
        """Return the node where a group is, or is to be brought; None if nowhere.

        Of several the one that fits the whole; then that where most of it is ready.
        """
        ready, placed = Counter[str](), Counter[str]()
        for slot in self._slots(group):
            held = self._situation.claimants(slot.uid, slot.slot)
            stay = {c.node for c in held if c.is_ready and c.name not in slot.ends}
            ready.update(stay)
            if slot.node is not None and not self._situation.is_lost(slot.node):
                placed[slot.node] += 1
        nodes = sorted({*ready, *placed})
        if len(nodes) < 2:
            return nodes[0] if nodes else self.foreseen.get(group)
        refused = refusals_of(self._shares(group), self._cleared(group, states))
        return max(nodes, key=lambda n: (refused.get(n) == "", ready[n], placed[n]))

    def rank(
        self,
        service: Service,
        uid: str,
        states: Collection[NodeState],
        now: Collection[NodeState],
    ) -> list[Candidate]:
        """Rank all nodes for one more instance of a service that is in a group.

        Only home fits, or where that does not, the nodes that fit the whole group.
        `states` are the nodes as that instance finds them, `now` as they are now.
        """
        group = service.group or ""
        home = self.home(group, now)
        ranked = rank(service, uid, states)
        at_home = next((c for c in ranked if c.node == home), None)
        status = self._situation.verdicts.status
        if at_home and (at_home.fits or status(at_home.node) is not Status.ALIVE):
            what = f"its group {group} runs on {home}"
            return _refused(ranked, {c.node: what for c in ranked if c.node != home})
        shares, cleared = self._shares(group, service, uid), self._cleared(group, now)
        refused = refusals_of(shares, cleared)
        if at_home:
            refused[at_home.node] = at_home.reason
        return _refused(rank(_together(shares), uid, cleared), refused)

    def _slots(self, group: str) -> list[SlotRecord]:
        records = self._view.group(group)
        return [s for r in records for s in self._view.slots(r.uid) if s.wanted]

    def _shares(
        self, group: str, service: Service | None = None, uid: str = ""
    ) -> list[Share]:
        """Return what is in a group, with this service first, which may be new."""
        shares = []
        for record in self._view.group(group):
            assert record.service is not None
            wanted = sum(slot.wanted for slot in self._view.slots(record.uid))
            shares.append(Share(record.service, max(record.replicas, wanted)))
            if service and record.uid == uid:
                *shares, own = shares
                shares.insert(0, attrs.evolve(own, service=service))
                service = None
        return [Share(service, service.replicas), *shares] if service else shares

    def _cleared(self, group: str, states: Collection[NodeState]) -> list[NodeState]:
        """Return the nodes as they would be without what they have of a group."""
        accounts = {state.node: state.account.apart() for state in states}
        for slot in self._slots(group):
            service = self._view.spec(slot.uid)
            if slot.node in accounts and service is not None:
                accounts[slot.node].add(service, -1)
        return [attrs.evolve(s, account=accounts[s.node]) for s in states]


def refusals_of(shares: list[Share], states: list[NodeState]) -> dict[str, str]:
    """Return why each node does not fit a whole group, "" where it does."""
    data = [(share, homes(share.service, states)) for share in shares]
    whole, clash = _together(shares), _clash(shares)
    refused = {}
    for state in states:
        told = [
            f"{share.service.name}: {why}"
            for share, at_home in data
            if (why := _why_not(share, state, at_home))
        ]
        if short := lack(whole, state):
            told.append(f"its whole group {whole.group} {short}")
        refused[state.node] = next(iter(told), clash)
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


def _clash(shares: list[Share]) -> str:
    """Return which port of the host a group wants twice, "" if none."""
    wanted = Counter[HostPort]()
    for share in shares:
        for port in fixed_ports(share.service):
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
