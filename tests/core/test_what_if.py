"""What if: the loss of a node foreseen is what then happens, and nothing is done."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from tests.core.samples import (
    ADDRESSES,
    DOS,
    NODES,
    TRES,
    UNO,
    WEB,
    container,
    document,
    reconciler,
    service,
    slot,
)
from veo_shell.core.dns_config import DnsConfig
from veo_shell.core.membership import Membership
from veo_shell.core.model import (
    Container,
    DnsChange,
    Loss,
    Mode,
    Move,
    NodeRecord,
    OnPartition,
    Port,
    Record,
    Restart,
    Service,
    State,
)
from veo_shell.core.outbox import Outbox
from veo_shell.core.timing import Timing
from veo_shell.core.view import View
from veo_shell.core.what_if import if_lost

SITE = attrs.evolve(WEB, ports=(Port(name="site", container_port=80),))
FIXED = attrs.evolve(WEB, ports=(Port(name="site", container_port=80, host_port=81),))
VOTERS = [NodeRecord(node=node, revision=1, writer=UNO, votes=True) for node in NODES]


class Cluster:
    """Three nodes, seen from the first."""

    def __init__(self, *held: Record | Container) -> None:
        self.now = 100.0
        self.view = View()
        self.members = Membership(UNO, Timing(), self.now)
        for node in NODES:
            running = tuple(
                c for c in held if isinstance(c, Container) and c.node == node
            )
            self.view.merge_document(document(node, containers=running))
            self.members.heard(node, "b", self.now) if node != UNO else None
        for record in [*VOTERS, *held]:
            if not isinstance(record, Container):
                self.view.merge_record(record)

    def lose(self, node: str) -> None:
        self.members.farewell(node, "b", False, 0.0, self.now)
        self.members.tick(self.now)

    def if_lost(self, node: str) -> Loss:
        return if_lost(self.view, self.members, UNO, node, DnsConfig(), self.now)


def served(node: str, port: int, number: int = 0, **changes: Any) -> Container:
    published = Port(name="site", container_port=80, host_port=port)
    return container(node, number, ports=(published,), **changes)


def move(target: str | None, reason: str = "", number: int = 0) -> Move:
    return Move(
        service="web", uid="u1", slot=number, source=DOS, target=target, reason=reason
    )


def test_a_node_that_runs_nothing_takes_only_its_name_with_it() -> None:
    loss = Cluster(service(), slot(UNO), container(UNO)).if_lost(DOS)
    assert (loss.node, loss.moves) == (DOS, ())
    assert loss.dns == (
        DnsChange(name="dos.node.veo.", type="A", before=("10.0.0.2",), after=()),
    )


def test_what_runs_there_moves_and_dns_with_it() -> None:
    only = attrs.evolve(SITE, hosts=(DOS, TRES))
    loss = Cluster(service(spec=only), slot(DOS), served(DOS, 40000)).if_lost(DOS)
    assert loss.moves == (move(TRES),)
    changes = {(c.name, c.type): (c.before, c.after) for c in loss.dns}
    assert changes["web.veo.", "A"] == (("10.0.0.2",), ("10.0.0.3",))
    assert changes["_site._tcp.web.veo.", "SRV"] == (
        ("0 100 40000 site.web.veo.",),
        ("0 100 ? site.web.veo.",),  # Docker chooses the port when it starts
    )


def test_where_it_gets_an_address_of_its_own_that_is_not_known_beforehand() -> None:
    """Not so its port, which is the container's, whatever it would be on a host."""
    spec = attrs.evolve(FIXED, hosts=(DOS, TRES), network_mode="lan")
    running = served(DOS, 80, address="10.9.0.7", own_addresses=("10.9.0.7",))
    cluster = Cluster(service(spec=spec), slot(DOS), running)
    cluster.view.merge_document(document(TRES, version=2, lan_networks=("lan",)))
    loss = cluster.if_lost(DOS)
    assert loss.moves == (move(TRES),)
    changes = {(c.name, c.type): (c.before, c.after) for c in loss.dns}
    assert changes == {
        ("dos.node.veo.", "A"): (("10.0.0.2",), ()),
        ("web.veo.", "A"): (("10.9.0.7",), ("?",)),
        ("site.web.veo.", "A"): (("10.9.0.7",), ("?",)),
    }


def test_a_port_that_is_fixed_is_known_beforehand() -> None:
    only = attrs.evolve(FIXED, hosts=(DOS, TRES))
    loss = Cluster(service(spec=only), slot(DOS), served(DOS, 81)).if_lost(DOS)
    assert not [change for change in loss.dns if change.type == "SRV"]


