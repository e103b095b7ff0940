"""The machine: one core as a dialogue, and whole clusters of cores in one test."""

from __future__ import annotations

import itertools
from typing import Any

import attrs
import pytest

from tests.core.samples import container, document, heard, observed, service, slot
from tests.sim.cluster import SimDisk, SimNode, World
from veo_shell.core import events as ev
from veo_shell.core.commands import (
    Answer,
    Command,
    CreateContainer,
    DiscardContainer,
    End,
    Note,
    Publish,
    Refuse,
    Save,
)
from veo_shell.core.machine import Machine
from veo_shell.core.membership import Timing
from veo_shell.core.model import (
    NOT_LISTED,
    Accepted,
    Container,
    Health,
    Knock,
    NodeDocument,
    NodeRecord,
    Observed,
    OnPartition,
    Port,
    Record,
    Restart,
    Service,
    State,
    Status,
)
from veo_shell.core.placement import coordinator
from veo_shell.core.wire import (
    Delta,
    Difference,
    Farewell,
    Forget,
    Join,
    Records,
    Welcome,
)
from veo_shell.errors import (
    NoSuitableNode,
    PeerUnreachable,
    ServiceError,
    UnknownNode,
    UnknownService,
)

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
    (accepted,) = answer
    assert isinstance(accepted, Accepted)
    return accepted


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
        world.run(2.5)
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


# What happens to nodes


def uid_of(world: World, *nodes: str) -> str:
    """Return a uid about which these nodes decide, the first that lives."""
    for number in itertools.count():
        alive, order = set(world.nodes), list[str]()
        while len(order) < len(nodes):
            order.append(coordinator(f"u{number}", alive))
            alive.discard(order[-1])
        if order == list(nodes):
            return f"u{number}"
    raise AssertionError


def statuses(node: SimNode, of: str) -> Status:
    return node.machine.members.status(of)


def cut(world: World, *side: str) -> None:
    """Let no frame pass between these nodes and all others."""
    others = [name for name in world.nodes if name not in side]
    world.cut |= {frozenset(pair) for pair in itertools.product(side, others)}


def records_of(node: SimNode) -> dict[str, Record]:
    return {record.key: record for record in node.machine.view.records()}


def ask(asked: SimNode, event_type: Any, **fields: Any) -> Any:
    operation = f"ask-{next(asked.world.ids)}"
    return asked.ask(event_type(operation=operation, **fields))


def three(*, spec: Service = WEB, on: str = "dos@dos") -> World:
    """Return three nodes; uno decides about a service that runs on one of them."""
    world = World("uno@uno", "dos@dos", "tres@tres")
    uid = uid_of(world, "uno@uno", "tres@tres")
    add(world["uno@uno"], attrs.evolve(spec, hosts=(on,)), uid)
    world.run_until(lambda: ready(world, 1))
    world.run(2)
    assert world.running("web") == [on]
    return world


def anywhere(world: World) -> None:
    """Let the service run on any node from now on, as if it had been added so."""
    uno = world["uno@uno"]
    (record,) = uno.machine.view.services()
    assert record.service is not None
    free = attrs.evolve(record.service, hosts=())
    newer = attrs.evolve(record, service=free, revision=uno.machine.view.revision + 1)
    for node in world.nodes.values():
        node.feed(
            ev.DifferenceHeard(
                peer="uno@uno",
                answer=Difference(
                    documents=(), records=Records.of([newer]), more=False
                ),
            )
        )


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
        if entry.kind == "heal"
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


def leaves(world: World, name: str) -> None:
    """Have a node leave and say so to the others."""
    node = world[name]
    node.feed(ev.Leaving())
    own = node.machine.own
    goodbye = Farewell(node=own.node, boot_id=own.boot_id, left=True, for_s=0.0)
    for other in world.nodes.values():
        if other.name != name and other.up:
            other.ask(ev.Asked(operation=f"f-{other.name}", message=goodbye))


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


def test_scaling_adds_instances_and_takes_them_away() -> None:
    world = World("uno@uno", "dos@dos", "tres@tres")
    uid = uid_of(world, "uno@uno")
    add(world["uno@uno"], uid=uid)
    assert ask(world["uno@uno"], ev.ScaleAsked, uid=uid, replicas=3) == 3
    world.run(2)
    assert world.running("web") == ["dos@dos", "tres@tres", "uno@uno"]
    ask(world["uno@uno"], ev.ScaleAsked, uid=uid, replicas=1)
    world.run(4)
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


# One machine


