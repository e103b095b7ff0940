"""Placement: which node, and why not the others."""

from __future__ import annotations

import itertools
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veo_shell.core.model import (
    Cpu,
    Disk,
    Memory,
    Resources,
    Room,
    Service,
    Status,
)
from veo_shell.core.placement import NodeState, coordinator, rank, refusal

WEB = Service(name="web", image="nginx")
GIB = 1 << 30


def state(name: str, **changes: Any) -> NodeState:
    node = NodeState(
        node=name,
        status=Status.ALIVE,
        role="master",
        resources=Resources(
            cpu=Cpu(count=2.0),
            memory=Memory(total_bytes=GIB, available_bytes=GIB),
            disk=Disk(total_bytes=10 * GIB, free_bytes=GIB),
        ),
    )
    return attrs.evolve(node, **changes)


@pytest.mark.parametrize(
    ("service", "node", "reason"),
    [
        (WEB, state("a@a", status=Status.SUSPECT), "it is suspect"),
        (WEB, state("a@a", status=Status.DEAD), "it is dead"),
        (
            attrs.evolve(WEB, hosts=("b@b", "c@c")),
            state("a@a"),
            "not one of the hosts b@b, c@c",
        ),
        (
            attrs.evolve(WEB, roles=("edge", "db")),
            state("a@a"),
            "its role is master, not edge or db",
        ),
        (
            attrs.evolve(WEB, roles=("edge",)),
            state("a@a", role=""),
            "its role is not set, not edge",
        ),
        (
            attrs.evolve(WEB, cpus=1.5),
            state("a@a", reserved=Room(cpus=1.0)),
            "wants 1.5 cpus, 1 left of 2",
        ),
        (
            attrs.evolve(WEB, memory_bytes=2 * GIB),
            state("a@a"),
            "wants 2147483648 bytes of memory, 1073741824 left of 1073741824",
        ),
        (
            attrs.evolve(WEB, disk_bytes=GIB),
            state("a@a", reserved=Room(disk_bytes=10 * GIB)),
            "wants 1073741824 bytes of disk, 0 left of 10737418240",
        ),
    ],
)
def test_a_node_that_does_not_fit_says_why(
    service: Service, node: NodeState, reason: str
) -> None:
    assert refusal(service, node) == reason


def test_both_roles_and_hosts_must_hold() -> None:
    both = attrs.evolve(WEB, roles=("master",), hosts=("a@a",))
    assert refusal(both, state("a@a")) is None
    assert refusal(both, state("a@a", role="edge")) is not None
    assert refusal(both, state("b@b")) is not None


def test_what_is_exactly_left_fits() -> None:
    whole = attrs.evolve(WEB, cpus=2.0, memory_bytes=GIB)
    assert refusal(whole, state("a@a")) is None


def test_fewest_instances_come_first_then_most_room() -> None:
    nodes = [
        state("a@a", instances=1),
        state("b@b", reserved=Room(cpus=1.0)),
        state("c@c", reserved=Room(memory_bytes=GIB // 4)),
        state("d@d", role="edge"),
    ]
    ranked = rank(attrs.evolve(WEB, roles=("master",)), "uid", nodes)
    assert [c.node for c in ranked] == ["c@c", "b@b", "a@a", "d@d"]
    assert [c.fits for c in ranked] == [True, True, True, False]


def test_the_order_of_the_nodes_does_not_matter() -> None:
    nodes = [state(f"{letter}@h") for letter in "abcd"]
    orders = [rank(WEB, "uid", order) for order in itertools.permutations(nodes)]
    assert all(order == orders[0] for order in orders)


@given(st.sets(st.text(min_size=1), min_size=1, max_size=8), st.text())
def test_all_nodes_name_the_same_coordinator(names: set[str], uid: str) -> None:
    chosen = coordinator(uid, sorted(names))
    assert chosen == coordinator(uid, sorted(names, reverse=True))
    others = names - {chosen}
    if others:
        # The loss of any other node does not change who decides.
        assert coordinator(uid, names - {sorted(others)[0]}) == chosen


def test_services_spread_over_coordinators() -> None:
    nodes = ["a@a", "b@b", "c@c"]
    chosen = [coordinator(f"uid{n}", nodes) for n in range(300)]
    assert all(chosen.count(node) > 60 for node in nodes)
