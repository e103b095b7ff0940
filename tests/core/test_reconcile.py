"""Reconcile: what a coordinator writes, from the view alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.desk import (
    BIG,
    EDGE,
    MOST,
    U1,
    Desk,
    at,
    brief,
    decision,
    ready,
    runs,
    web,
)
from tests.core.samples import (
    DOS,
    NODES,
    TRES,
    UNO,
    WEB,
    beat,
    document,
    reconciler,
    service,
    slot,
)
from veo_shell.core.membership import Membership
from veo_shell.core.model import (
    NOT_LISTED,
    Container,
    Health,
    Knock,
    NodeRecord,
    OnPartition,
    Restart,
    Service,
    SlotRecord,
    State,
    Status,
)
from veo_shell.core.outbox import Outbox
from veo_shell.core.placement import coordinator
from veo_shell.core.reconcile import PART, missing_slots
from veo_shell.core.timing import Timing
from veo_shell.core.view import View

# Filling


@pytest.mark.parametrize("returns", [True, False], ids=["returns", "joins"])
def test_a_node_that_comes_takes_work_only_as_new_slots_appear(returns: bool) -> None:
    placed = at(UNO), at(DOS, 1), at(UNO, 2)
    desk = Desk(web(replicas=3), *placed, runs(UNO), runs(DOS, 1), runs(UNO, 2))
    desk.lose(TRES)
    if not returns:
        desk.view.forget_node(TRES)
    assert desk.decide(5) == []
    desk.regain(TRES)
    desk.view.merge_document(document(TRES, incarnation=2))
    assert desk.decide(60) == []
    desk.write(web(replicas=4))
    assert [brief(record) for record in desk.decide()] == [(3, 1, TRES)]


def test_nothing_is_decided_about_what_is_as_it_should_be() -> None:
    desk = Desk(web(replicas=2), at(UNO), at(DOS, 1), runs(UNO), runs(DOS, 1))
    assert desk.decide(20) == []


def test_missing_instances_are_placed_and_spread() -> None:
    desk = Desk(web(replicas=3, cause="x/y/1"))
    written = desk.look()
    assert sorted(s.slot for s in written) == [0, 1, 2]
    assert sorted(str(s.node) for s in written) == sorted(NODES)
    assert {s.generation for s in written} == {1}
    assert len({s.revision for s in written}) == 3
    assert desk.view.slots(U1) == written
    assert desk.decide(5) == []
    placed = [entry for entry in desk.notes if entry.kind == "placed"]
    assert [entry.slot for entry in placed] == [0, 1, 2]
    assert {entry.cause for entry in placed} == {"x/y/1"}
    assert [s.cause for s in written] == [entry.id for entry in placed]


def test_a_node_whose_disk_takes_nothing_decides_only_if_no_other_can() -> None:
    desk = Desk()
    for full, decides in (
        ([UNO], DOS),
        ([UNO, DOS], TRES),
        ([UNO, DOS, TRES], UNO),
        ([DOS, TRES], UNO),
    ):
        for node in NODES:
            desk.publish(node, disk_trouble="full" if node in full else "")
        assert desk.situation.coordinator(U1) == decides


def test_only_the_coordinator_decides() -> None:
    for me in NODES:
        written = Desk(web(), me=me).look()
        assert len(written) == (me == UNO)
        assert all(record.writer == f"{me}/b" for record in written)


def test_who_decides_follows_the_verdicts() -> None:
    desk = Desk(web(), me=DOS)
    assert desk.situation.coordinator(U1) == UNO
    desk.lose(UNO)
    assert desk.situation.coordinator(U1) == DOS
    assert len(desk.look()) == 1


def test_each_decision_sees_the_ones_before_it() -> None:
    written = Desk(web(BIG, replicas=5)).look()
    placed = [s.node for s in written if s.node is not None]
    assert sorted(placed) == sorted(NODES)  # 60 bytes of 100: one fits each
    assert [s.node for s in written].count(None) == 2


def test_a_removed_service_is_not_decided_about() -> None:
    assert Desk(web(None)).decide(2) == []


def test_a_slot_that_fits_nowhere_waits_and_starts_when_a_node_fits() -> None:
    desk = Desk(web(EDGE))
    (waiting,) = desk.look()
    assert (waiting.node, waiting.wanted) == (None, True)
    (entry,) = desk.notes
    assert entry.kind == "waits"
    assert "dos@dos: its role is not set, not edge; " in entry.text
    assert desk.decide(5) == []
    desk.write(decision(DOS, role="edge"))
    (placed,) = desk.look()
    assert placed.node == DOS
    assert placed.generation > waiting.generation
    assert placed.revision > waiting.revision


def test_of_many_services_each_look_takes_a_part_and_none_is_left_out() -> None:
    full = service("full", attrs.evolve(WEB, memory_bytes=100), replicas=len(NODES))
    taken = [slot(node, number, uid="full") for number, node in enumerate(NODES)]
    uids = (f"u{n}" for n in itertools.count())
    own = itertools.islice((u for u in uids if coordinator(u, NODES) == UNO), 120)
    alone = [service(uid, attrs.evolve(WEB, memory_bytes=1)) for uid in own]
    desk = Desk(full, *taken, *alone)
    assert [s.node for s in desk.look()] == [None] * 120
    assert desk.decide(5) == []
    desk.write(attrs.evolve(full, service=None))  # there is room: no word of it to them
    looks = [desk.look() for _ in range(17)]  # a round, and what was left of one
    assert max(len(written) for written in looks) == PART
    placed = [s.uid for written in looks for s in written]
    assert sorted(placed) == sorted(record.uid for record in alone)


def test_where_no_node_is_known_a_slot_waits_for_one() -> None:
    desk = Desk(web())
    for node in NODES:
        desk.view.forget_node(node)
    (waiting,) = desk.look()
    assert waiting.node is None
    assert desk.notes[0].text.endswith("waits: no node is known")


def test_a_number_that_was_given_up_is_filled_under_a_higher_generation() -> None:
    gone = at(None, 0, generation=3, wanted=False, made=2, ends=("x",))
    desk = Desk(web(replicas=2), gone, at(DOS, 1), runs(DOS, 1))
    (record,) = desk.look()
    assert (record.slot, record.generation, record.wanted) == (0, 4, True)
    assert (record.made, record.ends) == (0, ())


def test_a_container_whose_slot_was_lost_is_taken_back() -> None:
    """The only disk with the record is gone; its service and container are not."""
    desk = Desk(web(), runs(DOS, generation=3), runs(TRES, generation=5))
    (record,) = desk.look()
    assert (record.node, record.made) == (DOS, 3)
    assert record.generation == 6
    assert record.ends == (runs(TRES, generation=5).name,)


# Scaling down


@pytest.mark.parametrize(
    ("containers", "drained", "kept"),
    [
        pytest.param([runs(UNO), runs(DOS, 1), runs(TRES, 2)], None, [0], id="highest"),
        pytest.param([runs(DOS, 1), runs(TRES, 2)], None, [1], id="not running"),
        pytest.param([runs(TRES, 2)], None, [2], id="the only one that runs"),
        pytest.param(
            [runs(UNO), runs(DOS, 1), runs(TRES, 2)], UNO, [1], id="on a drained node"
        ),
        pytest.param([runs(UNO, generation=7)], None, [0], id="another than is named"),
    ],
)
def test_what_is_given_up(
    containers: list[Container], drained: str | None, kept: list[int]
) -> None:
    records = [decision(drained, drained=True, revision=9)] if drained else []
    desk = Desk(web(), at(UNO), at(DOS, 1), at(TRES, 2), *containers, *records)
    written = [s for s in desk.look() if not s.wanted]
    assert {s.slot for s in written} == {0, 1, 2} - {*kept}
    assert all((s.node, s.handover) == (None, False) for s in written)
    assert "given up: 1 are wanted" in desk.notes[0].text


# Failover


@pytest.mark.parametrize("status", [Status.DEAD, Status.LEFT])
def test_what_a_lost_node_ran_gets_a_new_generation_elsewhere(status: Status) -> None:
    desk = Desk(web(), at(TRES), runs(TRES))
    desk.lose(TRES, status)
    (record,) = desk.look()
    assert (record.slot, record.generation) == (0, 2)
    assert record.node in (UNO, DOS)
    assert desk.decide(5) == []


def test_the_cause_of_a_move_is_the_verdict() -> None:
    desk = Desk(web(cause="x/y/1"), at(TRES, cause="x/y/2"), runs(TRES))
    desk.lose(TRES)
    peer = desk.members.peer(TRES)
    assert peer is not None
    peer.entry = "x/y/3"
    desk.look()
    assert [entry.cause for entry in desk.notes] == ["x/y/3"]


POLICIES = {
    OnPartition.AVAILABLE: 0.0,
    OnPartition.MAJORITY: 3.0,
    OnPartition.KEEP: None,
}


@pytest.mark.parametrize("restart", Restart, ids=lambda r: r.value)
@pytest.mark.parametrize("policy", OnPartition, ids=lambda p: p.value)
@pytest.mark.parametrize("how", ["dead", "left", "removed", "paused", "engine away"])
def test_when_what_ran_on_a_node_is_placed_anew(
    how: str, policy: OnPartition, restart: Restart
) -> None:
    spec = attrs.evolve(WEB, restart=restart, on_partition=policy)
    desk = Desk(web(spec), at(TRES), runs(TRES))
    after_s = POLICIES[policy]
    if how == "removed":
        removed = decision(TRES, removed=document(TRES).disk_id, votes=False)
        desk.write(removed)
        desk.lost.add(TRES)
        desk.members.forget(TRES)
        after_s = 0.0
    elif how == "engine away":
        desk.publish(TRES, engine_lost="gone")
        desk.look()
        after_s = None if after_s is None else 10.0 + after_s
    else:
        desk.lose(TRES, Status(how))
        after_s = {"dead": after_s, "left": 0.0, "paused": None}[how]
    if restart is Restart.NEVER:
        after_s = None  # a job is not run again elsewhere
    if after_s is None:
        assert desk.decide(30) == []
        return
    if after_s:
        assert desk.decide(after_s - 0.25) == []
    (record,) = desk.decide(0.25) if after_s else desk.look()
    assert (record.generation, record.node in (UNO, DOS)) == (2, True)


@pytest.mark.parametrize("state", [State.EXITED, State.FAILED])
def test_what_has_ended_for_good_is_not_run_again_elsewhere(state: State) -> None:
    desk = Desk(web(), at(TRES), runs(TRES, state=state))
    desk.lose(TRES)
    assert desk.decide(5) == []


def test_an_engine_that_is_back_in_time_keeps_its_work() -> None:
    desk = Desk(web(), at(TRES), runs(TRES))
    desk.publish(TRES, engine_lost="gone")
    assert desk.decide(9.5) == []
    desk.publish(TRES, engine_lost="")
    assert desk.decide(1) == []
    desk.publish(TRES, engine_lost="gone again")
    assert desk.decide(9.5) == []


def test_a_node_that_has_not_listed_its_containers_keeps_its_work() -> None:
    """They most likely run on: its daemon was started again, and the engine is slow."""
    desk = Desk(web(), at(TRES), runs(TRES))
    desk.publish(TRES, containers=(), engine_lost=NOT_LISTED)
    assert desk.decide(60) == []
    desk.publish(TRES, engine_lost="it does not answer")
    assert desk.decide(9.5) == []
    (record,) = desk.decide(1)
    assert record.node in (UNO, DOS)


def test_where_fewer_than_half_are_seen_nothing_is_decided_that_wants_more() -> None:
    desk = Desk(web(MOST), at(TRES), runs(TRES))
    for node in (DOS, TRES):
        desk.lose(node)
    assert desk.decide(20) == []
    why = "no majority of the nodes is seen (on_partition: majority)"
    rows = desk.desk.places.candidates(MOST, U1)
    assert [(c.node, c.fits, c.reason) for c in rows] == [
        (node, False, why) for node in sorted(NODES)
    ]
    assert desk.desk.places.candidates(WEB, U1)[0].fits
    assert desk.desk.place(U1, 5, "") is not None  # an operator's: it waits
    waiting = desk.view.slot(U1, 5)
    assert waiting is not None
    assert waiting.node is None


def test_a_slot_that_lost_its_node_and_fits_nowhere_waits() -> None:
    only = attrs.evolve(WEB, hosts=(TRES,))
    desk = Desk(web(only), at(TRES, generation=4), runs(TRES, generation=4))
    desk.lose(TRES, Status.LEFT)
    (waiting,) = desk.look()
    assert (waiting.node, waiting.generation) == (None, 5)
    assert desk.decide(5) == []


@pytest.mark.parametrize("still_runs", [True, False])
def test_when_its_node_is_back_it_is_looked_for_there_first(still_runs: bool) -> None:
    only = attrs.evolve(WEB, hosts=(TRES,))
    desk = Desk(web(only), at(None, generation=5))
    desk.lose(TRES)
    desk.decide(2)
    desk.regain(TRES)
    assert desk.decide(0.5) == []  # what it says is not here yet
    if still_runs:
        desk.run(runs(TRES, generation=4))
    (back,) = desk.decide(1.25)
    assert back.node == TRES
    assert back.made == (4 if still_runs else 0)
    assert back.generation == 6
    assert desk.decide(5) == []


# Two containers in one slot


def sick(node: str, **changes: Any) -> Container:
    state, health = State.UNHEALTHY, Health.UNHEALTHY
    return runs(node, state=state, health=health, **changes)


@pytest.mark.parametrize(
    ("slot_at", "containers", "stays"),
    [
        pytest.param(
            at(DOS, generation=2),
            [ready(TRES), ready(DOS, generation=2)],
            TRES,
            id="the lower generation",
        ),
        pytest.param(
            at(DOS, generation=2),
            [sick(TRES), ready(DOS, generation=2)],
            DOS,
            id="the healthy one",
        ),
        pytest.param(
            at(DOS, generation=2),
            [
                ready(TRES, health=Health.STARTING),
                ready(DOS, generation=2, health=Health.HEALTHY),
            ],
            DOS,
            id="one that is not known healthy yet is not",
        ),
        pytest.param(
            at(TRES, generation=2),
            [ready(TRES, generation=2), ready(DOS, generation=2)],
            DOS,
            id="the name of the node",
        ),
        pytest.param(
            at(TRES, generation=4),
            [ready(UNO), ready(DOS, generation=2), ready(TRES, generation=4)],
            UNO,
            id="one of three",
        ),
        pytest.param(
            at(DOS, generation=2),
            [ready(TRES), runs(DOS, generation=2, state=State.STARTING)],
            TRES,
            id="the one that runs, before the other does",
        ),
        pytest.param(
            at(DOS, generation=2), [ready(TRES)], TRES, id="the only one that runs"
        ),
        pytest.param(
            at(DOS, generation=9, made=2),
            [ready(TRES), ready(DOS, generation=2)],
            TRES,
            id="by the generation that it was made in",
        ),
    ],
)
def test_who_stays(
    slot_at: SlotRecord, containers: list[Container], stays: str
) -> None:
    desk = Desk(web(), slot_at, *containers)
    assert desk.decide(0.5) == []  # nobody knows yet whether that is all
    (record,) = desk.decide(1)
    staying = next(c for c in containers if c.node == stays)
    assert (record.node, record.container_generation) == (stays, staying.generation)
    assert record.generation > slot_at.generation
    assert {*record.ends} == {c.name for c in containers if c.is_up} - {staying.name}
    assert desk.decide(10) == []


def test_where_a_majority_decides_what_it_decided_stays() -> None:
    """The other one was not ended in time, or began of an old table."""
    two = [ready(TRES), ready(DOS, generation=2)]
    (record,) = Desk(web(MOST), at(DOS, generation=2), *two).decide(2)
    assert (record.node, record.ends) == (DOS, (ready(TRES).name,))


def test_one_that_was_frozen_with_its_clock_hears_everybody_before_it_heals() -> None:
    """What it saw before is of before: the one that it would keep may be gone."""
    desk = Desk(web(), at(DOS, generation=2), ready(DOS, generation=2))
    assert desk.decide(10) == []
    desk.run(ready(TRES), ready(DOS, generation=2))
    desk.lost = {TRES}  # nothing is heard of it from now on; it is not judged yet
    assert desk.decide(1.25) == []
    assert desk.members.status(TRES) is Status.ALIVE
    desk.lost = set()
    (record,) = desk.decide(0.25)
    assert (record.node, record.ends) == (TRES, (ready(DOS, generation=2).name,))


def test_what_is_seen_of_a_conflict_is_seen_anew_by_who_decides_anew() -> None:
    """Without a majority nobody decides, and what was known before counts no more."""
    two = [ready(TRES), ready(DOS, generation=2)]
    desk = Desk(web(MOST), at(DOS, generation=2), *two)
    assert desk.decide(0.5) == []
    desk.unheard_by = {DOS, TRES}
    assert desk.decide(1.5) == []
    desk.unheard_by = set()
    assert desk.decide(0.75) == []
    (record,) = desk.decide(0.5)
    assert (record.node, record.ends) == (DOS, (ready(TRES).name,))


def test_a_heal_is_told_with_what_it_follows_from() -> None:
    desk = Desk(web(), at(DOS, generation=2), ready(TRES), ready(DOS, generation=2))
    peer = desk.members.peer(TRES)
    assert peer is not None
    peer.entry = "x/y/7"
    (record,) = desk.decide(2)
    (entry,) = desk.notes
    assert (entry.kind, entry.slot, entry.cause) == ("healed", 0, "x/y/7")
    stays, ends = ready(TRES).name, ready(DOS, generation=2).name
    assert entry.text == f"web: slot 0 healed: {stays} stays, {ends} ends"
    assert record.cause == entry.id


@pytest.mark.parametrize(
    "lost", [Status.DEAD, Status.LEFT, Status.PAUSED], ids=lambda s: s.value
)
def test_what_is_not_reached_is_not_decided_about(lost: Status) -> None:
    desk = Desk(web(), at(DOS, generation=2), ready(TRES), ready(DOS, generation=2))
    desk.lose(TRES, lost)
    assert desk.decide(5) == []


@pytest.mark.parametrize(
    "lost", [Status.DOWN, Status.PAUSED, Status.UNKNOWN], ids=lambda s: s.value
)
def test_while_it_is_not_known_whether_the_named_one_runs_nothing_is_ended(
    lost: Status,
) -> None:
    """The table may be an old one, and the other one what was decided since."""
    desk = Desk(web(), at(TRES), ready(TRES))
    if lost is Status.PAUSED:
        desk.lose(TRES, lost)
    if lost is Status.UNKNOWN:
        desk.members.forget(TRES)
        desk.members.learn(TRES, desk.now)
    desk.lost.add(TRES)

    def wait() -> list[SlotRecord]:
        written: list[SlotRecord] = []
        for _ in range(6):
            if lost is Status.DOWN:
                desk.members.tried(TRES, Knock.REFUSED, desk.now)
            written += desk.decide(0.5)
        return written

    assert wait() == []
    assert desk.members.status(TRES) is lost
    desk.run(ready(TRES), ready(DOS, generation=2))
    assert wait() == []
    desk.lose(TRES)
    (record,) = desk.decide(2)
    assert (record.node, record.made, record.ends) == (DOS, 2, ())


def test_what_is_known_of_the_named_one_must_be_what_its_node_says_now() -> None:
    desk = Desk(web(), at(TRES), ready(TRES), ready(DOS, generation=2))
    for _ in range(8):
        desk.now += 0.25
        for node, version in ((TRES, 9), (DOS, 1)):
            said = beat(node, version=version)
            desk.members.heard(node, f"{node}#1", desk.now, said)
        desk.members.tick(desk.now)
        desk.desk.tick()
        desk.desk.decide(desk.now)
        assert desk.out.records == {}
    desk.view.merge_document(document(TRES, version=9))  # it has ended there
    (record,) = desk.decide(2)
    assert record.node == DOS


def test_what_an_engine_that_is_away_ran_is_not_counted() -> None:
    desk = Desk(web(), at(DOS, generation=2), ready(TRES), ready(DOS, generation=2))
    desk.publish(TRES, engine_lost="gone")
    assert desk.decide(5) == []


def test_what_is_said_of_a_node_must_be_what_it_says_now() -> None:
    """It was cut off: what is known of it is from before."""
    desk = Desk(web(), at(DOS, generation=2), ready(TRES), ready(DOS, generation=2))
    newer = beat(TRES, version=9)
    for _ in range(12):
        desk.now += 0.25
        desk.members.heard(TRES, f"{TRES}#1", desk.now, newer)
        desk.members.heard(DOS, f"{DOS}#1", desk.now, beat(DOS, version=9))
        desk.members.tick(desk.now)
        desk.desk.decide(desk.now)
        assert desk.out.records == {}
    desk.view.merge_document(document(TRES, version=9))  # it ended there meanwhile
    assert desk.decide(5) == []


def test_a_container_in_a_slot_that_its_record_ends_is_no_duplicate() -> None:
    old = ready(TRES)
    desk = Desk(web(), at(DOS, generation=2, ends=(old.name,)), old)
    desk.run(old, ready(DOS, generation=2))
    assert desk.decide(5) == []


def test_while_the_nodes_come_and_go_no_duplicate_is_ended() -> None:
    desk = Desk(web(), at(UNO, generation=2), ready(TRES), ready(UNO, generation=2))
    for _ in range(4):
        desk.lose(DOS)
        desk.regain(DOS)
        assert desk.decide(0.75) == []
    assert len(desk.decide(1)) == 1


def test_a_slot_whose_node_is_lost_goes_to_one_that_runs_already() -> None:
    """Both sides of a cut network had one; the one that is named is dead since."""
    desk = Desk(web(), at(DOS, generation=2), ready(TRES), ready(DOS, generation=2))
    desk.lose(DOS)
    assert desk.look() == []
    (record,) = desk.decide(1.5)
    assert (record.node, record.made, record.ends) == (TRES, 1, ())
    assert "taken back" in desk.notes[-1].text


def test_what_ends_on_a_node_that_is_not_reached_is_decided_anew_when_it_is() -> None:
    """Else it would be stopped by a decision that is older than the reunion."""
    old, stays, extra = ready(TRES), ready(UNO, generation=2), ready(DOS, generation=3)
    named = at(UNO, generation=3, made=2, ends=(old.name,))
    desk = Desk(web(), named, old, stays, extra)
    desk.lose(TRES)
    (record,) = desk.decide(2)
    assert (record.node, record.ends) == (UNO, (extra.name,))


def test_a_new_container_has_a_name_of_its_own() -> None:
    """The other side of a cut network had come to a higher generation."""
    theirs = ready(DOS, generation=9)
    desk = Desk(web(), at(UNO, generation=3), ready(UNO, generation=3), theirs)
    (record,) = desk.decide(2)
    assert (record.node, record.made, record.ends) == (UNO, 3, (theirs.name,))
    assert record.generation == 10
    desk.run(attrs.evolve(theirs, state=State.STOPPING))
    desk.publish(UNO, engine_lost="gone")
    (placed,) = desk.decide(12)
    assert (placed.generation, placed.ends) == (11, ())


# Cut plans: a coordinator that dies half-way is finished by the next one


class Nodes:
    """All nodes as far as slots go: each does one step of what the table says."""

    def __init__(self, *running: Container) -> None:
        self.containers = {c.name: c for c in running}
        self.least_ready = 1

    def step(self, view: View, lost: set[str]) -> None:
        for name, held in list(self.containers.items()):
            record = view.slot(held.uid, held.slot)
            assert record is not None
            is_named = (record.node, record.container_generation) == (
                held.node,
                held.generation,
            )
            if held.node in lost:
                continue
            if name in record.ends or not record.wanted:
                del self.containers[name]
            elif is_named and not held.is_up:
                self.containers[name] = attrs.evolve(held, state=State.RUNNING)
            elif not is_named and not held.is_up:
                del self.containers[name]
        for record in view.slots(U1):
            if record.node is None or not record.wanted or record.node in lost:
                continue
            new = runs(
                record.node,
                record.slot,
                generation=record.container_generation,
                state=State.CREATING,
            )
            self.containers.setdefault(new.name, new)
        ready = {c.slot for c in self.containers.values() if c.is_ready}
        self.least_ready = min(self.least_ready, len(ready))

    def up(self) -> list[tuple[int, str]]:
        return sorted((c.slot, c.node) for c in self.containers.values() if c.is_up)


def carry_on(desk: Desk, nodes: Nodes, steps: int) -> None:
    """Let the node at the desk decide and all nodes obey, a second each."""
    for _ in range(steps):
        desk.decide(1)
        nodes.step(desk.view, desk.lost)
        desk.run(*nodes.containers.values())


def successor(desk: Desk, nodes: Nodes) -> Desk:
    """Return the next coordinator, with the same records and what the nodes run."""
    after = Desk(*desk.view.records(), *nodes.containers.values(), me=DOS)
    after.lose(UNO, Status.LEFT)
    return after


Start = Callable[[], tuple[Desk, Nodes]]
AWAY = attrs.evolve(WEB, hosts=(DOS, TRES))  # not where it is decided first


def begin_drain() -> tuple[Desk, Nodes]:
    nodes = Nodes(runs(TRES))
    desk = Desk(web(AWAY), at(TRES), *nodes.containers.values())
    desk.write(decision(TRES, drained=True))
    return desk, nodes


def begin_heal() -> tuple[Desk, Nodes]:
    nodes = Nodes(runs(TRES), runs(DOS, generation=2))
    return Desk(web(AWAY), at(DOS, generation=2), *nodes.containers.values()), nodes


def begin_scaling() -> tuple[Desk, Nodes]:
    nodes = Nodes(runs(TRES))
    desk = Desk(web(AWAY, replicas=3), at(TRES), *nodes.containers.values())
    return desk, nodes


def begin_shrinking() -> tuple[Desk, Nodes]:
    nodes = Nodes(runs(TRES), runs(DOS, 1), runs(DOS, 2))
    slots = (at(TRES), at(DOS, 1), at(DOS, 2))
    return Desk(web(AWAY), *slots, *nodes.containers.values()), nodes


@pytest.mark.parametrize("seconds", range(8))
@pytest.mark.parametrize(
    ("start", "running"),
    [
        pytest.param(begin_drain, 1, id="drain"),
        pytest.param(begin_heal, 1, id="heal"),
        pytest.param(begin_scaling, 3, id="scaling"),
        pytest.param(begin_shrinking, 1, id="shrinking"),
    ],
)
def test_a_plan_is_finished_by_the_next_coordinator(
    start: Start, running: int, seconds: int
) -> None:
    desk, nodes = start()
    carry_on(desk, nodes, seconds)
    after = successor(desk, nodes)
    carry_on(after, nodes, 20)
    assert [number for number, _ in nodes.up()] == list(range(running))
    assert nodes.least_ready == 1  # never none
    if start is begin_drain:
        assert [node for _, node in nodes.up()] == [DOS]
    slots = [s for s in after.view.slots(U1) if s.wanted]
    assert not any(record.handover for record in slots)
    assert after.decide(5) == []


@given(st.sets(st.sampled_from(NODES), min_size=1), st.integers(0, 4))
def test_whatever_part_of_the_writes_arrived_the_end_is_one_per_number(
    alive: set[str], done: int
) -> None:
    whole = Desk(web(replicas=4)).look()
    desk = Desk(web(replicas=4), *whole[:done], me=sorted(alive, key=NODES.index)[0])
    for node in {*NODES} - alive:
        desk.lose(node, Status.LEFT)
    desk.decide(2)
    slots = desk.view.slots(U1)
    assert [s.slot for s in slots] == [0, 1, 2, 3]
    assert all(s.wanted and s.node in alive for s in slots)
    assert desk.decide(2) == []


def test_two_that_decide_at_once_do_no_harm() -> None:
    """Nodes differ for a moment on who lives; then their records meet."""
    one = Desk(web(replicas=2), me=UNO)
    other = Desk(web(replicas=2), me=DOS)
    other.lose(UNO)
    theirs = [*one.look(), *other.look()]
    views = [View(), View()]
    for view, records in zip(views, (theirs, theirs[::-1]), strict=True):
        view.merge_record(web(replicas=2))
        for record in records:
            view.merge_record(record)
    assert views[0].slots(U1) == views[1].slots(U1)
    assert [s.slot for s in views[0].slots(U1)] == [0, 1]


def test_what_was_just_written_is_left_alone_for_a_moment() -> None:
    """Two that differ on who lives would undo each other's decisions at once."""
    desk = Desk(web(), at(TRES), runs(TRES))
    desk.lose(TRES)
    (record,) = desk.look()
    desk.write(attrs.evolve(record, node=TRES, writer="z@z"))
    assert desk.look() == []
    (again,) = desk.decide(2)
    assert again.node in (UNO, DOS)


