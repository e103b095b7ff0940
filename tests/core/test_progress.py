"""Progress: what is under way, what stays and why, and who may not go."""

from __future__ import annotations

import attrs
import pytest

from tests.core.desk import EDGE, ONCE, U1, Desk, at, decision, ready, runs, web
from tests.core.samples import DOS, TRES, UNO, WEB, container, service, slot
from veo_shell.core.everywhere import own_number
from veo_shell.core.model import (
    Health,
    Mode,
    OnPartition,
    Service,
    SlotRecord,
    State,
    Status,
    Stuck,
    UpdateState,
    UpdateStatus,
)
from veo_shell.core.progress import (
    Draining,
    draining,
    moving,
    scaling,
    standing,
    updating,
    why_not_leave,
    why_not_remove,
)

TO_GO = decision(DOS, drained=True, drained_by="x/y/9", revision=9)
STAYS = "web slot 0 stays on dos@dos: "


def of_dos(desk: Desk) -> Draining:
    return draining(desk.desk, DOS)


# Draining


def test_each_instance_that_can_move_is_waited_for() -> None:
    desk = Desk(web(replicas=2), at(DOS), at(DOS, 1), runs(DOS), runs(DOS, 1), TO_GO)
    assert of_dos(desk).pending == (
        "web slot 0 waits for its turn",
        "web slot 1 waits for its turn",
    )
    (moved,) = desk.decide(2)
    new = ready(str(moved.node), generation=2, state=State.BACKOFF, reason="no image")
    second = "web slot 1 waits for its turn"
    begins = f"web slot 0 begins on {moved.node}"
    assert of_dos(desk).pending == (second, begins)
    desk.run(runs(DOS), runs(DOS, 1), new)
    assert of_dos(desk).pending == (second, f"{begins} (backoff no image)")


def test_what_is_taken_over_is_waited_for_until_it_is_gone() -> None:
    old = runs(DOS)
    desk = Desk(web(), at(TRES, generation=2, ends=(old.name,)), old, TO_GO)
    assert of_dos(desk) == Draining(pending=(f"{old.name} stops",))
    desk.run(runs(DOS, state=State.STOPPING))
    desk.write(at(TRES, generation=2))
    assert of_dos(desk) == Draining(pending=(f"{old.name} stops",))
    desk.run(container(DOS, uid="unknown", state=State.STOPPING))
    assert len(of_dos(desk).pending) == 1
    desk.run(ready(TRES, generation=2))
    assert of_dos(desk) == Draining()


def test_only_what_was_on_the_node_is_waited_for() -> None:
    """Another service moves from tres to uno."""
    moves = at(UNO, generation=2, handover=True)
    desk = Desk(web(), moves, ready(UNO, generation=2), runs(TRES), TO_GO)
    assert of_dos(desk) == Draining()
    desk.run(ready(UNO, generation=2), runs(DOS))  # a rebalance had begun
    assert of_dos(desk).pending == ("web slot 0 begins on uno@uno (running)",)
    desk.run()
    assert of_dos(desk) == Draining()
    desk.write(attrs.evolve(moves, drained_from=DOS))
    assert of_dos(desk).pending == ("web slot 0 begins on uno@uno",)


def test_what_is_on_its_way_to_the_node_has_to_come_first() -> None:
    moves = at(DOS, generation=2, handover=True)
    desk = Desk(web(), moves, ready(DOS, generation=2), runs(TRES), TO_GO)
    assert of_dos(desk).pending == ("web slot 0 is on the move",)


@pytest.mark.parametrize(
    ("spec", "slot", "why"),
    [
        pytest.param(ONCE, at(DOS), "it is a job (restart: never)", id="a job"),
        pytest.param(WEB, at(DOS, done=True), "it has ended", id="ended"),
        pytest.param(
            attrs.evolve(WEB, hosts=(DOS, UNO), roles=("edge",)),
            at(DOS),
            "it fits nowhere else: tres@tres: not one of the hosts dos@dos, uno@uno; "
            "uno@uno: its role is not set, not edge",
            id="fits nowhere",
        ),
        pytest.param(
            attrs.evolve(WEB, hosts=(DOS, UNO)),
            at(DOS, stuck=(Stuck(node=UNO, reason="no image", decision="x/y/9"),)),
            "uno@uno could not take it over: no image",
            id="stuck",
        ),
    ],
)
def test_what_stays_is_told_with_the_reason(
    spec: Service, slot: SlotRecord, why: str
) -> None:
    desk = Desk(web(spec), slot, TO_GO)
    assert of_dos(desk) == Draining(stays=(STAYS + why,))


def test_what_failed_under_another_decision_is_tried_again() -> None:
    stuck = Stuck(node=UNO, reason="no image", decision="x/y/8")
    only = attrs.evolve(WEB, hosts=(DOS, UNO))
    desk = Desk(web(only), at(DOS, stuck=(stuck,)), TO_GO)
    assert of_dos(desk).pending == ("web slot 0 waits for its turn",)


