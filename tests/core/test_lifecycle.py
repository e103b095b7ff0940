"""A container's life, as a dialogue: an event in, the orders out."""

from __future__ import annotations

import itertools
from typing import Any

import attrs
import pytest

from veo_shell.core.commands import (
    After,
    Command,
    CreateContainer,
    DiscardContainer,
    StartContainer,
    StopContainer,
)
from veo_shell.core.events import (
    ContainerCreated,
    ContainerDiscarded,
    ContainerExited,
    ContainerGone,
    ContainerStarted,
    EngineFailed,
    HealthChanged,
    ProcessEnded,
    StartAnswered,
    StopAnswered,
    TimerDue,
)
from veo_shell.core.life import (
    ENGINE_STOP_S,
    EngineEnded,
    Found,
    Life,
    LifeEvent,
    RestartOrdered,
    Unwanted,
    Wanted,
    engine_stop_s,
)
from veo_shell.core.lifecycle import (
    SETTLE_S,
    STEADY_S,
    TRANSITIONS,
    backoff_s,
    on_event,
)
from veo_shell.core.model import (
    Container,
    Health,
    Identity,
    Observed,
    OnUnhealthy,
    Port,
    Restart,
    Service,
    State,
)

IDENTITY = Identity(
    cluster="veo", node="uno@uno", service="web", uid="u1", slot=0, generation=1
)
NAME = IDENTITY.container_name
WEB = Service(name="web", image="nginx", restart=Restart.ON_FAILURE)
SEEN = Observed(
    id="c1",
    name=NAME,
    identity=IDENTITY,
    image="nginx",
    running=True,
    ports=(Port(name="website", container_port=80, host_port=49153),),
)
ENDED = attrs.evolve(SEEN, running=False, exit_code=3)
CREATE = CreateContainer(name=NAME, identity=IDENTITY, service=WEB)
START = StartContainer(name=NAME, container_id="c1")
DISCARD = DiscardContainer(name=NAME, container_id="c1", timeout_s=10.0)
ANSWERED = StartAnswered(name=NAME, observed=SEEN)
DUE = TimerDue(name=NAME)
REFUSED = EngineFailed(name=NAME, reason="port 80 is taken")


def after(delay_s: float) -> After:
    return After(name=NAME, delay_s=delay_s)


def exited(code: int, oom: bool = False) -> ContainerExited:
    return ContainerExited(container_id="c1", exit_code=code, oom_killed=oom)


class Story:
    """One container and a clock."""

    def __init__(self, service: Service = WEB) -> None:
        container = Container(
            name=NAME,
            service="web",
            uid="u1",
            slot=0,
            generation=1,
            node="uno@uno",
            address="127.0.0.1",
            image="nginx",
        )
        self.life: Life | None = Life(
            container=container, identity=IDENTITY, service=service
        )
        self.now = 100.0

    def play(self, event: LifeEvent) -> list[Command]:
        assert self.life is not None
        self.life, commands = on_event(self.life, event, self.now)
        return commands

    @property
    def container(self) -> Container:
        assert self.life is not None
        return self.life.container

    def state(self) -> State:
        return self.container.state


def running(**changes: Any) -> Story:
    story = Story(attrs.evolve(WEB, **changes))
    story.play(Wanted())
    story.play(ContainerCreated(name=NAME, container_id="c1"))
    story.play(ANSWERED)
    return story


def test_a_wanted_container_is_created_started_and_runs_with_its_ports() -> None:
    story = Story()
    assert story.play(Wanted()) == [CREATE]
    assert story.play(ContainerCreated(name=NAME, container_id="c1")) == [START]
    assert story.state() is State.STARTING
    assert story.play(ANSWERED) == []
    assert story.state() is State.RUNNING
    assert story.container.ports == SEEN.ports
    assert story.container.is_ready


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [
        (Restart.NEVER, 0, False),
        (Restart.NEVER, 1, False),
        (Restart.ON_FAILURE, 0, False),
        (Restart.ON_FAILURE, 1, True),
        (Restart.ALWAYS, 0, True),
        (Restart.ALWAYS, 1, True),
    ],
)
def test_the_policy_decides_what_follows_an_end(
    policy: Restart, code: int, again: bool
) -> None:
    story = running(restart=policy)
    orders = story.play(exited(code))
    assert orders == ([after(0.1)] if again else [])
    assert story.state() is (State.BACKOFF if again else State.EXITED)
    assert story.container.exit_code == code
    assert not story.container.is_ready


def test_the_same_container_is_started_again() -> None:
    story = running()
    story.play(exited(1))
    assert story.play(DUE) == [START]
    story.play(ANSWERED)
    assert (story.state(), story.container.restarts) == (State.RUNNING, 1)
    assert story.container.exit_code is None


def test_one_that_docker_removes_at_its_end_is_made_anew() -> None:
    story = running(auto_remove=True)
    story.play(exited(1))
    story.play(ContainerGone(container_id="c1"))
    (order,) = story.play(DUE)
    assert isinstance(order, CreateContainer)


def test_the_delay_doubles_to_a_minute_and_begins_anew_after_a_steady_run() -> None:
    story = running()
    delays = []
    for _ in range(12):
        (order,) = story.play(exited(1))
        assert isinstance(order, After)
        delays.append(order.delay_s)
        story.play(DUE)
        story.play(ANSWERED)
    assert delays == pytest.approx([backoff_s(n) for n in range(12)])
    assert delays[-1] == 60.0
    story.now += STEADY_S
    assert story.play(exited(1)) == [after(0.1)]


