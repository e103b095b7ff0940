"""The machine: how containers end, and when they run again."""

from __future__ import annotations

import attrs
import pytest

from tests.core.cores import WEB, add, leaves, only, ready, three
from tests.core.dialogue import Dialogue
from tests.core.samples import document, observed, service, slot
from tests.sim.cluster import SimDisk, World
from veo_shell.core import events as ev
from veo_shell.core.commands import Save
from veo_shell.core.machine import Machine
from veo_shell.core.model import Health, Record, Restart, Service, State, Status
from veo_shell.core.timing import Timing
from veo_shell.errors import NoSuitableNode


def test_a_container_that_dies_restarts_with_growing_delays() -> None:
    world = World("uno@uno")
    uno = world["uno@uno"]
    add(uno)
    world.run_until(lambda: ready(world, 1))
    waits = []
    for _ in range(4):
        uno.exit(only(uno), code=1)
        assert uno.machine.answerable() == []
        assert only(uno).state is State.BACKOFF
        waits.append(world.run_until(lambda: ready(world, 1)))
    assert [round(w, 1) for w in waits] == [0.2, 0.3, 0.5, 0.9]
    assert only(uno).restarts == 4


def test_a_container_whose_policy_is_over_stays_ended() -> None:
    world = World("uno@uno")
    uno = world["uno@uno"]
    add(uno, attrs.evolve(WEB, restart=Restart.NEVER))
    world.run_until(lambda: ready(world, 1))
    uno.exit(only(uno), code=0)
    world.run(60)
    assert only(uno).state is State.EXITED
    assert world.running("web") == []


def test_an_unhealthy_container_leaves_dns_and_comes_back() -> None:
    world = World("uno@uno")
    uno = world["uno@uno"]
    add(uno)
    world.run_until(lambda: ready(world, 1))
    uno.set_health(only(uno), Health.UNHEALTHY)
    assert uno.machine.answerable() == []
    uno.set_health(only(uno), Health.HEALTHY)
    assert len(uno.machine.answerable()) == 1


def test_an_unhealthy_container_is_started_again() -> None:
    world = World("uno@uno")
    uno = world["uno@uno"]
    add(uno)
    world.run_until(lambda: ready(world, 1))
    uno.set_health(only(uno), Health.UNHEALTHY)
    world.run_until(lambda: ready(world, 1))
    assert (only(uno).restarts, only(uno).health) == (1, Health.NONE)
    assert uno.machine.health_for_s(only(uno).name, world.now) < 1.0
    assert uno.machine.health_for_s("another", world.now) == 0.0


def test_a_health_is_no_older_than_its_container_was_started() -> None:
    world = World("uno@uno")
    world.run(500)
    uno = world["uno@uno"]
    add(uno)
    world.run(5)
    name = only(uno).name
    assert 0 < uno.machine.health_for_s(name, world.now) <= 5
    uno.kill()
    uno.boot()
    world.run(3)
    assert 0 < uno.machine.health_for_s(name, world.now) <= 3


def test_a_container_is_restarted_where_an_operator_wants_it() -> None:
    world = World("uno@uno")
    uno = world["uno@uno"]
    add(uno)
    world.run_until(lambda: ready(world, 1))
    uno.ask(ev.RestartAsked(operation="op1", name=only(uno).name))
    assert uno.machine.answerable() == []
    world.run_until(lambda: ready(world, 1))
    assert (only(uno).restarts, only(uno).operation) == (0, "op1")


def test_a_service_whose_image_fails_backs_off_with_the_reason() -> None:
    world = World("uno@uno")
    uno = world["uno@uno"]
    uno.engine.broken = "no such image: nginx:latest"
    add(uno)
    world.run(0.5)
    assert only(uno).state is State.BACKOFF
    assert only(uno).reason == "no such image: nginx:latest"
    uno.engine.broken = ""
    world.run_until(lambda: ready(world, 1))


@pytest.mark.parametrize(
    ("service", "code", "state"),
    [
        (attrs.evolve(WEB, restart=Restart.ON_FAILURE), 0, State.EXITED),
        (attrs.evolve(WEB, restart=Restart.NEVER), 1, State.EXITED),
        (attrs.evolve(WEB, restart_count=1), 1, State.FAILED),
    ],
    ids=["finished", "never", "used-up"],
)
def test_what_has_ended_does_not_run_again_because_its_node_does(
    service: Service, code: int, state: State
) -> None:
    world = World("uno@uno")
    uno = world["uno@uno"]
    add(uno, service)
    world.run_until(lambda: ready(world, 1))
    while only(uno).state is not state:
        if only(uno).state is State.RUNNING:
            uno.exit(only(uno), code)
        world.run(1)
    ended = only(uno)
    uno.kill()
    world.run(2)
    uno.boot(alone=True)
    world.run(20)
    assert world.running("web") == []
    assert only(uno) == ended


