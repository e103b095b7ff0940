"""The machine: what becomes of operators' commands about services."""

from __future__ import annotations

import attrs
import pytest

from tests.core.cores import WEB, add, anywhere, ask, cut, only, ready, remove, uid_of
from tests.core.samples import heard
from tests.sim.cluster import World
from veo_shell.core import events as ev
from veo_shell.core.model import NodeRecord
from veo_shell.core.timing import Timing
from veo_shell.errors import NoSuitableNode, ServiceError, UnknownNode, UnknownService


def test_an_added_service_runs_once_and_everyone_knows() -> None:
    world = World("uno@uno", "dos@dos")
    accepted = add(world["uno@uno"])
    world.run_until(lambda: ready(world, 1))
    assert world.running("web") == [accepted.node]
    seen = [only(node) for node in world.nodes.values()]
    assert seen[0] == seen[1]
    assert seen[0].ports[0].host_port >= 49153


def test_a_repeated_operation_is_answered_and_not_repeated() -> None:
    world = World("uno@uno")
    event = ev.AddAsked(operation="once", uid="u1", service=WEB)
    first = world["uno@uno"].ask(event)
    assert world["uno@uno"].ask(event) == first
    world.run(5)
    assert world.running("web") == ["uno@uno"]


def test_adding_what_stands_adds_one_instance_elsewhere() -> None:
    world = World("uno@uno", "dos@dos")
    add(world["uno@uno"])
    world.run_until(lambda: ready(world, 1))
    assert add(world["dos@dos"]).slot == 1
    world.run_until(lambda: ready(world, 2))
    assert world.running("web") == ["dos@dos", "uno@uno"]


def test_variants_of_one_name_spread_as_one_service() -> None:
    world = World("uno@uno", "dos@dos")
    add(world["uno@uno"])
    add(world["uno@uno"], attrs.evolve(WEB, network_mode="host"), uid="u2")
    world.run_until(lambda: ready(world, 2))
    assert world.running("web") == ["dos@dos", "uno@uno"]


def test_a_service_that_fits_nowhere_is_refused_with_reasons_and_leaves_nothing() -> (
    None
):
    world = World("uno@uno", "dos@dos")
    with pytest.raises(NoSuitableNode) as caught:
        add(world["uno@uno"], attrs.evolve(WEB, roles=("edge",)))
    assert caught.value.refusals == [
        ("dos@dos", "its role is master, not edge"),
        ("uno@uno", "its role is master, not edge"),
    ]
    world.run(2)
    assert all(not list(n.machine.view.services()) for n in world.nodes.values())


def test_a_queued_service_waits_and_starts_when_a_node_fits() -> None:
    world = World("uno@uno")
    uno = world["uno@uno"]
    edge = attrs.evolve(WEB, roles=("edge",))
    event = ev.AddAsked(operation="q", uid="u1", service=edge, queue=True)
    assert [accepted.node for accepted in uno.ask(event)] == [None]
    world.run(3)
    assert world.running("web") == []
    uno.ask(ev.RoleAssigned(operation="r", node="uno@uno", role="edge"))
    world.run_until(lambda: ready(world, 1))


def test_a_removed_service_leaves_dns_at_once_and_its_containers_go() -> None:
    world = World("uno@uno", "dos@dos")
    add(world["uno@uno"])
    add(world["uno@uno"])
    world.run_until(lambda: ready(world, 2))
    remove(world["uno@uno"])
    assert world["uno@uno"].machine.answerable() == []
    world.run(0.005)
    assert world["dos@dos"].machine.answerable() == []
    world.run(1)
    assert world.running("web") == []
    assert all(not list(n.machine.view.containers()) for n in world.nodes.values())


def test_a_stopped_container_goes_and_its_service_keeps_the_others() -> None:
    world = World("uno@uno", "dos@dos")
    uno = world["uno@uno"]
    add(uno)
    add(uno)
    world.run_until(lambda: ready(world, 2))
    for operation, left in (("s1", 1), ("s2", 0)):
        victim = uno.machine.answerable()[0]
        uno.ask(
            ev.StopAsked(
                operation=operation,
                uid=victim.uid,
                slot=victim.slot,
                generation=victim.generation,
            )
        )
        world.run(6.5)
        assert len(world.running("web")) == left
    assert not list(uno.machine.view.services())
    assert add(uno, uid="u9").slot == 0


def test_a_stop_that_names_an_old_generation_does_nothing() -> None:
    world = World("uno@uno")
    uno = world["uno@uno"]
    add(uno)
    world.run_until(lambda: ready(world, 1))
    with pytest.raises(ServiceError, match="it was replaced: veo-uno-web-u1-0-1 fills"):
        uno.ask(ev.StopAsked(operation="s", uid="u1", slot=0, generation=7))
    world.run(2)
    assert world.running("web") == ["uno@uno"]


def test_verbs_on_what_is_not_there_are_refused() -> None:
    world = World("uno@uno")
    with pytest.raises(UnknownService):
        remove(world["uno@uno"], uid="nothing")
    with pytest.raises(UnknownNode):
        world["uno@uno"].ask(ev.RoleAssigned(operation="r", node="x@x", role="a"))


