"""What has become of the slots of a service that was added, and how that is told."""

from __future__ import annotations

import attrs
import pytest

from tests.core.desk import EDGE, U1, Desk, at, runs, web
from tests.core.samples import DOS, TRES, UNO, WEB
from veo_shell.core.listed import Listed
from veo_shell.core.model import Accepted, Mode, Service, State
from veo_shell.core.outcomes import Outcome, left_to_do, outcomes_of, under_way
from veo_shell.errors import ServiceError

EACH = attrs.evolve(WEB, mode=Mode.GLOBAL)


def taken(node: str | None = DOS, number: int = 0) -> Accepted:
    return Accepted(uid=U1, slot=number, generation=1, node=node)


def outcomes(desk: Desk, *slots: Accepted, spec: Service = WEB) -> list[Outcome]:
    listed = Listed(desk.situation, desk.desk.places)
    return outcomes_of(listed, slots or [taken()], spec)


@pytest.mark.parametrize("state", [State.RUNNING, State.UNHEALTHY, State.EXITED])
def test_what_has_begun_is_its_container(state: State) -> None:
    begun = runs(DOS, state=state)
    assert outcomes(Desk(web(), at(DOS), begun)) == [Outcome(begun)]


def test_what_never_ran_has_failed_and_what_ran_is_tried_again() -> None:
    never = runs(DOS, state=State.BACKOFF, reason="no such image")
    assert outcomes(Desk(web(), at(DOS), never)) == [Outcome(never, "no such image")]
    ran = runs(DOS, state=State.BACKOFF, exit_code=1)
    assert outcomes(Desk(web(), at(DOS), ran)) == [Outcome(ran)]


def test_what_is_on_its_way_is_told_with_how_far_it_is() -> None:
    starting = runs(DOS, state=State.STARTING)
    (outcome,) = outcomes(Desk(web(), at(DOS), starting))
    assert (outcome.container, outcome.failed) == (starting, "")
    assert outcome.under_way == f"web slot 0 begins on {DOS} (starting)"
    (ordered,) = outcomes(Desk(web(), at(DOS)))
    assert ordered.container.state is State.PENDING
    assert under_way([outcome, ordered]) == (outcome.under_way, ordered.under_way)


def test_a_slot_that_is_not_known_here_yet_is_under_way() -> None:
    (outcome,) = outcomes(Desk(web()))
    assert outcome.under_way == "web slot 0 is not known here yet"


def test_what_fits_nowhere_waits_and_nothing_is_under_way() -> None:
    (outcome,) = outcomes(Desk(web(EDGE), at(None)), taken(None), spec=EDGE)
    assert (outcome.failed, outcome.under_way) == ("", "")
    assert outcome.container.state is State.PENDING


def test_what_is_to_be_no_more_is_an_error() -> None:
    with pytest.raises(ServiceError, match="web was removed while it was being added"):
        outcomes(Desk(web(None)))
    with pytest.raises(ServiceError, match="web was stopped while it was being added"):
        outcomes(Desk(web(), at(DOS, wanted=False)))


def test_of_a_global_service_that_waited_what_its_nodes_have_is_told() -> None:
    own = runs(TRES, 7)
    desk = Desk(web(EACH), at(None, wanted=False), at(TRES, 7), own)
    assert outcomes(desk, taken(None), spec=EACH) == [Outcome(own)]


def test_of_a_global_service_what_a_node_lost_meanwhile_is_left_out() -> None:
    stays = runs(UNO)
    desk = Desk(web(EACH), at(UNO), stays, at(DOS, 1, wanted=False))
    assert outcomes(desk, taken(UNO), taken(DOS, 1), spec=EACH) == [Outcome(stays)]


def test_what_is_left_to_do_is_told_of_all_in_one_line() -> None:
    runs_well, failed = Outcome(runs(UNO)), Outcome(runs(DOS, 1), "no such image")
    waits = Outcome(runs(DOS, 2, state=State.PENDING))
    slow = Outcome(runs(TRES, 3), under_way="it is pulled on tres")
    assert left_to_do([runs_well]) == ""
    assert left_to_do([runs_well, failed, waits, slow]) == "; ".join(
        [
            f"{failed.container.name}: no such image",
            "1 waits for a node that fits",
            "still under way: it is pulled on tres",
        ]
    )
    assert left_to_do([runs_well, waits, waits]) == "2 wait for a node that fits"
    assert left_to_do([waits]) == ""
