"""Whole clusters of real cores on a fake network with one virtual clock."""

from __future__ import annotations

import attrs
import pytest

from tests.sim.cluster import SimNode, World
from veo_shell.core import events as ev
from veo_shell.core.model import (
    Accepted,
    Container,
    Health,
    Port,
    Restart,
    Service,
    State,
    Status,
)
from veo_shell.core.placement import coordinator
from veo_shell.errors import NoSuitableNode, UnknownNode, UnknownService

WEB = Service(
    name="web",
    image="nginx:latest",
    restart=Restart.ON_FAILURE,
    ports=(Port(name="website", container_port=80),),
)


def add(node: SimNode, service: Service = WEB, uid: str = "u1") -> Accepted:
    alive = node.machine.members.alive()
    target = node.world[coordinator(uid, alive)]
    operation = f"add-{next(node.world.ids)}"
    answer = target.ask(ev.AddAsked(operation=operation, uid=uid, service=service))
    assert isinstance(answer, Accepted)
    return answer


def remove(node: SimNode, uid: str = "u1") -> None:
    operation = f"remove-{next(node.world.ids)}"
    node.ask(ev.RemoveAsked(operation=operation, uid=uid))


def only(node: SimNode) -> Container:
    (container,) = node.machine.view.containers()
    return container


def ready(world: World, count: int) -> bool:
    return all(
        len(node.machine.answerable()) == count
        for node in world.nodes.values()
        if node.up
    )


def test_nodes_that_join_hear_each_other_and_agree() -> None:
    world = World("uno@uno", "dos@dos", "tres@tres")
    for node in world.nodes.values():
        assert node.machine.members.alive() == ["dos@dos", "tres@tres", "uno@uno"]
        assert node.machine.is_settled
    assert len({node.machine.view.digest for node in world.nodes.values()}) == 1


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
    assert uno.ask(event).node is None
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
        world.run(2)
        assert len(world.running("web")) == left
    assert not list(uno.machine.view.services())
    assert add(uno, uid="u9").slot == 0


def test_a_stop_that_names_an_old_generation_does_nothing() -> None:
    world = World("uno@uno")
    uno = world["uno@uno"]
    add(uno)
    world.run_until(lambda: ready(world, 1))
    uno.ask(ev.StopAsked(operation="s", uid="u1", slot=0, generation=7))
    world.run(2)
    assert world.running("web") == ["uno@uno"]


def test_verbs_on_what_is_not_there_are_refused() -> None:
    world = World("uno@uno")
    with pytest.raises(UnknownService):
        remove(world["uno@uno"], uid="nothing")
    with pytest.raises(UnknownNode):
        world["uno@uno"].ask(ev.RoleAssigned(operation="r", node="x@x", role="a"))


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


def test_a_container_of_nobody_is_left_alone() -> None:
    world = World("uno@uno")
    uno = world["uno@uno"]
    add(uno)
    world.run_until(lambda: ready(world, 1))
    (held,) = uno.engine.containers.values()
    foreign = attrs.evolve(held.identity, uid="unknown")
    stray = attrs.evolve(held, id="stray", name="stray", identity=foreign)
    uno.engine.containers["stray"] = stray
    uno.list_engine()
    world.run(60)
    assert "stray" in uno.engine.containers
    assert [c.name for c in uno.machine.view.containers()] == [held.name]


def test_a_dead_nodes_work_runs_elsewhere_and_dns_forgets_it() -> None:
    world = World("uno@uno", "dos@dos", "tres@tres")
    accepted = add(world["uno@uno"])
    world.run_until(lambda: ready(world, 1))
    assert accepted.node is not None
    world[accepted.node].kill()
    survivors = [n for n in world.nodes.values() if n.up]
    world.run_until(
        lambda: all(
            [c.node != accepted.node for c in n.machine.answerable()] == [True]
            for n in survivors
        ),
        limit_s=4.0,
    )
    assert len(world.running("web")) == 2  # the dead one's engine knows nothing


def test_a_lost_delta_is_pulled() -> None:
    world = World("uno@uno", "dos@dos")
    world.cut.add(frozenset({"uno@uno", "dos@dos"}))
    add(world["uno@uno"], attrs.evolve(WEB, hosts=("uno@uno",)), uid=_uid_of(world))
    world.run(1)
    assert list(world["dos@dos"].machine.view.containers()) == []
    world.cut.clear()
    world.run_until(lambda: ready(world, 1), limit_s=3)


def _uid_of(world: World) -> str:
    """Return a uid that uno coordinates."""
    names = [f"u{n}" for n in range(50)]
    return next(u for u in names if coordinator(u, world.nodes) == "uno@uno")


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


def test_a_second_node_of_one_name_is_refused() -> None:
    world = World("uno@uno", "dos@dos")
    twin = SimNode(world, "dos@dos", 9, alone=False)
    twin.boots += 1  # another process than the one that is heard
    twin.boot()
    twin.join(world["uno@uno"])
    assert twin.reports == ["refused: a node named dos@dos lives already"]


def test_a_node_of_another_cluster_is_refused() -> None:
    world = World("uno@uno")
    stranger = SimNode(world, "otro@otro", 9, alone=False)
    uno = world["uno@uno"]
    document = stranger.machine.view.head("otro@otro")
    assert document is not None
    from veo_shell.core.wire import Join

    join = Join(document=document, cluster="else")
    reply = uno.ask(ev.Asked(operation="j", message=join))
    assert reply.reason == "this is a node of the cluster 'sim', not of 'else'"


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


def test_a_node_that_lost_its_disk_and_was_told_of_nobody_is_found_again() -> None:
    world = World("uno@uno", "dos@dos")
    dos = world["dos@dos"]
    dos.kill()
    dos.disk.documents.clear()
    world.run(5)
    dos.boot(alone=True)
    world.run(2)
    assert dos.machine.members.alive() == ["dos@dos", "uno@uno"]


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
