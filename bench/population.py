"""A large cluster as its nodes know it: 100 nodes, 10,000 containers that all run."""

from __future__ import annotations

import attrs

from veo_shell.core.model import (
    Container,
    Cpu,
    Disk,
    Identity,
    Memory,
    NodeDocument,
    NodeRecord,
    Observed,
    Port,
    Record,
    Resources,
    Restart,
    Service,
    ServiceRecord,
    SlotRecord,
    State,
)

CLUSTER = "crowd"
SERVICES = 100
CONTAINERS = 10_000
MESH_PORT = 8087
GIB = 1024**3
RESOURCES = Resources(
    cpu=Cpu(count=64.0),
    memory=Memory(total_bytes=256 * GIB, available_bytes=128 * GIB),
    disk=Disk(total_bytes=1024 * GIB, free_bytes=512 * GIB),
)


def name_of(number: int) -> str:
    """Return the name of one of the nodes."""
    return f"node{number}@node{number}"


def address_of(number: int) -> str:
    """Return a loopback address of its own for one of the nodes."""
    return f"127.0.1.{number}"


def documents(count: int, services: int = SERVICES) -> list[NodeDocument]:
    """Return what so many nodes publish of themselves, numbered from 1."""
    held: dict[int, list[Container]] = {number: [] for number in range(1, count + 1)}
    for index in range(CONTAINERS):
        number = home_of(index, count)
        held[number].append(container(index, services, number))
    return [document(number, tuple(held[number])) for number in held]


def document(number: int, containers: tuple[Container, ...] = ()) -> NodeDocument:
    """Return what one node publishes of itself."""
    return NodeDocument(
        node=name_of(number),
        boot_id=f"{number:032}",
        incarnation=1,
        version=1,
        address=address_of(number),
        mesh_port=MESH_PORT,
        pub_port=MESH_PORT + 1,
        dns_port=53,
        resources=RESOURCES,
        disk_id=f"{number:032}",
        protocol=2,
        containers=containers,
    )


def records(count: int, *more: str, services: int = SERVICES) -> list[Record]:
    """Return the table: all services, a slot for each container, and the nodes.

    `more` are nodes besides the numbered ones that count as members for long.
    """
    table: list[Record] = []
    replicas = CONTAINERS // services
    for service in range(services):
        uid = uid_of(service)
        table.append(
            ServiceRecord(
                uid=uid,
                revision=1,
                writer=name_of(1),
                service=attrs.evolve(spec(service), replicas=replicas),
                replicas=replicas,
            )
        )
        table += [
            SlotRecord(
                uid=uid,
                slot=slot,
                revision=1,
                writer=name_of(1),
                generation=1,
                node=name_of(home_of(service * replicas + slot, count)),
            )
            for slot in range(replicas)
        ]
    nodes = [*map(name_of, range(1, count + 1)), *more]
    table += [
        NodeRecord(node=node, revision=1, writer=name_of(1), votes=True)
        for node in nodes
    ]
    return table


def spec(number: int) -> Service:
    """Return one of the services."""
    return Service(
        name=f"service{number}",
        image="nginx:latest",
        restart=Restart.ALWAYS,
        cpus=0.1,
        memory_bytes=GIB // 16,
        ports=(Port(name="http", container_port=80),),
    )


def container(index: int, services: int, number: int) -> Container:
    """Return one of all containers, which fills a slot of one of so many services."""
    service, slot = divmod(index, CONTAINERS // services)
    identity = Identity(
        cluster=CLUSTER,
        node=name_of(number),
        service=f"service{service}",
        uid=uid_of(service),
        slot=slot,
        generation=1,
    )
    port = Port(name="http", container_port=80, host_port=32768 + index)
    return Container(
        name=identity.container_name,
        service=identity.service,
        uid=identity.uid,
        slot=slot,
        generation=1,
        node=identity.node,
        address=address_of(number),
        image="nginx:latest",
        state=State.RUNNING,
        id=f"{service:032}{slot:032}",
        ports=(port,),
    )


def observed(held: Container) -> Observed:
    """Return what its engine reports of one that runs."""
    identity = Identity(
        cluster=CLUSTER,
        node=held.node,
        service=held.service,
        uid=held.uid,
        slot=held.slot,
        generation=held.generation,
    )
    return Observed(
        id=held.id,
        name=held.name,
        identity=identity,
        image=held.image,
        running=True,
        ports=held.ports,
        address=held.address,
    )


def uid_of(service: int) -> str:
    """Return the uid of one of the services."""
    return f"{service:06}{'0' * 26}"


def home_of(index: int, count: int) -> int:
    """Return the number of the node of a container: all have as many, or one more."""
    return index % count + 1