def test_a_used_up_restart_count_is_a_failure_that_says_so() -> None:
    story = running(restart_count=1)
    story.play(exited(1))
    story.play(DUE)
    story.play(ANSWERED)
    assert story.play(exited(2)) == []
    assert story.state() is State.FAILED
    assert story.container.reason == "exit code 2, restarted 1 times"


def test_an_end_by_lack_of_memory_is_told() -> None:
    story = running()
    story.play(exited(137, oom=True))
    assert story.container.oom_killed
    assert story.container.reason == "killed: out of memory"


def test_what_the_engine_refuses_is_tried_again_with_the_reason_shown() -> None:
    story = Story()
    story.play(Wanted())
    assert story.play(REFUSED) == [after(0.1)]
    assert (story.state(), story.container.reason) == (State.BACKOFF, REFUSED.reason)
    assert story.container.exit_code is None
    assert story.play(DUE) == [CREATE]


def test_a_start_that_the_engine_refuses_is_tried_with_the_same_container() -> None:
    story = Story()
    story.play(Wanted())
    story.play(ContainerCreated(name=NAME, container_id="c1"))
    assert story.play(REFUSED) == [after(0.1)]
    assert story.play(DUE) == [START]


OWN = attrs.evolve(
    SEEN,
    own_addresses=("192.0.2.77", "2001:db8::77"),
    ports=(Port(name="website", container_port=80, host_port=80),),
)


def where(story: Story) -> tuple[str, tuple[str, ...]]:
    return story.container.address, story.container.own_addresses


def test_it_has_addresses_of_its_own_while_it_runs_and_others_after_a_restart() -> None:
    story = Story()
    story.play(Wanted())
    story.play(ContainerCreated(name=NAME, container_id="c1"))
    assert where(story) == ("127.0.0.1", ())
    story.play(StartAnswered(name=NAME, observed=OWN))
    assert where(story) == ("192.0.2.77", OWN.own_addresses)
    assert story.container.addresses == OWN.own_addresses
    assert story.container.ports == OWN.ports
    story.play(exited(3))
    assert (story.state(), where(story)) == (State.BACKOFF, ("127.0.0.1", ()))
    assert story.container.addresses == ("127.0.0.1",)
    assert story.play(DUE) == [START]  # the same container: nothing is bound
    other = attrs.evolve(OWN, own_addresses=("192.0.2.78",))
    story.play(StartAnswered(name=NAME, observed=other))
    assert where(story) == ("192.0.2.78", ("192.0.2.78",))


def test_addresses_of_its_own_are_kept_until_it_is_stopped_and_can_change() -> None:
    story = running()
    story.now += SETTLE_S
    story.play(Found(observed=OWN))
    assert where(story) == ("192.0.2.77", OWN.own_addresses)
    story.play(sick())
    assert where(story) == ("192.0.2.77", OWN.own_addresses)
    story.now += SETTLE_S
    story.play(Found(observed=attrs.evolve(SEEN, health=Health.UNHEALTHY)))
    assert where(story) == ("127.0.0.1", ())


def test_one_that_is_adopted_is_where_its_own_addresses_are() -> None:
    story = Story()
    assert story.play(Found(observed=OWN, anew=True)) == []
    assert (story.state(), where(story)) == (
        State.RUNNING,
        ("192.0.2.77", OWN.own_addresses),
    )
    story.play(Unwanted(drain_s=2.0))
    assert (story.state(), where(story)[0]) == (State.STOPPING, "192.0.2.77")


def dual(address6: str, *, same_numbers: bool = True) -> StartAnswered:
    seen = attrs.evolve(
        SEEN, address="127.0.0.1", address6=address6, same_numbers=same_numbers
    )
    return StartAnswered(name=NAME, observed=seen)


def reached(story: Story) -> tuple[str, ...]:
    return story.container.addresses


def begun(address6: str = "::1") -> Story:
    """Return a story on a node with an address of IPv6 too."""
    story = Story()
    assert story.life is not None
    container = attrs.evolve(story.life.container, address6=address6)
    story.life = attrs.evolve(story.life, container=container, address6=address6)
    story.play(Wanted())
    story.play(ContainerCreated(name=NAME, container_id="c1"))
    return story


def test_it_is_at_the_address_of_ipv6_where_its_ports_have_the_same_numbers() -> None:
    story = begun()
    story.play(dual("::1"))
    assert reached(story) == ("127.0.0.1", "::1")
    story.play(exited(3))
    assert story.play(DUE) == [START]
    story.play(dual("::1", same_numbers=False))
    assert reached(story) == ("127.0.0.1",)
    story.play(exited(3))
    assert story.play(DUE) == [START]


def test_what_publishes_nothing_is_at_both_addresses_of_its_node() -> None:
    story = begun()
    story.play(ANSWERED)
    assert reached(story) == ("127.0.0.1", "::1")
    story.now += SETTLE_S
    stranded = attrs.evolve(SEEN, address="10.0.0.9", address6="::1", stranded=True)
    story.play(Found(observed=stranded))
    assert reached(story) == ()


