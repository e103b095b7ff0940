"""A removed service stays removed, whatever comes back of it: whole clusters."""

from __future__ import annotations

import attrs

from tests.core.cores import WEB, add, remove
from tests.sim.cluster import SimDisk, SimNode, World
from veo_shell.core import events as ev
from veo_shell.core.model import OnPartition, Restart

FORGOTTEN_S = 60.0
"""So long a tombstone stands, and some more."""
ALWAYS = attrs.evolve(WEB, hosts=("tres@tres",), restart=Restart.ALWAYS)


def tres_is_away() -> World:
    """Return a cluster whose third node ran the only service, and lost its power."""
    world = World("uno@uno", "dos@dos", "tres@tres")
    add(world["uno@uno"], ALWAYS)
    world.run(3)
    world["tres@tres"].lose_host()
    world.run(6)
    return world


def remove_node(world: World, node: str) -> None:
    event = ev.RemoveNodeAsked(operation=f"r{next(world.ids)}", node=node)
    world["uno@uno"].ask(event)


def tombstones(node: SimNode) -> int:
    return len(list(node.machine.view.tombstones()))


def assert_all_is_gone(world: World) -> None:
    """Nothing runs, and all nodes agree on that."""
    assert world.running("web") == []
    nodes = [node for node in world.nodes.values() if node.up]
    assert [list(node.machine.view.services()) for node in nodes] == [[]] * len(nodes)
    assert len({node.machine.view.digest for node in nodes}) == 1


def test_what_a_node_recalls_though_it_was_removed_ends_when_they_meet() -> None:
    """Alone, with a new disk, it cannot know: nobody tells it that it was removed."""
    world = tres_is_away()
    uno, tres = world["uno@uno"], world["tres@tres"]
    remove_node(world, tres.name)
    remove(uno)
    world.run(FORGOTTEN_S)
    assert tombstones(uno) == 0
    world.cut = {frozenset({tres.name, other}) for other in ("uno@uno", "dos@dos")}
    tres.disk = SimDisk(id="another")
    tres.boot()
    world.run(20)
    assert len(list(tres.machine.view.services())) == 1
    world.cut = set()
    tres.join(uno)
    world.run(5)
    assert_all_is_gone(world)


def test_a_disk_that_was_removed_is_barred_though_another_was_after_it() -> None:
    world = tres_is_away()
    uno, tres = world["uno@uno"], world["tres@tres"]
    first, held = tres.disk, dict(tres.engine.containers)
    remove_node(world, tres.name)
    remove(uno)
    tres.disk = SimDisk(id="second")
    tres.engine.containers.clear()
    tres.boot()
    tres.join(uno)
    world.run(FORGOTTEN_S)
    assert tombstones(uno) == 0
    tres.feed(ev.Leaving())
    world.run(5)
    assert tres.ended
    tres.disk = first
    tres.engine.containers.update(held)
    tres.boot()
    tres.join(uno)
    assert tres.reports[-1] == f"refused: {tres.name} left the cluster, or was removed"
    world.run(5)
    assert list(uno.machine.view.services()) == []


def test_what_a_node_made_since_it_came_back_is_known_again() -> None:
    """It left once, long ago; now all disks with a record of the service are lost."""
    world = World("uno@uno", "dos@dos", "tres@tres")
    uno, dos, tres = world.nodes.values()
    tres.feed(ev.Leaving())
    world.run(3)
    tres.disk = SimDisk(id="second")
    tres.boot()
    tres.join(uno)
    world.run(5)
    uno.lose_host()
    dos.lose_host()
    world.run(6)
    add(tres, ALWAYS)
    world.run(3)
    tres.kill()
    tres.disk = SimDisk(id="third")
    uno.boot()
    dos.boot()
    dos.join(uno)
    tres.boot()
    tres.join(uno)
    world.run(30)
    assert world.running("web") == [tres.name]
    assert len(list(uno.machine.view.services())) == 1


def test_it_is_not_forgotten_before_every_node_knows_what_it_runs() -> None:
    """One came back with its container, and its engine was slow to list that."""
    world = tres_is_away()
    uno, tres = world["uno@uno"], world["tres@tres"]
    remove(uno)
    world.run(FORGOTTEN_S)
    assert tombstones(uno) == 1
    tres.boot(lists=False)
    tres.join(uno)
    world.run(FORGOTTEN_S)
    assert tombstones(uno) == tombstones(tres) == 1
    tres.kill()
    world.run(1)
    tres.boot()
    tres.join(uno)
    world.run(FORGOTTEN_S)
    assert_all_is_gone(world)
    assert [tombstones(node) for node in world.nodes.values()] == [0, 0, 0]


def test_a_majority_service_does_not_move_from_where_nobody_knows_if_it_runs() -> None:
    world = World("uno@uno", "dos@dos", "tres@tres")
    most = attrs.evolve(ALWAYS, hosts=(), on_partition=OnPartition.MAJORITY)
    add(world["uno@uno"], most)
    world.run(3)
    at = world[world.running("web")[0]]
    other = next(node for node in world.nodes.values() if node is not at)
    at.kill()
    world.run(0.5)
    at.boot(lists=False)
    at.join(other)
    world.run(2)
    other.ask(ev.DrainAsked(operation="d", node=at.name, drained=True))
    world.run(5)
    assert world.running("web") == [at.name]
    at.list_engine()
    for _ in range(100):
        world.run(0.1)
        assert len(world.running("web")) <= 1
    assert world.running("web") not in ([], [at.name])