def test_where_no_other_node_takes_work_one_line_tells_it() -> None:
    desk = Desk(web(replicas=2), at(DOS), at(DOS, 1), runs(DOS), runs(DOS, 1), TO_GO)
    desk.write(decision(UNO, drained=True))
    assert len(of_dos(desk).pending) == 2
    desk.lose(TRES)
    two = "no other node takes work: 2 instances stay on dos@dos"
    assert of_dos(desk) == Draining(stays=(two,))
    desk.write(at(UNO, 1))
    one = "no other node takes work: 1 instance stays on dos@dos"
    assert of_dos(desk).stays == (one,)


def test_a_node_that_is_away_is_not_waited_for_and_one_in_doubt_is() -> None:
    desk = Desk(web(), at(DOS), runs(DOS), TO_GO)
    desk.lose(DOS, Status.PAUSED)
    told = "dos@dos is paused: its work moves when it is back, or is dead"
    assert of_dos(desk) == Draining(stays=(told,))
    desk.regain(DOS)
    assert of_dos(desk).pending[0] == "dos@dos is unknown"
    desk.lose(DOS)
    assert of_dos(desk) == Draining()
    assert draining(desk.desk, "nobody@x") == Draining()


def test_a_node_without_work_is_drained_though_it_is_away() -> None:
    desk = Desk(TO_GO)
    desk.lose(DOS, Status.PAUSED)
    assert of_dos(desk) == Draining(pending=("dos@dos is paused",))


# Moving and scaling


def test_a_slot_is_moved_when_its_new_place_alone_fills_it() -> None:
    moves = at(TRES, generation=2, handover=True)
    desk = Desk(web(), moves, runs(DOS))
    assert moving(desk.situation, U1, 0) == ("web slot 0 begins on tres@tres",)
    desk.write(attrs.evolve(moves, handover=False))
    desk.run(runs(DOS), ready(TRES, generation=2))
    assert moving(desk.situation, U1, 0) == (f"{runs(DOS).name} stops",)
    desk.lose(DOS)  # it is not waited for
    assert moving(desk.situation, U1, 0) == ()
    desk.write(attrs.evolve(moves, wanted=False))
    assert moving(desk.situation, U1, 0) == ()
    desk.write(web(None))
    assert moving(desk.situation, U1, 0) == ()


def test_what_is_slow_by_its_spec_is_told_with_how_long_it_may_take() -> None:
    slow = attrs.evolve(WEB, stop_timeout_s=90)
    gone = runs(TRES, 2)
    desk = Desk(web(slow), at(DOS, handover=True), runs(DOS), gone)
    assert scaling(desk.situation, U1, 1) == (
        f"{gone.name} stops, or is killed after 90 s",
    )
    desk.run(runs(DOS, health=Health.STARTING))
    assert moving(desk.situation, U1, 0) == (
        "web slot 0 begins on dos@dos (running, "
        "its health check has not succeeded yet)",
    )


def test_a_service_is_scaled_when_all_have_begun_and_what_is_over_is_gone() -> None:
    desk = Desk(web(replicas=2), at(DOS), runs(DOS))
    assert scaling(desk.situation, U1, 2) == ("1 of 2 slots are there",)
    desk.write(at(TRES, 1))
    assert scaling(desk.situation, U1, 2) == ("web slot 1 begins on tres@tres",)
    desk.run(runs(DOS), runs(TRES, 1, state=State.STARTING))
    assert scaling(desk.situation, U1, 2) == (
        "web slot 1 begins on tres@tres (starting)",
    )
    desk.run(runs(DOS), runs(TRES, 1, state=State.BACKOFF), runs(TRES, 2))
    assert scaling(desk.situation, U1, 2) == (f"{runs(TRES, 2).name} stops",)
    desk.run(runs(DOS), runs(TRES, 1))
    desk.write(at(None, 2))  # it waits for room
    assert scaling(desk.situation, U1, 3) == ()
    desk.write(web(None))
    assert scaling(desk.situation, U1, 3) == ()


# Who may not go


def test_a_node_that_may_be_back_is_not_removed_unless_forced() -> None:
    desk = Desk()
    assert why_not_remove(desk.situation, DOS) == ""
    desk.lose(DOS, Status.PAUSED)
    assert why_not_remove(desk.situation, DOS) == (
        "dos@dos is paused, and its containers may run on: start it, or wait until it "
        "is dead; remove_node('dos@dos', force=True) has its work started elsewhere "
        "now, whatever still runs there"
    )
    desk.lose(TRES)
    assert why_not_remove(desk.situation, TRES) == ""