@pytest.mark.parametrize("now_at", ["", "::2"])
def test_it_is_made_anew_where_its_node_lost_the_address_of_ipv6(now_at: str) -> None:
    """The same one could not be started; one that never was there can."""
    story = begun()
    story.play(dual("::1"))
    assert story.life is not None
    story.life = attrs.evolve(story.life, address6=now_at)
    story.play(exited(3))
    assert story.play(DUE) == [CREATE]
    story = begun("")
    story.play(dual("", same_numbers=False))
    assert story.life is not None
    story.life = attrs.evolve(story.life, address6=now_at)
    story.play(exited(3))
    assert story.play(DUE) == [START]


def test_an_end_that_overtakes_the_engines_answer_is_not_lost() -> None:
    story = Story()
    story.play(Wanted())
    story.play(ContainerCreated(name=NAME, container_id="c1"))
    assert story.play(ContainerStarted(observed=SEEN)) == []
    assert story.play(exited(3)) == []
    assert story.play(ANSWERED) == [after(0.1)]
    assert (story.state(), story.container.exit_code) == (State.BACKOFF, 3)


def test_one_that_ends_before_the_engine_answers_backs_off() -> None:
    story = Story()
    story.play(Wanted())
    story.play(ContainerCreated(name=NAME, container_id="c1"))
    assert story.play(StartAnswered(name=NAME, observed=ENDED)) == [after(0.1)]


def test_an_unwanted_container_is_discarded_and_gone() -> None:
    story = running()
    assert story.play(Unwanted()) == [DISCARD]
    assert story.state() is State.STOPPING
    assert not story.container.is_ready
    assert story.play(exited(0)) == []
    assert story.play(ContainerDiscarded(name=NAME)) == []
    assert story.life is None


def test_one_that_others_replace_is_drained_before_it_is_discarded() -> None:
    story = running()
    assert story.play(Unwanted(drain_s=2.0)) == [after(2.0)]
    assert story.state() is State.STOPPING
    assert not story.container.is_ready
    assert story.play(Unwanted()) == []
    assert story.play(DUE) == [DISCARD]


@pytest.mark.parametrize("code", [0, 3])
def test_one_that_is_down_needs_no_drain(code: int) -> None:
    story = running()
    story.play(exited(code))
    assert story.state() in (State.EXITED, State.BACKOFF)
    assert story.play(Unwanted(drain_s=2.0)) == [DISCARD]


def test_it_has_the_time_to_stop_that_its_service_gives_it() -> None:
    patient = attrs.evolve(DISCARD, timeout_s=90.0)
    assert running(stop_timeout_s=90).play(Unwanted()) == [patient]


def test_one_that_is_to_be_killed_gets_no_time_to_end() -> None:
    killed = attrs.evolve(DISCARD, timeout_s=0.0)
    assert running().play(Unwanted(kill=True)) == [killed]
    story = Story()
    story.play(Wanted())
    story.play(ContainerCreated(name=NAME, container_id="c1"))
    assert story.play(Unwanted(kill=True)) == []
    assert story.play(ANSWERED) == [killed]


@pytest.mark.parametrize("last_fails", [True, False])
def test_one_that_stops_in_order_is_killed_and_waits_for_both_answers(
    last_fails: bool,
) -> None:
    """The second answer would meet the next container of that name."""
    killed = attrs.evolve(DISCARD, timeout_s=0.0)
    story = running()
    assert story.play(Unwanted()) == [DISCARD]
    assert story.play(Unwanted(kill=True)) == [killed]
    assert story.play(Unwanted(kill=True)) == []
    done = ContainerDiscarded(name=NAME)
    assert story.play(done if last_fails else REFUSED) == []
    assert story.state() is State.STOPPING
    if last_fails:
        assert story.play(REFUSED) == [after(1.0)]
        assert story.play(DUE) == [killed]
    story.play(done)
    assert story.life is None


def test_an_older_timer_does_not_discard_a_second_time() -> None:
    """The second answer would meet the next container of that name."""
    story = Story()
    never_started = attrs.evolve(SEEN, running=False, ever_started=False)
    assert story.play(Found(observed=never_started, anew=True)) == [after(0.0)]
    assert story.play(Unwanted()) == [DISCARD]
    assert story.play(DUE) == []
    assert story.play(REFUSED) == [after(1.0)]
    assert story.play(DUE) == [DISCARD]


def test_one_unwanted_while_it_is_made_is_discarded_once_it_is_known() -> None:
    story = Story()
    story.play(Wanted())
    assert story.play(Unwanted()) == []
    created = ContainerCreated(name=NAME, container_id="c1")
    assert story.play(created) == [DISCARD]


def test_one_unwanted_while_it_is_started_is_discarded_once_it_is_known() -> None:
    story = Story()
    story.play(Wanted())
    story.play(ContainerCreated(name=NAME, container_id="c1"))
    assert story.play(Unwanted()) == []
    assert story.play(ANSWERED) == [DISCARD]


def test_one_unwanted_that_was_never_made_is_just_gone() -> None:
    story = Story()
    story.play(Wanted())
    story.play(Unwanted())
    assert story.play(REFUSED) == []
    assert story.life is None


def test_a_removal_that_fails_is_tried_again() -> None:
    story = running()
    story.play(Unwanted())
    assert story.play(REFUSED) == [after(1.0)]
    assert story.play(DUE) == [DISCARD]


def test_one_removed_by_hand_is_made_anew() -> None:
    story = running()
    assert story.play(ContainerGone(container_id="c1")) == [after(0.1)]
    assert story.play(DUE) == [CREATE]


