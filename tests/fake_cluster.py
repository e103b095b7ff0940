"""Several real nodes in one event loop, on a fake network, with fake engines.

The disks, the DNS sockets and the clock are real. What a node logs as an error fails
the test, unless the test takes it out of `errors`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import attrs

from veo_shell.core.dns_config import DnsConfig
from veo_shell.core.events import Event
from veo_shell.core.model import (
    Container,
    Cpu,
    Disk,
    Memory,
    Port,
    Record,
    Resources,
    Restart,
    Service,
    State,
    Status,
)
from veo_shell.core.placement import coordinator
from veo_shell.core.protocols import Engine, Mesh, Store
from veo_shell.core.standings import Standings
from veo_shell.core.timing import Timing
from veo_shell.core.zone import same_answers
from veo_shell.core.zone_making import ZoneMaker
from veo_shell.edge.clock import SystemClock
from veo_shell.edge.dns_forwarder import Forwarder
from veo_shell.edge.dns_server import DnsServer
from veo_shell.edge.dns_upstreams import Upstreams
from veo_shell.edge.fake_engine import FakeEngine
from veo_shell.edge.fake_mesh import FakeMesh, FakeNetwork
from veo_shell.edge.sqlite_store import SqliteStore
from veo_shell.node import Node, NodeConfig

MESH_PORT, PUB_PORT = 8087, 8088
GIB = 1 << 30
LIMIT_S = 15.0
# Patient enough for a busy machine; tests about the verdicts say their own.
FAST = Timing(
    heartbeat_s=0.05,
    pause_s=30.0,
    rejoin_s=0.1,
    name_retry_s=0.05,
    drain_s=0.1,
    steady_s=0.3,
)
QUICK_TO_JUDGE = attrs.evolve(
    FAST, suspect_s=0.5, dead_s=1.0, down_s=1.0, try_s=0.2, majority_s=0.5
)
WEB = Service(
    name="web",
    image="nginx:latest",
    restart=Restart.ON_FAILURE,
    ports=(Port(name="website", container_port=80),),
)

T = TypeVar("T")


async def eventually(holds: Callable[[], T], limit_s: float = LIMIT_S) -> T:
    """Return the first value that is true; fail if none comes in time."""
    deadline = time.monotonic() + limit_s
    while not (value := holds()):
        assert time.monotonic() < deadline, "it did not come to hold"
        await asyncio.sleep(0.005)
    return value


@attrs.frozen
class FixedHost:
    """A machine that always has the same; `addresses`: what its own begin with."""

    cpus: float = 4.0
    boot: str = "boot 1"
    addresses: tuple[str, ...] = ("127.0.0.",)

    def boot_id(self) -> str:
        return self.boot

    def has_address(self, address: str) -> bool:
        return address.startswith(self.addresses)

    def resources(self) -> Resources:
        return Resources(
            cpu=Cpu(count=self.cpus, load=0.5),
            memory=Memory(total_bytes=8 * GIB, available_bytes=4 * GIB),
            disk=Disk(total_bytes=100 * GIB, free_bytes=50 * GIB),
        )


class ErrorLog(logging.Handler):
    """Keeps what VEO logs as errors."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._errors = errors

    def emit(self, record: logging.LogRecord) -> None:
        self._errors.append(self.format(record))


class SeenNode(Node):
    """A node that is looked at after every event."""

    watchers: list[Callable[[], None]]

    def feed(self, event: Event) -> bool:
        done = super().feed(event)
        for look in self.watchers:
            look()
        return done


