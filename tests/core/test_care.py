"""Care: this node's containers follow the table and the engine."""

from __future__ import annotations

import attrs
import pytest

from veo_shell.core import events as ev
from veo_shell.core.care import Care
from veo_shell.core.commands import Command, CreateContainer, DiscardContainer, Report
from veo_shell.core.model import (
    Health,
    Identity,
    Observed,
    Record,
    Restart,
    Service,
    ServiceRecord,
    SlotRecord,
    State,
)
from veo_shell.core.outbox import Outbox
from veo_shell.core.view import View

WEB = Service(name="web", image="nginx", restart=Restart.ALWAYS)
STANDS = ServiceRecord(uid="u1", revision=1, writer="u@u", service=WEB)
SLOT = SlotRecord(
    uid="u1", slot=0, revision=2, writer="u@u", generation=1, node="uno@uno"
)
IDENTITY = Identity(
    cluster="veo", node="uno@uno", service="web", uid="u1", slot=0, generation=1
)
NAME = IDENTITY.container_name
SEEN = Observed(id="c1", name=NAME, identity=IDENTITY, image="nginx", running=True)


class Dialogue:
    """The containers of one node, its table and what they order."""

    def __init__(self, *records: Record) -> None:
        self.view, self.out, self.now = View(), Outbox(), 0.0
        self.care = Care("uno@uno", "10.0.0.1", "veo", 10.0, self.view, self.out)
        for record in records:
            self.view.merge_record(record)

    def listed(self, *seen: Observed) -> list[Command]:
        self.care.on_listed(ev.EngineListed(containers=seen), self.now)
        return self.follow()

    def follow(self, may_start: bool = True) -> list[Command]:
        self.care.follow_table(may_start, self.now)
        orders: list[Command] = []
        orders += [c for c in self.out.commands if not isinstance(c, Report)]
        self.out.commands = []
        return orders

    @property
    def states(self) -> list[State]:
        return [life.container.state for life in self.care.lives.values()]


def create() -> CreateContainer:
    return CreateContainer(name=NAME, identity=IDENTITY, service=WEB)


def test_nothing_is_done_before_the_engine_was_listed() -> None:
    node = Dialogue(STANDS, SLOT)
    assert node.follow() == []
    assert node.listed() == [create()]
    assert node.follow() == []


def test_nothing_is_started_before_it_may_decide() -> None:
    node = Dialogue(STANDS, SLOT)
    node.care.on_listed(ev.EngineListed(containers=()), 0.0)
    assert node.follow(may_start=False) == []
    assert node.follow() == [create()]


def test_what_runs_is_adopted_and_published() -> None:
    node = Dialogue(STANDS, SLOT)
    assert node.listed(SEEN) == []
    assert node.states == [State.RUNNING]
    assert node.out.changed[NAME].id == "c1"


def test_what_was_created_and_never_started_is_started() -> None:
    node = Dialogue(STANDS, SLOT)
    node.listed(attrs.evolve(SEEN, running=False, ever_started=False))
    assert node.states == [State.BACKOFF]


def test_a_container_is_known_by_its_labels_whatever_its_name() -> None:
    node = Dialogue(STANDS, SLOT)
    assert node.listed(attrs.evolve(SEEN, name="renamed")) == []
    assert list(node.care.lives) == [NAME]


@pytest.mark.parametrize(
    ("restart", "state", "then"),
    [
        (Restart.ALWAYS, State.FAILED, State.FAILED),
        (Restart.ALWAYS, State.RUNNING, State.CREATING),
        (Restart.NEVER, State.RUNNING, State.EXITED),
        (Restart.NEVER, State.EXITED, State.EXITED),
    ],
)
def test_what_is_remembered_of_one_that_is_gone_from_the_engine(
    restart: Restart, state: State, then: State
) -> None:
    first = Dialogue(STANDS, SLOT)
    first.listed(SEEN)
    (life,) = first.care.lives.values()
    spec = attrs.evolve(WEB, restart=restart)
    again = Dialogue(attrs.evolve(STANDS, service=spec), SLOT)
    again.care.remember([attrs.evolve(life.container, state=state, restarts=3)])
    again.listed()
    assert again.states == [then]
    if then is State.CREATING:
        assert again.care.lives[NAME].container.restarts == 3


def test_what_is_not_wanted_any_more_is_given_up_once() -> None:
    node = Dialogue(STANDS, SLOT)
    node.listed(SEEN)
    node.view.merge_record(attrs.evolve(STANDS, service=None, revision=9))
    discard = DiscardContainer(name=NAME, container_id="c1", timeout_s=10.0)
    assert node.follow(may_start=False) == [discard]
    assert node.follow() == []
    node.care.on_named(ev.ContainerDiscarded(name=NAME), 0.0)
    assert node.states == []
    assert node.out.gone == {NAME}


def test_a_container_of_a_removed_service_is_adopted_to_be_removed() -> None:
    node = Dialogue(attrs.evolve(STANDS, service=None))
    (order,) = node.listed(SEEN)
    assert isinstance(order, DiscardContainer)


def test_a_container_of_an_unknown_service_is_left_alone() -> None:
    node = Dialogue()
    assert node.listed(SEEN) == []
    assert node.states == []
    node.view.merge_record(STANDS)  # a peer tells what it is
    node.view.merge_record(SLOT)
    assert node.listed(SEEN) == []
    assert node.states == [State.RUNNING]


def test_an_old_generation_makes_room_for_the_new_one() -> None:
    node = Dialogue(STANDS, attrs.evolve(SLOT, generation=2))
    discard, made = node.listed(SEEN)
    assert isinstance(discard, DiscardContainer)
    assert isinstance(made, CreateContainer)
    assert made.identity.generation == 2


@pytest.mark.parametrize(
    "event",
    [
        ev.ContainerExited(container_id="other", exit_code=1),
        ev.HealthChanged(container_id="other", health=Health.UNHEALTHY),
        ev.ContainerGone(container_id="other"),
    ],
)
def test_facts_about_others_containers_are_passed_over(event: ev.Event) -> None:
    node = Dialogue(STANDS, SLOT)
    node.listed(SEEN)
    node.care.on_container(event, 0.0)
    assert node.states == [State.RUNNING]


def test_late_answers_about_what_is_gone_are_passed_over() -> None:
    node = Dialogue(STANDS)
    node.listed()
    node.care.on_named(ev.TimerDue(name=NAME), 0.0)
    node.care.on_started(ev.ContainerStarted(observed=SEEN), 0.0)
    assert node.follow() == []
    assert node.states == []


def test_facts_about_a_container_reach_it() -> None:
    node = Dialogue(STANDS, SLOT)
    node.listed(SEEN)
    node.care.on_container(ev.ContainerExited(container_id="c1", exit_code=1), 0.0)
    assert node.states == [State.BACKOFF]
    node.care.on_started(ev.ContainerStarted(observed=SEEN), 0.0)
    assert node.states == [State.RUNNING]


def test_a_listing_after_the_engine_was_away_is_believed() -> None:
    node = Dialogue(STANDS, SLOT)
    node.listed(SEEN)
    assert node.listed() == []  # it may be older than what is known
    assert node.states == [State.RUNNING]
    node.care.on_engine_lost(ev.EngineLost(reason="gone"), 0.0)
    (report,) = node.out.commands
    assert report == Report(text="the engine is away: gone")
    node.listed()
    assert node.states == [State.BACKOFF]
