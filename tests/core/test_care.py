"""Care: this node's containers follow the table and the engine."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from tests.core.samples import (
    DOS,
    TRES,
    UNO,
    WEB,
    beat,
    container,
    document,
    identity,
    observed,
    service,
    slot,
)
from veo_shell.core import events as ev
from veo_shell.core.care import Care
from veo_shell.core.commands import (
    After,
    Answer,
    Command,
    CreateContainer,
    DiscardContainer,
    Note,
    Refuse,
    StartContainer,
    StopContainer,
)
from veo_shell.core.membership import Membership
from veo_shell.core.model import (
    Container,
    GroupPolicy,
    GroupRole,
    Health,
    JournalEntry,
    NodeRecord,
    Observed,
    OldSpec,
    OnPartition,
    Record,
    Restart,
    Service,
    State,
    Status,
)
from veo_shell.core.outbox import Outbox
from veo_shell.core.timing import Timing
from veo_shell.core.view import View

STANDS, SLOT, SEEN = service(), slot(UNO), observed()
NAME = SEEN.name
ONCE = attrs.evolve(WEB, restart=Restart.NEVER)
MOST = attrs.evolve(WEB, on_partition=OnPartition.MAJORITY)


class Dialogue:
    """The containers of one node, its table and what they order."""

    def __init__(self, *records: Record) -> None:
        self.now = 100.0
        self.view, self.out = View(), Outbox(node=UNO, boot="b")
        self.members = Membership(UNO, Timing(), self.now)
        self.care = Care(UNO, "10.0.0.1", "veo", self.view, self.members, self.out)
        self.notes: list[JournalEntry] = []
        self.merge(*records)

    def merge(self, *records: Record) -> None:
        for record in records:
            self.view.merge_record(record)

    def listed(self, *seen: Observed) -> list[Command]:
        self.care.on_listed(ev.EngineListed(containers=seen), self.now)
        return self.follow()

    def follow(self, may_start: bool = True) -> list[Command]:
        self.care.follow_table(may_start, self.now)
        self.view.settle()
        commands, self.out.commands = self.out.commands, []
        self.notes += [c.entry for c in commands if isinstance(c, Note)]
        return [c for c in commands if not isinstance(c, Note)]

    def told(self, event: Any) -> list[Command]:
        """Pass on what the engine, or a timer, says of a container."""
        by_id = (
            *(ev.ProcessEnded, ev.ContainerExited),
            *(ev.HealthChanged, ev.ContainerGone),
        )
        if isinstance(event, ev.ContainerStarted):
            self.care.on_started(event, self.now)
        elif isinstance(event, by_id):
            self.care.on_container(event, self.now)
        else:
            self.care.on_named(event, self.now)
        return self.follow()

    @property
    def states(self) -> list[State]:
        return [life.container.state for life in self.care.lives.values()]


def create(spec: Service = WEB, generation: int = 1) -> CreateContainer:
    labels = identity(generation=generation)
    return CreateContainer(name=labels.container_name, identity=labels, service=spec)


def start() -> StartContainer:
    return StartContainer(name=NAME, container_id=SEEN.id)


def discard(generation: int = 1, timeout_s: float = 10.0) -> DiscardContainer:
    seen = observed(generation=generation)
    return DiscardContainer(name=seen.name, container_id=seen.id, timeout_s=timeout_s)


# What the engine holds


def test_nothing_is_done_before_the_engine_was_listed() -> None:
    node = Dialogue(STANDS, SLOT)
    assert (node.care.knows_its_own, node.care.is_empty) == (False, False)
    assert node.follow() == []
    assert node.listed() == [create()]
    assert (node.care.knows_its_own, node.care.is_empty) == (True, False)
    assert node.follow() == []


def test_a_job_that_is_done_is_not_run_again_when_its_container_is_lost() -> None:
    """With this node's disk, say; the slot tells."""
    node = Dialogue(STANDS, attrs.evolve(SLOT, done=True))
    assert node.listed() == []
    node.merge(attrs.evolve(SLOT, generation=2, revision=9))
    assert node.follow() == [create(generation=2)]


def test_nothing_is_started_before_it_may_decide() -> None:
    node = Dialogue(STANDS, SLOT)
    node.care.on_listed(ev.EngineListed(containers=()), 0.0)
    assert node.follow(may_start=False) == []
    assert node.follow() == [create()]