def started_when_removed(early: bool, **changes: Any) -> Story:
    """Return one that was removed by hand before the engine's answer came."""
    story = Story(attrs.evolve(WEB, **changes))
    story.play(Wanted())
    story.play(ContainerCreated(name=NAME, container_id="c1"))
    if early:
        story.play(exited(3))
    assert story.play(ContainerGone(container_id="c1")) == []
    return story


def test_one_removed_by_hand_while_it_is_started_is_made_anew() -> None:
    """Else it is started again and again under an id that is no more."""
    story = started_when_removed(early=False)
    gone = EngineFailed(name=NAME, reason="no such container: c1")
    assert story.play(gone) == [after(0.1)]
    assert story.play(DUE) == [CREATE]


@pytest.mark.parametrize(("early", "code"), [(True, 3), (False, 137)])
def test_what_the_engine_answers_of_one_that_was_removed_is_not_believed(
    early: bool, code: int
) -> None:
    story = started_when_removed(early)
    assert story.play(ANSWERED) == [after(0.1)]
    assert (story.container.id, story.container.exit_code) == ("", code)
    assert story.play(DUE) == [CREATE]


def test_one_unwanted_that_was_removed_while_it_was_started_is_just_gone() -> None:
    story = started_when_removed(early=False)
    story.play(Unwanted())
    assert story.play(ANSWERED) == []
    assert story.life is None


def test_one_started_by_hand_is_taken_back() -> None:
    story = running(restart=Restart.NEVER)
    story.play(exited(0))
    assert story.play(ContainerStarted(observed=ENDED)) == []
    assert story.state() is State.EXITED
    assert story.play(ContainerStarted(observed=SEEN)) == []
    assert story.state() is State.RUNNING
    assert story.play(DUE) == []


def test_a_start_that_the_stream_tells_after_its_known_end_is_none_by_hand() -> None:
    story = running()
    story.play(exited(3))
    story.play(DUE)
    assert story.play(StartAnswered(name=NAME, observed=ENDED)) == [after(0.2)]
    assert story.play(ContainerStarted(observed=SEEN)) == []
    assert story.state() is State.BACKOFF
    assert story.play(exited(3)) == []
    assert story.container.restarts == 1


@pytest.mark.parametrize("answered_first", [True, False])
def test_an_end_that_is_told_late_does_not_end_the_next_start(
    answered_first: bool,
) -> None:
    story = running()
    story.play(exited(3))
    story.play(DUE)
    story.play(StartAnswered(name=NAME, observed=ENDED))
    story.play(DUE)
    late: list[LifeEvent] = [ANSWERED, exited(3)]
    for event in late if answered_first else reversed(late):
        assert story.play(event) == []
    assert story.state() is State.RUNNING
    assert story.play(exited(4)) != []


def test_what_a_broken_stream_owed_is_not_waited_for() -> None:
    story = running()
    story.play(exited(3))
    story.play(DUE)
    story.play(StartAnswered(name=NAME, observed=ENDED))
    story.play(Found(observed=SEEN, anew=True))
    assert story.state() is State.RUNNING
    assert story.play(exited(4)) != []


def test_health_moves_between_running_and_unhealthy() -> None:
    story = running()
    ready = []
    for health in (Health.STARTING, Health.HEALTHY):
        story.play(HealthChanged(container_id="c1", health=health))
        ready.append(story.container.is_ready)
    assert ready == [False, True]
    story.play(HealthChanged(container_id="c1", health=Health.UNHEALTHY))
    assert story.state() is State.UNHEALTHY
    assert story.play(exited(1)) == [after(0.1)]


# Health


def sick(output: str = "no answer") -> HealthChanged:
    return HealthChanged(container_id="c1", health=Health.UNHEALTHY, output=output)


WELL = HealthChanged(container_id="c1", health=Health.HEALTHY)
STOP = StopContainer(name=NAME, container_id="c1", timeout_s=10.0)
STOPPED = StopAnswered(name=NAME, observed=attrs.evolve(ENDED, exit_code=0))
CHECKED = StartAnswered(name=NAME, observed=attrs.evolve(SEEN, health=Health.STARTING))


def checked(**changes: Any) -> Story:
    """Return one whose health is looked at, and not known yet."""
    story = Story(attrs.evolve(WEB, **changes))
    story.play(Wanted())
    story.play(ContainerCreated(name=NAME, container_id="c1"))
    story.play(CHECKED)
    return story


def unhealthy(**changes: Any) -> Story:
    """Return one that was healthy, is not any more, and is stopped for that."""
    story = checked(**changes)
    story.play(WELL)
    assert story.play(sick()) == [after(0.0)]
    assert (story.state(), story.container.reason) == (State.UNHEALTHY, "no answer")
    assert story.play(DUE) == [STOP]
    assert story.state() is State.STOPPING
    assert story.container.reason == "unhealthy: no answer"
    return story


def test_one_with_a_check_is_ready_while_that_is_content() -> None:
    story = checked(on_unhealthy=OnUnhealthy.LEAVE)
    ready = []
    for event in (WELL, sick(), WELL):
        ready.append(story.container.is_ready)
        story.play(event)
    assert [*ready, story.container.is_ready] == [False, True, False, True]
    assert story.container.reason == ""


