"""What DNS answers for, and what it says of the rest."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from tests.core.samples import (
    DOS,
    TRES,
    UNO,
    WEB,
    container,
    document,
    service,
    slot,
)
from tests.core.samples import standing as given
from veo_shell.core import events as ev
from veo_shell.core.answered import Answered
from veo_shell.core.doors import Doors
from veo_shell.core.membership import Membership
from veo_shell.core.model import (
    Container,
    Health,
    Knock,
    Mode,
    Record,
    Restart,
    State,
    UpdateState,
    UpdateStatus,
)
from veo_shell.core.outbox import Outbox
from veo_shell.core.timing import Timing
from veo_shell.core.view import View
from veo_shell.core.zone_records import ServiceStatus, Standing

NOW = 100.0
ON_DOS = container(DOS)


class Desk:
    """What uno knows of dos and tres, which it hears."""

    def __init__(self, *containers: Container, records: tuple[Record, ...] = ()):
        self.view, self.out = View(), Outbox(node=UNO, boot="b")
        self.members = Membership(UNO, Timing(), NOW)
        self.doors = Doors(self.view, self.members, self.out)
        self.answered = Answered(self.view, self.members, self.doors)
        for node in (UNO, DOS, TRES):
            held = tuple(c for c in containers if c.node == node)
            self.view.merge_document(document(node, containers=held))
            if node != UNO:
                self.members.heard(node, "b1", NOW)
        for record in records:
            self.view.merge_record(record)

    def names(self) -> list[str]:
        return [c.name for c in self.answered.containers()]


def standing(*containers: Container, **changes: Any) -> Desk:
    """Return a desk where `web` stands, dos has its only slot, and these run."""
    record = slot(DOS, **changes)
    return Desk(*containers, records=(service(), record))


def test_an_instance_that_is_answered_is_told_with_its_address() -> None:
    desk = standing(ON_DOS)
    assert desk.names() == [ON_DOS.name]
    assert desk.answered.explain(["u1"]) == [f"0: {ON_DOS.name} on {DOS}: 10.0.0.2"]
    assert desk.answered.explain(["u9"]) == []
    own = attrs.evolve(ON_DOS, address="10.9.0.7", own_addresses=("10.9.0.7", "fd::7"))
    (why,) = standing(own).answered.explain(["u1"])
    assert why == f"0: {ON_DOS.name} on {DOS}: 10.9.0.7, fd::7"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"dying": True}, "its process has ended"),
        ({"health": Health.STARTING}, "running, starting"),
        ({"state": State.BACKOFF, "reason": "exited with 1"}, "backoff: exited with 1"),
        ({"state": State.STARTING, "health": Health.STARTING}, "starting"),
        ({"address": "", "reason": "its host lost 1.2.3.4"}, "running: its host lost"),
    ],
)
def test_an_instance_that_is_not_ready_is_told_with_its_state(
    changes: dict[str, Any], why: str
) -> None:
    desk = standing(attrs.evolve(ON_DOS, **changes))
    assert desk.names() == []
    (line,) = desk.answered.explain(["u1"])
    assert line.startswith(f"0: {ON_DOS.name} on {DOS}: not answered: {why}")


def test_an_instance_that_another_one_replaces_is_told_so() -> None:
    desk = standing(ON_DOS, ends=(ON_DOS.name,))
    assert desk.names() == []
    assert "another one has its place" in desk.answered.explain(["u1"])[0]


def test_what_nothing_runs_of_is_told_by_its_slot() -> None:
    slots = (
        slot(DOS),
        slot(None, 1),
        slot(DOS, 2, wanted=False),
        slot(DOS, 3, done=True),
    )
    desk = Desk(records=(service(), *slots))
    assert desk.answered.explain(["u1"]) == [
        f"0: nothing on {DOS} yet",
        "1: no node for it yet",
    ]


def test_an_instance_of_a_service_that_was_removed_is_not_answered() -> None:
    desk = Desk(ON_DOS, records=(service(spec=None),))
    assert desk.names() == []
    assert desk.answered.explain(["u1"]) == []
    assert desk.answered.why_not(ON_DOS) == "its service was removed"


def test_an_instance_of_a_service_that_is_not_known_is_answered() -> None:
    desk = Desk(ON_DOS)
    assert desk.names() == [ON_DOS.name]
    assert desk.answered.standing("web", {"u1"}) == Standing(containers=(ON_DOS,))


def test_an_engine_that_is_away_takes_its_instances_out() -> None:
    desk = Desk(records=(service(), slot(DOS)))
    desk.view.merge_document(
        document(DOS, version=2, engine_lost="no answer", containers=(ON_DOS,))
    )
    assert desk.answered.why_not(ON_DOS) == "its engine is away: no answer"
    nowhere = container("cinco@cinco")
    assert desk.answered.why_not(nowhere) == "nothing is known of cinco@cinco"


def test_a_node_that_is_away_keeps_what_takes_connections() -> None:
    desk = standing(ON_DOS)
    desk.members.farewell(DOS, "b1", False, 60.0, NOW)
    assert desk.names() == [ON_DOS.name]
    closed = ev.Tried(node=DOS, container=ON_DOS.name, knock=Knock.REFUSED)
    desk.doors.on_tried(closed, NOW)
    assert desk.names() == []
    assert desk.answered.why_not(ON_DOS) == f"{DOS} is paused, its port closed"


def test_a_node_that_left_takes_its_instances_along() -> None:
    desk = standing(ON_DOS)
    desk.members.farewell(DOS, "b1", True, 0.0, NOW)
    assert desk.names() == []
    assert desk.answered.why_not(ON_DOS) == f"{DOS} is left"


def test_services_are_told_by_what_is_wanted_and_what_is_answered() -> None:
    everywhere = attrs.evolve(WEB, name="logs", mode=Mode.GLOBAL, variant="blue")
    desk = Desk(
        ON_DOS,
        records=(
            service(replicas=3, revision=9),
            service("u2", everywhere, replicas=1),
            slot(DOS, uid="u2"),
            slot(TRES, 1, uid="u2"),
            slot(UNO, 2, uid="u2", wanted=False),
        ),
    )
    assert desk.answered.standing("web", {"u1"}).statuses == (
        ServiceStatus(name="web", variant="", revision=9, wanted=3, healthy=1),
    )
    assert desk.answered.standing("logs", {"u2"}).statuses == (
        ServiceStatus(name="logs", variant="blue", revision=1, wanted=2, healthy=0),
    )


def test_services_stand_with_as_many_ready_as_dns_answers() -> None:
    everywhere = attrs.evolve(WEB, name="logs", mode=Mode.GLOBAL, variant="blue")
    going = UpdateStatus(state=UpdateState.UPDATING)
    sick = container(TRES, 1, health=Health.STARTING)
    old = container(UNO, 2)
    desk = Desk(
        *(ON_DOS, sick, old, container(DOS, uid="u2"), container(UNO, uid="u3")),
        records=(
            service(replicas=3, update=going),
            *(slot(DOS), slot(TRES, 1), slot(DOS, 2, ends=(old.name,))),
            service("u2", everywhere, replicas=1),
            *(slot(DOS, uid="u2"), slot(TRES, 1, uid="u2")),
            service("u3", None),
        ),
    )
    web, logs = desk.answered.services()
    assert web == given(ready=1, wanted=3, update_status=going)
    assert logs == given("u2", everywhere, ready=1, wanted=2)
    assert (web.spec, logs.spec) == (WEB, everywhere)
    for one in (web, logs):
        (told,) = desk.answered.standing(one.name, {one.uid}).statuses
        assert (told.healthy, told.wanted) == (one.ready, one.wanted)


@pytest.mark.parametrize(
    ("held", "wanted"),
    [
        ({"state": State.RUNNING}, 1),
        ({"state": State.EXITED, "exit_code": 0}, 0),
        ({"state": State.EXITED, "exit_code": 1}, 1),
        ({"state": State.FAILED, "exit_code": 0}, 1),
        (None, 0),
    ],
)
@pytest.mark.parametrize("mode", [Mode.REPLICATED, Mode.GLOBAL])
def test_what_has_done_its_work_is_not_wanted_any_more(
    held: dict[str, Any] | None, wanted: int, mode: Mode
) -> None:
    job = attrs.evolve(WEB, restart=Restart.NEVER, mode=mode)
    containers = () if held is None else (attrs.evolve(ON_DOS, **held),)
    begun = slot(DOS, done=True)
    desk = Desk(*containers, records=(service(spec=job), begun))
    (told,) = desk.answered.services()
    assert told.wanted == wanted
    assert told.ready == bool(held and held["state"] is State.RUNNING)


def test_only_what_is_on_the_hosts_network_has_its_address() -> None:
    on_host = attrs.evolve(WEB, network_mode="host")
    other = container(DOS, uid="u2")
    desk = Desk(records=(service(spec=on_host), service("u2")))
    desk.view.merge_document(document(DOS, version=2, containers=(ON_DOS, other)))
    found = desk.answered.standing("web", {"u1", "u2"})
    assert found.containers == (ON_DOS, other)
    assert found.on_host == {ON_DOS.name}


def test_a_view_is_as_old_as_the_news_of_the_most_silent() -> None:
    desk = Desk()
    assert desk.answered.age_s(NOW + 1.0) == 1.0
    desk.members.heard(DOS, "b1", NOW + 2.0)
    assert desk.answered.age_s(NOW + 3.0) == 3.0
    desk.members.farewell(TRES, "b1", True, 0.0, NOW + 3.0)
    assert desk.answered.age_s(NOW + 3.0) == 1.0
    desk.members.forget(DOS)
    assert desk.answered.age_s(NOW + 9.0) == 0.0  # alone: what it knows is all


def test_a_view_without_a_living_peer_is_as_old_as_the_last_that_was_heard() -> None:
    desk = Desk()
    for moment in range(1, 20):
        desk.members.tick(NOW + moment / 2)
    assert desk.members.status(DOS).value == "dead"
    assert desk.answered.age_s(NOW + 30.0) == 30.0
