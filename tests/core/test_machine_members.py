"""The machine: nodes that join, and are drained or removed."""

from __future__ import annotations

import itertools

from tests.core.cores import WEB, anywhere, ask, cut, remove, three
from tests.core.dialogue import DOS, UNO, Dialogue, ends
from tests.core.samples import observed, service, slot
from tests.sim.cluster import SimNode, World
from veo_shell.core import events as ev
from veo_shell.core.commands import (
    Command,
    CreateContainer,
    DiscardContainer,
    End,
    Save,
)
from veo_shell.core.model import NodeRecord, Record
from veo_shell.core.placement import coordinator
from veo_shell.core.wire import Forget


def test_nodes_that_join_hear_each_other_and_agree() -> None:
    world = World("uno@uno", "dos@dos", "tres@tres")
    for node in world.nodes.values():
        assert node.machine.members.alive() == ["dos@dos", "tres@tres", "uno@uno"]
        assert node.machine.is_settled
    assert len({node.machine.view.digest for node in world.nodes.values()}) == 1


def test_a_second_node_of_one_name_is_refused() -> None:
    world = World("uno@uno", "dos@dos")
    twin = SimNode(world, "dos@dos", 9, alone=False)
    twin.boots += 1  # another process than the one that is heard
    twin.boot()
    twin.join(world["uno@uno"])
    assert twin.reports == ["refused: a node named dos@dos lives already"]


def records_of(node: SimNode) -> dict[str, Record]:
    return {record.key: record for record in node.machine.view.records()}


def test_a_drained_node_is_left_empty_and_dns_never_is() -> None:
    world = three()
    anywhere(world)
    ask(world["uno@uno"], ev.DrainAsked, node="dos@dos", drained=True)
    for _ in range(40):
        world.run(0.25)
        assert world["tres@tres"].machine.answerable() != []
    assert "dos@dos" not in world.running("web")
    assert len(world.running("web")) == 1
    assert world["dos@dos"].engine.containers == {}


def test_a_removed_node_ends_and_may_join_afresh() -> None:
    world = three(on="tres@tres")
    uno, dos = world["uno@uno"], world["dos@dos"]
    ask(uno, ev.RemoveNodeAsked, node="dos@dos")
    world.run(1)
    assert dos.ended == "dos@dos has left the cluster"
    assert uno.machine.view.head("dos@dos") is None
    dos.boot()
    dos.join(uno)
    assert dos.reports[-1] == "refused: dos@dos left the cluster, or was removed"
    dos.kill()
    dos.disk.id = "another"
    dos.disk.documents.clear()
    dos.disk.records.clear()
    dos.boot()
    dos.join(uno)
    world.run(5)
    assert dos.machine.members.alive() == ["dos@dos", "tres@tres", "uno@uno"]
    assert uno.machine.members.alive() == dos.machine.members.alive()
    assert dos.up


def test_tombstones_go_when_all_have_them_and_nothing_comes_back() -> None:
    world = three()
    uno, dos = world["uno@uno"], world["dos@dos"]
    (record,) = uno.machine.view.services()
    dos.kill()
    world.run(1)
    remove(uno, record.uid)
    world.run(60)
    assert list(uno.machine.view.tombstones()) != []  # dos has to know first
    dos.boot()
    world.run(60)
    for node in world.nodes.values():
        assert all(key.startswith("node/") for key in records_of(node))
        assert all(key.startswith("node/") for key in node.disk.records)
    assert world.running("web") == []


def test_a_node_that_is_refused_ends_with_the_reason() -> None:
    refused = ev.RefusedEntry(reason="a node named uno@uno lives already")
    (end,) = ends(Dialogue().play(refused))
    assert end == End(reason="a node named uno@uno lives already")


def test_a_node_that_was_removed_while_it_was_away_begins_afresh() -> None:
    (end,) = ends(Dialogue().play(ev.RefusedEntry(reason="x", removed=True)))
    assert end.afresh
    assert not end.clean


def test_one_that_begins_afresh_ends_what_nobody_knows_though_it_is_alone() -> None:
    """Its service may have been removed since, and forgotten."""
    node = Dialogue()
    node.machine.begin_afresh("the disk of before")
    stray = observed("uno@uno", uid="unknown", service=WEB)
    node.list(stray)
    assert orders(node.tick(16)) == [stray.name]
    assert list(node.machine.view.services()) == []


def test_one_that_finds_out_that_it_was_removed_begins_nothing_more() -> None:
    node = Dialogue(DOS)
    node.list()
    uids = (f"u{number}" for number in itertools.count())
    uid = next(u for u in uids if coordinator(u, [UNO.node, DOS.node]) == DOS.node)
    gone = NodeRecord(
        node="uno@uno", revision=9, writer="dos@dos/1", removed=UNO.disk_id
    )
    records = service(uid=uid), slot("uno@uno", uid=uid), gone
    commands = node.pull(records=records)
    assert not [c for c in commands if isinstance(c, CreateContainer)]
    assert [end.clean for end in ends(commands)] == [True]


def test_a_node_that_hears_of_its_removal_leaves() -> None:
    node = Dialogue(DOS)
    node.list()
    removed = NodeRecord(node="uno@uno", revision=9, writer="x", removed=UNO.disk_id)
    (end,) = ends(node.pull(records=(removed,)))
    assert end.clean
    node.play(ev.HeartbeatDue())
    node.tick(1)


def orders(commands: list[Command]) -> list[str]:
    return [c.name for c in commands if isinstance(c, DiscardContainer)]


def test_a_tombstone_is_dropped_at_the_word_of_a_peer_and_of_nobody_else() -> None:
    node = Dialogue(DOS)
    node.pull(records=(service(spec=None),))
    for sender, standing in (("stranger@x", 1), ("dos@dos", 0)):
        message = Forget(node=sender, boot_id="x", uids=("u1",))
        commands = node.play(ev.Heard(message=message))
        assert len(list(node.machine.view.tombstones())) == standing
        saves = [c for c in commands if isinstance(c, Save)]
        assert [save.dropped for save in saves] == (
            [] if standing else [("service/u1",)]
        )


def test_a_node_that_hears_no_other_knows_it() -> None:
    world = World("uno@uno", "dos@dos", "tres@tres")
    world.run(5)

    def alone() -> list[str]:
        heard = {name: world[name].machine.members for name in world.nodes}
        return [name for name, members in heard.items() if members.hears_nobody]

    assert alone() == []
    cut(world, "uno@uno")
    world.run(10)
    assert alone() == ["uno@uno"]
    single = World("uno@uno")
    single.run(5)
    assert not single["uno@uno"].machine.members.hears_nobody