def test_what_runs_is_adopted_and_published() -> None:
    node = Dialogue(STANDS, SLOT)
    assert node.listed(SEEN) == []
    assert node.states == [State.RUNNING]
    assert node.out.changed[NAME].id == SEEN.id


def test_what_was_created_and_never_started_is_started() -> None:
    node = Dialogue(STANDS, SLOT)
    orders = node.listed(attrs.evolve(SEEN, running=False, ever_started=False))
    assert orders == [After(name=NAME, delay_s=0.0)]
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
    spec = attrs.evolve(WEB, restart=restart)
    node = Dialogue(service(spec=spec), SLOT)
    node.care.remember([container(state=state, restarts=3)])
    node.listed()
    assert node.states == [then]
    if then is State.CREATING:
        assert node.care.lives[NAME].container.restarts == 3


@pytest.mark.parametrize(
    ("rebooted", "before", "restart", "then"),
    [
        pytest.param(True, State.RUNNING, Restart.ON_FAILURE, State.BACKOFF, id="ran"),
        pytest.param(
            True, State.UNHEALTHY, Restart.ON_FAILURE, State.BACKOFF, id="ill"
        ),
        pytest.param(
            True, State.STARTING, Restart.ON_FAILURE, State.BACKOFF, id="began"
        ),
        pytest.param(
            True, State.BACKOFF, Restart.ON_FAILURE, State.BACKOFF, id="engine first"
        ),
        pytest.param(
            False, State.STOPPING, Restart.ON_FAILURE, State.BACKOFF, id="was stopped"
        ),
        pytest.param(
            False, State.BACKOFF, Restart.ON_FAILURE, State.BACKOFF, id="engine alone"
        ),
        pytest.param(True, State.EXITED, Restart.ON_FAILURE, State.EXITED, id="over"),
        pytest.param(True, State.RUNNING, Restart.NEVER, State.EXITED, id="once"),
        pytest.param(True, None, Restart.ON_FAILURE, State.EXITED, id="not known"),
        pytest.param(False, State.RUNNING, Restart.ON_FAILURE, State.EXITED, id="away"),
    ],
)
def test_what_was_to_run_on_when_its_host_was_rebooted_has_not_done_its_job(
    rebooted: bool, before: State | None, restart: Restart, then: State
) -> None:
    """It answered the host's SIGTERM with exit code 0."""
    node = Dialogue(service(spec=attrs.evolve(WEB, restart=restart)), SLOT)
    old = container(restarts=3, reason="its engine ended")
    held = [] if before is None else [attrs.evolve(old, state=before)]
    node.care.remember(held, rebooted=rebooted)
    orders = node.listed(attrs.evolve(SEEN, running=False, exit_code=0))
    resumes = then is State.BACKOFF
    assert orders == ([After(name=NAME, delay_s=0.0)] if resumes else [])
    assert node.states == [then]
    if resumes:
        assert node.told(ev.TimerDue(name=NAME)) == [start()]
        node.told(ev.StartAnswered(name=NAME, observed=SEEN))
        assert node.care.lives[NAME].container.restarts == 3


@pytest.mark.parametrize("rebooted", [True, False])
def test_a_job_that_was_made_and_never_started_is_started(rebooted: bool) -> None:
    node = Dialogue(service(spec=ONCE), SLOT)
    node.care.remember([container(state=State.STARTING)], rebooted=rebooted)
    node.listed(attrs.evolve(SEEN, running=False, ever_started=False))
    assert node.told(ev.TimerDue(name=NAME)) == [start()]


@pytest.mark.parametrize(
    ("restart", "code", "after_s", "then"),
    [
        pytest.param(Restart.ON_FAILURE, 0, 14.0, State.RUNNING, id="just now"),
        pytest.param(Restart.ON_FAILURE, 0, 15.0, State.EXITED, id="long ago"),
        pytest.param(Restart.NEVER, 0, 0.0, State.EXITED, id="once"),
        pytest.param(Restart.ALWAYS, 0, 0.0, State.BACKOFF, id="always"),
        pytest.param(Restart.ALWAYS, None, 0.0, State.RUNNING, id="it runs"),
    ],
)
def test_what_ended_just_before_its_node_is_kept_as_up(
    restart: Restart, code: int | None, after_s: float, then: State
) -> None:
    """Docker may have been told to end first: its host's boot will tell."""
    node = Dialogue(service(spec=attrs.evolve(WEB, restart=restart)), SLOT)
    node.listed(SEEN)
    if code is not None:
        node.told(ev.ContainerExited(container_id=SEEN.id, exit_code=code))
    before = node.states
    node.now += after_s
    (kept,) = node.care.up_till_now(node.now)
    assert kept.state is then
    assert node.states == before