def test_a_service_that_is_removed_while_it_waits_is_not_looked_at_again() -> None:
    desk = Desk(web(), at(DOS, generation=2), ready(TRES), ready(DOS, generation=2))
    assert desk.look() == []
    desk.write(web(None))
    desk.desk.decide(desk.now)
    assert desk.decide(3) == []


@pytest.mark.parametrize(
    ("replicas", "slots", "missing"),
    [
        pytest.param(0, [], [], id="none wanted"),
        pytest.param(3, [], [0, 1, 2], id="all"),
        pytest.param(3, [at(UNO, 1)], [0, 2], id="gaps first"),
        pytest.param(1, [at(UNO, 0, wanted=False)], [0], id="one given up"),
        pytest.param(2, [at(None, 0), at(UNO, 1)], [], id="a waiting one counts"),
        pytest.param(2, [at(UNO, 5)], [0], id="a high number counts"),
        pytest.param(1, [at(UNO, 0), at(UNO, 1)], [], id="more than wanted"),
    ],
)
def test_missing_slots(
    replicas: int, slots: list[SlotRecord], missing: list[int]
) -> None:
    assert missing_slots(web(replicas=replicas), slots) == missing


def test_what_runs_without_a_record_fills_first() -> None:
    assert missing_slots(web(replicas=3), [at(UNO, 0)], [7]) == [7, 1]
    assert missing_slots(web(replicas=2), [at(UNO, 0)], [4, 7]) == [4]


