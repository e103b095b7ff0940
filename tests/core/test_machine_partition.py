"""The machine: links that break, and heal."""

from __future__ import annotations

import attrs
import pytest

from tests.core.cores import (
    WEB,
    add,
    anywhere,
    ask,
    cut,
    ready,
    statuses,
    three,
    uid_of,
)
from tests.sim.cluster import SimDisk, World
from veo_shell.core import events as ev
from veo_shell.core.model import OnPartition, Status


def test_a_lost_delta_is_pulled() -> None:
    world = World("uno@uno", "dos@dos")
    world.cut.add(frozenset({"uno@uno", "dos@dos"}))
    uid = uid_of(world, "uno@uno")
    add(world["uno@uno"], attrs.evolve(WEB, hosts=("uno@uno",)), uid)
    world.run(1)
    assert list(world["dos@dos"].machine.view.containers()) == []
    world.cut.clear()
    world.run_until(lambda: ready(world, 1), limit_s=3)


@pytest.mark.parametrize("policy", OnPartition, ids=lambda policy: policy.value)
def test_what_becomes_of_a_service_whose_node_is_cut_off_and_comes_back(
    policy: OnPartition,
) -> None:
    world = three(spec=attrs.evolve(WEB, on_partition=policy))
    anywhere(world)
    cut(world, "dos@dos")
    world.run(3)
    assert (
        len(world.running("web"))
        == {
            OnPartition.AVAILABLE: 2,
            OnPartition.MAJORITY: 0,
            OnPartition.KEEP: 1,
        }[policy]
    )
    world.run(6)
    assert ("dos@dos" in world.running("web")) is (policy is not OnPartition.MAJORITY)
    assert len(world.running("web")) == (2 if policy is OnPartition.AVAILABLE else 1)
    world.cut.clear()
    world.run(8)
    assert len(world.running("web")) == 1
    assert ready(world, 1)
    digests = {node.machine.view.digest for node in world.nodes.values()}
    assert len(digests) == 1


def test_a_heal_keeps_the_one_that_ran_first_and_is_told() -> None:
    world = three()
    anywhere(world)
    cut(world, "dos@dos")
    world.run(6)
    world.cut.clear()
    world.run(8)
    assert world.running("web") == ["dos@dos"]
    heals = [
        entry
        for node in world.nodes.values()
        for entry in node.journal
        if entry.kind == "healed"
    ]
    assert len(heals) == 1


def test_of_two_nodes_a_majority_service_stops_when_they_are_cut() -> None:
    world = World("uno@uno", "dos@dos")
    most = attrs.evolve(WEB, on_partition=OnPartition.MAJORITY)
    add(world["uno@uno"], most)
    world.run_until(lambda: ready(world, 1))
    cut(world, "uno@uno")
    world.run(4)
    assert world.running("web") == []
    world.run(20)
    assert world.running("web") == []
    world.cut.clear()
    world.run(5)
    assert len(world.running("web")) == 1


def test_a_node_heard_by_others_alone_is_alive_and_keeps_its_work() -> None:
    world = three()
    anywhere(world)
    world.cut.add(frozenset({"uno@uno", "dos@dos"}))
    world.run(20)
    assert world.running("web") == ["dos@dos"]
    assert statuses(world["uno@uno"], "dos@dos") is Status.ALIVE
    peer = world["uno@uno"].machine.members.peer("dos@dos")
    assert peer is not None
    assert peer.evidence == "link broken: tres@tres hears it"


def test_a_node_that_was_cut_off_is_alive_as_soon_as_another_one_hears_it() -> None:
    """Of two links that were broken one is mended; the other one stays broken."""
    world = three()
    cut(world, "uno@uno")
    world.run(6)
    assert statuses(world["uno@uno"], "tres@tres") is Status.DEAD
    world.cut = {frozenset({"uno@uno", "tres@tres"})}
    world.run(5)
    for one, other in (("uno@uno", "tres@tres"), ("tres@tres", "uno@uno")):
        peer = world[one].machine.members.peer(other)
        assert peer is not None
        assert peer.evidence == "link broken: dos@dos hears it"
    assert world.running("web") == ["dos@dos"]


def test_a_node_that_is_started_again_behind_a_broken_link_is_alive_to_all() -> None:
    """Two would decide about its services, each against the other, without an end."""
    world = World("uno@uno", "dos@dos", "tres@tres")
    uid = uid_of(world, "tres@tres", "uno@uno")
    ask(world["tres@tres"], ev.AddAsked, uid=uid, service=attrs.evolve(WEB, replicas=3))
    world.run_until(lambda: ready(world, 3))
    tres = world["tres@tres"]
    world.cut = {frozenset({"uno@uno", "tres@tres"})}
    world.run(3)
    tres.lose_host()
    world.run(6)
    assert statuses(world["uno@uno"], "tres@tres") is Status.DEAD
    tres.boot()
    tres.join(world["dos@dos"])
    world.run(30)
    assert statuses(world["uno@uno"], "tres@tres") is Status.ALIVE
    assert sorted(world.running("web")) == ["dos@dos", "tres@tres", "uno@uno"]
    noted = [len(node.journal) for node in world.nodes.values()]
    world.run(10)
    assert [len(node.journal) for node in world.nodes.values()] == noted


def test_a_node_that_left_and_joins_behind_a_broken_link_is_alive_to_all() -> None:
    world = three()
    anywhere(world)
    world.cut = {frozenset({"uno@uno", "tres@tres"})}
    world.run(3)
    tres = world["tres@tres"]
    tres.feed(ev.Leaving())
    world.run(3)
    assert tres.ended
    assert statuses(world["uno@uno"], "tres@tres") is Status.LEFT
    tres.disk = SimDisk(id="another")
    tres.boot()
    tres.join(world["dos@dos"])
    world.run(3)
    assert statuses(world["uno@uno"], "tres@tres") is Status.UNKNOWN
    world.run(15)
    assert statuses(world["uno@uno"], "tres@tres") is Status.ALIVE
    assert len(world.running("web")) == 1