def test_what_is_gone_from_the_engine_is_not_kept_as_up() -> None:
    node = Dialogue(service(spec=attrs.evolve(WEB, restart=Restart.ON_FAILURE)), SLOT)
    node.listed(SEEN)
    node.told(ev.ContainerExited(container_id=SEEN.id, exit_code=0))
    node.told(ev.ContainerGone(container_id=SEEN.id))
    (kept,) = node.care.up_till_now(node.now)
    assert kept.state is State.EXITED


def test_what_runs_again_already_after_a_reboot_is_adopted() -> None:
    node = Dialogue(STANDS, SLOT)
    node.care.remember([container()], rebooted=True)
    assert node.listed(SEEN) == []
    assert node.states == [State.RUNNING]


def test_a_listing_after_the_engine_was_away_is_believed() -> None:
    node = Dialogue(STANDS, SLOT)
    node.listed(SEEN)
    assert node.listed() == []  # it may be older than what is known
    assert node.states == [State.RUNNING]
    node.care.on_engine_lost(ev.EngineLost(reason="refused"), node.now)
    assert node.care.engine_lost == "refused"
    assert node.care.knows_its_own
    node.follow()
    assert node.notes[-1].text == "the engine is away: refused"
    node.listed()
    assert "the engine answers again" in [note.text for note in node.notes]
    assert node.care.engine_lost == ""
    assert node.states == [State.BACKOFF]


def test_what_its_engine_ended_is_no_end_of_its_own() -> None:
    job = attrs.evolve(WEB, restart=Restart.ON_FAILURE)
    node = Dialogue(service(spec=job), SLOT)
    node.listed(SEEN)
    node.told(ev.ContainerExited(container_id=SEEN.id, exit_code=0))
    assert node.states == [State.EXITED]
    node.care.on_engine_lost(ev.EngineLost(reason="refused"), node.now)
    assert node.states == [State.BACKOFF]


def test_an_engine_that_is_lost_without_a_reason_is_lost_all_the_same() -> None:
    node = Dialogue()
    node.care.on_engine_lost(ev.EngineLost(reason=""), node.now)
    assert node.care.engine_lost == "it does not answer"


@pytest.mark.parametrize(
    "event",
    [
        ev.ContainerExited(container_id="other", exit_code=1),
        ev.HealthChanged(container_id="other", health=Health.UNHEALTHY),
        ev.ContainerGone(container_id="other"),
    ],
    ids=lambda event: type(event).__name__,
)
def test_facts_about_others_containers_are_passed_over(event: ev.Event) -> None:
    node = Dialogue(STANDS, SLOT)
    node.listed(SEEN, observed(uid="strange"))
    assert node.told(event) == []
    assert node.states == [State.RUNNING]


def test_late_answers_about_what_is_gone_are_passed_over() -> None:
    node = Dialogue(STANDS)
    node.listed()
    assert node.told(ev.TimerDue(name=NAME)) == []
    assert node.told(ev.ContainerStarted(observed=SEEN)) == []
    assert node.states == []


def test_facts_about_a_container_reach_it() -> None:
    node = Dialogue(STANDS, SLOT)
    node.listed(SEEN)
    node.told(ev.ContainerExited(container_id=SEEN.id, exit_code=1))
    assert node.states == [State.BACKOFF]
    node.told(ev.ContainerStarted(observed=SEEN))
    assert node.states == [State.RUNNING]


# What the table does not want


def test_what_is_removed_is_stopped_at_once_and_once() -> None:
    node = Dialogue(STANDS, SLOT)
    node.listed(SEEN)
    node.merge(service(spec=None))
    assert node.follow(may_start=False) == [discard()]
    assert node.follow() == []
    node.told(ev.ContainerDiscarded(name=NAME))
    assert node.states == []
    assert node.care.is_empty
    assert node.out.gone == {NAME}