class FakeCluster:
    """Nodes by short name; `cluster["uno"]` is the node `uno@uno` at 127.0.0.1."""

    def __init__(self, folder: Path, timing: Timing) -> None:
        self.folder = folder
        self.timing = timing
        self.network = FakeNetwork()
        self.engines: dict[str, FakeEngine] = {}
        self.meshes: dict[str, FakeMesh] = {}
        self.servers: dict[str, DnsServer] = {}
        self.addresses: dict[str, str] = {}
        self.errors: list[str] = []
        self.dns = DnsConfig()
        self.labels: dict[str, tuple[str, ...]] = {}
        self.host_boot = "boot 1"
        self.cpus: Mapping[str, float] = {}
        self.addresses6: dict[str, str] = {}
        self.host_addresses: tuple[str, ...] = ("127.0.0.",)
        self._watchers: list[Callable[[], None]] = []
        self._nodes: dict[str, Node] = {}

    def __getitem__(self, name: str) -> Node:
        return self._nodes[name]

    def running(self) -> list[Node]:
        """Return the nodes that are started."""
        return list(self._nodes.values())

    def add(self, name: str, engine: FakeEngine | None = None) -> None:
        """Have a host with an engine, not yet a node on it."""
        self.addresses[name] = f"127.0.0.{len(self.addresses) + 1}"
        self.engines[name] = engine or FakeEngine("veo", f"{name}@{name}")

    def make(
        self,
        name: str,
        *joins: str,
        store: Store | None = None,
        engine: Engine | None = None,
        over: Callable[[Mesh], Mesh] = lambda mesh: mesh,
        role: str = "master",
        config_file: Path | None = None,
    ) -> Node:
        """Return a node that is not started.

        `joins` are short names; `over`: by what it speaks over its mesh.
        """
        address = self.addresses[name]
        self.engines[name].come_back()
        self.meshes[name] = self.network.join(address, MESH_PORT, PUB_PORT)
        # Not to whom the machine that the tests run on asks.
        files = self.folder / "resolv.conf", self.folder / "resolved.conf"
        upstreams = Upstreams(((address,), 0), self.dns.forward, files)
        forwarder = Forwarder(upstreams)
        self.servers[name] = DnsServer(forwarder=forwarder)
        node = SeenNode(
            NodeConfig(
                name=f"{name}@{name}",
                address=address,
                address6=self.addresses6.get(name, ""),
                mesh_port=MESH_PORT,
                pub_port=PUB_PORT,
                dns_port=_free_port(address),
                dns=self.dns,
                role=role,
                labels=self.labels.get(name, ()),
                config_file=config_file,
                joins=tuple((self.addresses[j], MESH_PORT) for j in joins),
                timing=self.timing,
            ),
            engine=engine or self.engines[name],
            streams=self.engines[name].streams,
            stock=self.engines[name],
            mesh=over(self.meshes[name]),
            store=store or self.store(name),
            host=FixedHost(
                cpus=self.cpus.get(name, 4.0),
                boot=self.host_boot,
                addresses=self.host_addresses,
            ),
            server=self.servers[name],
            clock=SystemClock(),
        )
        node.watchers = self._watchers
        self._nodes[name] = node
        return node

    def store(self, name: str) -> SqliteStore:
        """Return a store on the node's disk."""
        return SqliteStore(self.folder / name / "veo.db", "veo", f"{name}@{name}")

    async def saved(self, name: str) -> dict[str, Record]:
        """Return the table as it is on the node's disk, read as by a new process."""
        store = self.store(name)
        held = store.load()
        await store.close()
        return {record.key: record for record in held.records}

    async def boot(self, name: str, *joins: str) -> Node:
        """Start a node, after it was stopped or killed too."""
        for other in self.addresses.values():
            self.network.mend(self.addresses[name], other)
        node = self.make(name, *joins)
        await node.start()
        return node

    async def stop(self, name: str) -> None:
        """Let a node pause: its containers keep running."""
        await self._nodes.pop(name).stop()

    async def kill(self, name: str) -> None:
        """End a node without a word to the others; its containers keep running."""
        for other in self.addresses.values():
            self.network.cut(self.addresses[name], other)
        await self.stop(name)

    async def crash(self, name: str) -> None:
        """End a node's process without a word; its host and its containers stay."""
        await self.kill(name)
        for other in self.addresses.values():
            self.network.mend(self.addresses[name], other)

    def lose_disk(self, name: str) -> None:
        """Take away what a node that does not run had on its disk."""
        shutil.rmtree(self.folder / name)

    async def close(self) -> None:
        """Stop what runs; what each answered until then is what it knew."""
        amiss = [name for name, node in self._nodes.items() if not answers_all(node)]
        for name in list(self._nodes):
            await self.stop(name)
        assert amiss == []

    async def joined(self) -> None:
        """Wait until every node holds every other to be alive and agrees with it."""
        await eventually(lambda: all(self._sees_all(n) for n in self._nodes.values()))
        await self.agreed()

    async def run(self, service: Service) -> Container:
        """Have uno add a service; return its container once all nodes answer it."""
        container = bare(await self["uno"].container_sup.add_service(service))
        await eventually(
            lambda: all(
                container in n.machine.answerable() for n in self._nodes.values()
            )
        )
        return container

    async def agreed(self) -> None:
        """Wait until all nodes' views are the same."""
        await eventually(
            lambda: len({n.machine.view.digest for n in self._nodes.values()}) == 1
        )

    async def ready(self, count: int, *names: str) -> list[Container]:
        """Wait until so many containers may be answered, on every node; return them.

        With `names` on these nodes.
        """

        def seen() -> list[list[Container]]:
            nodes = [self._nodes[name] for name in names or self._nodes]
            return [node.machine.answerable() for node in nodes]

        await eventually(
            lambda: all(s == seen()[0] and len(s) == count for s in seen())
        )
        return seen()[0]

    async def answered(self, containers: list[Container]) -> None:
        """Wait until just these may be answered, on every node."""
        await eventually(
            lambda: all(
                n.machine.answerable() == containers for n in self._nodes.values()
            )
        )

    @contextlib.contextmanager
    def whenever(self, look: Callable[[], None]) -> Iterator[None]:
        """Look now, and whenever something has happened to one of the nodes."""
        look()
        self._watchers.append(look)
        try:
            yield
        finally:
            self._watchers.remove(look)

    def uid_for(self, name: str) -> str:
        """Return a uid that this node coordinates, as long as all live."""
        alive = [f"{n}@{n}" for n in self._nodes]
        uids = (f"uid{number}" for number in range(1000))
        return next(u for u in uids if coordinator(u, alive) == f"{name}@{name}")

    async def add_coordinated_by(self, name: str, service: Service) -> str:
        """Have a service that this node decides about run; return its uid."""
        uid = self.uid_for(name)
        call = self[name].peers.call
        await call(f"{name}@{name}", "coordinator.add", uid, uid, service, False)
        return uid

    def _sees_all(self, node: Node) -> bool:
        status = node.machine.members.status
        return node.machine.is_settled and all(
            status(f"{name}@{name}") is Status.ALIVE for name in self._nodes
        )


