"""Reconcile: what a coordinator writes, from the view alone."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veo_shell.core import reconcile
from veo_shell.core.membership import Membership, Timing
from veo_shell.core.model import (
    Cpu,
    Disk,
    Memory,
    NodeDocument,
    NodeRecord,
    Record,
    Resources,
    Restart,
    Room,
    Service,
    ServiceRecord,
    SlotRecord,
    Status,
)
from veo_shell.core.placement import coordinator
from veo_shell.core.view import View

WEB = Service(name="web", image="nginx", restart=Restart.ALWAYS)
BIG = attrs.evolve(WEB, name="big", cpus=1.5, memory_bytes=60, disk_bytes=600)
ME, DOS, TRES = "uno@uno", "dos@dos", "tres@tres"
NODES = (ME, DOS, TRES)
ALL_LIVE = dict.fromkeys(NODES, Status.ALIVE)


def document(node: str) -> NodeDocument:
    return NodeDocument(
        node=node,
        boot_id="b",
        incarnation=1,
        version=1,
        address="10.0.0.1",
        mesh_port=1,
        pub_port=2,
        dns_port=3,
        resources=Resources(
            cpu=Cpu(count=4.0),
            memory=Memory(total_bytes=100, available_bytes=1),
            disk=Disk(total_bytes=1000, free_bytes=1),
        ),
    )


def members_of(statuses: dict[str, Status], me: str = ME) -> Membership:
    """Return verdicts that this node came to by evidence."""
    members = Membership(me, Timing(), 0.0)
    for node, status in statuses.items():
        if node == me or status is Status.UNKNOWN:
            members.learn(node, 0.0)
            continue
        members.heard(node, "b", 0.0)
        if status is not Status.ALIVE:
            for_s = 0.0 if status is Status.DEAD else 60.0
            members.farewell(node, "b", status is Status.LEFT, for_s, 0.0)
    members.tick(0.0)  # a pause that is over
    assert {n: members.status(n) for n in statuses} == statuses
    return members


def view_of(*records: Record, nodes: Iterable[str] = NODES) -> View:
    view = View()
    for node in nodes:
        view.merge_document(document(node))
    for record in records:
        view.merge_record(record)
    return view


def service(
    uid: str = "u1", spec: Service | None = WEB, replicas: int = 1
) -> ServiceRecord:
    return ServiceRecord(
        uid=uid, revision=1, writer=ME, service=spec, replicas=replicas
    )


def slot(
    node: str | None,
    number: int = 0,
    *,
    uid: str = "u1",
    generation: int = 1,
    wanted: bool = True,
) -> SlotRecord:
    return SlotRecord(
        uid=uid,
        slot=number,
        revision=2,
        writer=ME,
        generation=generation,
        node=node,
        wanted=wanted,
    )


def decided(view: View, statuses: dict[str, Status]) -> list[SlotRecord]:
    """Return what the coordinators of the services write, all of them together."""
    alive = [n for n, status in statuses.items() if status is Status.ALIVE]
    return [
        record
        for me in alive
        for record in reconcile.decide(
            view, members_of({**statuses, me: Status.ALIVE}, me), me, me
        )
    ]


# What is decided


def test_nothing_is_decided_about_what_is_as_it_should_be() -> None:
    view = view_of(service(replicas=2), slot(ME), slot(DOS, 1))
    assert decided(view, ALL_LIVE) == []


def test_missing_instances_are_placed_and_spread() -> None:
    view = view_of(service(replicas=3))
    written = decided(view, ALL_LIVE)
    assert sorted(s.slot for s in written) == [0, 1, 2]
    assert sorted(str(s.node) for s in written) == sorted(NODES)
    assert {s.generation for s in written} == {1}
    assert len({s.revision for s in written}) == 3
    assert view.slots("u1") == written
    assert decided(view, ALL_LIVE) == []


def test_only_the_coordinator_decides() -> None:
    chosen = coordinator("u1", NODES)
    for me in NODES:
        view = view_of(service())
        written = reconcile.decide(view, members_of(ALL_LIVE, me), me, "me#1")
        assert len(written) == (me == chosen)
        assert all(record.writer == "me#1" for record in written)


def test_each_decision_sees_the_ones_before_it() -> None:
    view = view_of(service(spec=BIG, replicas=5))
    written = decided(view, ALL_LIVE)
    placed = [s.node for s in written if s.node is not None]
    assert sorted(placed) == sorted(NODES)  # 60 bytes of 100: one fits each
    assert [s.node for s in written].count(None) == 2


@pytest.mark.parametrize("status", [Status.DEAD, Status.LEFT])
def test_what_a_lost_node_ran_gets_a_new_generation_elsewhere(status: Status) -> None:
    view = view_of(service(), slot(TRES))
    (record,) = decided(view, {**ALL_LIVE, TRES: status})
    assert (record.slot, record.generation) == (0, 2)
    assert record.node in (ME, DOS)


@pytest.mark.parametrize("status", [Status.PAUSED, Status.UNKNOWN])
def test_what_a_node_runs_that_is_not_lost_stays(status: Status) -> None:
    view = view_of(service(), slot(TRES))
    assert decided(view, {**ALL_LIVE, TRES: status}) == []


def test_what_may_not_restart_is_not_moved() -> None:
    once = attrs.evolve(WEB, restart=Restart.NEVER)
    view = view_of(service(spec=once), slot(TRES))
    assert decided(view, {**ALL_LIVE, TRES: Status.LEFT}) == []


def test_a_slot_that_fits_nowhere_waits_and_is_written_once() -> None:
    edge = attrs.evolve(WEB, roles=("edge",))
    view = view_of(service(spec=edge))
    (waiting,) = decided(view, ALL_LIVE)
    assert (waiting.node, waiting.generation, waiting.wanted) == (None, 0, True)
    assert decided(view, ALL_LIVE) == []
    view.merge_record(NodeRecord(node=DOS, revision=9, writer=ME, role="edge"))
    (placed,) = decided(view, ALL_LIVE)
    assert (placed.node, placed.generation) == (DOS, 1)
    assert placed.revision > 9


def test_a_slot_that_lost_its_node_and_fits_nowhere_waits() -> None:
    only = attrs.evolve(WEB, hosts=(TRES,))
    view = view_of(service(spec=only), slot(TRES, generation=4))
    lost = {**ALL_LIVE, TRES: Status.LEFT}
    (waiting,) = decided(view, lost)
    assert (waiting.node, waiting.generation) == (None, 4)
    assert decided(view, lost) == []
    (back,) = decided(view, ALL_LIVE)
    assert (back.node, back.generation) == (TRES, 5)


def test_a_number_that_was_given_up_is_filled_under_a_higher_generation() -> None:
    view = view_of(
        service(replicas=2), slot(None, 0, generation=3, wanted=False), slot(DOS, 1)
    )
    (record,) = decided(view, ALL_LIVE)
    assert (record.slot, record.generation, record.wanted) == (0, 4, True)


def test_a_removed_service_is_not_decided_about() -> None:
    view = view_of(service(spec=None))
    assert decided(view, ALL_LIVE) == []
    assert list(reconcile.coordinates(view, members_of(ALL_LIVE), ME)) == []


@given(st.sets(st.sampled_from(NODES), min_size=1), st.integers(0, 4))
def test_a_plan_that_was_cut_off_is_finished_by_the_next(
    alive: set[str], done: int
) -> None:
    """Whatever part of a coordinator's writes arrived, the end is one per number."""
    whole = decided(view_of(service(replicas=4)), ALL_LIVE)
    statuses = {n: Status.ALIVE if n in alive else Status.LEFT for n in NODES}
    view = view_of(service(replicas=4), *whole[:done])
    decided(view, statuses)
    slots = view.slots("u1")
    assert [s.slot for s in slots] == [0, 1, 2, 3]
    assert all(s.wanted and s.node in alive for s in slots)
    assert decided(view, statuses) == []


