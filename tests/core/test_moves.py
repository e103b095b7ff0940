"""How instances move: the new one first, and back where that cannot be."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from tests.core.desk import (
    EDGE,
    KEEP,
    MOST,
    ONCE,
    U1,
    Desk,
    at,
    decision,
    ready,
    runs,
    web,
)
from tests.core.samples import (
    DOS,
    TRES,
    UNO,
    WEB,
    document,
)
from veo_shell.core.model import (
    NOT_LISTED,
    Container,
    Health,
    OnPartition,
    Record,
    Service,
    SlotRecord,
    State,
    Status,
    Stuck,
)


def drained(*held: Record | Container, spec: Service = WEB, me: str = UNO) -> Desk:
    desk = Desk(web(spec, replicas=2), at(DOS), at(DOS, 1), *held, me=me)
    desk.run(runs(DOS), runs(DOS, 1))
    desk.write(decision(DOS, drained=True, drained_by="x/y/9"))
    return desk


def test_work_moves_away_from_a_drained_node_one_at_a_time() -> None:
    desk = drained()
    (first,) = desk.decide(2)
    assert (first.slot, first.generation, first.handover) == (0, 2, True)
    assert first.node in (UNO, TRES)
    assert first.ends == ()
    assert desk.notes[0].cause == "x/y/9"
    new = ready(str(first.node), generation=2)
    desk.run(runs(DOS), runs(DOS, 1), attrs.evolve(new, state=State.STARTING))
    assert desk.decide(3) == []
    desk.run(runs(DOS), runs(DOS, 1), attrs.evolve(new, health=Health.STARTING))
    assert desk.decide(3) == []
    desk.run(runs(DOS), runs(DOS, 1), new)
    over, second = desk.decide(1.5)
    assert (over.slot, over.handover, over.ends) == (0, False, (runs(DOS).name,))
    assert over.generation == first.generation
    assert (second.slot, second.handover) == (1, True)
    assert desk.decide(3) == []


def test_the_instances_of_a_majority_service_stop_before_they_move() -> None:
    desk = drained(spec=MOST)
    (first,) = desk.decide(2)
    assert (first.slot, first.ends) == (0, (runs(DOS).name,))
    for held in (
        [runs(DOS, state=State.STOPPING)],
        [],
        [ready(str(first.node), generation=2, state=State.STARTING)],
    ):
        desk.run(runs(DOS, 1), *held)
        assert desk.decide(3) == []  # the other one stays while this one moves
    desk.run(runs(DOS, 1), ready(str(first.node), generation=2))
    over, second = desk.decide(2)
    assert (over.slot, over.handover) == (0, False)
    assert (second.slot, second.ends) == (1, (runs(DOS, 1).name,))


def test_what_stops_first_stays_only_where_it_stays_up() -> None:
    desk = drained_of_one(MOST)
    (moved,) = desk.decide(2)
    new = ready(str(moved.node), generation=2)
    ends = attrs.evolve(new, state=State.BACKOFF, reason="boom")
    for restarts in range(12):
        desk.run(attrs.evolve(new, restarts=restarts))
        assert desk.decide(0.5) == []
        desk.run(attrs.evolve(ends, restarts=restarts))
        if found := desk.decide(0.5):
            break
    (on,) = found
    assert on.node not in (DOS, moved.node)
    assert on.handover


def test_where_a_third_one_runs_a_majority_service_is_healed_first() -> None:
    """Else the new one waits for it to end, and nobody ends it before that is ready."""
    desk = Desk(web(MOST), at(TRES, generation=2, handover=True), ready(DOS))
    (record,) = desk.decide(2)
    assert (record.node, record.made, record.handover) == (DOS, 1, False)


@pytest.mark.parametrize(
    ("spec", "held"),
    [
        pytest.param(ONCE, runs(DOS), id="a job"),
        pytest.param(WEB, runs(DOS, state=State.EXITED), id="one that has ended"),
        pytest.param(attrs.evolve(WEB, hosts=(DOS,)), runs(DOS), id="no other fits"),
    ],
)
def test_what_stays_on_a_drained_node(spec: Service, held: Container) -> None:
    desk = Desk(
        web(spec), at(DOS, done=held.state is State.EXITED or spec is ONCE), held
    )
    desk.write(decision(DOS, drained=True))
    assert desk.decide(5) == []


def test_what_cannot_be_reached_is_filled_anew_where_it_is_one_at_a_time() -> None:
    old = [runs(DOS, n, address="", reason="no address") for n in (0, 1)]
    # Whatever room is left: what takes over is in place of what is there.
    big = attrs.evolve(WEB, cpus=2.0, on_partition=OnPartition.KEEP)
    desk = Desk(web(big, replicas=2), at(DOS), at(DOS, 1, cause="x/y/9"), *old)
    (first,) = desk.decide(2)
    assert (first.slot, first.node, first.generation) == (0, DOS, 2)
    assert (first.handover, first.ends) == (True, ())
    assert desk.notes[0].text == ("web: slot 0 is filled anew on dos@dos: no address")
    new = ready(DOS, generation=2)
    desk.run(*old, new)
    over, second = desk.decide(2)
    assert (over.slot, over.handover, over.ends) == (0, False, (old[0].name,))
    assert (second.slot, second.node, second.handover) == (1, DOS, True)
    assert desk.notes[-1].cause == "x/y/9"


def test_on_a_drained_node_it_is_filled_elsewhere_if_it_can_be() -> None:
    old = runs(DOS, address="")
    desk = Desk(web(), at(DOS), old)
    desk.write(decision(DOS, drained=True))
    (moved,) = desk.decide(2)
    assert moved.node in (UNO, TRES)
    desk = Desk(web(attrs.evolve(WEB, hosts=(DOS,))), at(DOS), old)
    desk.write(decision(DOS, drained=True))
    (anew,) = desk.decide(2)
    assert (anew.node, anew.generation) == (DOS, 2)


@pytest.mark.parametrize(
    ("spec", "held"),
    [
        pytest.param(ONCE, runs(DOS, address=""), id="a job"),
        pytest.param(WEB, runs(DOS, address="", state=State.BACKOFF), id="down"),
    ],
)
def test_what_is_not_filled_anew(spec: Service, held: Container) -> None:
    assert Desk(web(spec), at(DOS, done=spec is ONCE), held).decide(5) == []


def test_a_drained_node_that_is_lost_is_failed_over_instead() -> None:
    desk = drained()
    desk.lose(DOS, Status.PAUSED)
    assert desk.decide(2) == []
    desk.lose(DOS, Status.LEFT)
    assert [record.handover for record in desk.look()] == [False, False]


@pytest.mark.parametrize(
    ("lost", "then"),
    [(TRES, (DOS, False, 1)), (DOS, (TRES, False, 0))],
    ids=["the new one", "the old one"],
)
def test_a_node_that_is_lost_while_a_slot_moves(
    lost: str, then: tuple[str, bool, int]
) -> None:
    moving = at(TRES, generation=2, handover=True)
    desk = Desk(web(), moving, runs(DOS))
    desk.lose(lost)
    if lost == DOS:
        desk.decide(2)
        desk.run(ready(TRES, generation=2))
    desk.decide(3)
    record = desk.view.slot(U1, 0)
    assert record is not None
    assert (record.node, record.handover, record.made) == then


@pytest.mark.parametrize("state", [State.EXITED, State.FAILED])
def test_a_job_that_is_done_is_not_run_again_when_its_node_is_removed(
    state: State,
) -> None:
    desk = Desk(web(), at(DOS), runs(DOS, state=state))
    (record,) = desk.decide(2)
    assert (record.done, record.node, record.generation) == (True, DOS, 1)
    desk.view.merge_record(decision(DOS, removed=document(DOS).identity, revision=99))
    assert desk.view.head(DOS) is None
    assert desk.decide(5) == []


@pytest.mark.parametrize(("made", "done"), [("", False), ("id1", True)])
def test_a_job_is_done_once_its_container_was_made(made: str, done: bool) -> None:
    """It is not to be begun again where its node is back without it."""
    desk = Desk(web(ONCE), at(DOS), runs(DOS, state=State.STARTING, id=made))
    desk.decide(2)
    record = desk.view.slot(U1, 0)
    assert record is not None
    assert record.done is done
    desk.run()
    assert desk.decide(5) == []


def test_one_that_runs_again_is_not_done() -> None:
    """Its engine had ended it."""
    desk = Desk(web(), at(DOS), runs(DOS, state=State.EXITED))
    desk.decide(2)
    desk.run(runs(DOS))
    (record,) = desk.decide(2)
    assert not record.done
    desk.lose(DOS)
    (moved,) = desk.decide(1)
    assert moved.node != DOS


@pytest.mark.parametrize("status", [Status.DEAD, Status.LEFT])
@pytest.mark.parametrize("spec", [KEEP, ONCE], ids=["keep", "a job"])
def test_a_move_to_a_node_that_is_lost_meanwhile_is_taken_back(
    spec: Service, status: Status
) -> None:
    """Nothing has moved yet, so what may not be moved runs on where it did."""
    desk = Desk(web(spec), at(TRES, generation=2, handover=True), runs(DOS))
    desk.lose(TRES, status)
    record, *later = desk.decide(3)
    assert (record.node, record.made, record.handover) == (DOS, 1, False)
    assert [r.done for r in later] == ([True] if spec is ONCE else [])


def test_a_move_whose_old_instance_is_lost_does_not_hold_up_the_others() -> None:
    """What it moved to fails on; nothing is left that it could be taken back to."""
    old, other = runs(TRES), runs(UNO, 1)
    new = runs(DOS, generation=2, state=State.BACKOFF, reason="exit code 1")
    moving = at(DOS, generation=2, handover=True, drained_from=TRES)
    desk = Desk(web(replicas=2), moving, at(UNO, 1), old, new, other)
    desk.write(decision(TRES, drained=True, drained_by="c1"))
    desk.lose(TRES)
    ended, *_ = desk.decide(1)
    assert (ended.slot, ended.handover, ended.node) == (0, False, DOS)
    desk.write(decision(UNO, drained=True, drained_by="c2"))
    (moved,) = desk.decide(1)
    assert (moved.slot, moved.node, moved.drained_from) == (1, DOS, UNO)


def test_a_new_one_that_has_done_its_job_takes_over_too() -> None:
    moving = at(TRES, generation=2, handover=True)
    done = ready(TRES, generation=2, state=State.EXITED)
    (record,) = Desk(web(), moving, runs(DOS), done).look()
    assert (record.handover, record.ends) == (False, (runs(DOS).name,))


def test_a_new_one_that_ends_at_once_does_not_take_over() -> None:
    """It runs for a moment only, again and again."""
    desk = Desk(web(), at(TRES, generation=2, handover=True), runs(DOS))
    for restarts in range(8):
        desk.run(runs(DOS), ready(TRES, generation=2, restarts=restarts))
        assert desk.decide(0.75) == []
    desk.run(runs(DOS), ready(TRES, generation=2, state=State.BACKOFF))
    assert desk.decide(0.75) == []
    desk.run(runs(DOS), ready(TRES, generation=2, restarts=8))
    (over,) = desk.decide(1.5)
    assert (over.node, over.handover) == (TRES, False)


def test_where_nothing_is_left_to_end_a_move_is_over() -> None:
    moving = at(TRES, generation=2, handover=True)
    desk = Desk(web(), moving, ready(TRES, generation=2, state=State.BACKOFF))
    (record,) = desk.look()
    assert (record.node, record.handover) == (TRES, False)


def test_a_slot_is_moved_only_where_it_fits() -> None:
    desk = Desk(web(EDGE), at(None), at(DOS, 1))
    waiting, placed = desk.view.slots(U1)
    assert desk.desk.moves.begin(placed, TRES, "") is None  # another role
    assert desk.desk.moves.begin(placed, "nobody@x", "") is None
    desk.write(decision(TRES, role="edge"))
    assert desk.desk.moves.begin(waiting, TRES, "") is None
    moved = desk.desk.moves.begin(placed, TRES, "", "operation")
    assert moved is not None
    assert (moved.node, moved.operation, moved.handover) == (TRES, "operation", True)


def test_what_may_be_moved() -> None:
    desk = Desk(web(), at(DOS), at(DOS, 1), runs(DOS), runs(DOS, 1, state=State.EXITED))
    one, other = desk.view.slots(U1)
    assert desk.situation.is_movable(one, WEB)
    assert not desk.situation.is_movable(one, ONCE)
    assert not desk.situation.is_movable(other, WEB)


# What cannot be


def drained_of_one(spec: Service = WEB) -> Desk:
    """One instance on dos, which is drained."""
    desk = Desk(web(spec), at(DOS), runs(DOS))
    desk.write(decision(DOS, drained=True, drained_by="x/y/9"))
    return desk


@pytest.mark.parametrize("spec", [WEB, MOST], ids=["available", "majority"])
def test_nothing_moves_from_where_it_is_not_known_what_runs(spec: Service) -> None:
    """It would run twice: its old instance is in no slot, and nobody would end it."""
    desk = drained_of_one(spec)
    desk.publish(DOS, containers=(), engine_lost=NOT_LISTED)
    assert desk.decide(20) == []
    desk.publish(DOS, containers=(runs(DOS),), engine_lost="")
    (moved,) = desk.decide(2)
    assert moved.handover
    assert moved.node != DOS


def fails(desk: Desk, record: SlotRecord, old: Container | None, **how: Any) -> None:
    """Have the new container of a slot be in such a state."""
    assert record.node is not None
    new = ready(record.node, generation=record.generation, **how)
    desk.run(*([old] if old else []), new)


@pytest.mark.parametrize(
    ("how", "after_s", "why"),
    [
        ({"state": State.BACKOFF, "reason": "no such image"}, 10, "no such image"),
        ({"state": State.FAILED, "reason": "exit code 1"}, 1, "exit code 1"),
        ({"state": State.FAILED}, 1, "it is failed"),
        ({"state": State.UNHEALTHY}, 10, "it is unhealthy"),
        ({"state": State.CREATING}, 300, "it is creating after 300 s"),
        ({"health": Health.STARTING}, 300, "it is running after 300 s"),
        (None, 300, "it is not there after 300 s"),
    ],
    ids=[
        *("no image", "failed", "failed without a reason", "unhealthy", "creating"),
        *("health unknown", "not there"),
    ],
)
def test_one_that_cannot_take_over_is_tried_elsewhere_then_taken_back(
    how: dict[str, Any] | None, after_s: float, why: str
) -> None:
    """The old one runs on all the time; all nodes that fit are tried, each once."""
    desk, tried = drained_of_one(), []
    (moved,) = desk.decide(2)
    for _ in range(2):
        assert (moved.handover, moved.drained_from) == (True, DOS)
        tried.append(Stuck(node=str(moved.node), reason=why, decision="x/y/9"))
        if how is not None:
            fails(desk, moved, runs(DOS), **how)
        if after_s > 1:
            assert desk.decide(after_s - 3) == []
        failed = ready(str(moved.node), generation=moved.generation).name
        *_, moved = desk.decide(4.5)
        assert moved.stuck == tuple(tried)
        assert moved.ends == ((failed,) if how is not None else ())
        told = f"web: slot 0 cannot move ({tried[-1].node}: {why}) and is taken back"
        assert any(note.text.startswith(told) for note in desk.notes)
        desk.run(runs(DOS))
    assert {s.node for s in tried} == {UNO, TRES}
    assert (moved.node, moved.made, moved.handover) == (DOS, 1, False)
    assert desk.decide(60) == []


def test_what_cannot_be_filled_anew_where_it_is_is_tried_on() -> None:
    """There is nothing to go back to; if it ends for good it has ended."""
    old = runs(DOS, address="", reason="no address")
    desk = Desk(web(), at(DOS), old)
    (anew,) = desk.decide(2)
    fails(desk, anew, old, state=State.BACKOFF, reason="no such image")
    assert desk.decide(60) == []
    fails(desk, anew, old, state=State.FAILED, reason="exit code 1")
    (over,) = desk.decide(2)
    assert (over.done, over.handover, over.ends) == (True, False, (old.name,))


def test_a_majority_service_that_cannot_be_filled_anew_goes_elsewhere() -> None:
    desk = Desk(web(MOST), at(DOS), runs(DOS, address=""))
    (anew,) = desk.decide(2)
    assert (anew.node, anew.ends) == (DOS, (runs(DOS).name,))
    fails(desk, anew, None, state=State.FAILED, reason="exit code 1")
    (moved,) = desk.decide(1)
    assert (moved.node in (UNO, TRES), moved.handover) == (True, True)


def stuck_desk(*nodes: str, spec: Service = WEB) -> Desk:
    """One that stays on dos, which is drained: it does not begin on these."""
    stuck = tuple(Stuck(node=n, reason="why", decision="x/y/9") for n in nodes)
    desk = Desk(web(spec), at(DOS, stuck=stuck), runs(DOS))
    desk.write(decision(DOS, drained=True, drained_by="x/y/9"))
    return desk


def test_another_drain_tries_again_all_that_failed() -> None:
    desk = stuck_desk(UNO, TRES)
    assert desk.decide(5) == []  # it is not tried by itself
    desk.write(decision(DOS, drained=True, drained_by="x/y/10"))
    (moved,) = desk.decide(1)
    fails(desk, moved, runs(DOS), state=State.FAILED, reason="again")
    *_, second = desk.decide(2.5)
    assert [s.reason for s in second.stuck] == ["again"]  # not what was before
    fails(desk, second, runs(DOS))
    (over,) = desk.decide(2)
    assert (over.node, over.stuck, over.drained_from) == (second.node, (), "")


def test_what_else_is_decided_about_a_drained_node_has_nothing_tried_again() -> None:
    desk = stuck_desk(UNO, TRES)
    role = decision(
        DOS, drained=True, drained_by="x/y/9", cause="x/y/10", role="edge", revision=9
    )
    desk.write(role)
    assert desk.decide(5) == []


def test_what_a_drain_has_done_follows_from_it_whatever_else_was_decided() -> None:
    """What could not move, too: it was told to follow from a verdict."""
    desk = Desk(web(), at(DOS), runs(DOS))
    desk.write(decision(DOS, drained=True, drained_by="x/y/9", cause="x/y/10"))
    (moved,) = desk.decide(1)
    peer = desk.members.peer(DOS)
    assert peer is not None
    peer.entry = "x/y/1"
    fails(desk, moved, runs(DOS), state=State.FAILED)
    desk.decide(2)
    causes = {note.kind: note.cause for note in reversed(desk.notes)}
    assert causes == {"moving": "x/y/9", "placed": moved.cause}


def test_a_node_that_was_not_tried_yet_is() -> None:
    (moved,) = stuck_desk(UNO).decide(1)
    assert moved.node == TRES


def test_what_lost_its_node_is_placed_wherever_it_fits() -> None:
    desk = stuck_desk(UNO, TRES)
    desk.lose(DOS)
    (placed,) = desk.decide(1)
    assert (placed.stuck, placed.node in (UNO, TRES)) == ((), True)


def test_undrain_takes_back_what_has_not_moved_yet() -> None:
    desk = drained_of_one()
    (moved,) = desk.decide(2)
    assert moved.drained_from == DOS
    fails(desk, moved, runs(DOS), health=Health.STARTING)
    assert desk.decide(2) == []
    desk.write(decision(DOS))
    (back,) = desk.decide(1)
    assert (back.node, back.made, back.handover) == (DOS, 1, False)
    assert (back.stuck, back.drained_from, len(back.ends)) == ((), "", 1)
    assert desk.decide(5) == []


def test_undrain_takes_back_what_has_not_begun() -> None:
    desk = drained_of_one()
    desk.decide(1)
    desk.write(decision(DOS))
    (back,) = desk.decide(2.5)
    assert (back.node, back.made, back.ends) == (DOS, 1, ())


def test_undrain_leaves_a_move_alone_that_is_not_of_a_drain() -> None:
    desk = Desk(web(), at(DOS), runs(DOS))
    (slot,) = desk.view.slots(U1)
    assert desk.desk.moves.begin(slot, TRES, "") is not None
    desk.out.clear()
    assert desk.decide(5) == []


def test_while_it_is_not_sure_that_the_old_one_runs_nothing_is_taken_back() -> None:
    desk = drained_of_one()
    (moved,) = desk.decide(2)
    fails(desk, moved, runs(DOS), state=State.BACKOFF)
    desk.decide(9)
    desk.members.steady_since_s = desk.now + 60
    assert desk.decide(4) == []
    desk.write(decision(DOS))
    assert desk.decide(4) == []


def test_a_majority_service_that_cannot_run_elsewhere_is_back_where_it_was() -> None:
    """Its old instance had to end first: a new one is made, and it stays there."""
    desk = drained_of_one(MOST)
    (moved,) = desk.decide(2)
    fails(desk, moved, None, state=State.BACKOFF, reason="no such image")
    assert desk.decide(8) == []
    (second,) = desk.decide(3)
    assert {second.node, moved.node} == {UNO, TRES}
    assert (second.handover, second.drained_from) == (True, DOS)
    assert len(second.ends) == 1
    fails(desk, second, None, state=State.FAILED, reason="exit code 1")
    (back,) = desk.decide(2)
    assert (back.node, back.handover, back.drained_from) == (DOS, False, "")
    assert [s.reason for s in back.stuck] == ["no such image", "exit code 1"]
    desk.run(ready(DOS, generation=back.generation))
    assert desk.decide(60) == []


def test_a_majority_service_stays_where_it_fails_if_it_fits_nowhere_else() -> None:
    """What it left is not there any more, or was left for another reason."""
    two = attrs.evolve(MOST, hosts=(DOS, TRES))
    desk = Desk(web(two), at(DOS), runs(DOS))
    desk.write(decision(DOS, drained=True))
    (moved,) = desk.decide(2)
    fails(desk, moved, None, state=State.FAILED, reason="exit code 1")
    desk.publish(DOS, engine_lost="gone")
    (over,) = desk.decide(2)
    assert (over.node, over.handover, over.drained_from) == (TRES, False, "")
    assert over.generation == moved.generation
    assert desk.decide(20) == []


def test_a_majority_service_goes_on_though_its_node_is_drained_no_more() -> None:
    desk = drained_of_one(MOST)
    (moved,) = desk.decide(2)
    fails(desk, moved, None, state=State.STARTING)
    desk.write(decision(DOS))
    assert desk.decide(3) == []
    fails(desk, moved, None)
    (over,) = desk.decide(2)
    assert (over.node, over.handover) == (moved.node, False)


@pytest.mark.parametrize("spec", [WEB, MOST], ids=["available", "majority"])
@pytest.mark.parametrize("state", [State.RUNNING, State.FAILED])
def test_of_one_whose_node_is_not_heard_nothing_is_known(
    spec: Service, state: State
) -> None:
    desk = drained_of_one(attrs.evolve(spec, hosts=(DOS, TRES)))
    (moved,) = desk.decide(2)
    fails(desk, moved, None if spec == MOST else runs(DOS), state=state)
    desk.lose(str(moved.node), Status.PAUSED)
    assert desk.decide(5) == []