@pytest.mark.parametrize(
    ("restart", "on_unhealthy", "action"),
    [
        (Restart.NEVER, None, OnUnhealthy.LEAVE),
        (Restart.NEVER, OnUnhealthy.KILL, OnUnhealthy.KILL),
        (Restart.ON_FAILURE, None, OnUnhealthy.RESTART),
        (Restart.ALWAYS, None, OnUnhealthy.RESTART),
        (Restart.ALWAYS, OnUnhealthy.LEAVE, OnUnhealthy.LEAVE),
    ],
)
def test_unhealthy_ones_are_restarted_where_any_are(
    restart: Restart, on_unhealthy: OnUnhealthy | None, action: OnUnhealthy
) -> None:
    spec = attrs.evolve(WEB, restart=restart, on_unhealthy=on_unhealthy)
    assert spec.when_unhealthy is action


@pytest.mark.parametrize("told_first", [True, False], ids=["event", "answer"])
@pytest.mark.parametrize("code", [0, 143])
def test_an_unhealthy_one_is_stopped_and_started_again_whatever_its_code(
    code: int, told_first: bool
) -> None:
    """It was asked to end: that it did is no success."""
    story = unhealthy()
    answer = StopAnswered(name=NAME, observed=attrs.evolve(ENDED, exit_code=code))
    events: list[LifeEvent] = [exited(code), answer]
    orders = [
        order
        for event in (events if told_first else reversed(events))
        for order in story.play(event)
    ]
    assert orders == [after(0.1)]
    assert (story.state(), story.container.exit_code) == (State.BACKOFF, code)
    assert story.container.reason == "unhealthy: no answer"
    assert story.play(DUE) == [START]
    assert story.play(CHECKED) == []
    assert (story.container.restarts, story.container.health) == (1, Health.STARTING)
    assert story.play(exited(1)) != []  # nothing is owed


def test_one_that_is_told_to_be_unhealthy_without_a_word_is_treated_alike() -> None:
    story = checked()
    story.play(sick(""))
    assert story.play(DUE) == [STOP]
    assert story.container.reason == "unhealthy"


def test_one_that_is_well_again_at_once_is_not_stopped() -> None:
    story = checked()
    story.play(sick())
    assert story.play(WELL) == []
    assert story.play(DUE) == []
    assert story.container.is_ready


def test_one_that_is_left_alone_stays_unhealthy() -> None:
    story = checked(on_unhealthy=OnUnhealthy.LEAVE)
    story.play(sick())
    assert story.play(DUE) == []
    assert story.state() is State.UNHEALTHY


def test_one_that_ends_by_itself_meanwhile_is_not_stopped() -> None:
    story = checked()
    story.play(sick())
    story.play(DYING)
    assert story.play(DUE) == []
    assert story.play(exited(1)) == [after(0.1)]


def test_one_that_is_killed_for_its_health_has_failed() -> None:
    story = checked(on_unhealthy=OnUnhealthy.KILL, restart=Restart.ALWAYS)
    story.play(sick())
    assert story.play(DUE) == [attrs.evolve(STOP, timeout_s=0.0)]
    story.play(exited(137))
    assert story.play(STOPPED) == []
    assert story.state() is State.FAILED
    assert story.container.reason == "unhealthy: no answer (on_unhealthy: kill)"


def test_being_unhealthy_uses_up_the_restart_count() -> None:
    story = checked(restart_count=1)
    for _ in range(2):
        story.play(sick())
        story.play(DUE)
        story.play(exited(0))
        story.play(STOPPED)
        story.play(DUE)
        if story.state() is State.STARTING:
            story.play(CHECKED)
    assert story.state() is State.FAILED
    assert story.container.reason == "unhealthy: no answer, restarted 1 times"


@pytest.mark.parametrize(
    ("gets_well", "delays"), [(False, [0.1, 0.2, 0.4]), (True, [0.1, 0.1, 0.1])]
)
def test_only_one_that_was_healthy_has_run_steadily(
    gets_well: bool, delays: list[float]
) -> None:
    story, seen = checked(), []
    for _ in range(3):
        if gets_well:
            story.play(WELL)
        story.now += 3 * STEADY_S
        story.play(sick())
        story.play(DUE)
        story.play(exited(0))
        [order] = story.play(STOPPED)
        assert isinstance(order, After)
        seen.append(order.delay_s)
        story.play(DUE)
        story.play(CHECKED)
    assert seen == delays


def test_one_that_cannot_be_stopped_is_tried_again() -> None:
    story = unhealthy()
    refused = StopAnswered(name=NAME, reason="no Docker Engine answers")
    assert story.play(refused) == [after(1.0)]
    assert story.play(DUE) == [STOP]
    still = StopAnswered(name=NAME, observed=SEEN)
    assert story.play(still) == [after(1.0)]
    story.play(exited(0))
    assert story.play(refused) == [after(0.1)]
    assert story.container.exit_code == 0


def test_what_health_or_a_listing_says_of_one_that_is_stopped_is_late() -> None:
    story = unhealthy()
    story.now += SETTLE_S
    for event in (WELL, sick(), Found(observed=SEEN), ContainerStarted(observed=SEEN)):
        assert story.play(event) == []
        assert story.state() is State.STOPPING


@pytest.mark.parametrize("answered", [True, False])
def test_one_that_is_removed_as_it_is_stopped_is_made_anew(answered: bool) -> None:
    story = unhealthy(auto_remove=True)
    if answered:  # its events are lost
        assert story.play(StopAnswered(name=NAME)) == [after(0.1)]
        assert story.container.exit_code == 137
    else:
        story.play(exited(0))
        story.play(ContainerGone(container_id="c1"))
        failed = StopAnswered(name=NAME, reason="internal error")
        assert story.play(failed) == [after(0.1)]
        assert story.container.exit_code == 0
    [order] = story.play(DUE)
    assert isinstance(order, CreateContainer)