# Parts


@pytest.mark.parametrize(
    ("replicas", "slots", "missing"),
    [
        pytest.param(0, [], [], id="none wanted"),
        pytest.param(3, [], [0, 1, 2], id="all"),
        pytest.param(3, [slot(ME, 1)], [0, 2], id="gaps first"),
        pytest.param(1, [slot(ME, 0, wanted=False)], [0], id="one given up"),
        pytest.param(2, [slot(None, 0), slot(ME, 1)], [], id="a waiting one counts"),
        pytest.param(2, [slot(ME, 5)], [0], id="a high number counts"),
        pytest.param(1, [slot(ME, 0), slot(ME, 1)], [], id="more than wanted"),
    ],
)
def test_missing_slots(
    replicas: int, slots: list[SlotRecord], missing: list[int]
) -> None:
    assert reconcile.missing_slots(service(replicas=replicas), slots) == missing


@pytest.mark.parametrize(
    ("status", "restart", "moves"),
    [
        (Status.ALIVE, Restart.ALWAYS, False),
        (Status.UNKNOWN, Restart.ALWAYS, False),
        (Status.PAUSED, Restart.ALWAYS, False),
        (Status.LEFT, Restart.ALWAYS, True),
        (Status.LEFT, Restart.ON_FAILURE, True),
        (Status.LEFT, Restart.NEVER, False),
    ],
)
def test_must_move(status: Status, restart: Restart, moves: bool) -> None:
    placed = slot(TRES)
    view = view_of(service(spec=attrs.evolve(WEB, restart=restart)), placed)
    members = members_of({**ALL_LIVE, TRES: status})
    assert reconcile.must_move(view, members, placed) is moves
    assert reconcile.must_move(view, members, slot(None))