def test_a_container_of_a_removed_service_is_adopted_to_be_removed() -> None:
    assert Dialogue(service(spec=None)).listed(SEEN) == [discard()]


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(slot(None, wanted=False, revision=9), id="given up"),
        pytest.param(
            slot(DOS, generation=2, ends=(NAME,), revision=9), id="named to end"
        ),
    ],
)
def test_what_a_decision_ends_is_drained_first(record: Record) -> None:
    """Whoever keeps an answer of DNS for as long as it says still asks it."""
    node = Dialogue(STANDS, SLOT)
    node.listed(SEEN)
    node.view.merge_document(document(DOS, containers=(container(DOS, 1),)))
    node.merge(record)
    assert node.follow(may_start=False) == [After(name=NAME, delay_s=6.0)]
    assert node.states == [State.STOPPING]
    assert node.follow() == []
    assert node.told(ev.TimerDue(name=NAME)) == [discard()]
    assert node.told(ev.TimerDue(name=NAME)) == []


@pytest.mark.parametrize(
    ("own", "other"),
    [
        pytest.param({}, {"state": State.STARTING}, id="nothing else is to be asked"),
        pytest.param({"health": Health.STARTING}, {}, id="DNS did not tell of it"),
    ],
)
def test_what_nobody_is_led_away_from_is_not_drained(
    own: dict[str, Any], other: dict[str, Any]
) -> None:
    """It would be away for longer, or stay for nobody."""
    node = Dialogue(STANDS, SLOT)
    node.listed(attrs.evolve(SEEN, **own))
    node.view.merge_document(document(DOS, containers=(container(DOS, 1, **other),)))
    node.merge(slot(DOS, generation=2, ends=(NAME,), revision=9))
    assert node.follow() == [discard()]


def test_news_of_one_service_leaves_the_others_alone() -> None:
    node = Dialogue(STANDS, SLOT)
    node.listed(SEEN)
    node.merge(service("u2", attrs.evolve(WEB, name="b")), slot(UNO, uid="u2"))
    (order,) = node.follow()
    assert isinstance(order, CreateContainer)
    assert order.identity.uid == "u2"
    assert node.states == [State.RUNNING, State.CREATING]


def test_what_another_is_named_for_runs_on_until_a_decision_names_it() -> None:
    node = Dialogue(STANDS, SLOT)
    node.listed(SEEN)
    node.merge(slot(DOS, generation=2, revision=9))
    assert node.follow() == []
    assert node.states == [State.RUNNING]
    orders = node.told(ev.ContainerExited(container_id=SEEN.id, exit_code=1))
    assert discard() in orders  # it is not started again


@pytest.mark.parametrize("handover", [True, False])
def test_one_on_its_way_up_serves_until_the_one_it_moves_to_takes_over(
    handover: bool,
) -> None:
    """Without a move it is a duplicate: it is not even started."""
    node = Dialogue(STANDS, SLOT)
    node.listed()
    node.merge(slot(DOS, generation=2, handover=handover, revision=9))
    assert node.follow() == []
    created = node.told(ev.ContainerCreated(name=NAME, container_id=SEEN.id))
    assert created == ([start()] if handover else [discard()])
    if handover:
        assert node.told(ev.StartAnswered(name=NAME, observed=SEEN)) == []
        assert node.states == [State.RUNNING]


def test_a_job_that_moves_is_not_begun_where_it_was_begun_before() -> None:
    """As its master was ready there just before it was told to move."""
    node = Dialogue(service(spec=ONCE), slot(UNO, generation=2, handover=True))
    before = container(DOS)
    node.view.merge_document(document(DOS, containers=(before,)))
    assert node.listed() == []
    waits = attrs.evolve(before, id="", state=State.PENDING)
    node.view.merge_document(document(DOS, version=2, containers=(waits,)))
    assert node.follow() == [create(ONCE, generation=2)]


def test_one_that_is_down_while_its_slot_moves_is_given_up() -> None:
    node = Dialogue(STANDS, SLOT)
    node.listed(SEEN)
    node.told(ev.ContainerExited(container_id=SEEN.id, exit_code=1))
    node.merge(slot(DOS, generation=2, handover=True, revision=9))
    assert node.follow() == [discard()]


def test_a_decision_that_keeps_one_made_earlier_is_obeyed() -> None:
    node = Dialogue(STANDS, slot(UNO, generation=5, made=1))
    assert node.listed(SEEN) == []
    assert node.states == [State.RUNNING]


def test_two_generations_on_one_node_run_until_one_is_ended() -> None:
    node = Dialogue(STANDS, slot(UNO, generation=2))
    assert node.listed(SEEN) == [create(generation=2)]
    node.merge(slot(UNO, generation=2, ends=(NAME,), revision=9))
    both = (container(UNO), container(UNO, generation=2))
    node.view.merge_document(document(UNO, containers=both))
    assert node.follow() == [After(name=NAME, delay_s=6.0)]