def test_one_whose_removal_alone_is_told_is_made_anew() -> None:
    story = unhealthy()
    story.play(ContainerGone(container_id="c1"))
    story.play(StopAnswered(name=NAME, reason="internal error"))
    assert story.play(DUE) == [after(0.1)]
    assert story.play(DUE) == [CREATE]


def test_one_that_is_given_up_while_it_is_stopped_is_removed() -> None:
    story = unhealthy()
    assert story.play(Unwanted(drain_s=2.0)) == [DISCARD]
    for late in (exited(0), ContainerGone(container_id="c1"), STOPPED):
        assert story.play(late) == []
    assert story.play(Unwanted(kill=True)) == [attrs.evolve(DISCARD, timeout_s=0.0)]
    assert story.play(ContainerDiscarded(name=NAME)) == []
    story.play(ContainerDiscarded(name=NAME))
    assert story.life is None


def test_an_answer_that_was_overtaken_means_nothing() -> None:
    story = running()
    assert story.play(STOPPED) == []
    assert story.state() is State.RUNNING


@pytest.mark.parametrize("adopted", [True, False])
def test_one_that_is_found_unhealthy_is_treated_alike(adopted: bool) -> None:
    seen = attrs.evolve(SEEN, health=Health.UNHEALTHY, check_output="no answer")
    story = Story() if adopted else checked()
    story.now += SETTLE_S
    assert story.play(Found(observed=seen, anew=adopted)) == [after(0.0)]
    assert (story.state(), story.container.reason) == (State.UNHEALTHY, "no answer")
    assert story.play(DUE) == [STOP]


def test_since_when_its_health_is_as_it_is() -> None:
    story = checked()
    since = []
    for event in (WELL, WELL, sick(), sick()):
        story.now += 5
        story.play(event)
        assert story.life is not None
        since.append(story.life.health_s)
    assert since == [105.0, 105.0, 115.0, 115.0]


# Restarted by an operator

RESTART = RestartOrdered(operation="op1")


def test_one_that_an_operator_restarts_is_started_at_once_and_as_new() -> None:
    story = running(restart_count=1)
    story.play(exited(1))
    story.play(DUE)
    story.play(ANSWERED)
    assert story.play(RESTART) == [STOP]
    assert (story.state(), story.container.is_ready) == (State.STOPPING, False)
    assert story.container.reason == "restarted by an operator"
    story.play(exited(0))
    assert story.play(STOPPED) == [START]
    story.play(ANSWERED)
    assert (story.container.restarts, story.container.operation) == (0, "op1")
    assert story.play(exited(1)) == [after(0.1)]  # its count is not used up


def test_one_that_others_stand_in_for_leaves_dns_before_it_stops() -> None:
    story = running()
    drained = attrs.evolve(RESTART, drain_s=2.0)
    assert story.play(drained) == [after(2.0)]
    assert not story.container.is_ready
    assert story.play(DUE) == [STOP]


@pytest.mark.parametrize("restart", [Restart.NEVER, Restart.ON_FAILURE])
def test_one_that_has_ended_can_be_restarted(restart: Restart) -> None:
    story = running(restart=restart)
    story.play(exited(0))
    assert story.state() is State.EXITED
    assert story.play(RESTART) == [START]
    story.play(ANSWERED)
    assert (story.state(), story.container.restarts) == (State.RUNNING, 0)


def test_one_that_waits_to_be_started_again_waits_no_longer() -> None:
    story = running()
    story.play(exited(1))
    assert story.play(RESTART) == [START]
    assert story.play(DUE) == []
    story.play(ANSWERED)
    assert story.play(exited(1)) == [after(0.1)]


def test_one_that_is_being_started_is_not_started_twice() -> None:
    story = Story()
    story.play(Wanted())
    assert story.play(RESTART) == []
    assert story.play(ContainerCreated(name=NAME, container_id="c1")) == [START]
    assert story.play(attrs.evolve(RESTART, operation="op2")) == []
    assert story.play(ANSWERED) == []
    assert story.container.operation == "op2"


def test_one_that_is_stopped_as_unhealthy_is_started_as_the_operator_wants() -> None:
    story = unhealthy(on_unhealthy=None)
    assert story.play(RESTART) == []
    story.play(exited(0))
    assert story.play(STOPPED) == [START]
    leaving = running()
    leaving.play(Unwanted())
    assert leaving.play(RESTART) == []
    leaving.play(ContainerDiscarded(name=NAME))
    assert leaving.life is None


DYING = ProcessEnded(container_id="c1")


def test_one_whose_process_ended_is_not_ready_and_waits_for_how_it_ended() -> None:
    story = running()
    assert story.play(DYING) == []
    assert (story.state(), story.container.is_ready) == (State.RUNNING, False)
    assert story.play(HealthChanged(container_id="c1", health=Health.HEALTHY)) == []
    story.now += SETTLE_S  # a listing that knows less than the kernel
    assert story.play(Found(observed=SEEN)) == []
    assert not story.container.is_ready
    assert story.play(exited(3)) == [after(0.1)]
    assert (story.state(), story.container.exit_code) == (State.BACKOFF, 3)
    assert not story.container.dying