def test_the_last_one_does_not_leave_its_services() -> None:
    desk = Desk(web(EDGE))
    assert why_not_leave(desk.situation, UNO) == ""
    desk.lose(DOS)
    assert why_not_leave(desk.situation, UNO) == ""
    told = why_not_leave(desk.situation, UNO, [])
    assert told.startswith("as uno@uno would leave, none of tres@tres says that it")
    assert why_not_leave(desk.situation, UNO, [TRES]) == ""
    desk.lose(TRES)
    assert "nothing could take over web" in why_not_leave(desk.situation, UNO)
    assert why_not_leave(desk.situation, DOS) == ""
    desk.write(web(None))
    assert why_not_leave(desk.situation, UNO) == ""


# Updating


def test_an_update_is_waited_for_slot_by_slot() -> None:
    going = web(
        replicas=4,
        spec_id="b",
        update=UpdateStatus(state=UpdateState.UPDATING),
    )
    desk = Desk(
        going,
        at(UNO, spec_id="b", handover=True, updating=True, generation=2),
        at(UNO, 1, spec_id="b", updating=True),
        at(UNO, 2),
        at(DOS, 3),
    )
    desk.publish(DOS, engine_lost="away")
    assert updating(desk.desk, U1) == (
        "web slot 0 begins on uno@uno",
        "web slot 1 proves itself on uno@uno",
        "web slot 2 waits for its turn",
        "web slot 3 waits for dos@dos, which is not reached",
    )
    done = [at(UNO, n, spec_id="b") for n in range(4)]
    desk.write(*done)
    assert updating(desk.desk, U1) == ("web: the update is about to be completed",)


def test_what_an_update_has_replaced_is_waited_for_until_it_is_gone() -> None:
    over = web(replicas=2, update=UpdateStatus(state=UpdateState.COMPLETED))
    old, away = runs(UNO), runs(DOS, 1)
    slots = at(TRES, ends=(old.name,)), at(TRES, 1, ends=(away.name,))
    desk = Desk(over, *slots, old, away, runs(TRES), runs(TRES, 1))
    desk.publish(DOS, engine_lost="away")
    assert updating(desk.desk, U1) == (f"{old.name} stops",)
    desk.run(runs(TRES), runs(TRES, 1))
    assert updating(desk.desk, U1) == ()


def test_where_nothing_is_updated_nothing_is_waited_for() -> None:
    assert updating(Desk(web()).desk, U1) == ()
    assert updating(Desk().desk, U1) == ()
    assert updating(Desk(web(None)).desk, U1) == ()


# In the mode global

EACH = attrs.evolve(WEB, mode=Mode.GLOBAL)


def test_what_runs_everywhere_is_given_up_by_a_drained_node_and_waited_for() -> None:
    desk = Desk(web(EACH), at(UNO), at(DOS, 1), runs(UNO), runs(DOS, 1), TO_GO)
    assert of_dos(desk) == Draining(pending=("web slot 1 waits for its turn",))
    desk.look()
    assert of_dos(desk) == Draining(pending=(f"{runs(DOS, 1).name} stops",))
    desk.run(runs(UNO))
    assert of_dos(desk) == Draining()


def test_what_is_in_the_group_of_a_job_stays_with_it() -> None:
    job = attrs.evolve(ONCE, name="load", group="shop")
    desk = Desk(
        web(attrs.evolve(WEB, group="shop")),
        service("job", job),
        at(DOS),
        slot(DOS, uid="job"),
        runs(DOS),
        container(DOS, uid="job", service="load"),
        TO_GO,
    )
    runs_there = "load of its group, a job (restart: never), runs there"
    assert STAYS + runs_there in of_dos(desk).stays


def test_without_a_majority_it_stays() -> None:
    most = attrs.evolve(EACH, on_partition=OnPartition.MAJORITY)
    desk = Desk(web(most), at(DOS), runs(DOS), TO_GO)
    desk.unheard_by = {DOS, TRES}
    desk.decide(5)
    assert of_dos(desk).stays == (STAYS + "no majority of the nodes is seen",)


def test_it_stands_once_each_node_that_is_there_has_its_own() -> None:
    desk = Desk(web(EACH), at(UNO), runs(UNO))
    desk.lose(TRES)
    assert standing(desk.desk, U1) == ("web is to begin on dos@dos",)
    desk.decide()
    number = own_number(DOS)
    assert standing(desk.desk, U1) == (f"web slot {number} begins on dos@dos",)
    desk.run(runs(UNO), runs(DOS, number))
    assert standing(desk.desk, U1) == ()
    desk.lose(DOS)
    desk.run(runs(UNO))
    assert standing(desk.desk, U1) == ()
    assert standing(desk.desk, "none") == ()


def test_of_others_so_many_are_to_be_there() -> None:
    desk = Desk(web(replicas=2), at(UNO), runs(UNO))
    assert standing(desk.desk, U1) == ("1 of 2 slots are there",)
