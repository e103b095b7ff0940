"""A group runs on one node: where that is, and that it moves and waits as a whole."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from tests.core.desk import Desk, decision
from tests.core.samples import (
    DOS,
    NODES,
    TRES,
    UNO,
    WEB,
    container,
    document,
    service,
    slot,
)
from tests.sim.cluster import World
from veo_shell.core import events as ev
from veo_shell.core.balance import next_step
from veo_shell.core.foresight import Foresight
from veo_shell.core.model import (
    Container,
    GroupPolicy,
    GroupRole,
    Health,
    Mount,
    MountKind,
    OnPartition,
    Port,
    Record,
    Restart,
    Service,
    ServiceRecord,
    SlotRecord,
    State,
    Status,
    UpdateState,
    UpdateStatus,
)
from veo_shell.core.placement import rendezvous
from veo_shell.core.specs import forward
from veo_shell.core.turns import ends_all
from veo_shell.errors import NoSuitableNode

SHOP = next(
    group
    for group in (f"g{number}" for number in range(99))
    if sorted(NODES, key=rendezvous(f"group/{group}"), reverse=True) == [UNO, DOS, TRES]
)
DB, APP = "db", "app"  # their uids, too
MASTER, SLAVE = GroupRole.MASTER, GroupRole.SLAVE


def member(name: str, **changes: Any) -> ServiceRecord:
    """Return a service of the group; its uid is its name."""
    role = MASTER if name == DB else SLAVE
    replicas = changes.pop("replicas", 1)
    spec = Service(
        name=name,
        image="nginx",
        restart=Restart.ALWAYS,
        group=SHOP,
        group_role=role,
        replicas=replicas,
    )
    return service(name, attrs.evolve(spec, **changes), replicas=replicas)


def at(uid: str, node: str | None, number: int = 0, **changes: Any) -> SlotRecord:
    return slot(node, number, uid=uid, **changes)


def runs(uid: str, node: str, number: int = 0, **changes: Any) -> Container:
    return container(node, number, uid=uid, service=uid, **changes)


def shop(node: str, *held: Record | Container, **changes: Any) -> Desk:
    """Return a node that decides about a group which runs on a node."""
    desk = Desk(member(DB, **changes), member(APP), at(DB, node), at(APP, node), *held)
    desk.run(runs(DB, node), runs(APP, node))
    return desk


def places(written: list[SlotRecord]) -> set[tuple[str, str | None]]:
    return {(record.uid, record.node) for record in written}


# Placing


def test_all_of_a_group_is_placed_on_one_node() -> None:
    desk = Desk(member(DB), member(APP, replicas=3))
    written = desk.look()
    assert len(written) == 4
    assert len({record.node for record in written}) == 1


def test_one_node_decides_about_all_of_a_group_also_about_what_comes_to_it() -> None:
    desk = Desk(member(DB), service("apart"))
    chosen = desk.situation.coordinator
    assert chosen(DB) == chosen("new", member("new").service) == UNO
    for uid in map(str, range(40)):  # as it would be decided about alone
        assert chosen(uid, member("new").service) == UNO
    assert {chosen(uid) for uid in map(str, range(40))} == {*NODES}
    desk = Desk(member(DB), service("apart"), me=DOS)
    desk.lose(UNO)
    assert desk.situation.coordinator(DB) == DOS


def test_a_group_that_runs_nowhere_is_placed_where_all_of_it_fits() -> None:
    """Alone, what comes first would be placed on a node that is emptier."""
    desk = Desk(member(DB, memory_bytes=30), member(APP, memory_bytes=45, replicas=2))
    desk.publish(TRES, resources=_with_memory(200))
    ledger = attrs.evolve(WEB, name="ledger", memory_bytes=70)
    desk.write(service("ledger", ledger), at("ledger", TRES))
    assert {record.node for record in desk.look() if record.uid != "ledger"} == {TRES}


def _with_memory(total_bytes: int) -> Any:
    has = document().resources
    return attrs.evolve(has, memory=attrs.evolve(has.memory, total_bytes=total_bytes))


def test_a_group_that_fits_nowhere_waits_as_a_whole_and_tells_why() -> None:
    desk = Desk(member(DB, memory_bytes=60), member(APP, memory_bytes=60))
    assert places(desk.look()) == {(DB, None), (APP, None)}
    waits = [entry.text for entry in desk.notes if entry.kind == "waits"]
    told = f"its whole group {SHOP} wants 120 bytes of memory, 100 left of 100"
    assert len(waits) == 2
    assert all(f"{node}: {told}" in text for node in NODES for text in waits)
    assert desk.decide(20) == []
    desk.publish(TRES, resources=_with_memory(200))
    assert places(desk.decide(5)) == {(DB, TRES), (APP, TRES)}


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"roles": ("edge",)}, "app: its role is not set, not edge"),
        (
            {"replicas": 2, "max_per_node": 1},
            "app: all 2 are to be on the node of its group (max_per_node: 1)",
        ),
        (
            {
                "replicas": 2,
                "ports": (Port(name="p", container_port=80, host_port=80),),
            },
            "its group wants port 80/tcp 2 times, and runs on one node",
        ),
    ],
)
def test_what_no_node_can_do_for_one_of_a_group_all_of_it_waits_for(
    spec: dict[str, Any], told: str
) -> None:
    desk = Desk(member(DB), member(APP, **spec))
    assert {record.node for record in desk.look()} == {None}
    assert all(told in entry.text for entry in desk.notes if entry.kind == "waits")


def test_a_group_can_want_a_port_twice_where_each_has_an_address_of_its_own() -> None:
    ports = (Port(name="p", container_port=80, host_port=80),)
    app = member(APP, replicas=2, ports=ports, network_mode="lan")
    desk = Desk(member(DB), app)
    desk.publish(TRES, lan_networks=("lan",))
    assert {record.node for record in desk.look()} == {TRES}


def test_the_ports_of_a_group_are_wanted_on_one_node() -> None:
    ports = [Port(name="p", container_port=80, host_port=n) for n in (80, 81)]
    desk = Desk(member(DB, ports=(ports[0],)), member(APP, ports=(ports[1],)))
    other = service("other", attrs.evolve(WEB, name="other", ports=(ports[1],)))
    desk.write(other, at("other", DOS), at("other", TRES, 1))
    written = [record for record in desk.look() if record.uid != "other"]
    assert places(written) == {(DB, UNO), (APP, UNO)}


def test_what_comes_to_a_group_joins_it_at_home() -> None:
    desk = Desk(member(DB), at(DB, DOS), runs(DB, DOS), member(APP))
    assert places(desk.look()) == {(APP, DOS)}
    ranked = desk.desk.places.candidates(_spec(APP, desk), "another")
    assert [c.node for c in ranked if c.fits] == [DOS]
    assert {c.reason for c in ranked if not c.fits} == {
        f"its group {SHOP} runs on {DOS}"
    }


def _spec(uid: str, desk: Desk) -> Service:
    spec = desk.view.spec(uid)
    assert spec is not None
    return spec


def test_where_one_more_does_not_fit_at_home_the_whole_group_moves() -> None:
    desk = Desk(member(DB, memory_bytes=60), at(DB, DOS), runs(DB, DOS))
    desk.publish(TRES, resources=_with_memory(200))
    desk.write(member(APP, memory_bytes=60))
    first = desk.look()
    assert (APP, TRES) in places(first)
    assert places(first + desk.decide(2)) == {(APP, TRES), (DB, TRES)}
    assert desk.view.slot(DB, 0).handover  # type: ignore[union-attr]
    new = runs(DB, TRES, generation=2), runs(APP, TRES)
    desk.run(runs(DB, DOS), *new)
    (over,) = desk.decide(2)
    assert (over.uid, over.handover, over.ends) == (DB, False, (runs(DB, DOS).name,))


def test_a_group_is_not_taken_along_from_a_job_that_runs() -> None:
    desk = Desk(member(DB, restart=Restart.NEVER, memory_bytes=60), at(DB, DOS))
    desk.run(runs(DB, DOS))
    desk.publish(TRES, resources=_with_memory(200))
    desk.write(member(APP, memory_bytes=60))
    assert places(desk.decide(3)) >= {(APP, None)}
    assert desk.view.slot(DB, 0).node == DOS  # type: ignore[union-attr]
    desk.run(runs(DB, DOS, state=State.EXITED, exit_code=0))
    assert (APP, TRES) in places(desk.decide(3))


def test_it_is_not_moved_where_it_is_not_clear_that_home_has_no_room() -> None:
    desk = Desk(member(DB), at(DB, DOS), runs(DB, DOS))
    desk.lose(DOS, Status.PAUSED)
    desk.write(member(APP))
    (waits,) = desk.look()
    assert (waits.uid, waits.node) == (APP, None)


# Moving


def test_a_lost_node_loses_all_of_a_group_to_one_other() -> None:
    desk = shop(DOS)
    desk.lose(DOS)
    written = desk.decide(1)
    assert {record.uid for record in written} == {DB, APP}
    assert len({record.node for record in written}) == 1
    assert written[0].node in (UNO, TRES)


def test_a_lost_group_that_fits_nowhere_else_waits_as_a_whole() -> None:
    desk = Desk(member(DB, memory_bytes=90), member(APP, memory_bytes=90))
    desk.publish(DOS, resources=_with_memory(200))
    desk.write(at(DB, DOS), at(APP, DOS))
    desk.run(runs(DB, DOS), runs(APP, DOS))
    assert desk.decide(2) == []
    desk.lose(DOS)
    assert places(desk.decide(1)) == {(DB, None), (APP, None)}


@pytest.mark.parametrize("pin", ["keep", "data"])
def test_what_stays_with_a_lost_node_keeps_its_group_there(pin: str) -> None:
    mount = Mount(kind=MountKind.VOLUME, source="data", target="/data")
    changes: dict[str, Any] = (
        {"on_partition": OnPartition.KEEP} if pin == "keep" else {"mounts": (mount,)}
    )
    desk = shop(DOS, **changes)
    desk.publish(DOS, volumes=("data",))
    desk.lose(DOS)
    assert desk.decide(30) == []


def test_a_job_that_was_lost_keeps_nothing_of_its_group_from_going_on() -> None:
    desk = shop(DOS, restart=Restart.NEVER)
    desk.lose(DOS)
    assert {record.uid for record in desk.decide(2)} == {APP}


def test_a_group_moves_from_a_drained_node_together_and_at_once() -> None:
    desk = shop(DOS, at(APP, DOS, 1))
    desk.write(member(APP, replicas=2), decision(DOS, drained=True, drained_by="x/y/9"))
    old = runs(DB, DOS), runs(APP, DOS), runs(APP, DOS, 1)
    desk.run(*old)
    moved = desk.decide(2)
    assert [record.handover for record in moved] == [True] * 3
    ((node,),) = {(record.node,) for record in moved}
    assert node in (UNO, TRES)
    new = [runs(c.uid, str(node), c.slot, generation=2) for c in old]
    late = attrs.evolve(new[1], state=State.STARTING)
    desk.run(*old, new[0], late, new[2])
    assert desk.decide(3) == []  # none goes before all are there
    desk.run(*old, *new)
    over = desk.decide(2)
    assert {(r.uid, r.slot, r.handover) for r in over} == {
        (DB, 0, False),
        (APP, 0, False),
        (APP, 1, False),
    }


def test_a_group_of_which_one_cannot_go_is_taken_back_as_a_whole() -> None:
    desk = shop(DOS)
    desk.write(decision(DOS, drained=True, drained_by="x/y/9"))
    old = runs(DB, DOS), runs(APP, DOS)
    node = str(desk.decide(2)[0].node)
    failed = runs(
        APP, node, generation=2, state=State.FAILED, reason="image is missing"
    )
    desk.run(*old, runs(DB, node, generation=2), failed)
    desk.decide(4)
    told = [entry.text for entry in desk.notes if entry.kind == "placed"]
    assert [text.partition(")")[0] for text in told] == [
        f"app: slot 0 cannot move ({node}: image is missing",
        f"db: slot 0 cannot move ({node}: app: image is missing",
    ]
    other = ({UNO, TRES} - {node}).pop()
    now = [desk.view.slot(uid, 0) for uid in (DB, APP)]
    assert [(s.node, s.handover) for s in now if s] == [(other, True)] * 2


def test_what_does_not_serve_anywhere_holds_up_nothing_of_its_group() -> None:
    desk = shop(DOS)
    desk.write(decision(DOS, drained=True, drained_by="x/y/9"))
    crashing = runs(APP, DOS, state=State.BACKOFF)
    desk.run(runs(DB, DOS), crashing)
    node = str(desk.decide(2)[0].node)
    desk.run(runs(DB, DOS), runs(DB, node, generation=2))
    assert [r.uid for r in desk.decide(3) if not r.handover] == [APP, DB]


def test_a_drained_node_keeps_a_group_whose_job_runs_until_that_has_ended() -> None:
    desk = shop(DOS, restart=Restart.NEVER)
    desk.write(decision(DOS, drained=True))
    desk.decide(2)
    assert desk.view.slot(APP, 0).node == DOS  # type: ignore[union-attr]
    desk.run(runs(DB, DOS, state=State.EXITED, exit_code=0), runs(APP, DOS))
    assert {r.uid for r in desk.decide(3) if r.handover} == {APP}


def test_parts_of_a_group_that_are_apart_are_brought_together() -> None:
    desk = Desk(member(DB), member(APP, replicas=2))
    desk.write(at(DB, DOS), at(APP, DOS), at(APP, TRES, 1))
    desk.run(runs(DB, DOS), runs(APP, DOS), runs(APP, TRES, 1))
    (moved,) = desk.decide(2)
    assert (moved.uid, moved.slot, moved.node, moved.handover) == (APP, 1, DOS, True)


@pytest.mark.parametrize(
    ("has_data", "moves"),
    [({TRES}, {(DB, TRES), (APP, TRES)}), ({DOS, TRES}, set())],
    ids=["to the data", "not away from it"],
)
def test_what_is_apart_and_has_data(
    has_data: set[str], moves: set[tuple[str, str]]
) -> None:
    mount = Mount(kind=MountKind.VOLUME, source="data", target="/data")
    desk = Desk(member(DB), member(APP, replicas=2, mounts=(mount,)))
    for node in has_data:
        desk.publish(node, volumes=("data",))
    desk.write(at(DB, DOS), at(APP, DOS), at(APP, TRES, 1))
    desk.run(runs(DB, DOS), runs(APP, DOS), runs(APP, TRES, 1))
    assert places(desk.decide(5)) == moves


def test_after_a_partition_one_side_of_a_group_stays_whole() -> None:
    """Whichever of its records stand: of each slot it is the one that runs at home."""
    desk = Desk(member(DB), member(APP))
    desk.write(at(DB, DOS, generation=3), at(APP, TRES, generation=2))
    both = [
        runs(u, n, generation=g) for u in (DB, APP) for n, g in ((DOS, 3), (TRES, 2))
    ]
    desk.run(*both)
    settled = desk.decide(5)
    assert len({record.node for record in settled}) == 1
    ended = {name for record in settled for name in record.ends}
    stays = {c.name for c in both if c.node == settled[-1].node}
    assert len(ended) == 2
    assert not ended & stays


def test_moves_of_one_group_that_cross_end_where_most_of_it_is() -> None:
    """As after a partition, each side of which has begun to move it to the other."""
    desk = Desk(member(DB), member(APP, replicas=2))
    moving = [
        at(DB, DOS, generation=2, handover=True),
        at(APP, DOS, generation=2, handover=True),
        at(APP, TRES, 1, generation=2, handover=True),
    ]
    desk.write(*moving)
    held = [(DB, 0), (APP, 0), (APP, 1)]
    here = [runs(uid, DOS, n, generation=1 + (n == 0)) for uid, n in held]
    there = [runs(uid, TRES, n, generation=1 + (n == 1)) for uid, n in held]
    desk.run(*here, *there)
    desk.decide(5)
    slots = [desk.view.slot(uid, n) for uid, n in held]
    assert [(s.node, s.handover) for s in slots if s] == [(DOS, False)] * 3
    ends = {name for s in slots if s for name in s.ends}
    assert ends == {c.name for c in there}


def test_one_that_has_moved_to_where_its_group_is_no_more_follows_it() -> None:
    desk = Desk(member(DB), member(APP, replicas=2))
    desk.write(at(DB, DOS), at(APP, DOS), at(APP, UNO, 1, generation=2, handover=True))
    desk.run(
        *(runs(DB, DOS), runs(APP, DOS)),
        *(runs(APP, TRES, 1), runs(APP, UNO, 1, generation=2)),
    )
    (moved,) = desk.decide(2)
    assert (moved.slot, moved.node, moved.handover) == (1, DOS, True)
    assert [entry.kind for entry in desk.notes] == ["moved", "moving"]


# Policies


@pytest.mark.parametrize(
    ("policy", "role", "ends"),
    [
        (GroupPolicy.ONE_KILLS_ALL, SLAVE, True),
        (GroupPolicy.MASTER_KILLS_ALL, MASTER, True),
        (GroupPolicy.MASTER_KILLS_ALL, SLAVE, False),
        (GroupPolicy.ONE_FOR_ONE, MASTER, False),
        (None, MASTER, False),
    ],
)
def test_whose_end_is_that_of_all(
    policy: GroupPolicy | None, role: GroupRole, ends: bool
) -> None:
    spec = member(DB, group_policy=policy, group_role=role).service
    assert spec is not None
    assert ends_all(spec) is ends
    assert not ends_all(attrs.evolve(spec, group=None))


# What has to do with other parts


def test_one_more_of_a_group_that_fits_nowhere_with_it_is_refused() -> None:
    desk = Desk(member(DB, cpus=3.0), member(APP, cpus=1.0), at(DB, DOS), at(APP, DOS))
    ranked = desk.desk.places.candidates(_spec(APP, desk), APP)
    assert not any(c.fits for c in ranked)


def test_a_group_that_has_lost_its_node_needs_room_for_no_more_than_it_had() -> None:
    desk = Desk(member(DB, cpus=3.0), member(APP, cpus=1.0), at(DB, DOS), at(APP, DOS))
    desk.run(runs(DB, DOS), runs(APP, DOS))
    desk.lose(DOS)
    assert {record.node for record in desk.decide(2)} <= {UNO, TRES}


def test_an_update_of_one_leaves_it_with_its_group() -> None:
    """There is no room for two beside each other: the old one stops first."""
    desk = Desk(member(DB, memory_bytes=60), member(APP, memory_bytes=30))
    desk.write(at(DB, UNO), at(APP, UNO))
    desk.run(runs(DB, UNO), runs(APP, UNO))
    assert desk.decide(2) == []
    record = desk.view.service(APP)
    assert record is not None
    spec = attrs.evolve(_spec(APP, desk), image="nginx:2")
    going_on = UpdateStatus(state=UpdateState.UPDATING)
    renewed = attrs.evolve(forward(record, spec, "s2"), update=going_on)
    desk.write(renewed)
    (new,) = desk.decide(1)
    assert (new.node, new.stops_first) == (UNO, True)


def test_a_group_is_not_rebalanced() -> None:
    spec = {"memory_bytes": 30}
    desk = Desk(member(DB, **spec), member(APP, replicas=2, **spec))
    desk.write(at(DB, DOS), at(APP, DOS), at(APP, DOS, 1))
    desk.run(runs(DB, DOS), runs(APP, DOS), runs(APP, DOS, 1))
    assert next_step(desk.desk) is None


def test_with_nodes_that_know_no_groups_each_service_has_its_own_coordinator() -> None:
    desk = Desk(member(DB))
    alone = max(NODES, key=rendezvous(DB))
    desk.publish(TRES, protocol=1, disk_id="another")
    assert desk.situation.coordinator(DB) == alone
    desk.publish(TRES, protocol=2, disk_id="a third")
    assert desk.situation.coordinator(DB) == UNO


def test_a_side_that_may_not_move_all_of_a_group_moves_nothing_of_it() -> None:
    desk = Desk(member(DB, on_partition=OnPartition.MAJORITY), member(APP))
    desk.write(at(DB, DOS), at(APP, DOS))
    desk.run(runs(DB, DOS), runs(APP, DOS))
    desk.decide(1)
    desk.lose(DOS)
    desk.lose(TRES)
    assert desk.decide(30) == []


def test_a_job_that_is_done_somewhere_is_nothing_to_come_home_to() -> None:
    done = runs(DB, DOS, state=State.EXITED, exit_code=0)
    desk = Desk(member(DB, restart=Restart.NEVER), member(APP))
    desk.write(at(DB, DOS, done=True), at(APP, UNO))
    for app in (runs(APP, UNO), runs(APP, UNO, state=State.BACKOFF)):
        desk.run(done, app)
        assert desk.decide(3) == []
    desk.run(runs(APP, UNO, state=State.BACKOFF))  # nor one that is gone
    assert desk.decide(3) == []


def test_what_comes_waits_for_a_home_whose_engine_is_away_for_a_moment() -> None:
    desk = shop(DOS)
    desk.publish(DOS, engine_lost="restarting")
    desk.write(member("new"))
    assert places(desk.decide(1)) == {("new", None)}


def test_what_was_made_before_it_was_in_the_group_draws_that_nowhere() -> None:
    desk = shop(TRES)
    old = member("new", replicas=2, group=None)
    desk.write(old, at("new", UNO), at("new", UNO, 1))
    held = [runs(DB, TRES), runs(APP, TRES), runs("new", UNO), runs("new", UNO, 1)]
    desk.run(*held)
    spec = member("new", replicas=2).service
    assert spec is not None
    going_on = UpdateStatus(state=UpdateState.UPDATING)
    desk.write(attrs.evolve(forward(old, spec, "s2"), update=going_on))
    assert {record.node for record in desk.decide(2)} == {TRES}


def test_what_is_filled_anew_at_its_place_waits_for_no_other_of_its_group() -> None:
    mount = Mount(kind=MountKind.VOLUME, source="data", target="/data")
    desk = Desk(member(DB), member(APP, replicas=2, mounts=(mount,)))
    for node in (DOS, TRES):
        desk.publish(node, volumes=("data",))
    desk.write(at(DB, DOS), at(APP, DOS), at(APP, TRES, 1))
    rest = runs(APP, DOS), runs(APP, TRES, 1)
    stranded = runs(DB, DOS, address="")
    desk.run(stranded, *rest)
    (anew,) = desk.decide(2)
    desk.run(stranded, *rest, runs(DB, DOS, generation=anew.generation))
    assert [record.handover for record in desk.decide(5)] == [False]


def test_a_plan_sees_all_that_is_to_be_in_a_group_at_once() -> None:
    desk = Desk()
    desk.publish(UNO, resources=_with_memory(130))
    ledger = attrs.evolve(WEB, name="ledger", memory_bytes=5)
    desk.write(service("ledger", ledger), at("ledger", UNO))
    specs = [member(name, memory_bytes=60).service for name in (DB, APP)]
    foresight = Foresight(desk.situation, desk.now)
    for spec in specs:
        assert spec is not None
        foresight.expect(spec, spec.name, 1)
    found = [foresight.place(spec, spec.name, 1) for spec in specs if spec]
    assert found == [((UNO,), "")] * 2


def test_what_is_added_goes_where_the_rest_that_comes_with_it_fits_too() -> None:
    world = World("uno@uno")
    uno = world["uno@uno"]
    beside = [(uid, spec) for uid in (DB, APP) if (spec := _large(uid))]
    asked = ev.AddAsked(
        operation="1", uid=DB, service=beside[0][1], beside=tuple(beside[1:])
    )
    with pytest.raises(NoSuitableNode, match=f"its whole group {SHOP} wants"):
        uno.ask(asked)
    assert list(uno.machine.view.services()) == []
    uno.ask(attrs.evolve(asked, operation="2", beside=()))
    assert [record.uid for record in uno.machine.view.services()] == [DB]


def _large(uid: str) -> Service | None:
    """Return a service of the group of which a node takes one."""
    return member(uid, memory_bytes=5 << 30).service


# What could not come home


def test_what_finds_room_at_home_comes_though_the_rest_finds_none() -> None:
    desk = Desk(member(DB, memory_bytes=60), member(APP, replicas=3), at(DB, DOS))
    there = [(APP, DOS, 0), (APP, DOS, 1), (APP, TRES, 2), ("web", TRES, 0)]
    desk.write(member("web", memory_bytes=60), *(at(u, n, k) for u, n, k in there))
    held = runs(DB, DOS), *(runs(u, n, k) for u, n, k in there)
    desk.run(*held)
    (moved,) = desk.decide(2)
    assert (moved.uid, moved.node, moved.handover) == (APP, DOS, True)
    desk.run(*held, runs(APP, DOS, 2, generation=2))
    (over,) = desk.decide(3)
    assert (over.uid, over.node, over.handover) == (APP, DOS, False)


def test_what_runs_at_home_already_is_taken_back_and_not_begun_beside_itself() -> None:
    """As after a partition: what was begun elsewhere meanwhile does not come up."""
    desk = Desk(member(DB), member(APP), at(DB, DOS), at(APP, UNO, generation=2))
    failing = runs(APP, UNO, generation=2, state=State.BACKOFF, reason="name taken")
    desk.run(runs(DB, DOS), runs(APP, DOS), failing)
    assert [(r.uid, r.node, r.made) for r in desk.decide(5)] == [(APP, DOS, 1)]


def test_what_is_ready_stays_until_what_is_at_home_is_ready_too() -> None:
    """As where an instance is stopped while it comes home, and wanted again at once."""
    desk = Desk(member(DB), member(APP), at(DB, DOS), at(APP, DOS, generation=3))
    there = runs(DB, DOS), runs(APP, UNO)
    begins = runs(APP, DOS, generation=3, health=Health.STARTING)
    desk.run(*there, begins)
    (comes,) = desk.decide(5)
    assert (comes.node, comes.handover, comes.generation) == (DOS, True, 5)
    assert comes.ends == (begins.name,)
    assert [note.text.partition(", ")[0] for note in desk.notes] == [
        f"app: slot 0 healed: {there[1].name} stays",
        "app: slot 0 moves from uno@uno to dos@dos",
    ]


def test_what_could_not_come_to_its_group_is_tried_again_after_a_while() -> None:
    desk = Desk(member(DB), member(APP, replicas=2))
    desk.write(at(DB, DOS), at(APP, DOS), at(APP, TRES, 1))
    old = runs(DB, DOS), runs(APP, DOS), runs(APP, TRES, 1)
    desk.run(*old)
    assert places(desk.decide(2)) == {(APP, DOS)}
    failed = runs(APP, DOS, 1, generation=2, state=State.FAILED, reason="name taken")
    desk.run(*old, failed)
    assert places(desk.decide(2)) == {(APP, TRES)}
    desk.run(*old)
    assert desk.decide(298) == []
    assert places(desk.decide(4)) == {(APP, DOS)}
    moved = desk.view.slot(APP, 1)
    assert moved is not None
    assert (moved.node, moved.handover, moved.stuck) == (DOS, True, ())


def test_what_wants_a_majority_tries_to_come_to_its_group_once() -> None:
    """Each time it is stopped for that."""
    desk = Desk(member(DB), member(APP, replicas=2, on_partition=OnPartition.MAJORITY))
    desk.write(at(DB, DOS), at(APP, DOS), at(APP, TRES, 1))
    stay = runs(DB, DOS), runs(APP, DOS)
    desk.run(*stay, runs(APP, TRES, 1))
    assert places(desk.decide(2)) == {(APP, DOS)}
    failed = runs(APP, DOS, 1, generation=2, state=State.FAILED, reason="name taken")
    desk.run(*stay, failed)
    (back,) = desk.decide(1)
    assert back.node in (UNO, TRES)
    desk.run(*stay, runs(APP, str(back.node), 1, generation=back.generation))
    desk.decide(2)
    assert desk.decide(700) == []
    stays = desk.view.slot(APP, 1)
    assert stays is not None
    assert (stays.node, stays.handover) == (back.node, False)


# Jobs that wait for their master


def waiting_job() -> Desk:
    """Return a desk of a group whose job waits for its master on dos."""
    desk = Desk(member(DB), member("job", restart=Restart.NEVER))
    desk.write(at(DB, DOS), at("job", DOS))
    desk.run(runs(DB, DOS, state=State.BACKOFF))
    desk.decide(1)
    return desk


def test_a_job_that_has_not_begun_is_lost_with_no_node_but_goes_with_its_master() -> (
    None
):
    desk = waiting_job()
    desk.lose(DOS)
    assert places(desk.decide(30)) == {(DB, TRES), ("job", TRES)}


@pytest.mark.parametrize("is_known", [True, False])
def test_a_job_that_was_done_is_not_begun_again_while_its_master_is_away(
    is_known: bool,
) -> None:
    """Though its container is gone, as with `auto_remove`."""
    desk = Desk(member(DB), member("job", restart=Restart.NEVER))
    desk.write(at(DB, DOS), at("job", DOS, done=True))
    gone = runs("job", DOS, id="", state=State.EXITED, exit_code=0)
    desk.run(*([gone] if is_known else []), runs(DB, DOS, state=State.BACKOFF))
    desk.decide(1)
    desk.lose(DOS)
    assert places(desk.decide(30)) == {(DB, TRES)}


def test_a_job_that_has_not_begun_goes_with_its_group_from_a_drained_node() -> None:
    desk = waiting_job()
    desk.write(decision(DOS, drained=True, drained_by="x/y/9"))
    moved = places(desk.decide(2))
    ((node,),) = {(node,) for _, node in moved}
    assert moved == {(DB, node), ("job", node)}
    done = runs("job", str(node), generation=2, state=State.EXITED, exit_code=0)
    desk.run(runs(DB, str(node), generation=2), done)
    desk.decide(5)
    now = [desk.view.slot(uid, 0) for uid in (DB, "job")]
    assert [(s.node, s.handover) for s in now if s] == [(node, False)] * 2


def test_a_job_that_was_begun_as_it_was_to_move_is_taken_back() -> None:
    desk = waiting_job()
    desk.write(decision(DOS, drained=True, drained_by="x/y/9"))
    ((node,),) = {(r.node,) for r in desk.decide(2)}
    desk.run(runs(DB, DOS), runs("job", DOS), runs(DB, str(node), generation=2))
    desk.decide(3)
    job = desk.view.slot("job", 0)
    assert job is not None
    assert (job.node, job.handover) == (DOS, False)


def test_a_job_that_has_begun_where_it_was_to_move_stays_there() -> None:
    """Whatever becomes of the rest: it runs once."""
    desk = waiting_job()
    desk.write(decision(DOS, drained=True, drained_by="x/y/9"))
    ((node,),) = {(r.node,) for r in desk.decide(2)}
    db = runs(DB, str(node), generation=2, state=State.UNHEALTHY)
    desk.run(runs(DB, DOS), db, runs("job", str(node), generation=2))
    desk.decide(3)
    job = desk.view.slot("job", 0)
    assert job is not None
    assert (job.node, job.handover) == (node, False)


def test_what_is_added_to_a_group_that_runs_takes_it_where_all_of_it_fits() -> None:
    desk = Desk(member(DB, memory_bytes=40), at(DB, DOS))
    desk.run(runs(DB, DOS))
    desk.publish(TRES, resources=_with_memory(200))
    come = [member(uid, memory_bytes=50).service for uid in (APP, "web")]
    groups = desk.desk.places.groups
    first, second = (spec for spec in come if spec)
    assert desk.desk.places.best(first, APP) == DOS
    with groups.expecting(SHOP, [("web", second)]):
        assert desk.desk.places.best(first, APP) == TRES
        ranked = desk.desk.places.candidates(first, APP)
    assert [c.node for c in ranked if c.fits] == [TRES]
