"""A group whose node is drained moves as a whole, whatever fails on the way."""

from __future__ import annotations

import itertools
from collections.abc import Set

import attrs
import pytest

from tests.core.desk import Desk, decision
from tests.core.samples import DOS, TRES, UNO
from tests.core.test_groups import APP, DB, at, member, runs
from veo_shell.core.model import Container, OnPartition, SlotRecord, State, Stuck
from veo_shell.core.turns import awaited, stops_first

BOTH = DB, APP
ELSEWHERE = UNO, TRES
AVAILABLE, MAJORITY = OnPartition.AVAILABLE, OnPartition.MAJORITY


class Played(Desk):
    """A desk whose nodes run what they are told, or fail to where they are to.

    `by` RUNNING: it starts, and ends half a second later, again and again.
    """

    def __init__(
        self, fails: Set[tuple[str, str]], by: State, **how: OnPartition
    ) -> None:
        specs = [member(uid, on_partition=how[uid]) for uid in BOTH]
        super().__init__(*specs, *(at(uid, DOS) for uid in BOTH))
        self.fails, self._by = fails, by
        self.held: dict[str, Container] = {}

    def play(self, for_s: float) -> None:
        for _ in range(round(for_s / 0.5)):
            self._perform()
            self.decide(0.5)

    def _perform(self) -> None:
        """Have each node follow the table: what it is to begin, and to end."""
        slots = self.slots()
        for slot in slots:
            for name, c in list(self.held.items()):
                if (c.uid, c.slot) == (slot.uid, slot.slot) and _is_to_end(slot, c):
                    del self.held[name]
        for slot in slots:
            self._begin(slot)
        for name, c in self.held.items():
            if self._by is State.RUNNING and (c.uid, c.node) in self.fails:
                self.held[name] = self._next_of(c)
        self.run(*self.held.values())

    def _begin(self, slot: SlotRecord) -> None:
        assert slot.node is not None
        spec = self.view.spec_of(slot)
        assert spec is not None
        place, generation = (slot.uid, slot.slot), slot.container_generation
        made = runs(slot.uid, slot.node, slot.slot, generation=generation)
        rest = [c for c in self.held.values() if (c.uid, c.slot) == place and c.is_up]
        waits = awaited(self.view, spec) or (rest and stops_first(spec))
        if made.name not in self.held and not waits:
            if (slot.uid, slot.node) in self.fails:
                made = attrs.evolve(made, state=self._by, reason="boom")
            self.held[made.name] = made

    def _next_of(self, c: Container) -> Container:
        """Return what becomes of one that ends soon after each start."""
        if c.is_ready and c.id:
            return attrs.evolve(c, state=State.BACKOFF, reason="boom")
        return attrs.evolve(
            c, id="1", state=State.RUNNING, restarts=c.restarts + bool(c.id)
        )

    def slots(self) -> list[SlotRecord]:
        return [s for uid in BOTH for s in self.view.slots(uid) if s.wanted]

    def places(self) -> set[tuple[str | None, bool]]:
        """Return where the slots are, and whether they are on their way there."""
        return {(slot.node, slot.handover) for slot in self.slots()}

    def drain(self, node: str) -> None:
        self.write(decision(node, drained=True, drained_by=f"x/{node}/9"))


def _is_to_end(slot: SlotRecord, c: Container) -> bool:
    is_named = (slot.node, slot.container_generation) == (c.node, c.generation)
    return c.name in slot.ends or not (is_named or c.is_up)


def subsets(of: list[tuple[str, str]]) -> list[frozenset[tuple[str, str]]]:
    counts = range(len(of) + 1)
    return [frozenset(s) for n in counts for s in itertools.combinations(of, n)]


@pytest.mark.parametrize("app", [AVAILABLE, MAJORITY])
@pytest.mark.parametrize("db", [AVAILABLE, MAJORITY])
@pytest.mark.parametrize("by", [State.BACKOFF, State.FAILED, State.RUNNING])
def test_a_drained_group_ends_on_one_node_that_runs_all_of_it_if_there_is_one(
    by: State, db: OnPartition, app: OnPartition
) -> None:
    for fails in subsets([(uid, node) for uid in BOTH for node in ELSEWHERE]):
        desk = Played(fails, by, db=db, app=app)
        desk.play(2)
        desk.drain(DOS)
        desk.play(12 if by is State.FAILED else 40)
        good = {n for n in ELSEWHERE if not fails & {(DB, n), (APP, n)}} or {DOS}
        place, *rest = desk.places()
        assert not rest, (fails, desk.places())
        assert place[0] in good, (fails, place)
        assert place[1] is False
        ready = {c.uid: c.node for c in desk.held.values() if c.is_ready}
        assert ready == dict.fromkeys(BOTH, place[0]), (fails, desk.held)


