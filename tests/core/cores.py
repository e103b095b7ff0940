"""Clusters of cores with a service, as the tests of the machine need them."""

from __future__ import annotations

import itertools
from typing import Any

import attrs

from tests.sim.cluster import SimNode, World
from veo_shell.core import events as ev
from veo_shell.core.model import Accepted, Container, Port, Restart, Service, Status
from veo_shell.core.placement import coordinator
from veo_shell.core.wire import Difference, Farewell, Records

WEB = Service(
    name="web",
    image="nginx:latest",
    restart=Restart.ON_FAILURE,
    ports=(Port(name="website", container_port=80),),
)


def add(node: SimNode, service: Service = WEB, uid: str = "u1") -> Accepted:
    target = node.world[node.machine.situation.coordinator(uid, service)]
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


def leaves(world: World, name: str) -> None:
    """Have a node leave and say so to the others."""
    node = world[name]
    node.feed(ev.Leaving())
    own = node.machine.own
    goodbye = Farewell(node=own.node, boot_id=own.boot_id, left=True, for_s=0.0)
    for other in world.nodes.values():
        if other.name != name and other.up:
            other.ask(ev.Asked(operation=f"f-{other.name}", message=goodbye))