def test_candidates_know_roles_instances_and_what_is_reserved() -> None:
    desk = Desk(
        decision(DOS, role="edge", revision=9),
        web(),
        at(UNO),
        service("other", BIG),
        slot(DOS, uid="other"),
    )
    desk.lose(TRES, Status.PAUSED)

    def rows(spec: Service) -> list[tuple[str, str]]:
        return [(c.node, c.reason) for c in desk.desk.places.candidates(spec, U1)]

    assert rows(WEB) == [(DOS, ""), (UNO, ""), (TRES, "it is paused")]
    assert rows(BIG)[0] == (UNO, "")
    assert rows(BIG)[1] == (DOS, "wants 60 bytes of memory, 40 left of 100")
    assert rows(EDGE)[0] == (DOS, "")


# Voters


def voters(desk: Desk) -> list[str]:
    """Return who votes once the node at the desk has looked."""
    desk._quarter(0.25, decide=False)
    desk.desk.tick()
    desk.desk.decide(desk.now)
    desk.out.clear()
    return desk.view.voters()


def newcomers(me: str = UNO, *known: str) -> Desk:
    """Return a desk where only some vote yet."""
    desk = Desk(me=me)
    for node in {*NODES} - {*known}:
        desk.write(decision(node, votes=False))
    return desk


