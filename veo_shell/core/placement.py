"""Where an instance runs: which nodes fit, in which order, and why others do not."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import attrs

from veo_shell.core.model import Candidate, Resources, Room, Service, Status


@attrs.frozen(kw_only=True)
class NodeState:
    """A node as placement sees it.

    `reserved` is what the instances placed there reserve together, `instances` how
    many of them are of the service's name.
    """

    node: str
    status: Status
    role: str
    resources: Resources
    reserved: Room = attrs.field(factory=Room)
    instances: int = 0
    engine_lost: str = ""


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
    fitting.sort(
        key=lambda s: (s.instances, _share(service, s), -rendezvous(uid, s.node))
    )
    refused = sorted((node, why) for node, why in refusals.items() if why is not None)
    return [
        *(Candidate(node=state.node, fits=True) for state in fitting),
        *(Candidate(node=node, fits=False, reason=why) for node, why in refused),
    ]


def refusal(service: Service, state: NodeState) -> str | None:
    """Return why the node may not run the service, None if it may."""
    if state.status is not Status.ALIVE:
        return f"it is {state.status.value}"
    if state.engine_lost:
        return f"its engine is away: {state.engine_lost}"
    if service.hosts and state.node not in service.hosts:
        return f"not one of the hosts {', '.join(service.hosts)}"
    if service.roles and state.role not in service.roles:
        wanted = " or ".join(service.roles)
        return f"its role is {state.role or 'not set'}, not {wanted}"
    return _lack(service, state)


def _lack(service: Service, state: NodeState) -> str | None:
    rows: list[tuple[str, float, float, float]] = [
        ("cpus", service.cpus, state.resources.cpu.count, state.reserved.cpus),
        (
            "bytes of memory",
            service.memory_bytes,
            state.resources.memory.total_bytes,
            state.reserved.memory_bytes,
        ),
        (
            "bytes of disk",
            service.disk_bytes,
            state.resources.disk.total_bytes,
            state.reserved.disk_bytes,
        ),
    ]
    for what, wanted, total, reserved in rows:
        if wanted and wanted > total - reserved:
            left = max(total - reserved, 0)
            return f"wants {wanted:.12g} {what}, {left:.12g} left of {total:.12g}"
    return None


def _share(service: Service, state: NodeState) -> float:
    """Return the largest share of one resource that would be reserved."""
    has, held = state.resources, state.reserved
    return max(
        (held.cpus + service.cpus) / max(has.cpu.count, 1e-9),
        (held.memory_bytes + service.memory_bytes) / max(has.memory.total_bytes, 1),
        (held.disk_bytes + service.disk_bytes) / max(has.disk.total_bytes, 1),
    )