@pytest.mark.parametrize("anew", [False, True])
def test_one_whose_process_ended_is_looked_at_in_the_listing(anew: bool) -> None:
    """What Docker tells of its end may be lost."""
    story = running()
    story.play(DYING)
    assert story.play(Found(observed=ENDED)) == []  # of an answer on its way: later
    story.now += SETTLE_S
    (order,) = story.play(Found(observed=ENDED, anew=anew))
    assert isinstance(order, After)
    assert story.state() is State.BACKOFF


def test_one_that_was_started_again_while_the_engine_was_away_is_ready() -> None:
    story = running()
    story.play(DYING)
    story.play(EngineEnded())
    story.play(Found(observed=SEEN, anew=True))
    assert story.container.is_ready


def test_adoption_takes_over_what_runs_without_a_restart() -> None:
    story = Story()
    assert story.play(Found(observed=SEEN, anew=True)) == []
    assert (story.state(), story.container.restarts) == (State.RUNNING, 0)
    unhealthy = Story()
    unhealthy.play(Found(observed=attrs.evolve(SEEN, health=Health.UNHEALTHY)))
    assert unhealthy.state() is State.UNHEALTHY


def test_adoption_judges_what_ended_meanwhile_by_its_exit_code() -> None:
    story = Story()
    assert story.play(Found(observed=ENDED, anew=True)) == [after(0.1)]
    assert story.play(DUE) == [START]
    finished = Story()
    seen = attrs.evolve(ENDED, exit_code=0)
    assert finished.play(Found(observed=seen, anew=True)) == []
    assert finished.state() is State.EXITED


@pytest.mark.parametrize(
    ("ever_started", "state"), [(True, State.EXITED), (False, State.BACKOFF)]
)
def test_adoption_never_runs_twice_what_should_run_once(
    ever_started: bool, state: State
) -> None:
    story = Story(attrs.evolve(WEB, restart=Restart.NEVER))
    seen = attrs.evolve(ENDED, ever_started=ever_started)
    story.play(Found(observed=seen, anew=True))
    assert story.state() is state


def test_a_listing_is_not_believed_about_what_just_happened() -> None:
    story = running()
    assert story.play(Found(observed=None)) == []
    assert story.play(Found(observed=ENDED)) == []
    assert story.state() is State.RUNNING


def test_a_later_listing_tells_what_the_stream_missed() -> None:
    story = running()
    story.now += 30
    assert story.play(Found(observed=ENDED)) == [after(0.1)]
    assert story.play(Found(observed=SEEN)) == []
    assert story.state() is State.BACKOFF  # it was listed just after the change
    story.now += 30
    story.play(Found(observed=SEEN))
    assert story.state() is State.RUNNING
    story.now += 30
    assert story.play(Found(observed=SEEN)) == []
    assert story.play(Found(observed=None)) == [after(0.1)]
    story.now += 30
    story.play(Found(observed=None))
    assert story.container.id == ""
    story.play(Found(observed=ENDED))
    assert story.state() is State.BACKOFF


def test_a_listing_after_the_engine_was_away_is_believed_at_once() -> None:
    story = running()
    assert story.play(Found(observed=ENDED, anew=True)) == [after(0.0)]


def test_what_obeys_its_engine_as_that_ends_has_not_done_its_job() -> None:
    story = running()
    story.play(exited(0))
    assert story.state() is State.EXITED
    story.now += ENGINE_STOP_S - 1
    assert story.play(EngineEnded()) == []
    assert story.state() is State.BACKOFF
    assert story.container.reason == "its engine ended"
    over = attrs.evolve(ENDED, exit_code=0)
    assert story.play(Found(observed=over, anew=True)) == [after(0.0)]
    assert story.play(DUE) == [START]


def test_an_engine_that_ends_waits_for_what_stops_slowly() -> None:
    """Docker: until the last one had its time, and 5 s more."""
    quick, slow = running(), running(stop_timeout_s=60)
    assert slow.life is not None
    assert quick.life is not None
    assert engine_stop_s([]) == engine_stop_s([quick.life]) == ENGINE_STOP_S
    within_s = engine_stop_s([quick.life, slow.life])
    quick.play(exited(0))
    quick.now += within_s - 1
    assert quick.play(EngineEnded(within_s=within_s)) == []
    assert quick.container.reason == "its engine ended"


@pytest.mark.parametrize("limit", [1, 2], ids=["used up", "not yet"])
@pytest.mark.parametrize("code", [0, 143])
def test_the_end_of_its_engine_does_not_use_up_a_restart_count(
    limit: int, code: int
) -> None:
    story = running(restart=Restart.ALWAYS, restart_count=limit)
    story.play(exited(1))
    story.play(DUE)
    story.play(ANSWERED)
    story.play(exited(code))
    assert story.state() is (State.FAILED if limit == 1 else State.BACKOFF)
    assert story.play(EngineEnded()) == []
    over = attrs.evolve(ENDED, exit_code=code)
    assert story.play(Found(observed=over, anew=True)) == [after(0.0)]
    assert story.play(DUE) == [START]
    story.play(ANSWERED)
    assert (story.state(), story.container.restarts) == (State.RUNNING, 1)
    story.play(exited(1))
    assert story.state() is (State.FAILED if limit == 1 else State.BACKOFF)


