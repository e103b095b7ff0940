"""The simulated world does to nodes what a real one does, and sees what is wrong."""

from __future__ import annotations

import attrs
import pytest

from tests.sim.clock import chance
from tests.sim.network import Network, Weather
from tests.sim.strangers import ANOTHER
from tests.sim.violation import Violation
from tests.sim.world import World
from veo_shell.core import commands as cmd
from veo_shell.core import events as ev
from veo_shell.core.model import (
    Container,
    Identity,
    Knock,
    Port,
    Restart,
    Service,
    ServiceRecord,
    State,
    Status,
)
from veo_shell.core.view import View

WEB = Service(
    name="web",
    image="nginx",
    restart=Restart.ALWAYS,
    ports=(Port(name="web", container_port=80),),
)


@pytest.fixture
def world() -> World:
    """Have three nodes that hear each other."""
    world = World("test")
    for name in ("uno@uno", "dos@dos", "tres@tres"):
        world.add_host(name, ("10.0.0.1",) if name != "uno@uno" else ())
    for host in world.hosts:
        host.boot()
    world.watch.begin()
    world.clock.run(5)
    return world


def add(world: World, service: Service = WEB, uid: str = "u1") -> None:
    uno = world["uno@uno"].process
    assert uno is not None
    event = ev.AddAsked(operation=f"add {uid}", uid=uid, service=service)
    uno.mesh.call("uno@uno", event, lambda outcome: None)
    world.clock.run(2)


def statuses(world: World, node: str) -> dict[str, Status]:
    process = world[node].process
    assert process is not None
    return {peer.node: peer.status for peer in process.machine.members}


def test_a_quiet_cluster_holds_everybody_for_alive(world: World) -> None:
    world.clock.run(30)
    assert set(statuses(world, "dos@dos").values()) == {Status.ALIVE}


def test_a_container_runs_with_ports_that_can_be_tried(world: World) -> None:
    add(world)
    [(host, box)] = [(h, b) for h in world.hosts for b in h.engine.own()]
    port = box.ports[0].host_port
    assert world.knock("uno@uno", host.address, port) is Knock.OPEN
    host.engine.end(box, 1)
    assert world.knock("uno@uno", host.address, port) is Knock.REFUSED
    host.power_off()
    assert world.knock("uno@uno", host.address, port) is Knock.SILENT


def test_a_frozen_process_hears_all_afterwards_and_its_ticks_are_late(
    world: World,
) -> None:
    process = world["tres@tres"].process
    assert process is not None
    ran_s = process.loop_s
    process.freeze(4.0, suspended=False)
    world.clock.run(3.9)
    assert statuses(world, "uno@uno")["tres@tres"] is Status.DEAD
    world.clock.run(2)
    assert statuses(world, "uno@uno")["tres@tres"] is Status.ALIVE
    assert process.loop_s - ran_s == pytest.approx(1.9)
    assert process.machine.members.lagged_s > 0


def test_a_suspended_process_sees_no_lag_as_its_clock_stood_still(
    world: World,
) -> None:
    process = world["tres@tres"].process
    assert process is not None
    before = process.now
    process.freeze(4.0, suspended=True)
    world.clock.run(6)
    assert process.now - before == pytest.approx(2.0)
    assert process.machine.members.lagged_s < 0


def test_what_is_sent_behind_a_cut_is_lost_or_comes_late(world: World) -> None:
    network, came = Network(world.clock, chance("net")), list[str]()
    network.weather = Weather(held=1.0)
    network.cut([("a", "b")])
    network.send("a", "b", came.append, "held")
    network.send("b", "a", came.append, "back")
    world.clock.run(1)
    assert came == ["back"]
    network.weather = Weather(held=0.0)
    network.send("a", "b", came.append, "lost")
    network.mend()
    world.clock.run(2)
    assert came == ["back", "held"]
    assert network.joins("a", "b")


def test_weather_loses_and_doubles(world: World) -> None:
    network, came = Network(world.clock, chance("weather")), list[int]()
    network.weather = Weather(loss=0.3, double=0.3)
    for number in range(1000):
        network.send("a", "b", came.append, number)
    world.clock.run(1)
    counts = [came.count(number) for number in range(1000)]
    assert 200 < counts.count(0) < 400
    assert 200 < counts.count(2) < 400


def test_a_crash_may_lose_what_was_being_written_and_loses_what_waited(
    world: World,
) -> None:
    dos = world["dos@dos"]
    dos.disk.slow_s = 10.0
    add(world)
    dos.kill()
    assert dos.process is None
    dos.disk.slow_s = 0.002
    dos.boot()
    world.clock.run(5)
    assert "service/u1" in dos.disk.records


def test_a_full_disk_is_told_and_written_once_there_is_room(world: World) -> None:
    dos = world["dos@dos"]
    dos.disk.full_until_s = world.clock.now + 5
    add(world)
    assert "service/u1" not in dos.disk.records
    world.clock.run(8)
    assert "service/u1" in dos.disk.records