def test_candidates_know_roles_instances_and_what_is_reserved() -> None:
    role = NodeRecord(node=DOS, revision=1, writer=ME, role="edge")
    view = view_of(role, service(), slot(ME), service("u2", BIG), slot(DOS, uid="u2"))
    members = members_of({**ALL_LIVE, TRES: Status.PAUSED})

    def rows(spec: Service) -> list[tuple[str, str]]:
        found = reconcile.candidates(view, members, spec, "u1")
        return [(c.node, c.reason) for c in found]

    assert rows(WEB) == [(DOS, ""), (ME, ""), (TRES, "it is paused")]
    assert rows(BIG)[0] == (ME, "")
    assert rows(BIG)[1] == (DOS, "wants 60 bytes of memory, 40 left of 100")
    assert rows(attrs.evolve(WEB, roles=("edge",)))[0] == (DOS, "")


_specs = st.builds(
    Service,
    name=st.sampled_from(["a", "b"]),
    image=st.just("i"),
    cpus=st.integers(0, 8).map(lambda n: n / 4),
    memory_bytes=st.integers(0, 1 << 30),
    disk_bytes=st.integers(0, 1 << 40),
)


@given(
    st.dictionaries(st.sampled_from(["u1", "u2", "u3"]), _specs),
    st.sets(st.sampled_from(["u1", "u3"])),
    st.lists(
        st.tuples(
            st.sampled_from(["u1", "u2", "u3", "unknown"]),
            st.integers(0, 3),
            st.sampled_from([*NODES, None]),
            st.booleans(),
        ),
        unique_by=lambda row: row[:2],
    ),
)
def test_reserved_is_the_plain_sum(
    specs: dict[str, Service],
    removed: set[str],
    rows: list[tuple[str, int, str | None, bool]],
) -> None:
    view = view_of(*(service(uid, spec) for uid, spec in specs.items()))
    for uid, number, node, wanted in rows:
        view.merge_record(slot(node, number, uid=uid, wanted=wanted))
    for uid in removed:
        view.merge_record(service(uid, None))
    for node in NODES:
        held = [
            specs[uid]
            for uid, _, where, wanted in rows
            if where == node and wanted and uid in specs and uid not in removed
        ]
        assert reconcile.reserved(view, node) == Room(
            cpus=sum(spec.cpus for spec in held),
            memory_bytes=sum(spec.memory_bytes for spec in held),
            disk_bytes=sum(spec.disk_bytes for spec in held),
        )
