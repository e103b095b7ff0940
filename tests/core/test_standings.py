"""What DNS is told of once: which services stand otherwise than before."""

from __future__ import annotations

import attrs

from tests.core.samples import DOS, TRES, UNO, WEB, container, document, service, slot
from tests.core.test_answered import NOW, Desk
from veo_shell.core import events as ev
from veo_shell.core.model import Container, Knock, State
from veo_shell.core.standings import Standings
from veo_shell.core.zone_records import Standing

ON_DOS = container(DOS)
LOGS = container(TRES, uid="u2", service="Logs")


class Told(Desk):
    """What a node knows, and what it told DNS of that."""

    def __init__(self, *containers: Container) -> None:
        other = attrs.evolve(WEB, name="Logs")
        records = (service(), slot(DOS), service("u2", other), slot(TRES, uid="u2"))
        super().__init__(*containers, records=records)
        self.standings = Standings(self.view, self.members, self.answered)

    def take(self) -> dict[str, list[str]]:
        told = self.standings.take()
        return {name: [c.name for c in s.containers] for name, s in told.items()}

    def publish(self, node: str, version: int, *held: Container) -> None:
        self.view.merge_document(document(node, version=version, containers=held))


def test_all_is_told_at_first_and_then_nothing() -> None:
    desk = Told(ON_DOS, LOGS)
    assert desk.take() == {"web": [ON_DOS.name], "logs": [LOGS.name]}
    assert desk.take() == {}
    assert desk.standings.uids("logs") == {"u2"}
    assert desk.standings.uids("Logs") == frozenset()


def test_what_changed_is_told_once() -> None:
    desk = Told(ON_DOS, LOGS)
    desk.take()
    desk.publish(DOS, 2, attrs.evolve(ON_DOS, state=State.STOPPING))
    assert desk.take() == {"web": []}
    desk.view.merge_record(service("u2", None, revision=9))
    assert desk.take() == {"logs": []}
    assert desk.take() == {}


def test_a_node_takes_its_services_along_and_brings_them_back() -> None:
    desk = Told(ON_DOS, LOGS)
    desk.take()
    desk.members.farewell(DOS, "b1", True, 0.0, NOW)
    assert desk.take() == {"web": []}
    desk.members.heard(DOS, "b2", NOW)
    assert desk.take() == {"web": [ON_DOS.name]}
    lost = document(DOS, version=2, engine_lost="no answer", containers=(ON_DOS,))
    desk.view.merge_document(lost)
    assert desk.take() == {"web": []}


def test_what_is_found_closed_is_told() -> None:
    desk = Told(ON_DOS)
    desk.members.farewell(DOS, "b1", False, 60.0, NOW)
    assert desk.take() == {"web": [ON_DOS.name], "logs": []}
    closed = ev.Tried(node=DOS, container=ON_DOS.name, knock=Knock.REFUSED)
    desk.doors.on_tried(closed, NOW)
    assert desk.take() == {"web": []}
    desk.publish(DOS, 2)
    desk.take()
    gone = ev.Tried(node=DOS, container=ON_DOS.name, knock=Knock.OPEN)
    desk.doors.on_tried(gone, NOW)
    assert desk.take() == {}


def test_services_whose_names_differ_in_case_are_told_as_one() -> None:
    desk = Told(ON_DOS)
    desk.take()
    other = container(UNO, uid="u3", service="WEB")
    desk.publish(UNO, 2, other)
    assert desk.take() == {"web": [ON_DOS.name, other.name]}
    desk.publish(UNO, 3)
    assert desk.take() == {"web": [ON_DOS.name]}


def test_what_is_left_of_a_service_stands_until_it_is_gone() -> None:
    desk = Told(container(TRES, uid="u9", service="old"))
    assert [*desk.take()["old"]] == [container(TRES, uid="u9", service="old").name]
    desk.publish(TRES, 2)
    assert desk.standings.take() == {"old": Standing()}
    assert desk.take() == {}
