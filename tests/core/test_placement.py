"""Placement: which node, and why not the others."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veo_shell.core.ledger import NANO, Account
from veo_shell.core.model import (
    Cpu,
    Disk,
    Memory,
    Mount,
    MountKind,
    Placement,
    Port,
    Resources,
    Service,
    Status,
    Transport,
)
from veo_shell.core.placement import NodeState, best, coordinator, homes, rank, unfit
from veo_shell.core.ports import HostPort
from veo_shell.core.scalars import constraint

WEB = Service(name="web", image="nginx")
GIB = 1 << 30


def holding(
    cpus: float = 0.0,
    memory_bytes: int = 0,
    disk_bytes: int = 0,
    instances: int = 0,
    ports: tuple[HostPort, ...] = (),
) -> Account:
    """Return the account of a node that has so much placed on it."""
    return Account(
        ports=dict.fromkeys(ports, (("shop", None), ("shop", None), ("db", "lan"))),
        nano_cpus=round(cpus * NANO),
        memory_bytes=memory_bytes,
        disk_bytes=disk_bytes,
        instances=Counter({"web": instances}),
    )


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
        account=Account(),
    )
    return attrs.evolve(node, **changes)


def asking(*constraints: str) -> Service:
    return attrs.evolve(WEB, constraints=tuple(map(constraint, constraints)))


FIXED = Port(name="http", container_port=8080, host_port=80)
HTTP = 80, Transport.TCP
LAN = frozenset({"lan"})
DATA = Mount(kind=MountKind.VOLUME, source="data", target="/data")
LOGS = attrs.evolve(DATA, source="logs", target="/logs")


def refusal(service: Service, node: NodeState, uid: str = "uid") -> str | None:
    """Return why the only node there is does not fit."""
    [candidate] = rank(service, uid, [node])
    return None if candidate.fits else candidate.reason


LABELLED = state("a@a", labels={"disk": "hdd", "rack": "1"})


@pytest.mark.parametrize(
    ("service", "node", "reason"),
    [
        (WEB, state("a@a", status=Status.SUSPECT), "it is suspect"),
        (WEB, state("a@a", status=Status.DEAD), "it is dead"),
        (WEB, state("a@a", engine_lost="gone"), "its engine is away: gone"),
        (WEB, state("a@a", drained=True), "it is drained"),
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
        (asking("node == b@b"), state("a@a"), "it is a@a, not b@b"),
        (asking("node != a@a"), state("a@a"), "it is a@a (node != a@a)"),
        (asking("host == b"), state("a@a"), "its host is a, not b"),
        (asking("role != master"), state("a@a"), "its role is master (role != master)"),
        (
            asking("role == edge"),
            state("a@a", role=""),
            "its role is not set, not edge",
        ),
        (asking("disk == ssd"), state("a@a"), "it has no label disk"),
        (asking("rack == 1", "disk == ssd"), LABELLED, "its disk is hdd, not ssd"),
        (asking("disk != hdd"), LABELLED, "its disk is hdd (disk != hdd)"),
        (
            attrs.evolve(WEB, max_per_node=2),
            state("a@a", account=holding(instances=2)),
            "it has 2 already (max_per_node: 2)",
        ),
        (
            attrs.evolve(WEB, ports=(FIXED,)),
            state("a@a", account=holding(ports=(HTTP,))),
            "port 80/tcp is taken by db, shop",
        ),
        (
            attrs.evolve(WEB, ports=(FIXED,)),
            state("a@a", account=holding(ports=(HTTP,)), lan_networks=LAN),
            "port 80/tcp is taken by shop",
        ),
        (
            attrs.evolve(WEB, ports=(FIXED,), network_mode="lan"),
            state("a@a", account=holding(ports=(HTTP,)), lan_networks={"other"}),
            "port 80/tcp is taken by db, shop",
        ),
        (
            attrs.evolve(WEB, ports=(FIXED,), network_mode="lan", max_per_node=1),
            state("a@a", account=holding(instances=1), lan_networks=LAN),
            "it has 1 already (max_per_node: 1)",
        ),
        (
            attrs.evolve(WEB, cpus=1.5),
            state("a@a", account=holding(cpus=1.0)),
            "wants 1.5 cpus, 1 left of 2",
        ),
        (
            attrs.evolve(WEB, memory_bytes=2 * GIB),
            state("a@a"),
            "wants 2147483648 bytes of memory, 1073741824 left of 1073741824",
        ),
        (
            attrs.evolve(WEB, disk_bytes=GIB),
            state("a@a", account=holding(disk_bytes=10 * GIB)),
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


def test_what_a_node_is_not_it_may_be_asked_not_to_be() -> None:
    """It has no role, and no label of that name."""
    service = asking("role != edge", "disk != ssd", "node != b@b", "host == a")
    assert refusal(service, state("a@a", role="")) is None


def test_what_may_be_once_more_on_a_node_fits() -> None:
    there = state("a@a", account=holding(instances=1, ports=((80, Transport.UDP),)))
    service = attrs.evolve(WEB, max_per_node=2, ports=(FIXED,))
    assert refusal(service, there) is None


def test_what_is_exactly_left_fits() -> None:
    whole = attrs.evolve(WEB, cpus=2.0, memory_bytes=GIB)
    assert refusal(whole, state("a@a")) is None


def test_fewest_instances_come_first_then_most_room() -> None:
    nodes = [
        state("a@a", account=holding(instances=1)),
        state("b@b", account=holding(cpus=1.0)),
        state("c@c", account=holding(memory_bytes=GIB // 4)),
        state("d@d", role="edge"),
    ]
    ranked = rank(attrs.evolve(WEB, roles=("master",)), "uid", nodes)
    assert [c.node for c in ranked] == ["c@c", "b@b", "a@a", "d@d"]
    assert [c.fits for c in ranked] == [True, True, True, False]


def test_to_pack_is_to_take_the_fullest_that_fits() -> None:
    packed = attrs.evolve(WEB, placement=Placement.BINPACK, cpus=0.5)
    nodes = [
        state("a@a", account=holding(cpus=2.0)),
        state("b@b", account=holding(cpus=0.5)),
        state("c@c", account=holding(memory_bytes=GIB // 2 + 1, instances=3)),
        state("d@d"),
    ]
    ranked = rank(packed, "uid", nodes)
    assert [c.node for c in ranked] == ["c@c", "b@b", "d@d", "a@a"]
    assert [c.fits for c in ranked] == [True, True, True, False]


def test_of_equal_nodes_one_that_has_the_image_comes_first() -> None:
    has = frozenset({"nginx:latest"})
    for able in "abc":
        nodes = [state(f"{n}@h", images=has if n == able else ()) for n in "abc"]
        first, *_ = ranked = rank(WEB, "uid", nodes)
        assert (first.node, [c.has_image for c in ranked]) == (
            f"{able}@h",
            [True, False, False],
        )
        assert best(WEB, "uid", nodes) == first.node
    emptier = state("d@h", account=holding(cpus=0.0))
    full = [state("a@h", images=has, account=holding(cpus=0.1)), emptier]
    assert rank(WEB, "uid", full)[0].node == "d@h"


def test_what_is_known_of_a_node_is_told_whether_it_fits_or_not() -> None:
    held = holding(cpus=1.0, instances=2)
    nodes = [state("a@a", account=held), state("b@b", status=Status.DEAD, account=held)]
    first, second = rank(attrs.evolve(WEB, cpus=0.5), "uid", nodes)
    assert (first.instances, first.share, first.has_image) == (2, 0.75, False)
    assert second == attrs.evolve(first, node="b@b", fits=False, reason="it is dead")


BOUND = attrs.evolve(WEB, mounts=(DATA, LOGS))


def test_where_there_is_data_for_an_instance_it_runs_there_or_nowhere() -> None:
    nodes = [
        state("a@a"),
        state("b@b", volumes=frozenset({"data"}), account=holding(memory_bytes=GIB)),
        state("c@c", volumes=frozenset({"logs"}), status=Status.DEAD),
    ]
    ranked = rank(BOUND, "uid", nodes)
    assert [(c.node, c.reason) for c in ranked] == [
        ("b@b", ""),
        ("a@a", "its volumes data, logs are on b@b, c@c"),
        ("c@c", "it is dead"),
    ]
    assert rank(attrs.evolve(BOUND, sticky=False), "uid", nodes)[0].node == "a@a"


def test_data_that_another_instance_uses_keeps_none_from_beginning_elsewhere() -> None:
    used = state("a@a", volumes=frozenset({"data"}), account=holding(instances=1))
    assert [c.node for c in rank(BOUND, "uid", [used, state("b@b")])] == ["b@b", "a@a"]
    another = attrs.evolve(BOUND, name="another")
    of_another = rank(another, "another", [used, state("b@b")])
    assert [c.fits for c in of_another] == [True, False]


def test_the_order_of_the_nodes_does_not_matter() -> None:
    nodes = [state(f"{letter}@h") for letter in "abcd"]
    orders = [rank(WEB, "uid", order) for order in itertools.permutations(nodes)]
    assert all(order == orders[0] for order in orders)


def test_what_a_node_has_none_of_it_has_no_room_for() -> None:
    """Of a host that tells nothing of itself: no division by zero."""
    nothing = Resources(
        cpu=Cpu(count=0.0),
        memory=Memory(total_bytes=0, available_bytes=0),
        disk=Disk(total_bytes=0, free_bytes=0),
    )
    nodes = [state("a@a", resources=nothing)]
    assert [c.fits for c in rank(WEB, "uid", nodes)] == [True]
    greedy = attrs.evolve(WEB, cpus=0.5)
    assert [c.fits for c in rank(greedy, "uid", nodes)] == [False]


def test_with_an_address_of_its_own_it_needs_no_port_of_its_node() -> None:
    taken = state("a@a", account=holding(ports=(HTTP,)), lan_networks=LAN)
    on_lan = attrs.evolve(WEB, ports=(FIXED,), network_mode="lan")
    assert refusal(on_lan, taken) is None
    assert best(on_lan, "uid", [taken]) == "a@a"
    beside = Account(ports={HTTP: (("db", "lan"),)})
    free = state("a@a", account=beside, lan_networks=LAN)
    assert refusal(attrs.evolve(WEB, ports=(FIXED,)), free) is None


_states = st.builds(
    state,
    st.sampled_from(["a@a", "b@b", "c@c", "d@d", "e@e"]),
    status=st.sampled_from([Status.ALIVE, Status.ALIVE, Status.DEAD]),
    role=st.sampled_from(["master", "edge"]),
    drained=st.booleans(),
    images=st.sampled_from([frozenset(), frozenset({"i:latest"})]),
    volumes=st.sampled_from([frozenset(), frozenset({"data"}), frozenset({"logs"})]),
    lan_networks=st.sampled_from([frozenset(), LAN]),
    account=st.builds(
        holding,
        st.sampled_from([0.0, 0.5, 2.0]),
        st.sampled_from([0, GIB // 2, GIB]),
        st.sampled_from([0, GIB]),
        st.integers(0, 2),
        st.sampled_from([(), (HTTP,)]),
    ),
)
_services = st.builds(
    Service,
    name=st.sampled_from(["web", "other"]),
    image=st.just("i"),
    roles=st.sampled_from([(), ("master",)]),
    constraints=st.sampled_from([(), (constraint("node != a@a"),)]),
    placement=st.sampled_from(Placement),
    mounts=st.sampled_from([(), (DATA,), (DATA, LOGS)]),
    sticky=st.booleans(),
    max_per_node=st.integers(0, 2),
    ports=st.sampled_from([(), (FIXED,)]),
    network_mode=st.sampled_from([None, "lan"]),
    cpus=st.sampled_from([0.0, 1.0]),
    memory_bytes=st.sampled_from([0, GIB // 2]),
    disk_bytes=st.sampled_from([0, 9 * GIB, 10 * GIB]),
)


@given(
    _services,
    st.sampled_from(["uid", "u2"]) | st.text(),
    st.lists(_states, unique_by=lambda s: s.node),
)
def test_the_quick_way_finds_what_ranking_puts_first(
    service: Service, uid: str, states: list[NodeState]
) -> None:
    fitting = [c.node for c in rank(service, uid, states) if c.fits]
    able = [state for state in states if unfit(service, state) is None]
    if at_home := homes(service, states):
        able = [state for state in able if state.node in at_home]
    assert best(service, uid, able) == (fitting[0] if fitting else None)


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
