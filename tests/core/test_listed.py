"""What `cloud_containers` lists: of each node that lives, and what waits, and why."""

from __future__ import annotations

import attrs
import pytest

from tests.core.desk import BIG, EDGE, KEEP, MOST, ONCE, Desk, at, runs, web
from tests.core.samples import DOS, TRES, WEB
from veo_shell.core.listed import Listed
from veo_shell.core.model import Container, Mode, Service, State, Status

EACH = attrs.evolve(WEB, mode=Mode.GLOBAL)


def listed(desk: Desk) -> list[Container]:
    return Listed(desk.situation, desk.desk.places).containers()


def reasons(desk: Desk) -> list[str]:
    """Return why each slot waits."""
    waiting = Listed(desk.situation, desk.desk.places).waiting()
    assert all((c.state, c.node) == (State.PENDING, "") for c in waiting)
    return [container.reason for container in waiting]


def test_what_runs_is_listed_as_its_node_publishes_it() -> None:
    assert listed(Desk(web(), at(DOS), runs(DOS))) == [runs(DOS)]


def test_what_is_known_of_its_node_is_told_with_it() -> None:
    desk = Desk(web(), at(DOS), runs(DOS))
    desk.publish(DOS, engine_lost="no answer")
    assert [c.reason for c in listed(desk)] == ["its engine is away"]
    desk.lose(DOS, Status.PAUSED)
    assert [c.reason for c in listed(desk)] == ["its node is paused"]


def test_of_a_dead_node_nothing_is_listed_but_what_is_missed() -> None:
    desk = Desk(web(KEEP), at(DOS), runs(DOS))
    desk.lose(DOS)
    assert [c.reason for c in listed(desk)] == [f"{DOS} is lost, on_partition: keep"]


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (WEB, f"{DOS} is lost: about to be placed anew"),
        (ONCE, f"{DOS} is lost, restart: never"),
        (MOST, f"{DOS} is lost, on_partition: majority"),
    ],
)
def test_what_a_lost_node_had_waits_by_its_policy(spec: Service, reason: str) -> None:
    desk = Desk(web(spec), at(DOS), runs(DOS))
    desk.lose(DOS)
    assert reasons(desk) == [reason]


def test_what_no_node_fits_waits_with_a_reason_of_each() -> None:
    (reason,) = reasons(Desk(web(EDGE), at(None)))
    assert [part.partition(": ")[0] for part in reason.split("; ")] == [
        DOS,
        TRES,
        "uno@uno",
    ]
    assert reasons(Desk(web(BIG), at(None))) == ["no node fits yet"]


def test_what_was_given_up_or_has_ended_waits_for_nothing() -> None:
    ended = runs(DOS, state=State.EXITED, exit_code=0)
    desk = Desk(web(ONCE, replicas=2), at(DOS), ended, at(None, 1, wanted=False))
    desk.lose(DOS)
    assert reasons(desk) == []


def test_what_runs_in_the_smaller_part_of_a_partition_waits_for_the_majority() -> None:
    desk = Desk(web(MOST), at("uno@uno"))
    desk.lose(DOS)
    desk.lose(TRES)
    why = "no majority of the nodes is seen (on_partition: majority)"
    assert reasons(desk) == [why]


def test_a_global_service_misses_nothing_on_a_node_that_is_lost() -> None:
    desk = Desk(web(EACH), at(DOS), runs(DOS))
    desk.lose(DOS)
    assert listed(desk) == []
    slot = desk.view.slot(runs(DOS).uid, 0)
    assert slot is not None
    why = Listed(desk.situation, desk.desk.places).why_waiting(EACH, slot)
    assert why == f"{DOS} is lost: there it begins once that is back"


def test_a_slot_of_a_node_that_is_no_member_any_more_is_told() -> None:
    desk = Desk(web(), at(DOS))
    desk.view.forget_node(DOS)
    assert reasons(desk) == [f"{DOS} is no member any more"]
