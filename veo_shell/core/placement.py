"""Where an instance runs: which nodes fit, in which order, and why others do not."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable, Iterable, Mapping

import attrs

from veo_shell.core.holdings import canonical, volumes_of
from veo_shell.core.ledger import NANO, Account
from veo_shell.core.model import (
    Candidate,
    Constraint,
    Placement,
    Resources,
    Service,
    Status,
)
from veo_shell.core.ports import HostPort, fixed_ports


@attrs.frozen(kw_only=True)
class NodeState:
    """A node as placement sees it. `account` is what is placed there, at any time."""

    node: str
    status: Status
    role: str
    resources: Resources
    account: Account
    labels: Mapping[str, str] = attrs.field(factory=dict)
    engine_lost: str = ""
    drained: bool = False
    images: frozenset[str] = frozenset()
    volumes: frozenset[str] = frozenset()
    lan_networks: frozenset[str] = frozenset()

    def instances(self, service: Service) -> int:
        """Return how many of a service are placed there."""
        return self.account.instances.get(service.name, 0)

    def share(self, service: Service) -> float:
        """Return the largest share reserved of anything, with one more instance.

        Not by `max`: with 100 nodes this is half of what a decision costs.
        """
        has, held = self.resources, self.account
        share = (held.nano_cpus / NANO + service.cpus) / (has.cpu.count or 1e-9)
        memory_bytes = held.memory_bytes + service.memory_bytes
        memory = memory_bytes / (has.memory.total_bytes or 1)
        if memory > share:
            share = memory
        disk_bytes = held.disk_bytes + service.disk_bytes
        disk = disk_bytes / (has.disk.total_bytes or 1)
        return disk if disk > share else share


class _Weights(dict[str, tuple[bytes, str]]):
    """What nodes weigh for one service, worked out as it is asked for."""

    def __init__(self, uid: str) -> None:
        super().__init__()
        self._prefix = hashlib.blake2b(f"{uid} ".encode(), digest_size=8)

    def __missing__(self, node: str) -> tuple[bytes, str]:
        whole = self._prefix.copy()
        whole.update(node.encode())
        self[node] = whole.digest(), node
        return self[node]


@functools.lru_cache(maxsize=8)
def rendezvous(uid: str) -> Callable[[str], tuple[bytes, str]]:
    """Return what weighs a node for a service; the highest wins, on every node.

    Kept for the last few: who decides about a service places its instances, too.
    """
    return _Weights(uid).__getitem__


def coordinator(uid: str, alive: Iterable[str]) -> str:
    """Return the one node that decides about a service (rendezvous hashing)."""
    return max(alive, key=rendezvous(uid))


def rank(service: Service, uid: str, nodes: Iterable[NodeState]) -> list[Candidate]:
    """Return every node: those that fit, best first, then the others with the reason.

    Fewest instances of the service first, then most room left by the dominant share,
    then those that have the image, then rendezvous order; ties do not depend on the
    order of `nodes`. To pack, least room left comes first of all.
    """
    states = list(nodes)
    weight, image = rendezvous(uid), canonical(service.image)
    states.sort(key=lambda state: weight(state.node), reverse=True)
    states.sort(key=lambda state: (*_order(service, state), image not in state.images))
    at_home = homes(service, states)
    ranked = [
        Candidate(
            node=state.node,
            fits=why is None,
            instances=state.instances(service),
            share=state.share(service),
            has_image=image in state.images,
            reason=why or "",
        )
        for state in states
        for why in [refusal(service, state, at_home)]
    ]
    refused = (c for c in ranked if not c.fits)
    fitting = (c for c in ranked if c.fits)
    return [*fitting, *sorted(refused, key=lambda candidate: candidate.node)]


def _order(service: Service, state: NodeState) -> tuple[int, float]:
    if service.placement is Placement.BINPACK:
        return 0, -state.share(service)
    return state.instances(service), state.share(service)


def homes(service: Service, nodes: Iterable[NodeState]) -> dict[str, str]:
    """Return the nodes that have data for one more instance, with its volume's name.

    Of named volumes that none of the service's instances uses there. Where there are
    any it runs nowhere else; where there are none it begins with new volumes.
    """
    bound = volumes_of(service)
    if not bound:
        return {}
    return {
        state.node: min(found)
        for state in nodes
        if (found := bound & state.volumes) and not state.instances(service)
    }


def best(service: Service, uid: str, nodes: Iterable[NodeState]) -> str | None:
    """Return the node that `rank` has first, None if no node fits.

    `nodes` are such that `unfit` has nothing against. Made for speed: a plain pass.
    """
    packs = service.placement is Placement.BINPACK
    ports = fixed_ports(service)
    is_counted = bool(ports) or service.max_per_node > 0
    fewest, least = math.inf, math.inf
    tied: list[NodeState] = []
    for state in nodes:
        instances = 0 if packs else state.account.instances.get(service.name, 0)
        if instances > fewest:
            continue
        share = -state.share(service) if packs else state.share(service)
        if instances == fewest and share > least:
            continue
        if is_counted and taken(service, ports, state) is not None:
            continue
        if lack(service, state) is not None:
            continue
        if instances == fewest and share == least:
            tied.append(state)
        else:
            fewest, least, tied = instances, share, [state]
    if not tied:
        return None
    image = canonical(service.image)
    able = [state.node for state in tied if image in state.images]
    return max(able or [state.node for state in tied], key=rendezvous(uid))


def refusal(
    service: Service, state: NodeState, at_home: Mapping[str, str]
) -> str | None:
    """Return why the node may not run one more of the service, None if it may.

    `at_home` are the nodes that have its data.
    """
    return (
        unfit(service, state)
        or stranger(state, at_home)
        or taken(service, fixed_ports(service), state)
        or lack(service, state)
    )


def unfit(service: Service, state: NodeState) -> str | None:
    """Return why the node may not run the service, however much room it has."""
    if state.status is not Status.ALIVE:
        return f"it is {state.status.value}"
    if state.engine_lost:
        return f"its engine is away: {state.engine_lost}"
    if state.drained:
        return "it is drained"
    return misfit(service, state)


def misfit(service: Service, state: NodeState) -> str | None:
    """Return what of a node is not as the service asks, however the node is."""
    if service.hosts and state.node not in service.hosts:
        return f"not one of the hosts {', '.join(service.hosts)}"
    if service.roles and state.role not in service.roles:
        wanted = " or ".join(service.roles)
        return f"its role is {state.role or 'not set'}, not {wanted}"
    for asked in service.constraints:
        if why := _breach(asked, state):
            return why
    return None


def _breach(asked: Constraint, state: NodeState) -> str | None:
    """Return why a node is not what a constraint asks for, None if it is."""
    match asked.attribute:
        case "node":
            what, has = "it", state.node
        case "host":
            what, has = "its host", state.node.partition("@")[2]
        case "role":
            what, has = "its role", state.role
        case name:
            what, has = f"its {name}", state.labels.get(name, "")
    if (has == asked.value) is asked.equal:
        return None
    if not asked.equal:
        return f"{what} is {has} ({asked.text})"
    if not has and what != "its role":
        return f"it has no label {asked.attribute}"
    return f"{what} is {has or 'not set'}, not {asked.value}"


def stranger(state: NodeState, at_home: Mapping[str, str]) -> str | None:
    """Return which data is elsewhere, None if there is none, or it is on the node."""
    if not at_home or state.node in at_home:
        return None
    volumes, nodes = sorted(set(at_home.values())), sorted(at_home)
    what = (
        f"volume {volumes[0]} is"
        if len(volumes) == 1
        else (f"volumes {', '.join(volumes)} are")
    )
    return f"its {what} on {', '.join(nodes)}"


def has_room(service: Service, state: NodeState) -> bool:
    """Tell whether a node has room, and the ports, for one more."""
    is_taken = taken(service, fixed_ports(service), state) is not None
    return not is_taken and lack(service, state) is None


def taken(service: Service, ports: list[HostPort], state: NodeState) -> str | None:
    """Return what runs on a node and leaves no place for one more, None if nothing."""
    if service.max_per_node:
        there = state.instances(service)
        if there >= service.max_per_node:
            return f"it has {there} already (max_per_node: {service.max_per_node})"
    if service.network_mode in state.lan_networks:
        return None
    for port in ports:
        takers = state.account.ports.get(port, ())
        names = {name for name, network in takers if network not in state.lan_networks}
        if names:
            told = ", ".join(sorted(names))
            return f"port {port[0]}/{port[1].value} is taken by {told}"
    return None


def lack(service: Service, state: NodeState) -> str | None:
    has, held = state.resources, state.account
    if service.cpus:
        left = has.cpu.count - held.nano_cpus / NANO
        if service.cpus > left:
            return _too_little("cpus", service.cpus, left, has.cpu.count)
    if service.memory_bytes:
        left = has.memory.total_bytes - held.memory_bytes
        if service.memory_bytes > left:
            what, total = "bytes of memory", has.memory.total_bytes
            return _too_little(what, service.memory_bytes, left, total)
    if service.disk_bytes:
        left = has.disk.total_bytes - held.disk_bytes
        if service.disk_bytes > left:
            what, total = "bytes of disk", has.disk.total_bytes
            return _too_little(what, service.disk_bytes, left, total)
    return None


def _too_little(what: str, wanted: float, left: float, total: float) -> str:
    return f"wants {wanted:.12g} {what}, {max(left, 0):.12g} left of {total:.12g}"