def test_a_stranger_is_left_alone_and_touching_it_is_noticed(world: World) -> None:
    strangers = world["uno@uno"].engine.strangers
    box = strangers.add("stranger")
    add(world)
    world.clock.run(40)
    assert box.running
    strangers.touched.append(box.name)
    with pytest.raises(Violation, match="stranger"):
        world.clock.run(1)


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize("labels", [None, ANOTHER])
def test_an_order_for_a_stranger_is_refused_and_noticed(
    world: World, by_name: bool, labels: Identity | None
) -> None:
    process = world["uno@uno"].process
    assert process is not None
    engine = world["uno@uno"].engine
    box = engine.strangers.add("stranger", labels)
    target = box.name if by_name else box.id
    engine.start(process, cmd.StartContainer(name="any", container_id=target))
    order = cmd.DiscardContainer(name="any", container_id=target, timeout_s=1.0)
    engine.discard(process, order)
    with pytest.raises(Violation, match="are not ours"):
        world.clock.run(1)
    assert engine.strangers.touched == ["stranger"] * 2
    assert engine.boxes[box.id].running


def test_a_stranger_that_is_gone_is_noticed(world: World) -> None:
    engine = world["uno@uno"].engine
    engine.remove(engine.strangers.add("stranger"))
    with pytest.raises(Violation, match="stranger"):
        world.clock.run(1)


def test_a_service_that_is_back_for_a_while_is_noticed(world: World) -> None:
    add(world)
    process = world["dos@dos"].process
    assert process is not None
    record = process.machine.view.service("u1")
    assert record is not None
    grave = attrs.evolve(record, service=None, revision=99)
    process.machine.view.merge_record(grave)
    world.watch.handled(process, ev.Ticked())
    process.machine.view = View()  # it has lost sight of the grave
    process.machine.view.merge_record(record)
    with pytest.raises(Violation, match="has it again"):
        world.watch.handled(process, ev.Ticked())


def test_a_taken_name_is_told_and_tried_again(world: World) -> None:
    for host in world.hosts:
        host.engine.strangers.clash(1, for_s=4.0)
    add(world)
    refused = _container(world)
    box = world[refused.node].engine.named(refused.name)
    assert box is not None
    assert not box.is_ours
    assert refused.state in (State.BACKOFF, State.CREATING)
    assert f"the name is taken by container {box.id}" in refused.reason
    world.clock.run(10)
    assert box.name == f"renamed-{box.id}"
    assert box.running
    assert _container(world).state is State.RUNNING


def _container(world: World) -> Container:
    process = world["uno@uno"].process
    assert process is not None
    [container] = process.machine.view.containers()
    return container


def test_a_promise_that_is_not_kept_is_noticed(world: World) -> None:
    add(world)
    process = world["uno@uno"].process
    assert process is not None
    assert world.ledger.broken(process.machine.view) == ""
    lower = World("other")
    lower.add_host("uno@uno", ())
    lower["uno@uno"].boot()
    other = lower["uno@uno"].process
    assert other is not None
    assert "not there" in world.ledger.broken(other.machine.view)


def test_copies_are_counted_on_the_disks_themselves(world: World) -> None:
    add(world)
    uno = world["uno@uno"].process
    assert uno is not None
    for host in world.hosts[1:]:
        host.disk.records.clear()
    with pytest.raises(Violation, match="is on 1 disks"):
        world.ledger.answered(uno, cmd.Answer(operation="add u1", value=None, copies=2))


def test_a_fault_of_a_core_is_no_fault_of_the_simulation(world: World) -> None:
    process = world["uno@uno"].process
    assert process is not None
    with pytest.raises(Violation, match="KeyError"):
        process.feed("no event")  # type: ignore[arg-type]


@pytest.mark.parametrize("later_s", [0.0, 1.0, 2.4, 4.0])
def test_a_restarted_node_does_its_share_of_a_failover(
    world: World, later_s: float
) -> None:
    for number in range(6):
        add(world, attrs.evolve(WEB, name=f"web{number}", replicas=3), f"u{number}")
    world["tres@tres"].power_off()
    world.clock.run(later_s)
    world["dos@dos"].kill()
    world.clock.run(0.2)
    world["dos@dos"].boot()
    world.clock.run(5.0)
    uno = world["uno@uno"].process
    assert uno is not None
    slots = [s for n in range(6) for s in uno.machine.view.slots(f"u{n}")]
    assert len(slots) == 18
    assert {slot.node for slot in slots} == {"uno@uno", "dos@dos"}
    deciders = {uno.machine.situation.coordinator(f"u{n}") for n in range(6)}
    assert deciders == {"uno@uno", "dos@dos"}


def test_a_restarted_node_takes_back_what_its_disk_holds(world: World) -> None:
    add(world)
    for host in world.hosts:
        host.kill()
    world["dos@dos"].boot()
    world.clock.run(1)
    process = world["dos@dos"].process
    assert process is not None
    assert isinstance(process.machine.view.service("u1"), ServiceRecord)