class Dialogue:
    """One machine, alone or with a peer that it hears."""

    def __init__(self, *peers: NodeDocument, alone: bool = True) -> None:
        self.now = 100.0
        self.machine = Machine(document(), "veo", Timing(), self.now, alone=alone)
        for peer in peers:
            join = Join(document=peer, cluster="veo")
            self.play(ev.Asked(operation="j", message=join))
            self.pull(peer)

    def pull(self, *documents: NodeDocument, records: tuple[Record, ...] = ()) -> Any:
        answer = Difference(
            documents=documents, records=Records.of(records), more=False
        )
        return self.play(ev.DifferenceHeard(peer="dos@dos", answer=answer))

    def play(self, event: ev.Event) -> list[Command]:
        return self.machine.handle(event, self.now)

    def tick(self, for_s: float) -> list[Command]:
        commands: list[Command] = []
        for _ in range(round(for_s / 0.25)):
            self.now += 0.25
            commands += self.play(ev.Ticked())
        return commands

    def list(self, *seen: Observed) -> list[Command]:
        return self.play(ev.EngineListed(containers=seen))


UNO, DOS = document(), document("dos@dos")


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


def test_what_is_told_goes_out_before_all_else_then_what_is_to_be_saved() -> None:
    node = Dialogue()
    node.list()
    event = ev.AddAsked(operation="a", uid="u1", service=WEB)
    commands = node.play(event)
    kinds = [type(command) for command in commands]
    assert kinds[:2] == [Publish, Save]
    publish, save, *rest = commands
    assert isinstance(publish, Publish)
    assert isinstance(publish.message, Delta)
    assert isinstance(save, Save)
    assert {r.key for r in publish.message.records} == {"service/u1", "slot/u1/0"}
    assert {r.key for r in save.records} == {"service/u1", "slot/u1/0"}
    assert [d.node for d in save.documents] == ["uno@uno"]
    assert not [c for c in rest if isinstance(c, Answer)]  # it is not on disk yet
    (answer,) = [
        c for c in node.play(ev.Saved(ticket=save.ticket)) if isinstance(c, Answer)
    ]
    assert answer.copies == 1


def test_orders_to_save_are_numbered_and_name_what_is_no_more() -> None:
    node = Dialogue()
    node.list()
    first = node.pull(records=(service(), slot(None, wanted=False)))
    second = node.pull(records=(service(spec=None),))
    saves = [c for c in [*first, *second] if isinstance(c, Save)]
    assert [save.dropped for save in saves] == [(), ("slot/u1/0",)]
    assert saves[1].ticket == saves[0].ticket + 1
    assert [record.key for record in saves[1].records] == ["service/u1"]


def test_every_delta_is_a_version_of_its_own() -> None:
    node = Dialogue()
    node.list()
    before = node.machine.own.version
    node.play(ev.RoleAssigned(operation="r", node="uno@uno", role="x"))
    assert node.machine.own.version == before + 1
    head = node.machine.view.head("uno@uno")
    assert head is not None
    assert head.version == before + 1


def test_it_says_of_its_containers_that_they_are_not_listed_until_they_are() -> None:
    node = Dialogue()
    assert node.machine.own.engine_lost == NOT_LISTED
    node.tick(1)
    assert node.machine.own.engine_lost == NOT_LISTED
    commands = node.list()
    (delta,) = [c.message for c in commands if isinstance(c, Publish)]
    assert isinstance(delta, Delta)
    assert delta.engine_lost == node.machine.own.engine_lost == ""


def test_that_the_engine_is_lost_is_told_to_all() -> None:
    node = Dialogue()
    node.list()
    commands = node.play(ev.EngineLost(reason="gone"))
    (delta,) = [c.message for c in commands if isinstance(c, Publish)]
    assert isinstance(delta, Delta)
    assert delta.engine_lost == "gone"
    assert node.machine.own.engine_lost == "gone"
    assert not [c for c in node.tick(1) if isinstance(c, Publish)]


def test_that_its_disk_takes_nothing_is_told_to_all_until_it_does() -> None:
    node = Dialogue()
    node.list()

    def told() -> list[str]:
        published = [c.message for c in commands if isinstance(c, Publish)]
        return [m.disk_trouble for m in published if isinstance(m, Delta)]

    commands = node.play(ev.SaveFailed(reason="it is full"))
    assert told() == ["it is full"]
    assert node.machine.own.disk_trouble == "it is full"
    node.play(ev.Saved(ticket=1))
    commands = node.tick(10)
    assert told() == [""]
    assert node.machine.own.disk_trouble == ""


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