def test_an_operation_asked_of_the_next_coordinator_is_not_done_twice() -> None:
    world = World("uno@uno", "dos@dos")
    event = ev.AddAsked(operation="once", uid="u1", service=WEB)
    first = world["uno@uno"].ask(event)
    world.run(0.01)
    assert world["dos@dos"].ask(event) == first
    world.run(3)
    assert len(world.running("web")) == 1


def test_a_record_is_published_by_its_writer_alone() -> None:
    world = World("uno@uno", "dos@dos", "tres@tres")
    before = {name: node.published for name, node in world.nodes.items()}
    world["uno@uno"].ask(ev.RoleAssigned(operation="r", node="dos@dos", role="x"))
    world.run(0.1)
    after = {name: node.published for name, node in world.nodes.items()}
    assert after["uno@uno"] == before["uno@uno"] + 1
    assert after["dos@dos"] == before["dos@dos"]
    assert world["tres@tres"].machine.view.role("dos@dos") == "x"


def test_scaling_adds_instances_and_takes_them_away() -> None:
    world = World("uno@uno", "dos@dos", "tres@tres")
    uid = uid_of(world, "uno@uno")
    add(world["uno@uno"], uid=uid)
    assert ask(world["uno@uno"], ev.ScaleAsked, uid=uid, replicas=3) == 3
    world.run(2)
    assert world.running("web") == ["dos@dos", "tres@tres", "uno@uno"]
    ask(world["uno@uno"], ev.ScaleAsked, uid=uid, replicas=1)
    world.run(8)
    assert len(world.running("web")) == 1


def test_a_write_is_on_two_disks_when_it_is_answered() -> None:
    world = World("uno@uno", "dos@dos", "tres@tres")
    uno = world["uno@uno"]
    uno.ask(ev.RoleAssigned(operation="r", node="dos@dos", role="x"))
    assert uno.copies["r"] == 2
    holding = [
        name
        for name, node in world.nodes.items()
        if isinstance(record := node.disk.records.get("node/dos@dos"), NodeRecord)
        and record.role == "x"
    ]
    assert len(holding) >= 2
    cut(world, "uno@uno")
    world.run(5)
    uno.ask(ev.RoleAssigned(operation="s", node="dos@dos", role="y"))
    assert uno.copies["s"] == 1


def test_while_a_disk_takes_nothing_another_node_decides() -> None:
    world = World("uno@uno", "dos@dos", "tres@tres")
    uno, dos = world["uno@uno"], world["dos@dos"]
    uid = uid_of(world, "uno@uno", "dos@dos", "tres@tres")
    add(uno, uid=uid)
    uno.disk.full = "it is full"
    uno.feed(ev.SaveFailed(reason="it is full"))
    world.run(0.1)
    nodes = world.nodes.values()
    assert {n.machine.situation.coordinator(uid) for n in nodes} == {"dos@dos"}
    ask(dos, ev.ScaleAsked, uid=uid, replicas=3)
    world.run_until(lambda: ready(world, 3))
    uno.disk.full = ""
    for node in (dos, world["tres@tres"]):
        node.disk.full = "it is full too"
        node.feed(ev.SaveFailed(reason=node.disk.full))
    world.run(0.1)  # uno's takes all again, but not for long
    world.run(10)
    assert {n.machine.situation.coordinator(uid) for n in nodes} == {"uno@uno"}


def test_what_its_own_containers_changed_is_looked_at_with_the_next_event() -> None:
    """Not only at the next look, a second later."""
    world = World("uno@uno", "dos@dos")
    uid = uid_of(world, "uno@uno")
    add(world["uno@uno"], attrs.evolve(WEB, hosts=("dos@dos",)), uid)
    world.run_until(lambda: ready(world, 1))
    world.run(2)
    anywhere(world)
    ask(world["uno@uno"], ev.DrainAsked, node="dos@dos", drained=True)
    world.run_until(lambda: len(world.running("web")) == 2)
    view = world["uno@uno"].machine.view
    took_s = world.run_until(lambda: not any(s.handover for s in view.slots(uid)))
    assert took_s <= Timing().steady_s + 0.75


def test_what_its_own_containers_changed_is_not_lost_by_a_heartbeat() -> None:
    """One that says what is known is decided nothing on."""
    world = World("uno@uno", "dos@dos")
    add(world["uno@uno"], attrs.evolve(WEB, hosts=("uno@uno",)))
    world.run_until(lambda: ready(world, 1))
    world.run(2)
    uno, dos = world["uno@uno"], world["dos@dos"].machine
    uno.exit(only(uno), 1)
    assert uno.machine.view.touched == {"u1"}
    head = dos.own
    quiet = heard(
        "dos@dos", boot_id=head.boot_id, version=head.version, count=999, digest=0
    )
    uno.feed(quiet)
    assert uno.machine.view.touched == {"u1"}
    uno.feed(ev.Ticked())
    assert uno.machine.view.touched == set()
