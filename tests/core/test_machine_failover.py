"""The machine: a daemon or a host that is lost."""

from __future__ import annotations

from tests.core.cores import add, anywhere, ready, statuses, three
from tests.sim.cluster import World
from veo_shell.core import events as ev
from veo_shell.core.model import Status
from veo_shell.core.wire import Farewell


def test_a_dead_nodes_work_runs_elsewhere_and_dns_forgets_it() -> None:
    world = World("uno@uno", "dos@dos", "tres@tres")
    accepted = add(world["uno@uno"])
    world.run_until(lambda: ready(world, 1))
    assert accepted.node is not None
    world[accepted.node].lose_host()
    survivors = [n for n in world.nodes.values() if n.up]
    world.run_until(
        lambda: all(
            [c.node != accepted.node for c in n.machine.answerable()] == [True]
            for n in survivors
        ),
        limit_s=4.0,
    )
    assert len(world.running("web")) == 2  # the dead one's engine knows nothing


def test_a_daemon_that_is_killed_and_starts_again_in_time_moves_nothing() -> None:
    world = three()
    anywhere(world)
    dos = world["dos@dos"]
    (before,) = dos.engine.containers.values()
    dos.kill()
    for _ in range(10):
        world.run(0.25)
        assert len(world["uno@uno"].machine.answerable()) == 1
    assert statuses(world["uno@uno"], "dos@dos") is Status.DOWN
    dos.boot()
    world.run(5)
    assert statuses(world["uno@uno"], "dos@dos") is Status.ALIVE
    assert list(dos.engine.containers.values()) == [before]
    assert world.running("web") == ["dos@dos"]


def test_what_a_daemon_leaves_running_is_in_dns_while_its_port_answers() -> None:
    world = three()
    dos, uno = world["dos@dos"], world["uno@uno"]
    dos.kill()
    world.run(4)
    assert len(uno.machine.answerable()) == 1
    dos.engine.containers.clear()
    world.run(2)
    assert uno.machine.answerable() == []


def test_a_daemon_that_stays_away_is_dead_and_its_work_moves() -> None:
    world = three()
    anywhere(world)
    world["dos@dos"].kill()
    world.run(10)
    assert world.running("web") == ["dos@dos"]
    world.run(5)
    assert len(world.running("web")) == 2  # the one there is known to nobody
    world["dos@dos"].boot()
    world.run(8)
    assert len(world.running("web")) == 1
    assert ready(world, 1)


def test_a_host_that_is_lost_is_replaced_within_seconds() -> None:
    world = three()
    anywhere(world)
    world["dos@dos"].lose_host()
    survivors = [world["uno@uno"], world["tres@tres"]]
    took_s = world.run_until(
        lambda: all(
            [c.node != "dos@dos" for c in node.machine.answerable()] == [True]
            for node in survivors
        )
    )
    assert took_s < 3.5


def test_a_pausing_node_keeps_its_work_for_as_long_as_it_asked() -> None:
    world = three()
    anywhere(world)
    dos = world["dos@dos"]
    own = dos.machine.own
    goodbye = Farewell(node=own.node, boot_id=own.boot_id, left=False, for_s=60.0)
    for name in ("uno@uno", "tres@tres"):
        world[name].ask(ev.Asked(operation=f"f-{name}", message=goodbye))
    dos.kill()
    world.run(59)
    assert statuses(world["uno@uno"], "dos@dos") is Status.PAUSED
    assert world.running("web") == ["dos@dos"]
    world.run(4)
    assert len(world.running("web")) == 2
