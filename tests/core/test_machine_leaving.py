"""The machine: a node that leaves."""

from __future__ import annotations

import attrs
import pytest

from tests.core.cores import WEB, add, anywhere, leaves, ready, remove, three
from tests.core.dialogue import DOS, UNO, Dialogue, ends
from tests.core.samples import observed, service, slot
from tests.sim.cluster import World
from veo_shell.core import events as ev
from veo_shell.core.commands import (
    Answer,
    DiscardContainer,
    End,
    Note,
    Publish,
    Refuse,
    Save,
)
from veo_shell.core.model import OnPartition, State
from veo_shell.core.placement import coordinator
from veo_shell.core.wire import Delta, Farewell, Join, Welcome
from veo_shell.errors import PeerUnreachable


def test_a_node_that_leaves_stops_its_own_and_they_run_elsewhere_at_once() -> None:
    world = three()
    anywhere(world)
    dos = world["dos@dos"]
    leaves(world, "dos@dos")
    world.run(1)
    assert dos.ended == "dos@dos has left the cluster"
    assert dos.engine.containers == {}
    assert len(world.running("web")) == 1
    world.run(2)
    voters = world["uno@uno"].machine.view.voters()
    assert voters == ["tres@tres", "uno@uno"]


def most_in_one_slot(world: World, for_s: float) -> int:
    """Return how many containers of one service ran at once."""
    most = 0
    for _ in range(round(for_s / 0.1)):
        world.run(0.1)
        most = max(most, len(world.running("web")))
    return most


@pytest.mark.parametrize("says_so", [True, False], ids=["heard", "not heard"])
def test_a_majority_service_starts_elsewhere_when_the_leaving_node_has_stopped_it(
    says_so: bool,
) -> None:
    world = World("uno@uno", "dos@dos", "tres@tres")
    most = attrs.evolve(WEB, on_partition=OnPartition.MAJORITY)
    leaver = add(world["uno@uno"], most).node
    assert leaver is not None
    world.run(3)
    assert world.running("web") == [leaver]
    world[leaver].stop_s = 8.0  # as one does that ignores SIGTERM
    if says_so:
        leaves(world, leaver)
    else:
        world[leaver].feed(ev.Leaving())
    assert most_in_one_slot(world, 20) == 1
    assert world[leaver].ended
    assert len(world.running("web")) == 1
    assert leaver not in world.running("web")
    for other in set(world.nodes) - {leaver}:
        view = world[other].machine.view
        assert view.voters() == sorted(set(world.nodes) - {leaver})


def test_what_is_to_be_available_does_not_wait_for_a_leaving_node_to_stop_it() -> None:
    world = World("uno@uno", "dos@dos", "tres@tres")
    leaver = add(world["uno@uno"]).node
    assert leaver is not None
    world.run(3)
    world[leaver].stop_s = 8.0
    leaves(world, leaver)
    assert most_in_one_slot(world, 2) == 2


def test_of_two_nodes_a_majority_service_runs_on_while_the_other_one_stops() -> None:
    world = World("uno@uno", "dos@dos")
    most = attrs.evolve(WEB, on_partition=OnPartition.MAJORITY, hosts=("uno@uno",))
    add(world["uno@uno"], most)
    add(world["uno@uno"], attrs.evolve(WEB, name="x", hosts=("dos@dos",)), "x")
    world.run_until(lambda: ready(world, 2))
    world["dos@dos"].stop_s = 8.0
    leaves(world, "dos@dos")
    for _ in range(100):
        world.run(0.1)
        assert world.running("web") == ["uno@uno"]
    assert world["dos@dos"].ended


@pytest.mark.parametrize("left", [True, False], ids=["leaves", "pauses"])
def test_of_two_nodes_a_majority_service_runs_on_where_the_other_one_leaves(
    left: bool,
) -> None:
    """Who left counts no more; who is paused does, and its containers may run."""
    world = World("uno@uno", "dos@dos")
    most = attrs.evolve(WEB, on_partition=OnPartition.MAJORITY, hosts=("uno@uno",))
    add(world["uno@uno"], most)
    world.run_until(lambda: ready(world, 1))
    world.run(3)
    own = world["dos@dos"].machine.own
    goodbye = Farewell(node=own.node, boot_id=own.boot_id, left=left, for_s=60.0)
    world["uno@uno"].ask(ev.Asked(operation="f", message=goodbye))
    world["dos@dos"].kill()
    world.run(10)
    assert world.running("web") == (["uno@uno"] if left else [])