@contextlib.asynccontextmanager
async def fake_cluster(
    folder: Path,
    *names: str,
    timing: Timing = FAST,
    engines: Mapping[str, FakeEngine] | None = None,
    labels: Mapping[str, str] | None = None,
    dns: DnsConfig | None = None,
    cpus: Mapping[str, float] | None = None,
) -> AsyncIterator[FakeCluster]:
    """Have started nodes that have joined: `uno` and `dos` if none are named.

    `labels`: of each node, with spaces between.
    """
    cluster = FakeCluster(folder, timing)
    cluster.dns = dns or cluster.dns
    cluster.cpus = cpus or cluster.cpus
    cluster.labels = {name: tuple(t.split()) for name, t in (labels or {}).items()}
    handler = ErrorLog(cluster.errors)
    logging.getLogger("veo_shell").addHandler(handler)
    names = names or ("uno", "dos")
    try:
        for name in names:
            cluster.add(name, (engines or {}).get(name))
            await cluster.boot(name, *names[: names.index(name)][:1])
        await cluster.joined()
        yield cluster
    finally:
        await cluster.close()
        logging.getLogger("veo_shell").removeHandler(handler)
    assert cluster.errors == []


def answers_all(node: Node) -> bool:
    """Tell whether a node's DNS, changed bit by bit, has all that it would at once."""
    registry, machine = node.dns_registry, node.machine
    zone = registry._zones.own
    if registry._seen != machine.dns_key:
        return True  # it was not started, or something comes just now
    machine.view.news |= {record.uid for record in machine.view.services()}
    maker = ZoneMaker(node.config.dns, machine.me)
    standings = Standings(machine.view, machine.members, machine.answered)
    services = standings.take()
    maker.take(standings.nodes, services, zone.stale)
    return same_answers(maker.make(zone.serial), zone)


class Watch(Counter[str]):
    """How many containers of each service were answered at some moment."""


@contextlib.contextmanager
def watching(cluster: FakeCluster, *names: str) -> Iterator[list[Watch]]:
    """Have all that the DNS of some nodes answers from now on, as it changes."""
    seen: list[Watch] = []

    def look() -> None:
        for name in names:
            held = cluster[name].machine.answerable()
            count = Watch(c.service for c in held)
            if count not in seen:
                seen.append(count)

    with cluster.whenever(look):
        yield seen


def bare(added: Container) -> Container:
    """Return a container as it is listed, without what its adding says of copies."""
    names = [field.name for field in attrs.fields(Container)]
    return Container(**{name: getattr(added, name) for name in names})


def statuses(cluster: FakeCluster, name: str) -> dict[str, Status]:
    """Return the verdicts of a node on all."""
    return {row.node: row.status for row in cluster[name].node_monitor.nodes()}


def states(node: Node) -> list[State]:
    """Return the states of all containers that a node knows of."""
    return [c.state for c in node.container_sup.cloud_containers()]


def _free_port(address: str) -> int:
    """Return a port that nobody has for UDP or TCP just now."""
    while True:
        with socket.socket(type=socket.SOCK_DGRAM) as probe, socket.socket() as other:
            probe.bind((address, 0))
            port: int = probe.getsockname()[1]
            with contextlib.suppress(OSError):
                other.bind((address, port))
                return port
