"""Patience: how long what is under way may take by its spec."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from tests.core.desk import U1, Desk, at, runs, web
from tests.core.samples import DOS, UNO, WEB
from veo_shell.core.model import (
    Health,
    HealthCheck,
    HealthKind,
    OldSpec,
    State,
    UpdateConfig,
    UpdateState,
    UpdateStatus,
)
from veo_shell.core.patience import decides_within_s, slow_s

SECOND = 1_000_000_000
CHECK = HealthCheck(
    kind=HealthKind.CMD,
    cmd=("true",),
    interval_ns=10 * SECOND,
    timeout_ns=5 * SECOND,
    start_period_ns=300 * SECOND,
    retries=2,
)
SLOW = attrs.evolve(
    WEB,
    stop_timeout_s=90,
    health_check=CHECK,
    update=UpdateConfig(monitor_ns=120 * SECOND, delay_ns=150 * SECOND),
)
RECORD = web(SLOW)
OLD = OldSpec(spec_id="a", service=attrs.evolve(SLOW, stop_timeout_s=200), replicas=1)
GOES_ON = UpdateStatus(state=UpdateState.UPDATING)


def slow(desk: Desk) -> float:
    return slow_s(desk.situation, [desk.view.service(U1), None])


@pytest.mark.parametrize(
    ("changes", "within_s"),
    [
        pytest.param({}, 0.0, id="nothing is under way"),
        pytest.param({"state": State.STARTING}, 0.0, id="nor while it begins"),
        pytest.param({"state": State.STOPPING}, 96.0, id="it stops"),
        pytest.param({"generation": 7}, 96.0, id="it is to stop"),
        pytest.param({"generation": 8}, 0.0, id="it goes on for now"),
        pytest.param({"health": Health.STARTING}, 330.0, id="its check has to decide"),
        pytest.param(
            {"health": Health.STARTING, "state": State.STARTING}, 0.0, id="not yet"
        ),
    ],
)
def test_one_that_does_what_its_spec_lets_it_is_waited_for(
    changes: dict[str, Any], within_s: float
) -> None:
    to_end = runs(DOS, generation=7).name
    desk = Desk(RECORD, at(DOS, ends=(to_end,)), runs(DOS, **changes))
    assert slow(desk) == within_s


def test_what_no_slot_is_of_any_more_is_to_stop() -> None:
    assert slow(Desk(RECORD, runs(DOS))) == 96.0
    assert slow(Desk(RECORD, at(None, wanted=False), runs(DOS))) == 96.0


def test_what_an_earlier_spec_takes_to_stop_counts_too() -> None:
    record = attrs.evolve(RECORD, old_specs=(OLD,), spec_id="b")
    desk = Desk(record, at(DOS), runs(DOS, state=State.STOPPING))
    assert slow(desk) == 206.0


def test_a_removed_service_takes_as_long_as_was_known_before() -> None:
    desk = Desk(web(None, revision=9), at(DOS), runs(DOS))
    assert slow(desk) == 16.0
    assert slow_s(desk.situation, [RECORD]) == 96.0


def test_an_update_takes_its_time_to_be_watched_and_between_two() -> None:
    assert slow(Desk(web(SLOW, update=GOES_ON), at(UNO), runs(UNO))) == 150.0


def test_of_several_services_the_slowest_counts() -> None:
    desk = Desk(RECORD, at(DOS), runs(DOS, state=State.STOPPING))
    other = attrs.evolve(RECORD, uid="other")
    assert slow_s(desk.situation, [other, desk.view.service(U1)]) == 96.0
    assert slow_s(desk.situation, []) == 0.0


def test_a_check_that_says_nothing_takes_as_long_as_dockers_own() -> None:
    assert decides_within_s(HealthCheck(kind=HealthKind.CMD)) == 180.0