def test_replicas_that_are_left_stay_in_dns() -> None:
    records: list[Record] = [service(replicas=2), slot(DOS), slot(TRES, 1)]
    loss = Cluster(*records, container(DOS), container(TRES, 1)).if_lost(DOS)
    assert loss.moves == (move(UNO),)
    (change,) = [c for c in loss.dns if c.name == "web.veo."]
    assert change.before == (ADDRESSES[DOS], ADDRESSES[TRES])
    assert change.after == (ADDRESSES[UNO], ADDRESSES[TRES])


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        pytest.param(
            attrs.evolve(WEB, restart=Restart.NEVER),
            "it is not moved (restart: never)",
            id="a job",
        ),
        pytest.param(
            attrs.evolve(WEB, on_partition=OnPartition.KEEP),
            "it is not moved (on_partition: keep)",
            id="kept",
        ),
        pytest.param(
            attrs.evolve(WEB, mode=Mode.GLOBAL),
            "it is not moved (mode: global, each node has its own)",
            id="everywhere",
        ),
        pytest.param(
            attrs.evolve(WEB, hosts=(DOS,)),
            "dos@dos: it is dead; tres@tres: not one of the hosts dos@dos; "
            "uno@uno: not one of the hosts dos@dos",
            id="fits nowhere",
        ),
    ],
)
def test_what_does_not_move_says_why(spec: Service, reason: str) -> None:
    loss = Cluster(service(spec=spec), slot(DOS), container(DOS)).if_lost(DOS)
    assert loss.moves == (move(None, reason),)
    (change,) = [c for c in loss.dns if c.name == "web.veo."]
    assert change.after == ()


def test_one_that_has_ended_is_not_run_again() -> None:
    ended = container(DOS, state=State.EXITED)
    (lost,) = Cluster(service(), slot(DOS), ended).if_lost(DOS).moves
    assert lost.target is None
    assert lost.reason == "it is not moved (it has ended)"


def test_a_slot_that_is_filled_twice_goes_to_the_other_one() -> None:
    twice = [container(DOS), container(TRES, generation=2)]
    assert Cluster(service(), slot(DOS), *twice).if_lost(DOS).moves == (move(TRES),)


def test_a_majority_service_moves_if_a_majority_is_left() -> None:
    most = attrs.evolve(WEB, on_partition=OnPartition.MAJORITY)
    cluster = Cluster(service(spec=most), slot(DOS), container(DOS))
    (moved,) = cluster.if_lost(DOS).moves
    assert moved.target in (UNO, TRES)
    cluster.lose(TRES)
    (stays,) = cluster.if_lost(DOS).moves
    assert stays.target is None


def test_without_a_majority_what_wants_one_stops_on_the_others_too() -> None:
    most = attrs.evolve(WEB, on_partition=OnPartition.MAJORITY)
    held: list[Record] = [service(spec=most, replicas=2), slot(DOS), slot(UNO, 1)]
    other: list[Record] = [
        service("u2", attrs.evolve(WEB, name="b")),
        slot(UNO, uid="u2"),
    ]
    running = [container(DOS), container(UNO, 1)]
    cluster = Cluster(
        *held, *other, *running, slot(None, 2), slot(TRES, 3, wanted=False)
    )
    cluster.lose(TRES)
    loss = cluster.if_lost(DOS)
    assert [(m.source, m.slot, m.target) for m in loss.moves] == [
        (DOS, 0, None),
        (UNO, 1, None),
    ]
    assert loss.moves[1].reason == "it stops: no majority of the nodes would be seen"
    (change,) = [c for c in loss.dns if c.name == "web.veo."]
    assert change.after == ()


def test_where_nobody_votes_yet_there_is_a_majority() -> None:
    most = attrs.evolve(WEB, on_partition=OnPartition.MAJORITY)
    cluster = Cluster(service(spec=most), slot(DOS), container(DOS))
    for node in NODES:
        record = NodeRecord(node=node, revision=9, writer=UNO)
        cluster.view.merge_record(record)
    assert cluster.if_lost(DOS).moves[0].target is not None


def test_even_this_node_may_be_lost() -> None:
    loss = Cluster(service(), slot(UNO), container(UNO)).if_lost(UNO)
    (moved,) = loss.moves
    assert moved.target in (DOS, TRES)


def test_one_that_left_just_now_takes_nothing() -> None:
    cluster = Cluster(service(spec=SITE), slot(DOS), served(DOS, 8001))
    cluster.members.farewell(TRES, "b", True, 0.0, cluster.now)
    assert cluster.if_lost(DOS).moves == (move(UNO),)
    assert cluster.view.head(TRES) is not None


def test_nothing_of_it_is_done() -> None:
    cluster = Cluster(service(), slot(DOS), container(DOS))
    view, members = cluster.view, cluster.members
    before = view.digest, view.revision, members.revision, list(view.records())
    cluster.if_lost(DOS)
    after = view.digest, view.revision, members.revision, list(view.records())
    assert after == before


def test_what_is_foreseen_is_what_happens() -> None:
    slots = [slot(DOS, number) for number in range(4)]
    running = [container(DOS, number) for number in range(4)]
    cluster = Cluster(service(replicas=4), *slots, *running)
    foreseen = [moved.target for moved in cluster.if_lost(DOS).moves]
    cluster.lose(DOS)
    for me in (UNO, TRES):
        members = Membership(me, Timing(), cluster.now)
        for node in {UNO, TRES} - {me}:
            members.heard(node, "b", cluster.now)
        members.farewell(DOS, "b", True, 0.0, cluster.now)
        out = Outbox(node=me, boot="b")
        reconciler(me, cluster.view, members, out).decide(cluster.now)
    happened = [record.node for record in cluster.view.slots("u1")]
    assert happened == foreseen
