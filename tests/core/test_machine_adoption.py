"""The machine: what a node that is back takes for its own."""

from __future__ import annotations

import attrs
import pytest

from tests.core.cores import WEB, add, only, ready, remove
from tests.core.samples import container, document, observed, service, slot
from tests.sim.cluster import World
from veo_shell.core import events as ev
from veo_shell.core.commands import Save
from veo_shell.core.machine import Machine
from veo_shell.core.model import Restart, State, Status
from veo_shell.core.timing import Timing


def test_a_node_that_starts_again_adopts_what_runs() -> None:
    world = World("uno@uno", "dos@dos")
    uno = world["uno@uno"]
    add(uno, attrs.evolve(WEB, hosts=("uno@uno",)))
    world.run_until(lambda: ready(world, 1))
    before = only(uno)
    uno.kill()
    world.run(1.6)
    uno.boot()
    world.run(3)
    assert only(uno) == attrs.evolve(before, restarts=only(uno).restarts)
    assert only(uno).id == before.id
    assert world.running("web") == ["uno@uno"]
    assert ready(world, 1)


def test_a_node_that_lost_its_disk_is_heard_again_and_keeps_its_work() -> None:
    world = World("uno@uno", "dos@dos")
    dos = world["dos@dos"]
    add(world["uno@uno"], attrs.evolve(WEB, hosts=("dos@dos",)))
    world.run_until(lambda: ready(world, 1))
    dos.kill()
    world.run(1.6)
    dos.disk.documents.clear()
    dos.disk.records.clear()
    dos.boot()
    dos.join(world["uno@uno"])
    world.run(4)
    dos.list_engine()
    world.run(1)
    assert world.running("web") == ["dos@dos"]
    assert world["uno@uno"].machine.members.status("dos@dos") is Status.ALIVE
    assert ready(world, 1)


def test_what_was_removed_while_a_node_was_away_is_stopped_when_it_is_back() -> None:
    world = World("uno@uno", "dos@dos")
    dos = world["dos@dos"]
    add(world["uno@uno"], attrs.evolve(WEB, hosts=("dos@dos",)))
    world.run_until(lambda: ready(world, 1))
    dos.kill()
    world.run(1.6)
    remove(world["uno@uno"])
    dos.boot()
    world.run(5)
    assert world.running("web") == []
    assert dos.engine.containers == {}


def lose_disks(world: World) -> None:
    """Let every node start again with nothing but its engine, and join the first."""
    for node in world.nodes.values():
        node.kill()
        node.disk.documents.clear()
        node.disk.records.clear()
        node.disk.id += " again"
    world.run(3)
    first, *others = world.nodes.values()
    first.boot(alone=True)
    for node in others:
        node.boot()
        node.join(first)


def test_what_runs_is_known_again_when_all_lost_their_disks() -> None:
    world = World("uno@uno", "dos@dos", "tres@tres")
    uno = world["uno@uno"]
    for uid, name in (("u1", "web"), ("u2", "shop")):
        add(uno, attrs.evolve(WEB, name=name), uid)
    for _ in range(2):
        add(uno)
    world.run_until(lambda: ready(world, 4))
    before = {c.id for c in uno.machine.view.containers()}
    lose_disks(world)
    world.run(40)
    assert ready(world, 4)
    for node in world.nodes.values():
        assert {c.id for c in node.machine.view.containers()} == before
        assert {r.uid: r.replicas for r in node.machine.view.services()} == {
            "u1": 3,
            "u2": 1,
        }
        assert len(node.machine.view.slots("u1")) == 3
    remove(uno)
    world.run(5)
    assert world.running("web") == []
    assert world.running("shop") != []


def test_one_alone_that_lost_its_disk_goes_on_with_what_runs_there() -> None:
    world = World("uno@uno")
    uno = world["uno@uno"]
    add(uno)
    world.run_until(lambda: ready(world, 1))
    before = only(uno)
    lose_disks(world)
    denies = [uno.machine.may_deny]
    world.run_until(lambda: ready(world, 1))
    denies.append(uno.machine.may_deny)
    assert denies == [False, True]
    assert only(uno) == before
    uno.exit(only(uno), 1)
    world.run_until(lambda: ready(world, 1))  # by the policy in its label


def test_what_is_known_again_gives_way_to_all_that_another_node_knows() -> None:
    world = World("uno@uno", "dos@dos")
    uno, dos = world["uno@uno"], world["dos@dos"]
    add(uno, attrs.evolve(WEB, hosts=("dos@dos",)))
    add(uno, attrs.evolve(WEB, name="shop", hosts=("dos@dos",)), uid="u2")
    world.run_until(lambda: ready(world, 2))
    dos.kill()
    world.run(3)
    remove(uno)
    uno.ask(ev.ScaleAsked(operation="s", uid="u2", replicas=2))
    dos.disk.documents.clear()
    dos.disk.records.clear()
    world.cut.add(frozenset(world.nodes))
    dos.boot(alone=True)
    world.run(20)
    assert {r.uid for r in dos.machine.view.services()} == {"u1", "u2"}
    world.cut.clear()
    world.run(10)
    for node in (uno, dos):
        assert [(r.uid, r.replicas) for r in node.machine.view.services()] == [
            ("u2", 2)
        ]
    assert world.running("web") == []
    assert world.running("shop") == ["dos@dos", "dos@dos"]


