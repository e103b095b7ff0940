"""100 nodes with 10,000 containers in the simulation: how fast news is everywhere.

In virtual time: a message takes a millisecond, handling it none. So it is what the
protocol takes, however many cores stand behind it.
"""

from __future__ import annotations

from collections.abc import Iterable

from bench.population import address_of, documents, name_of, records
from bench.report import spread
from tests.sim.cluster import SimNode, World
from veo_shell.core import events as ev
from veo_shell.core.model import (
    Container,
    Identity,
    NodeDocument,
    Observed,
    Service,
    State,
    Status,
)

NODES = 100
SETTLE_S = 5.0


def bench(rounds: int) -> None:
    """Measure and print."""
    world = crowd()
    changes_s = [change_s(world, number) for number in range(rounds)]
    spread("a change → in all 100 views (virtual time)", changes_s, aim="≤ 1 s")
    joins_s = [join_s(world, number) for number in range(rounds)]
    spread("a node joins → it knows all, all hear it", joins_s, aim="≤ 2 s")


def crowd() -> World:
    """Return a cluster whose nodes have run for long, with all their containers."""
    world = World(*map(name_of, range(1, NODES + 1)))
    population, table = documents(NODES), {r.key: r for r in records(NODES)}
    for node in world.nodes.values():
        node.kill()
    world.run(1.0)
    for number, node in enumerate(world.nodes.values(), 1):
        node.address = address_of(number)
        node.disk.documents = {held.node: held for held in population}
        node.disk.records = dict(table)
        node.engine.containers = observed(population[number - 1])
        node.boot()
    world.run(SETTLE_S)
    assert is_whole(world.nodes.values()), "the crowd does not agree"
    return world


def observed(held: NodeDocument) -> dict[str, Observed]:
    """Return what the engine of a node says of its containers."""
    return {c.name: _observed(c) for c in held.containers}


def _observed(container: Container) -> Observed:
    return Observed(
        id=container.id,
        name=container.name,
        identity=Identity(
            cluster="sim",
            node=container.node,
            service=container.service,
            uid=container.uid,
            slot=container.slot,
            generation=container.generation,
        ),
        image=container.image,
        running=True,
        ports=container.ports,
    )


def change_s(world: World, number: int) -> float:
    """Return the time from a container's start until every node knows that it runs."""
    service = Service(name=f"news{number}", image="nginx:latest")
    uid, first = f"news{number}", world[name_of(1)]
    target = world[first.machine.situation.coordinator(uid)]
    (accepted,) = target.ask(ev.AddAsked(operation=uid, uid=uid, service=service))
    home = world[accepted.node]
    world.run_until(lambda: runs(home, uid))
    return world.run_until(lambda: all(runs(n, uid) for n in world.nodes.values()))


def runs(node: SimNode, uid: str) -> bool:
    """Tell whether a node knows that an instance of a service runs."""
    held = node.machine.view.instances(uid)
    return any(container.state is State.RUNNING for container in held)


def join_s(world: World, number: int) -> float:
    """Return the time from a node's start until it and all others agree."""
    begun_s, name = world.now, f"late{number}@late{number}"
    newcomer = SimNode(world, name, NODES + 1 + number, alone=False)
    world.nodes[name] = newcomer
    newcomer.join(world[name_of(1)])
    world.run_until(lambda: is_whole(world.nodes.values()))
    return world.now - begun_s


def is_whole(nodes: Iterable[SimNode]) -> bool:
    """Tell whether all nodes hear all others and hold the same view."""
    machines = [node.machine for node in nodes]
    return len({machine.view.digest for machine in machines}) == 1 and all(
        peer.status is Status.ALIVE for machine in machines for peer in machine.members
    )
