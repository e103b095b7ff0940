"""A group whose node is drained moves as a whole, whatever fails on the way."""

from __future__ import annotations

import itertools
from collections.abc import Set

import attrs
import pytest

from tests.core.desk import Desk, decision
from tests.core.samples import DOS, TRES, UNO
from tests.core.test_groups import APP, DB, at, member, runs
from veo_shell.core.model import Container, OnPartition, SlotRecord, State
from veo_shell.core.turns import awaited, stops_first

BOTH = DB, APP
ELSEWHERE = UNO, TRES
AVAILABLE, MAJORITY = OnPartition.AVAILABLE, OnPartition.MAJORITY


class Played(Desk):
    """A desk whose nodes run what they are told, or fail to where they are to."""

    def __init__(self, fails: Set[tuple[str, str]], by: State, **how: OnPartition):
        specs = [member(uid, on_partition=how[uid]) for uid in BOTH]
        super().__init__(*specs, *(at(uid, DOS) for uid in BOTH))
        self._fails, self._by = fails, by
        self.held: dict[str, Container] = {}

    def play(self, for_s: float) -> None:
        for _ in range(round(for_s / 0.5)):
            self._perform()
            self.decide(0.5)

    def _perform(self) -> None:
        """Have each node follow the table: what it is to begin, and to end."""
        slots = [slot for uid in BOTH if (slot := self.view.slot(uid, 0))]
        for slot in slots:
            for name, c in list(self.held.items()):
                if c.uid == slot.uid and self._is_to_end(slot, c):
                    del self.held[name]
        for slot in slots:
            self._begin(slot)
        self.run(*self.held.values())

    def _is_to_end(self, slot: SlotRecord, c: Container) -> bool:
        is_named = (slot.node, slot.container_generation) == (c.node, c.generation)
        return c.name in slot.ends or not (is_named or c.is_up)

    def _begin(self, slot: SlotRecord) -> None:
        assert slot.node is not None
        spec = self.view.spec_of(slot)
        assert spec is not None
        made = runs(slot.uid, slot.node, generation=slot.container_generation)
        rest = [c for c in self.held.values() if c.uid == slot.uid and c.is_up]
        waits = awaited(self.view, spec) or (rest and stops_first(spec))
        if made.name not in self.held and not waits:
            if (slot.uid, slot.node) in self._fails:
                made = attrs.evolve(made, state=self._by, reason="boom")
            self.held[made.name] = made

    def places(self) -> dict[str, tuple[str | None, bool]]:
        slots = [slot for uid in BOTH if (slot := self.view.slot(uid, 0))]
        return {slot.uid: (slot.node, slot.handover) for slot in slots}


def subsets(of: list[tuple[str, str]]) -> list[frozenset[tuple[str, str]]]:
    counts = range(len(of) + 1)
    return [frozenset(s) for n in counts for s in itertools.combinations(of, n)]


@pytest.mark.parametrize("app", [AVAILABLE, MAJORITY])
@pytest.mark.parametrize("db", [AVAILABLE, MAJORITY])
@pytest.mark.parametrize("by", [State.BACKOFF, State.FAILED])
def test_a_drained_group_ends_on_one_node_that_runs_all_of_it_if_there_is_one(
    by: State, db: OnPartition, app: OnPartition
) -> None:
    for fails in subsets([(uid, node) for uid in BOTH for node in ELSEWHERE]):
        desk = Played(fails, by, db=db, app=app)
        desk.play(2)
        desk.write(decision(DOS, drained=True, drained_by="x/y/9"))
        desk.play(40 if by is State.BACKOFF else 12)
        good = {n for n in ELSEWHERE if not fails & {(DB, n), (APP, n)}} or {DOS}
        (place, *rest) = set(desk.places().values())
        assert not rest, (fails, desk.places())
        assert place[0] in good, (fails, place)
        assert place[1] is False
        ready = {c.uid: c.node for c in desk.held.values() if c.is_ready}
        assert ready == dict.fromkeys(BOTH, place[0]), (fails, desk.held)


@pytest.mark.parametrize("app", [AVAILABLE, MAJORITY])
@pytest.mark.parametrize("db", [AVAILABLE, MAJORITY])
@pytest.mark.parametrize("which", BOTH)
@pytest.mark.parametrize("everywhere", [True, False])
def test_a_group_of_which_one_crashes_again_and_again_stays_one(
    which: str, db: OnPartition, app: OnPartition, everywhere: bool
) -> None:
    nodes = [DOS, UNO, TRES] if everywhere else [DOS]
    desk = Played(set(), State.BACKOFF, db=db, app=app)
    desk.play(2)
    desk._fails = {(which, node) for node in nodes}
    crashed = next(c for c in desk.held.values() if c.uid == which)
    desk.held[crashed.name] = attrs.evolve(crashed, state=State.BACKOFF, reason="boom")
    desk.play(2)
    desk.write(decision(DOS, drained=True, drained_by="x/y/9"))
    desk.play(45)
    assert len(set(desk.places().values())) == 1, desk.places()
    if not everywhere:
        (place,) = set(desk.places().values())
        assert place[0] in ELSEWHERE