def test_it_knows_its_own_containers_when_the_engine_was_listed() -> None:
    node = Dialogue()
    assert not node.machine.knows_its_own
    node.list()
    assert node.machine.knows_its_own


def test_it_beats_more_slowly_among_very_many() -> None:
    node = Dialogue()
    assert node.machine.heartbeat_s == 0.5
    for number in range(200):
        node.machine.members.learn(f"n{number}@n", node.now)
    assert node.machine.heartbeat_s == 1.0


def test_it_speaks_what_all_members_understand() -> None:
    node = Dialogue(DOS)
    assert node.machine.protocol == 2
    node.pull(attrs.evolve(DOS, version=2, protocol=1))
    assert node.machine.protocol == 1


def test_it_ranks_the_nodes_for_whoever_asks() -> None:
    node = Dialogue(DOS)
    node.list()
    rows = node.machine.candidates(WEB)
    assert sorted(c.node for c in rows if c.fits) == ["dos@dos", "uno@uno"]


# What DNS may answer


def served(**changes: Any) -> Container:
    port = Port(name="website", container_port=80, host_port=8000)
    return container("dos@dos", ports=(port,), **changes)


@pytest.mark.parametrize(
    ("held", "records", "answered"),
    [
        pytest.param(served(), (), True, id="of a service not known yet"),
        pytest.param(served(), (service(),), True, id="of one that stands"),
        pytest.param(served(), (service(spec=None),), False, id="of a removed one"),
        pytest.param(
            served(),
            (service(), slot("uno@uno", generation=2)),
            True,
            id="one that is contested",
        ),
        pytest.param(
            served(),
            (service(), slot("uno@uno", generation=2, ends=(served().name,))),
            False,
            id="one that is to end",
        ),
        pytest.param(served(state=State.STOPPING), (service(),), False, id="stopping"),
        pytest.param(
            served(state=State.UNHEALTHY, health=Health.UNHEALTHY),
            (service(),),
            False,
            id="unhealthy",
        ),
        pytest.param(
            served(health=Health.STARTING), (service(),), False, id="not healthy yet"
        ),
    ],
)
def test_what_is_answered(
    held: Container, records: tuple[Record, ...], answered: bool
) -> None:
    node = Dialogue(attrs.evolve(DOS, containers=(held,)))
    node.pull(records=records)
    assert node.machine.answerable() == ([held] if answered else [])


def test_what_a_node_runs_is_answered_as_its_state_allows() -> None:
    node = Dialogue(attrs.evolve(DOS, containers=(served(),)))
    keys = [node.machine.dns_key]

    def answered() -> bool:
        keys.append(node.machine.dns_key)
        return bool(node.machine.answerable())

    def say_goodbye(*, left: bool) -> None:
        boot_id = DOS.boot_id
        goodbye = Farewell(node="dos@dos", boot_id=boot_id, left=left, for_s=60.0)
        node.play(ev.Asked(operation="f", message=goodbye))

    assert answered()
    say_goodbye(left=False)
    assert answered()
    name = served().name
    node.play(ev.Tried(node="dos@dos", container=name, knock=Knock.REFUSED))
    assert not answered()
    node.play(ev.Tried(node="dos@dos", container=name, knock=Knock.OPEN))
    assert answered()
    node.play(heard("dos@dos", boot_id="again"))
    assert answered()
    node.pull(attrs.evolve(DOS, version=9, engine_lost="gone", containers=(served(),)))
    assert not answered()
    node.pull(attrs.evolve(DOS, version=10, containers=(served(),)))
    assert answered()
    say_goodbye(left=True)
    assert not answered()
    changed = [a != b for a, b in itertools.pairwise(keys[1:])]
    assert all(changed)  # each is to be seen from its key


def test_what_runs_on_a_node_whose_host_refused_is_tried() -> None:
    node = Dialogue(DOS)
    node.tick(1.25)
    node.play(ev.Tried(node="dos@dos", container="", knock=Knock.REFUSED))
    node.tick(0.25)
    assert node.machine.members.status("dos@dos") is Status.DOWN


# Ends


def ends(commands: list[Command]) -> list[End]:
    return [command for command in commands if isinstance(command, End)]


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


def test_a_node_that_hears_of_its_removal_leaves() -> None:
    node = Dialogue(DOS)
    node.list()
    removed = NodeRecord(node="uno@uno", revision=9, writer="x", removed=UNO.disk_id)
    (end,) = ends(node.pull(records=(removed,)))
    assert end.clean
    node.play(ev.HeartbeatDue())
    node.tick(1)


# Tombstones


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
