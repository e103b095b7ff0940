"""What the journal, and so `events()`, tells of a container's life."""

from __future__ import annotations

import attrs
import pytest

from tests.core.test_lifecycle import (
    ANSWERED,
    DUE,
    ENDED,
    NAME,
    REFUSED,
    SEEN,
    WEB,
    Story,
    exited,
)
from veo_shell.core.events import (
    ContainerCreated,
    ContainerDiscarded,
    HealthChanged,
    ProcessEnded,
    StartAnswered,
    StopAnswered,
)
from veo_shell.core.kinds import CONTAINERS
from veo_shell.core.life import (
    EngineEnded,
    Found,
    LifeEvent,
    RestartOrdered,
    Unwanted,
    Wanted,
)
from veo_shell.core.lifecycle import on_event
from veo_shell.core.model import Health, OnUnhealthy, Restart, Service
from veo_shell.core.steps import steps

CREATED = ContainerCreated(name=NAME, container_id="c1")
UP: list[LifeEvent] = [Wanted(), CREATED, ANSWERED]
CHECKED = StartAnswered(name=NAME, observed=attrs.evolve(SEEN, health=Health.STARTING))
GONE = ContainerDiscarded(name=NAME)
STRANDED = attrs.evolve(SEEN, address="10.0.0.9", stranded=True)


def turned(health: Health) -> HealthChanged:
    return HealthChanged(container_id="c1", health=health)


def told(*events: LifeEvent, service: Service = WEB) -> list[tuple[str, str]]:
    story, lines = Story(service), []
    for event in events:
        before = story.life
        assert before is not None
        story.life, _ = on_event(before, event, story.now)
        lines += steps(before, story.life, event)
    return lines


@pytest.mark.parametrize(
    ("events", "kinds"),
    [
        (UP, ["creating", "starting", "started", "ready"]),
        ([*UP, ProcessEnded(container_id="c1"), exited(1)], ["exited"]),
        ([*UP, exited(1), DUE, ANSWERED], ["exited", "starting", "restarted", "ready"]),
        ([*UP, exited(137)], ["killed"]),
        ([*UP, exited(1, oom=True)], ["killed"]),
        ([*UP, Found(observed=None, anew=True)], ["exited"]),
        ([*UP, exited(0), EngineEnded()], ["exited", "exited"]),
        ([*UP, Unwanted(), GONE], ["stopping", "removed"]),
        ([*UP, Unwanted(drain_s=1.0)], ["stopping"]),
        ([*UP, Unwanted(kill=True)], ["killed"]),
        ([Wanted(), REFUSED, DUE], ["creating", "start_failed", "creating"]),
        ([*UP[:2], REFUSED], ["creating", "starting", "start_failed"]),
        ([Wanted(), CREATED, CHECKED], ["creating", "starting", "started"]),
        ([*UP[:2], CHECKED, turned(Health.HEALTHY)], ["ready"]),
        ([*UP, turned(Health.UNHEALTHY)], ["unhealthy"]),
        (
            [*UP, turned(Health.UNHEALTHY), turned(Health.HEALTHY)],
            ["unhealthy", "ready"],
        ),
        (
            [*UP, turned(Health.UNHEALTHY), turned(Health.STARTING)],
            ["unhealthy", "started"],
        ),
        ([Found(observed=SEEN)], ["adopted", "ready"]),
        ([Found(observed=STRANDED)], ["adopted"]),
        ([Found(observed=ENDED)], ["exited"]),
        ([Found(observed=ENDED, cut_off="its host ended")], ["adopted"]),
        (
            [Found(observed=attrs.evolve(ENDED, ever_started=False))],
            ["adopted"],
        ),
    ],
)
def test_each_step_has_a_kind(events: list[LifeEvent], kinds: list[str]) -> None:
    service = attrs.evolve(WEB, restart=Restart.ON_FAILURE)
    found = [kind for kind, _ in told(*events, service=service)]
    assert found[-len(kinds) :] == kinds
    assert set(found) <= CONTAINERS.keys()


def test_what_may_take_long_to_stop_says_how_long() -> None:
    slow = attrs.evolve(WEB, stop_timeout_s=90)
    assert told(*UP, Unwanted(), service=slow)[-1] == (
        *("stopping", "stopping (killed after 90 s)"),
    )
    assert told(*UP, Unwanted())[-1] == ("stopping", "stopping")


def test_one_that_is_not_started_again_has_failed() -> None:
    service = attrs.evolve(WEB, restart_count=1)
    *_, last = told(*UP, exited(1), DUE, ANSWERED, exited(2), service=service)
    assert last == ("failed", "failed: exit code 2, restarted 1 times")


SICK: list[LifeEvent] = [*UP, turned(Health.UNHEALTHY), DUE]
STOPPED = StopAnswered(name=NAME, observed=attrs.evolve(ENDED, exit_code=0))


def test_one_that_is_killed_as_it_is_unhealthy() -> None:
    service = attrs.evolve(WEB, on_unhealthy=OnUnhealthy.KILL)
    found = [kind for kind, _ in told(*SICK, STOPPED, service=service)]
    assert found[4:] == ["unhealthy", "killed", "failed"]


def test_one_that_is_restarted_as_it_is_unhealthy() -> None:
    service = attrs.evolve(WEB, on_unhealthy=OnUnhealthy.RESTART)
    cured: list[LifeEvent] = [STOPPED, DUE, ANSWERED]
    found = [kind for kind, _ in told(*SICK, *cured, service=service)]
    assert found[4:] == [
        *("unhealthy", "stopping", "exited", "starting", "restarted", "ready")
    ]


def test_one_that_an_operator_restarts() -> None:
    again: list[LifeEvent] = [RestartOrdered(operation="o1"), STOPPED, ANSWERED]
    found = [kind for kind, _ in told(*UP, *again)]
    assert found[4:] == ["stopping", "starting", "restarted", "ready"]


def test_the_state_and_the_reason_are_told() -> None:
    assert told(*UP, exited(3)) == [
        ("creating", "creating"),
        ("starting", "starting"),
        ("started", "running"),
        ("ready", "ready"),
        ("exited", "backoff: exit code 3"),
    ]


def test_what_changes_no_state_is_not_told() -> None:
    assert told(*UP, turned(Health.HEALTHY), ProcessEnded(container_id="c1"))[4:] == []