def test_one_that_may_run_once_and_is_gone_does_not_run_again() -> None:
    world = World("uno@uno")
    uno = world["uno@uno"]
    add(uno, attrs.evolve(WEB, restart=Restart.NEVER, auto_remove=True))
    world.run_until(lambda: ready(world, 1))
    uno.kill()
    uno.engine.containers.clear()
    uno.boot(alone=True)
    world.run(20)
    assert only(uno).state is State.EXITED
    assert uno.engine.containers == {}


def test_restarts_count_on_over_a_restart_of_the_node() -> None:
    world = World("uno@uno")
    uno = world["uno@uno"]
    add(uno)
    world.run_until(lambda: ready(world, 1))
    uno.exit(only(uno), 1)
    world.run_until(lambda: ready(world, 1))
    uno.kill()
    uno.boot(alone=True)
    world.run(1)
    assert only(uno).restarts == 1


def test_a_lost_engine_takes_its_containers_out_of_dns_and_gets_no_work() -> None:
    world = World("uno@uno", "dos@dos")
    dos = world["dos@dos"]
    add(world["uno@uno"], attrs.evolve(WEB, hosts=("dos@dos",)))
    world.run_until(lambda: ready(world, 1))
    dos.lose_engine()
    world.run(0.01)
    assert ready(world, 0)
    with pytest.raises(NoSuitableNode) as caught:
        add(world["uno@uno"], attrs.evolve(WEB, hosts=("dos@dos",), name="other"), "u2")
    assert caught.value.refusals[0] == (
        "dos@dos",
        "its engine is away: connection refused",
    )
    dos.list_engine()
    world.run_until(lambda: ready(world, 1), 3)


def test_a_container_that_was_renamed_by_hand_is_still_known() -> None:
    world = World("uno@uno")
    uno = world["uno@uno"]
    add(uno)
    world.run_until(lambda: ready(world, 1))
    (held,) = uno.engine.containers.values()
    world.run(30)
    uno.feed(ev.EngineListed(containers=(attrs.evolve(held, name="renamed"),)))
    world.run(1)
    assert only(uno).id == held.id
    assert ready(world, 1)


@pytest.mark.parametrize("says_so", [True, False], ids=["left", "lost"])
def test_a_job_is_not_run_again_where_its_node_is_back_without_it(
    says_so: bool,
) -> None:
    world = three(spec=attrs.evolve(WEB, restart=Restart.NEVER))
    dos = world["dos@dos"]
    if says_so:
        leaves(world, "dos@dos")
    else:
        dos.lose_host()
        dos.engine.containers.clear()
    world.run(5)
    dos.disk = SimDisk(id="another")
    dos.boot()
    dos.join(world["uno@uno"])
    world.run(20)
    assert world["uno@uno"].machine.members.status("dos@dos") is Status.ALIVE
    assert world.running("web") == []


def test_a_job_that_was_never_begun_is_where_its_node_is_back() -> None:
    world = World("uno@uno", "dos@dos", "tres@tres")
    dos = world["dos@dos"]
    dos.engine.broken = "no such image"
    add(world["uno@uno"], attrs.evolve(WEB, restart=Restart.NEVER, hosts=("dos@dos",)))
    dos.lose_host()
    world.run(5)
    dos.engine.broken = ""
    dos.disk = SimDisk(id="another")
    dos.boot()
    dos.join(world["uno@uno"])
    world.run(5)
    assert world.running("web") == ["dos@dos"]


@pytest.mark.parametrize("rebooted", [True, False])
def test_what_ends_with_its_node_runs_again_if_the_host_was_rebooted(
    rebooted: bool,
) -> None:
    """Docker may tell of its end before the node is told to end."""
    node = Dialogue()
    records: list[Record] = [service(spec=WEB), slot("uno@uno")]
    node.pull(records=tuple(records))
    assert node.machine.pause(node.now) == []  # it does not know yet what it has
    node.list(observed())
    ended = ev.ContainerExited(container_id=observed().id, exit_code=0)
    node.play(ended)
    (save,) = node.machine.pause(node.now)
    assert isinstance(save, Save)
    now = document(host_boot="boot 2" if rebooted else "boot 1")
    back = Machine(now, "veo", Timing(), 0.0, alone=True)
    (saved,) = [attrs.evolve(d, host_boot="boot 1") for d in save.documents]
    back.restore([saved], records, 0.0)
    over = attrs.evolve(observed(), running=False, exit_code=0)
    back.handle(ev.EngineListed(containers=(over,)), 0.0)
    (held,) = back.view.containers()
    assert held.state is (State.BACKOFF if rebooted else State.EXITED)