@pytest.mark.parametrize("app", [AVAILABLE, MAJORITY])
@pytest.mark.parametrize("db", [AVAILABLE, MAJORITY])
@pytest.mark.parametrize("which", BOTH)
@pytest.mark.parametrize("everywhere", [True, False])
@pytest.mark.parametrize("by", [State.BACKOFF, State.RUNNING])
def test_a_group_of_which_one_crashes_again_and_again_stays_one(
    which: str, db: OnPartition, app: OnPartition, everywhere: bool, by: State
) -> None:
    nodes = [DOS, UNO, TRES] if everywhere else [DOS]
    desk = Played(set(), by, db=db, app=app)
    desk.play(2)
    desk.fails = {(which, node) for node in nodes}
    crashed = next(c for c in desk.held.values() if c.uid == which)
    desk.held[crashed.name] = attrs.evolve(crashed, state=State.BACKOFF, reason="boom")
    desk.play(2)
    desk.drain(DOS)
    desk.play(45)
    (place,) = desk.places()
    assert everywhere or place[0] in ELSEWHERE


@pytest.mark.parametrize("app", [AVAILABLE, MAJORITY])
@pytest.mark.parametrize("db", [AVAILABLE, MAJORITY])
@pytest.mark.parametrize("which", BOTH)
@pytest.mark.parametrize("after_s", [0.5, 2, 8])
def test_two_nodes_are_drained_one_after_the_other_and_the_third_fails_one(
    after_s: float, which: str, db: OnPartition, app: OnPartition
) -> None:
    desk = Played(set(), State.RUNNING, db=db, app=app)
    desk.play(2)
    desk.drain(DOS)
    desk.play(0.5)
    to = str(desk.slots()[0].node)
    (third,) = {*ELSEWHERE} - {to}
    desk.fails = {(which, third)}
    desk.play(after_s)
    desk.drain(to)
    desk.play(60)
    ((node, is_moving),) = desk.places()
    assert node != third
    assert not is_moving


def test_the_next_node_is_tried_with_one_that_was_added_meanwhile() -> None:
    desk = Played({(APP, TRES), (APP, UNO)}, State.RUNNING, db=AVAILABLE, app=AVAILABLE)
    desk.play(2)
    desk.drain(DOS)
    desk.play(3)
    to = str(desk.slots()[0].node)
    desk.write(member(DB, replicas=2))
    desk.fails = {(APP, to)}
    desk.play(60)
    assert desk.places() == {(({*ELSEWHERE} - {to}).pop(), False)}


@pytest.mark.parametrize("after_s", [0.5, 2, 5])
def test_where_no_other_node_can_run_all_of_it_no_move_is_left_open(
    after_s: float,
) -> None:
    """What was added to the group meanwhile stays where it is: that was the place."""
    desk = Played(set(), State.RUNNING, db=AVAILABLE, app=AVAILABLE)
    desk.play(2)
    desk.fails = {(DB, node) for node in ELSEWHERE}
    desk.drain(DOS)
    desk.play(after_s)
    desk.write(member(APP, replicas=2))
    desk.play(60)
    assert {is_moving for _, is_moving in desk.places()} == {False}
    assert len(desk.held) == 3
    assert {c.node for c in desk.held.values() if c.slot == 0} == {DOS}


def test_one_that_has_done_its_work_is_waited_for_no_more() -> None:
    desk = Played(set(), State.RUNNING, db=AVAILABLE, app=AVAILABLE)
    desk.play(2)
    desk.drain(DOS)
    desk.play(0.5)
    to = str(desk.slots()[0].node)
    old = runs(DB, DOS), runs(APP, DOS)
    done = runs(DB, to, generation=2, state=State.EXITED, exit_code=0)
    desk.run(*old, runs(APP, to, generation=2), done)
    desk.decide(2)
    assert desk.places() == {(to, False)}


def test_one_that_is_drained_elsewhere_sees_where_its_group_could_not_go() -> None:
    by = {DOS: "x/dos/9", TRES: "x/tres/9"}
    stuck = Stuck(node=UNO, reason="boom", decision=by[DOS])
    moving = at(APP, UNO, generation=2, handover=True, drained_from=TRES)
    desk = Desk(member(DB), member(APP), at(DB, DOS, stuck=(stuck,)), moving)
    desk.write(*(decision(n, drained=True, drained_by=d) for n, d in by.items()))
    desk.run(runs(DB, DOS), runs(APP, TRES), runs(APP, UNO, generation=2))
    desk.decide(3)
    app = desk.view.slot(APP, 0)
    assert app is not None
    assert (app.node, app.handover) == (TRES, False)
    assert "db: boom" in desk.notes[0].text