@pytest.mark.parametrize("running", [True, False])
def test_one_without_a_slot_is_given_up_only_if_it_is_down(running: bool) -> None:
    """Its record is lost: who decides takes back what runs."""
    node = Dialogue(STANDS)
    node.care.on_listed(
        ev.EngineListed(containers=(attrs.evolve(SEEN, running=running),)), 0.0
    )
    before = node.states
    assert [c for c in node.follow(may_start=False) if c == discard()] == []
    assert node.states == before  # its record may be on its way
    assert node.follow() == ([] if running else [discard()])


def test_a_job_that_has_ended_is_not_run_again_because_the_table_comes_in_parts() -> (
    None
):
    node = Dialogue()
    done = attrs.evolve(SEEN, running=False, exit_code=0)
    node.care.on_listed(ev.EngineListed(containers=(done,)), 0.0)
    node.merge(service(spec=ONCE))
    assert node.follow(may_start=False) == []
    node.merge(SLOT)
    assert node.follow() == []
    assert node.states == [State.EXITED]


def test_a_leaving_node_stops_all_that_is_its_own() -> None:
    node = Dialogue(STANDS, SLOT)
    node.listed(SEEN, observed(uid="strange"))
    node.care.is_leaving = True
    assert node.follow() == [discard()]
    node.merge(slot(UNO, 1))
    assert node.follow() == []
    node.told(ev.ContainerDiscarded(name=NAME))
    assert node.care.is_empty  # what it does not know is not its own


# Strangers


def test_a_container_of_an_unknown_service_is_left_alone() -> None:
    node = Dialogue()
    assert node.listed(SEEN) == []
    assert node.states == []
    node.merge(STANDS, SLOT)  # a peer tells what it is
    assert node.follow() == []
    assert node.states == [State.RUNNING]


def test_what_happens_to_a_stranger_is_known_when_it_is_adopted() -> None:
    node = Dialogue()
    node.listed(attrs.evolve(SEEN, running=False, ever_started=False))
    node.told(ev.ContainerStarted(observed=SEEN))
    node.merge(STANDS, SLOT)
    assert node.follow() == []
    assert node.states == [State.RUNNING]