def test_what_a_node_left_with_does_not_hold_up_tombstones_nor_come_back() -> None:
    world = three()
    anywhere(world)
    uno, dos = world["uno@uno"], world["dos@dos"]
    (record,) = uno.machine.view.services()
    dos.feed(ev.Leaving())
    world.run(3)
    assert dos.ended == "dos@dos has left the cluster"
    assert uno.machine.view.head("dos@dos") is None
    dos.disk.records.pop("node/dos@dos")  # its disk took nothing more
    remove(uno, record.uid)
    world.run(60)
    assert list(uno.machine.view.tombstones()) == []
    for name in ("uno@uno", "tres@tres"):
        dos.boot()
        dos.join(world[name])
        told = "refused: dos@dos left the cluster, or was removed"
        assert dos.reports[-1] == told
        world.run(5)
        dos.kill()
    assert list(uno.machine.view.services()) == []
    assert world.running("web") == []


def test_a_leaving_node_ends_when_its_containers_are_gone() -> None:
    node = Dialogue()
    assert ends(node.play(ev.Leaving())) == []  # what does its engine hold?
    node = Dialogue()
    node.pull(records=(service(), slot("uno@uno")))
    seen = observed("uno@uno")
    node.list(seen)
    commands = node.play(ev.Leaving())
    assert [type(c) for c in commands if isinstance(c, DiscardContainer | End)] == [
        DiscardContainer
    ]
    gone = ev.ContainerDiscarded(name=seen.name)
    (end,) = ends(node.play(gone))
    assert end == End(reason="uno@uno has left the cluster", clean=True)
    assert ends(node.tick(1)) == []  # once


@pytest.mark.parametrize(
    ("removed", "text"),
    [
        (False, "uno@uno leaves the cluster"),
        (True, "uno@uno removed from the cluster by an operator"),
    ],
)
def test_why_it_leaves_is_told(removed: bool, text: str) -> None:
    node = Dialogue()
    commands = node.play(ev.Leaving(removed=removed))
    assert node.machine.is_leaving
    assert [c.entry.text for c in commands if isinstance(c, Note)] == [text]


def test_a_leaving_node_lets_itself_go() -> None:
    """So that those know it who do not hear it say so, and itself when it is back."""
    node = Dialogue(DOS)
    node.list()
    commands = node.play(ev.Leaving())
    messages = [c.message for c in commands if isinstance(c, Publish)]
    (delta,) = [message for message in messages if isinstance(message, Delta)]
    assert [record.removed for record in delta.records.nodes] == [UNO.disk_id]
    (saved,) = (r for c in commands if isinstance(c, Save) for r in c.records)
    assert (saved.key, saved.revision) == ("node/uno@uno", 1)


def test_a_leaving_node_is_shown_until_it_has_stopped_its_containers() -> None:
    node = Dialogue(DOS)
    node.pull(records=(service(), slot("uno@uno")))
    seen = observed("uno@uno")
    node.list(seen)
    node.play(ev.Leaving())
    (held,) = node.machine.view.containers("uno@uno")
    assert held.state is State.STOPPING
    commands = node.play(ev.ContainerDiscarded(name=seen.name))
    (publish,) = [c for c in commands if isinstance(c, Publish)]
    assert isinstance(publish.message, Delta)
    assert publish.message.gone == (seen.name,)
    (record,) = publish.message.records.nodes
    assert record.removed == UNO.disk_id


def test_a_leaving_node_answers_who_joins_by_it() -> None:
    node = Dialogue()
    node.play(ev.Leaving())
    join = Join(document=DOS, cluster="veo")
    commands = node.play(ev.Asked(operation="j", message=join))
    answers = [c.value for c in commands if isinstance(c, Answer)]
    assert [type(answer) for answer in answers] == [Welcome]


def test_a_leaving_node_does_not_wait_for_an_engine_that_is_away() -> None:
    node = Dialogue()
    node.play(ev.EngineLost(reason="gone"))
    commands = node.play(ev.Leaving())
    assert len(ends(commands)) == 1
    texts = [c.entry.text for c in commands if isinstance(c, Note)]
    assert "its engine is away: what runs there is left to itself" in texts


def test_a_leaving_node_decides_nothing_more() -> None:
    node = Dialogue(DOS)
    node.play(ev.Leaving())
    uid = next(
        u
        for u in map(str, range(99))
        if coordinator(u, (UNO.node, DOS.node)) == UNO.node
    )
    node.pull(records=(service(uid),))
    assert node.machine.view.slots(uid) == []


def test_a_leaving_node_leaves_writes_to_the_next_coordinator() -> None:
    node = Dialogue()
    node.play(ev.Leaving())
    commands = node.play(ev.AddAsked(operation="a", uid="u1", service=WEB))
    (refused,) = [c for c in commands if isinstance(c, Refuse)]
    assert isinstance(refused.error, PeerUnreachable)
    assert str(refused.error) == "uno@uno is leaving the cluster"
    assert node.machine.view.service("u1") is None