def test_nodes_that_hear_each_other_are_counted() -> None:
    seen = {me: voters(newcomers(me)) for me in NODES}
    for node in NODES:
        (admitting,) = [me for me in NODES if node in seen[me]]
        assert admitting == coordinator(f"node/{node}", NODES)


def test_a_node_without_any_record_is_counted_too() -> None:
    """Of a cluster that has just begun, or one of the version before."""
    view, out = View(), Outbox(node=UNO, boot="b")
    view.merge_document(document(UNO))
    members = Membership(UNO, Timing(), 0.0)
    reconciler(UNO, view, members, out).decide(0.0)
    assert list(out.records.values()) == [
        NodeRecord(node=UNO, revision=1, writer=f"{UNO}/b", votes=True)
    ]


def test_nobody_is_counted_while_one_that_counts_is_not_heard() -> None:
    """Else a side of a partition could make itself the larger one by newcomers."""
    admitting = coordinator(f"node/{TRES}", (UNO, TRES))
    desk = newcomers(admitting, UNO, DOS)
    desk.lose(DOS)
    assert voters(desk) == sorted([UNO, DOS])
    desk.regain(DOS)
    desk.unheard_by = {DOS}
    assert voters(desk) == sorted([UNO, DOS])
    desk.unheard_by = set()
    assert voters(desk) == sorted(NODES)


