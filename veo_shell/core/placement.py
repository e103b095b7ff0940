"""Where an instance runs: which nodes fit, in which order, and why others do not."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import attrs

from veo_shell.core.ledger import NANO, Account
from veo_shell.core.model import Candidate, Resources, Service, Status


@attrs.frozen(kw_only=True)
class NodeState:
    """A node as placement sees it. `account` is what is placed there, at any time."""

    node: str
    status: Status
    role: str
    resources: Resources
    account: Account
    engine_lost: str = ""
    drained: bool = False


def rendezvous(uid: str, node: str) -> int:
    """Return the weight of a node for a service; the highest wins, on every node."""
    digest = hashlib.blake2b(f"{uid} {node}".encode(), digest_size=8).digest()
    return int.from_bytes(digest)


def coordinator(uid: str, alive: Iterable[str]) -> str:
    """Return the one node that decides about a service (rendezvous hashing)."""
    return max(alive, key=lambda node: (rendezvous(uid, node), node))


def rank(service: Service, uid: str, nodes: Iterable[NodeState]) -> list[Candidate]:
    """Return every node: those that fit, best first, then the others with the reason.

    Fewest instances of the service first, then most room left by the dominant share,
    then rendezvous order; ties do not depend on the order of `nodes`.
    """
    states = list(nodes)
    refusals = {state.node: refusal(service, state) for state in states}
    fitting = [state for state in states if refusals[state.node] is None]
    fitting.sort(key=lambda s: (*_load(service, s), -rendezvous(uid, s.node)))
    refused = sorted((node, why) for node, why in refusals.items() if why is not None)
    return [
        *(Candidate(node=state.node, fits=True) for state in fitting),
        *(Candidate(node=node, fits=False, reason=why) for node, why in refused),
    ]


def best(service: Service, uid: str, nodes: Iterable[NodeState]) -> str | None:
    """Return the node that `rank` has first, None if no node fits.

    `nodes` are such that `unfit` has nothing against. Made for speed: a plain pass.
    """
    least: tuple[int, float] | None = None
    tied: list[str] = []
    for state in nodes:
        load = _load(service, state)
        if (least is not None and load > least) or _lack(service, state) is not None:
            continue
        if load == least:
            tied.append(state.node)
        else:
            least, tied = load, [state.node]
    return max(tied, key=lambda node: rendezvous(uid, node)) if tied else None


def refusal(service: Service, state: NodeState) -> str | None:
    """Return why the node may not run the service, None if it may."""
    return unfit(service, state) or _lack(service, state)


def unfit(service: Service, state: NodeState) -> str | None:
    """Return why the node may not run the service, however much room it has."""
    if state.status is not Status.ALIVE:
        return f"it is {state.status.value}"
    if state.engine_lost:
        return f"its engine is away: {state.engine_lost}"
    if state.drained:
        return "it is drained"
    if service.hosts and state.node not in service.hosts:
        return f"not one of the hosts {', '.join(service.hosts)}"
    if service.roles and state.role not in service.roles:
        wanted = " or ".join(service.roles)
        return f"its role is {state.role or 'not set'}, not {wanted}"
    return None


def _lack(service: Service, state: NodeState) -> str | None:
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


def _load(service: Service, state: NodeState) -> tuple[int, float]:
    """Return what less is better of: instances, then the largest share reserved."""
    has, held = state.resources, state.account
    share = (held.nano_cpus / NANO + service.cpus) / (has.cpu.count or 1e-9)
    memory = (held.memory_bytes + service.memory_bytes) / (has.memory.total_bytes or 1)
    disk = (held.disk_bytes + service.disk_bytes) / (has.disk.total_bytes or 1)
    # Not by `max`: this is most of what a decision costs.
    share = memory if memory > share else share
    return held.instances.get(service.name, 0), disk if disk > share else share