@pytest.mark.parametrize(
    ("event", "then", "orders"),
    [
        (
            ev.ContainerExited(container_id=SEEN.id, exit_code=3),
            State.BACKOFF,
            [After(name=NAME, delay_s=0.1)],
        ),
        (
            ev.HealthChanged(container_id=SEEN.id, health=Health.UNHEALTHY),
            State.UNHEALTHY,
            [After(name=NAME, delay_s=0.0)],
        ),
        (ev.ContainerGone(container_id=SEEN.id), State.CREATING, [create()]),
        (ev.ProcessEnded(container_id=SEEN.id), State.RUNNING, []),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_stranger_is_adopted_as_what_became_of_it(
    event: ev.Event, then: State, orders: list[Command]
) -> None:
    """Else DNS has one that has ended, until the next listing."""
    node = Dialogue()
    node.listed(observed(uid="strange"), SEEN)
    assert node.told(event) == []
    node.merge(STANDS, SLOT)
    assert node.follow() == orders
    assert node.states == [then]


def test_none_begins_beside_a_stranger_that_was_to_stop_first() -> None:
    """The node lost its disk in the midst of an update."""
    node = Dialogue()
    node.listed(SEEN)
    successor = slot(UNO, generation=2)
    node.merge(STANDS, attrs.evolve(successor, ends=(NAME,), stops_first=True))
    assert node.follow() == [discard()]
    assert node.told(ev.ContainerDiscarded(name=NAME)) == [create(generation=2)]


@pytest.mark.parametrize("running", [True, False])
def test_a_stranger_that_is_nobodys_is_ended(running: bool) -> None:
    node = Dialogue()
    node.listed(attrs.evolve(SEEN, running=running))
    node.care.end_stranger(NAME, node.now)
    assert discard() in node.follow()
    assert node.care.strangers == {}


def test_a_service_that_lost_its_record_keeps_what_is_in_care() -> None:
    """It cannot be: but what runs is not ended by what is not known."""
    node = Dialogue(STANDS, SLOT)
    node.listed(SEEN)
    node.merge(service(spec=None))
    node.view.forget("u1")
    assert node.follow() == []
    assert node.states == [State.RUNNING]


# What wants a majority


class Voting(Dialogue):
    """A node among voters, with what all of them know."""

    def __init__(self, *records: Record) -> None:
        votes = [
            NodeRecord(node=node, revision=1, writer=UNO, votes=True)
            for node in (UNO, DOS, TRES)
        ]
        super().__init__(service(spec=MOST), *votes, *records)
        self.agreeing = {DOS, TRES}
        for node in (UNO, DOS, TRES):
            self.view.merge_document(document(node))

    def tick(self, for_s: float, *speaking: str) -> list[Command]:
        orders: list[Command] = []
        for _ in range(round(for_s / 0.25)):
            self.now += 0.25
            for node in speaking:
                digest = self.view.digest if node in self.agreeing else 1
                said = beat(node, digest=digest)
                self.members.heard(node, f"{node}#1", self.now, said)
            self.members.tick(self.now)
            self.care.on_tick(self.now)
            orders += self.follow()
        return orders


def test_one_that_sees_no_majority_begins_nothing_that_wants_one() -> None:
    node = Voting(SLOT)
    assert node.listed() == node.tick(2) == []
    assert node.tick(0.25, DOS) == [create(MOST)]


def test_one_that_sees_a_majority_begins_when_it_holds_what_that_holds() -> None:
    """Its own table may be from before they decided without it."""
    node = Voting(SLOT)
    node.listed()
    node.agreeing = set()
    assert node.tick(10, DOS, TRES) == []
    node.agreeing = {TRES}
    assert node.tick(0.25, DOS, TRES) == [create(MOST)]


def test_once_it_agreed_it_begins_whatever_changes_as_long_as_it_sees_them() -> None:
    node = Voting()
    node.listed()
    node.tick(0.25, DOS, TRES)
    node.agreeing = set()
    node.tick(1, DOS, TRES)
    node.merge(SLOT)
    assert node.follow() == [create(MOST)]


def test_one_that_lost_the_majority_kills_what_wants_one() -> None:
    node = Voting(SLOT, service("u2"), slot(UNO, uid="u2"))
    node.listed(SEEN, observed(uid="u2"))
    assert node.tick(1, DOS, TRES) == []
    assert node.tick(2.25) == []
    assert node.tick(0.25) == [discard(timeout_s=0.0)]
    node.told(ev.ContainerDiscarded(name=NAME))
    assert node.states == [State.RUNNING]  # the other service is available
    assert node.tick(2) == []
    node.agreeing = set()
    assert node.tick(1, DOS, TRES) == []
    node.agreeing = {DOS, TRES}
    assert node.tick(0.25, DOS, TRES) == [create(MOST)]


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(slot(DOS, generation=2, ends=(NAME,), revision=9), id="named"),
        pytest.param(slot(None, wanted=False, revision=9), id="given up"),
    ],
)
@pytest.mark.parametrize("is_drained", [True, False])
def test_one_that_stops_in_order_is_killed_when_the_majority_is_lost(
    record: Record, is_drained: bool
) -> None:
    """Else it runs on, for its drain and its time-out, beside the other side's."""
    node = Voting(SLOT)
    node.listed(SEEN)
    node.tick(1, DOS, TRES)
    other = document(DOS, version=2, containers=(container(DOS, 1),))
    node.view.merge_document(other)
    node.merge(record)
    assert node.follow() == [After(name=NAME, delay_s=6.0)]
    if is_drained:
        assert node.told(ev.TimerDue(name=NAME)) == [discard()]
    assert node.tick(2.25) == []
    assert node.tick(0.25) == [discard(timeout_s=0.0)]
    node.merge(service(spec=MOST, revision=9))
    assert node.tick(1) == []
    for _ in range(2 if is_drained else 1):
        assert node.states == [State.STOPPING]
        assert node.told(ev.TimerDue(name=NAME)) == []
        node.told(ev.ContainerDiscarded(name=NAME))
    assert node.states == []


def test_one_without_a_slot_is_killed_too_when_the_majority_is_lost() -> None:
    """Who decides, on the other side, may have found another place for it."""
    node = Voting()
    node.listed(SEEN)
    assert node.tick(1, DOS, TRES) == []
    assert node.tick(3) == [discard(timeout_s=0.0)]