@pytest.mark.parametrize("me", NODES)
def test_one_that_left_counts_no_more(me: str) -> None:
    leaving = next(node for node in NODES if node != me)
    desk = Desk(me=me)
    desk.lose(leaving, Status.DEAD)
    assert leaving in voters(desk)  # it may live on the other side
    desk.lose(leaving, Status.LEFT)
    writing = coordinator(f"node/{leaving}", {*NODES} - {leaving})
    assert (leaving in voters(desk)) is (writing != me)
    desk.decide(2)  # who is to write it may not have heard it
    assert leaving not in voters(desk)
    assert desk.view.head(leaving) is None  # nothing waits for it
    assert desk.view.is_removed(document(leaving))


def test_one_that_left_is_shown_while_it_stops_what_ran_there() -> None:
    leaving = next(n for n in NODES if coordinator(f"node/{n}", {*NODES} - {n}) == UNO)
    desk = Desk(web(), at(leaving), runs(leaving, state=State.STOPPING))
    desk.lose(leaving, Status.LEFT)
    (placed,) = desk.look()
    assert placed.node != leaving  # at once
    desk.decide(5)
    assert desk.view.head(leaving) is not None
    desk.publish(leaving, containers=())
    desk.look()
    assert desk.view.head(leaving) is None


def test_one_that_left_and_fell_silent_is_let_go_when_it_had_the_time_to_stop() -> None:
    desk = Desk(runs(DOS, state=State.STOPPING))
    desk.lose(DOS, Status.LEFT)
    desk.decide(18)
    assert desk.view.head(DOS) is not None
    desk.decide(2)
    assert desk.view.head(DOS) is None


def test_what_takes_long_to_stop_is_waited_for_where_its_node_left() -> None:
    slow = attrs.evolve(WEB, stop_timeout_s=60)
    desk = Desk(web(service=slow), runs(DOS, state=State.STOPPING))
    desk.lose(DOS, Status.LEFT)
    desk.decide(64)
    assert desk.view.head(DOS) is not None
    desk.decide(6)
    assert desk.view.head(DOS) is None


def test_one_that_is_back_already_is_not_let_go() -> None:
    """Its new process is known from the others; it was not heard here yet."""
    desk = Desk(decision(DOS, votes=False))
    desk.publish(DOS, boot_id="dos@dos#2")
    desk.lose(DOS, Status.LEFT)
    desk.decide(5)
    assert desk.view.head(DOS) is not None


def test_one_that_is_not_heard_both_ways_is_not_counted() -> None:
    admitting = coordinator(f"node/{TRES}", NODES)
    desk = newcomers(admitting, UNO, DOS)
    desk.unheard_by = {TRES}
    if admitting != TRES:
        assert voters(desk) == sorted([UNO, DOS])
    desk.unheard_by = set()
    assert voters(desk) == sorted(NODES)
