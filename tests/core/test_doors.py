"""Doors: whether what runs on a node whose daemon is away still answers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.samples import DOS, TRES, UNO, container, document
from veo_shell.core import events as ev
from veo_shell.core.commands import Command, TryPort
from veo_shell.core.doors import Doors
from veo_shell.core.membership import Membership
from veo_shell.core.model import Container, Knock, Port, State, Transport
from veo_shell.core.outbox import Outbox
from veo_shell.core.timing import Timing
from veo_shell.core.view import View


def served(node: str, number: int = 0, **changes: Any) -> Container:
    ports = (Port(name="web", container_port=80, host_port=8000 + number),)
    return container(node, number, **{"ports": ports, **changes})


class Dialogue:
    """One node that watches what runs on two others."""

    def __init__(self, *containers: Container) -> None:
        self.now = 100.0
        self.view, self.out = View(), Outbox(node=UNO, boot="b")
        self.members = Membership(UNO, Timing(), self.now)
        self.doors = Doors(self.view, self.members, self.out)
        for node in (DOS, TRES):
            held = tuple(c for c in containers if c.node == node)
            self.view.merge_document(document(node, containers=held))
            self.members.heard(node, "b1", self.now)

    def pause(self, node: str = DOS) -> None:
        self.members.farewell(node, "b1", False, 60.0, self.now)

    def come_back(self, node: str = DOS) -> None:
        self.members.heard(node, "b2", self.now)

    def tick(self, after_s: float = 1.0) -> list[Command]:
        self.now += after_s
        self.doors.on_tick(self.now)
        commands, self.out.commands = self.out.commands, []
        return commands

    def tried(self, tried: Container, knock: Knock) -> None:
        event = ev.Tried(node=tried.node, container=tried.name, knock=knock)
        self.doors.on_tried(event, self.now)


def test_what_runs_on_a_node_that_is_away_is_tried_every_second() -> None:
    web = served(DOS)
    node = Dialogue(web, served(TRES, 1))
    assert node.tick() == []
    node.pause()
    order = TryPort(node=DOS, container=web.name, address="10.0.0.2", port=8000)
    assert node.tick(0.25) == [order]
    assert node.tick(0.75) == []
    assert node.tick(0.25) == [order]


def test_one_with_an_address_of_its_own_is_tried_there() -> None:
    port = Port(name="web", container_port=80, host_port=80)
    own = ("10.9.0.7", "fd::7")
    node = Dialogue(served(DOS, ports=(port,), address=own[0], own_addresses=own))
    node.pause()
    (order,) = node.tick()
    assert isinstance(order, TryPort)
    assert (order.address, order.port) == ("10.9.0.7", 80)


@pytest.mark.parametrize(
    "unserved",
    [
        served(DOS, state=State.BACKOFF),
        served(DOS, ports=()),
        served(DOS, ports=(Port(name="x", container_port=80),)),
        served(
            DOS,
            ports=(
                Port(
                    name="x",
                    container_port=80,
                    host_port=9,
                    protocol=Transport.UDP,
                ),
            ),
        ),
    ],
    ids=["ended", "no port", "no port on the host", "udp alone"],
)
def test_what_cannot_be_tried_is_not(unserved: Container) -> None:
    node = Dialogue(unserved)
    node.pause()
    assert node.tick() == []
    assert not node.doors.is_closed(unserved)


def test_one_port_of_a_container_is_enough() -> None:
    udp = Port(name="u", container_port=9, host_port=9, protocol=Transport.UDP)
    tcp = [Port(name=f"t{n}", container_port=n, host_port=n) for n in (1, 2)]
    node = Dialogue(served(DOS, ports=(udp, *tcp)))
    node.pause()
    (order,) = node.tick()
    assert isinstance(order, TryPort)
    assert order.port == 1


@pytest.mark.parametrize("knock", [Knock.REFUSED, Knock.SILENT])
def test_one_that_takes_no_connection_is_closed_until_it_does(knock: Knock) -> None:
    web = served(DOS)
    node = Dialogue(web)
    node.pause()
    for tried, closed, revision in (
        (Knock.OPEN, False, 0),
        (knock, True, 1),
        (knock, True, 1),
        (Knock.OPEN, False, 2),
    ):
        node.tried(web, tried)
        assert (node.doors.is_closed(web), node.doors.revision) == (closed, revision)


def test_an_answer_that_comes_when_the_node_is_back_closes_nothing() -> None:
    web = served(DOS)
    node = Dialogue(web)
    node.pause()
    node.come_back()
    node.tried(web, Knock.REFUSED)
    assert (node.doors.is_closed(web), node.doors.revision) == (False, 0)


def test_when_its_node_is_back_nothing_is_closed_though_others_are_away() -> None:
    web, other = served(DOS), served(TRES, 1)
    node = Dialogue(web, other)
    for away in (web, other):
        node.pause(away.node)
        node.tried(away, Knock.REFUSED)
    node.come_back(DOS)
    node.tick()
    assert (node.doors.is_closed(web), node.doors.is_closed(other)) == (False, True)
    assert node.doors.revision == 3
    node.come_back(TRES)
    node.tick()
    assert not node.doors.is_closed(other)
    assert node.doors.revision == 4