@pytest.mark.parametrize(
    ("elsewhere", "begins"),
    [
        pytest.param(container(DOS), False, id="it runs"),
        pytest.param(container(DOS, state=State.STOPPING), False, id="it stops"),
        pytest.param(container(DOS, state=State.CREATING), False, id="it begins"),
        pytest.param(container(DOS, state=State.BACKOFF), True, id="it is down"),
        pytest.param(container(DOS, state=State.EXITED), True, id="it has ended"),
        pytest.param(container(DOS, 1), True, id="another slot"),
    ],
)
def test_what_fills_the_slot_elsewhere_ends_first(
    elsewhere: Container, begins: bool
) -> None:
    node = Voting(slot(UNO, generation=2))
    held = document(DOS, version=2, containers=(elsewhere,))
    node.view.merge_document(held)
    orders = [*node.listed(), *node.tick(5, DOS, TRES)]
    assert orders == ([create(MOST, 2)] if begins else [])
    if not begins:
        node.view.merge_document(document(DOS, version=3))
        assert node.follow() == [create(MOST, 2)]


@pytest.mark.parametrize(
    ("status", "stop_timeout_s", "after_s"),
    [
        (Status.LEFT, 10, 19.0),
        (Status.LEFT, 60, 69.0),
        (Status.LEFT, 0, 9.0),
        (Status.DEAD, 60, 3.0),  # it is killed there
        (Status.PAUSED, 10, None),
    ],
    ids=lambda value: str(value),
)
def test_what_a_lost_node_ran_is_taken_for_ended_when_it_had_the_time(
    status: Status, stop_timeout_s: int, after_s: float | None
) -> None:
    spec = attrs.evolve(MOST, stop_timeout_s=stop_timeout_s)
    node = Voting(service(spec=spec, revision=9), slot(UNO, generation=2))
    held = document(DOS, version=2, containers=(container(DOS),))
    node.view.merge_document(held)
    node.listed()
    node.tick(1, DOS, TRES)
    for_s = 0.0 if status is Status.DEAD else 60.0
    left = status is Status.LEFT
    node.members.farewell(DOS, f"{DOS}#1", left, for_s, node.now)
    node.members.tick(node.now)
    if after_s is None:
        assert node.tick(10, TRES) == []
    else:
        assert node.tick(after_s - 0.25, TRES) == []
        assert node.tick(0.25, TRES) == [create(spec, 2)]


def test_what_an_earlier_spec_takes_to_stop_is_waited_for_too() -> None:
    slow = OldSpec(
        spec_id="1", service=attrs.evolve(MOST, stop_timeout_s=60), replicas=1
    )
    updated = service(spec=MOST, revision=9, spec_id="2", old_specs=(slow,))
    assert updated.stops_within_s == 60
    assert service(spec=None).stops_within_s == 10
    node = Voting(updated, slot(UNO, generation=2, spec_id="2"))
    held = document(DOS, version=2, containers=(container(DOS),))
    node.view.merge_document(held)
    node.listed()
    node.tick(1, DOS, TRES)
    node.members.farewell(DOS, f"{DOS}#1", True, 60.0, node.now)
    node.members.tick(node.now)
    assert node.tick(68.75, TRES) == []
    [order] = node.tick(0.25, TRES)
    assert isinstance(order, CreateContainer)


def test_where_nobody_votes_yet_it_begins_at_once() -> None:
    node = Dialogue(service(spec=MOST), SLOT)
    node.care.on_tick(node.now)
    assert node.listed() == [create(MOST)]


# Restarted by an operator


def answers(node: Dialogue, name: str, operation: str = "op1") -> list[Command]:
    node.care.on_restart_asked(
        ev.RestartAsked(operation=operation, name=name), node.now
    )
    return node.follow()


def test_it_is_restarted_once_for_an_operation_and_that_is_answered() -> None:
    node = Dialogue(STANDS, SLOT)
    node.listed(SEEN)
    stop = StopContainer(name=NAME, container_id=SEEN.id, timeout_s=10.0)
    answer = Answer(operation="op1", value=None)
    assert answers(node, NAME) == [stop, answer]
    assert answers(node, NAME) == [answer]
    assert node.notes[-1].text == f"{NAME}: stopping: restarted by an operator"


def test_it_leaves_dns_first_where_another_instance_is_there() -> None:
    node = Dialogue(STANDS, SLOT, slot(DOS, 1))
    node.listed(SEEN)
    held = (container(UNO), container(DOS, 1))
    for document_of, there in zip((UNO, DOS), held, strict=True):
        node.view.merge_document(document(document_of, containers=(there,)))
    assert answers(node, NAME)[0] == After(name=NAME, delay_s=6.0)