def test_a_removed_service_is_not_known_again_by_one_that_lost_its_disk() -> None:
    """Its tombstone is in no digest: it is asked for."""
    world = World("uno@uno", "dos@dos")
    uno, dos = world["uno@uno"], world["dos@dos"]
    add(uno, attrs.evolve(WEB, hosts=("dos@dos",)))
    world.run_until(lambda: ready(world, 1))
    dos.kill()
    world.run(3)
    remove(uno)
    dos.disk.documents.clear()
    dos.disk.records.clear()
    dos.boot()
    dos.join(uno)
    world.run(30)
    assert world.running("web") == []
    assert dos.engine.containers == {}
    assert not any("known again" in text for text in dos.reports)


def test_what_is_found_late_of_a_service_that_an_operator_scaled_is_ended() -> None:
    world = World("uno@uno", "dos@dos")
    uno, dos = world["uno@uno"], world["dos@dos"]
    add(uno)
    add(uno)
    world.run_until(lambda: ready(world, 2))
    lose_disks(world)
    dos.kill()
    world.run(40)
    uno.ask(ev.ScaleAsked(operation="s", uid="u1", replicas=1))
    dos.boot()
    world.run(10)
    assert world.running("web") == ["uno@uno"]
    assert [(s.slot, s.wanted) for s in uno.machine.view.slots("u1")] in (
        [(0, True), (1, False)],
        [(0, False), (1, True)],
    )


def test_a_container_that_does_not_tell_its_service_is_left_alone() -> None:
    world = World("uno@uno")
    uno = world["uno@uno"]
    add(uno)
    world.run_until(lambda: ready(world, 1))
    (held,) = uno.engine.containers.values()
    foreign = attrs.evolve(held.identity, uid="unknown")
    stray = attrs.evolve(held, id="stray", identity=foreign, service=None)
    uno.engine.containers["stray"] = stray
    uno.list_engine()
    world.run(60)
    assert "stray" in uno.engine.containers
    assert [c.name for c in uno.machine.view.containers()] == [held.name]
    assert uno.machine.may_deny


def test_a_node_that_lost_its_disk_and_was_told_of_nobody_is_found_again() -> None:
    world = World("uno@uno", "dos@dos")
    dos = world["dos@dos"]
    dos.kill()
    dos.disk.documents.clear()
    world.run(5)
    dos.boot(alone=True)
    world.run(2)
    assert dos.machine.members.alive() == ["dos@dos", "uno@uno"]


@pytest.mark.parametrize(
    ("before", "now", "state"),
    [
        ("boot 1", "boot 2", State.BACKOFF),
        ("boot 1", "boot 1", State.EXITED),
        ("", "boot 2", State.EXITED),
        ("boot 1", "", State.EXITED),
    ],
    ids=["rebooted", "not rebooted", "not known before", "not known now"],
)
def test_a_node_tells_from_its_disk_that_its_host_was_rebooted(
    before: str, now: str, state: State
) -> None:
    spec = attrs.evolve(WEB, restart=Restart.ON_FAILURE)
    machine = Machine(document(host_boot=now), "veo", Timing(), 100.0, alone=True)
    held = document(host_boot=before, containers=(container(),))
    machine.restore([held], [service(spec=spec), slot("uno@uno")], 100.0)
    over = attrs.evolve(observed(), running=False, exit_code=0)
    commands = machine.handle(ev.EngineListed(containers=(over,)), 100.0)
    (save,) = [command for command in commands if isinstance(command, Save)]
    (saved,) = save.documents
    assert saved.host_boot == now
    assert [c.state for c in saved.containers] == [state]


def test_what_a_node_takes_back_does_not_go_over_what_its_engine_tells_first() -> None:
    """What `restore` orders is performed after that."""
    machine = Machine(document(), "veo", Timing(), 100.0, alone=True)
    held = document(incarnation=7, containers=(container(),))
    orders = machine.restore([held], [service(), slot("uno@uno")], 100.0)
    told = machine.handle(ev.EngineListed(containers=(observed(),)), 100.0)
    (save,) = [order for order in [*told, *orders] if isinstance(order, Save)]
    (saved,) = save.documents
    assert (save.ticket, saved.incarnation) == (1, 8)
    assert [c.state for c in saved.containers] == [State.RUNNING]