def test_one_that_is_started_as_its_engine_ends_is_not_restarted_for_that() -> None:
    story = running()
    story.play(exited(143))
    assert story.play(DUE) == [START]
    assert story.play(EngineEnded()) == []
    assert story.play(REFUSED) != []
    assert story.play(DUE) == [START]
    story.play(ANSWERED)
    assert (story.state(), story.container.restarts) == (State.RUNNING, 0)


@pytest.mark.parametrize(
    ("seen", "order"), [(ENDED, START), (None, CREATE)], ids=["it stands", "it is gone"]
)
def test_what_ended_with_its_engine_untold_was_not_restarted_either(
    seen: Observed | None, order: Command
) -> None:
    story = running()
    assert story.play(EngineEnded()) == []
    assert story.state() is State.RUNNING
    assert story.play(Found(observed=seen, anew=True)) == [after(0.0)]
    assert story.play(DUE) == [order]
    if seen is None:
        story.play(ContainerCreated(name=NAME, container_id="c1"))
    story.play(ANSWERED)
    assert (story.state(), story.container.restarts) == (State.RUNNING, 0)


@pytest.mark.parametrize("seen", [ENDED, None], ids=["it stands", "it is gone"])
def test_what_waits_to_be_started_waits_no_longer_for_a_new_engine(
    seen: Observed | None,
) -> None:
    story = running()
    assert story.play(exited(3)) == [after(0.1)]
    assert story.play(Found(observed=seen, anew=True)) == [after(0.0)]


def test_what_had_ended_before_its_node_knew_it_was_not_ended_by_its_engine() -> None:
    story = Story()
    story.play(Found(observed=attrs.evolve(ENDED, exit_code=0), anew=True))
    assert story.play(EngineEnded()) == []
    assert story.state() is State.EXITED


@pytest.mark.parametrize(
    ("restart", "later_s"),
    [(Restart.ON_FAILURE, ENGINE_STOP_S), (Restart.NEVER, 0.0)],
    ids=["it ended long before", "it runs only once"],
)
def test_what_has_done_its_job_stays_ended_when_its_engine_ends(
    restart: Restart, later_s: float
) -> None:
    story = running(restart=restart)
    story.play(exited(0))
    story.now += later_s
    assert story.play(EngineEnded()) == []
    assert story.state() is State.EXITED


@pytest.mark.parametrize(
    ("seen", "code"), [(ENDED, 3), (None, 137)], ids=["it stands", "it is gone"]
)
def test_a_job_that_its_engine_ended_is_over(seen: Observed | None, code: int) -> None:
    story = running(restart=Restart.NEVER)
    assert story.play(Found(observed=seen, anew=True)) == []
    assert story.state() is State.EXITED
    assert (story.container.exit_code, story.container.ports) == (code, ())


def test_what_cannot_happen_is_loud() -> None:
    with pytest.raises(AssertionError, match=r"Unwanted.* in .*PENDING"):
        Story().play(Unwanted())


def test_every_state_but_the_first_hears_all_that_an_engine_may_tell() -> None:
    by_id = [ContainerExited, ContainerGone, HealthChanged, ContainerStarted]
    told = [*by_id, ProcessEnded, Found, EngineEnded]
    states = [s for s in State if s is not State.PENDING]
    missing = [
        (state, event)
        for state, event in itertools.product(states, told)
        if (state, event) not in TRANSITIONS
    ]
    assert missing == []


# Where its ports are bound

ELSEWHERE = attrs.evolve(SEEN, address="127.0.0.9")
STRANDED = attrs.evolve(ELSEWHERE, stranded=True)


def test_it_is_where_its_engine_has_bound_it() -> None:
    story = Story()
    story.play(Found(observed=ELSEWHERE, anew=True))
    assert story.container.address == "127.0.0.9"
    assert story.container.is_ready


def test_it_is_where_its_node_is_if_it_is_bound_to_all_addresses() -> None:
    story = Story()
    story.play(Found(observed=SEEN, anew=True))
    assert story.container.address == "127.0.0.1"


def test_at_an_address_that_its_host_lost_it_runs_and_is_not_answered() -> None:
    story = Story()
    story.play(Found(observed=STRANDED, anew=True))
    assert (story.state(), story.container.address) == (State.RUNNING, "")
    assert story.container.reason == "its host does not have 127.0.0.9 any more"
    assert (story.container.is_stranded, story.container.is_ready) == (True, False)
    story.now += 10
    story.play(Found(observed=ELSEWHERE))  # the address is back
    assert (story.container.address, story.container.reason) == ("127.0.0.9", "")
    assert story.container.is_ready
    story.now += 30
    story.play(Found(observed=STRANDED))
    assert not story.container.is_ready


@pytest.mark.parametrize("seen", [ELSEWHERE, STRANDED], ids=["there", "gone"])
def test_one_that_is_bound_elsewhere_is_made_anew_when_it_is_started_again(
    seen: Observed,
) -> None:
    story = Story()
    story.play(Found(observed=seen, anew=True))
    story.play(exited(3))
    assert story.play(DUE) == [CREATE]
    assert (story.container.address, story.container.id) == ("127.0.0.1", "")


@pytest.mark.parametrize("started", [True, False])
def test_one_that_did_not_run_and_would_be_bound_elsewhere_is_made_anew(
    started: bool,
) -> None:
    story = Story()
    seen = attrs.evolve(STRANDED, running=False, exit_code=3, ever_started=started)
    story.play(Found(observed=seen, anew=True))
    assert story.state() is State.BACKOFF
    assert story.play(DUE) == [CREATE]