@pytest.mark.parametrize("is_there", [True, False])
def test_what_is_given_up_is_not_restarted(is_there: bool) -> None:
    node = Dialogue(STANDS, SLOT)
    node.listed(*([SEEN] if is_there else []))
    node.merge(service(spec=None, revision=9))
    node.follow()
    [refusal] = answers(node, NAME if is_there else "another")
    assert isinstance(refusal, Refuse)
    assert "is no more on uno@uno" in str(refusal.error)


def test_that_it_was_restarted_is_remembered() -> None:
    node = Dialogue(STANDS, SLOT)
    node.care.remember([container(operation="op1")])
    node.listed(SEEN)
    assert answers(node, NAME) == [Answer(operation="op1", value=None)]


# The journal


def test_what_becomes_of_a_container_follows_from_the_decision_about_its_slot() -> None:
    node = Dialogue(STANDS, slot(UNO, cause="d/1"))
    node.listed()
    node.told(ev.ContainerCreated(name=NAME, container_id="c1"))
    node.merge(slot(UNO, wanted=False, cause="d/2", revision=9))
    node.follow()
    node.told(ev.StartAnswered(name=NAME, observed=attrs.evolve(SEEN, id="c1")))
    node.told(ev.ContainerDiscarded(name=NAME))
    steps = [
        (entry.text.removeprefix(f"{NAME}: "), entry.cause) for entry in node.notes
    ]
    ids = [entry.id for entry in node.notes]
    assert steps == [
        ("creating", "d/1"),
        ("starting", ids[0]),
        ("stopping", "d/2"),
        ("removed", ids[2]),
    ]
    assert {(e.container, e.about, e.slot) for e in node.notes} == {(NAME, UNO, 0)}


def test_one_that_is_stopped_to_be_started_again_follows_from_why() -> None:
    """It was told to follow from the decision about its slot."""
    node = Dialogue(STANDS, slot(UNO, cause="d/1"))
    node.listed(SEEN)
    sick = ev.HealthChanged(
        container_id=SEEN.id, health=Health.UNHEALTHY, output="no answer"
    )
    node.told(sick)
    node.told(ev.TimerDue(name=NAME))
    unhealthy, stopping = node.notes[-2:]
    assert stopping.text == f"{NAME}: stopping: unhealthy: no answer"
    assert (stopping.kind, stopping.cause) == ("stopping", unhealthy.id)


def test_without_a_slot_it_follows_from_the_service() -> None:
    node = Dialogue(service(spec=None, cause="d/3"))
    node.listed(SEEN)
    assert node.notes[-1].cause == "d/3"


def test_one_that_begins_at_the_same_moment_is_seen_by_what_begins_after_it() -> None:
    """Others are told of it only afterwards: in their view it is down still."""
    down = container(state=State.BACKOFF)
    node = Dialogue(STANDS, SLOT)
    node.view.merge_document(document(containers=(down,)))
    node.listed(SEEN)
    node.told(ev.ContainerExited(container_id=SEEN.id, exit_code=1))
    node.care.on_named(ev.TimerDue(name=NAME), node.now)
    assert node.states == [State.STARTING]
    node.merge(slot(UNO, generation=2, ends=(NAME,), stops_first=True, revision=9))
    commands = node.follow()
    assert not [c for c in commands if isinstance(c, CreateContainer)]


def test_one_that_waits_for_its_turn_is_not_begun_where_its_slot_went_elsewhere() -> (
    None
):
    """As its group did meanwhile: its master is ready there."""
    master = attrs.evolve(
        WEB,
        restart=Restart.ALWAYS,
        group="shop",
        group_role=GroupRole.MASTER,
        group_policy=GroupPolicy.MASTER_KILLS_ALL,
    )
    slave = attrs.evolve(master, group_role=GroupRole.SLAVE)
    here = observed(uid="app", running=False, exit_code=1)
    node = Dialogue(
        service("db", master),
        service("app", slave),
        slot(UNO, uid="db"),
        slot(UNO, uid="app"),
    )
    node.listed(here)
    assert node.told(ev.TimerDue(name=here.name)) == []
    there = container(DOS, uid="db", generation=2)
    node.view.merge_document(document(DOS, containers=(there,)))
    node.merge(
        slot(DOS, uid="db", generation=2, revision=9),
        slot(DOS, uid="app", generation=2, revision=9),
    )
    orders = node.follow()
    assert not [order for order in orders if isinstance(order, StartContainer)]
    assert [o.name for o in orders if isinstance(o, DiscardContainer)] == [here.name]
