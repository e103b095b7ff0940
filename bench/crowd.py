"""One real node among 100: what it takes of a processor when all is quiet, and memory.

The 99 others are one process that speaks the mesh as they would: a real `ZmqMesh` each
on a loopback address of its own, with their heartbeats and documents, 10,000 containers
in all. They share one view, which follows what the real node says.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from typing import Any

import attrs
import psutil

from bench.population import (
    CLUSTER,
    CONTAINERS,
    MESH_PORT,
    SERVICES,
    address_of,
    documents,
    records,
)
from bench.report import line, say, spread
from scripts.ports import dns_port
from veo_shell.console.client import Client
from veo_shell.core.model import Health, NodeDocument
from veo_shell.core.view import Merged, View
from veo_shell.core.wire import (
    Ack,
    Delta,
    Difference,
    Farewell,
    Forget,
    Heartbeat,
    Join,
    Keep,
    Me,
    Message,
    Pull,
    Welcome,
    Who,
    decode,
    encode,
)
from veo_shell.edge.cookie import derive_keys
from veo_shell.edge.zmq_guard import Keys
from veo_shell.edge.zmq_mesh import ZmqMesh
from veo_shell.errors import NodeUnreachable, PeerError

PUBLISHERS = 99
NAME, ADDRESS = "uno@uno", "127.0.0.1"
COOKIE = "a cookie for figures, long enough"
HEARTBEAT_S = 0.5
REQUEST_S = 2.0
UP_S = 120.0
SETTLE_S = 20.0
QUIET_S = 15.0


def bench(rounds: int) -> None:
    """Measure and print."""
    asyncio.run(_bench(rounds))


async def _bench(rounds: int) -> None:
    async with crowd() as others:
        with node() as (process, client):
            begun_s = time.monotonic()
            await until_known(process, client)
            joined_s = time.monotonic() - begun_s
            await asyncio.sleep(SETTLE_S)
            quiet = [await watch(process, others) for _ in range(rounds)]
    shares = [100 * each.share for each in quiet]
    spread("a node among 100, all quiet: CPU", shares, "% of a core", aim="≤ 3 %")
    resident = [each.resident_mb for each in quiet]
    spread("  resident memory", resident, "MB", aim="≤ 150 MB")
    spread("  heartbeats that it is sent", [q.beats_per_s for q in quiet], "/s")
    spread("  differences that it asked for", [q.pulls for q in quiet], "")
    say(
        line(
            "  from its start until it knew all and saw all alive", f"{joined_s:.1f} s"
        )
    )


@attrs.frozen(kw_only=True)
class Quiet:
    """What the node took for a time in which nothing happened, and what it was sent."""

    share: float
    resident_mb: float
    beats_per_s: float
    pulls: int


async def watch(process: psutil.Process, others: Crowd) -> Quiet:
    """Let time pass; return what the node took meanwhile."""
    heard, asked = others.heartbeats, others.pulls
    cpu_s, begun_s = spent_s(process), time.monotonic()
    await asyncio.sleep(QUIET_S)
    took_s = time.monotonic() - begun_s
    return Quiet(
        share=(spent_s(process) - cpu_s) / took_s,
        resident_mb=process.memory_info().rss / 1e6,
        beats_per_s=(others.heartbeats - heard) / took_s,
        pulls=others.pulls - asked,
    )


def spent_s(process: psutil.Process) -> float:
    """Return the seconds of processor time that a process has taken."""
    times = process.cpu_times()
    return times.user + times.system


async def until_known(process: psutil.Process, client: Client) -> None:
    """Wait until the node sees every other alive, and all that they run."""
    end_s = time.monotonic() + UP_S
    while not await asyncio.to_thread(knows_all, client):
        assert process.status() != psutil.STATUS_ZOMBIE, "it has ended"
        assert time.monotonic() < end_s, "it does not see them all"
        await asyncio.sleep(0.2)


def knows_all(client: Client) -> bool:
    """Tell whether the node sees every other alive, and all that they run."""
    try:
        infos = client.call("node_monitor.nodes")
    except NodeUnreachable:
        return False
    living = [info for info in infos if info.status.value == "alive"]
    held = sum(info.containers for info in infos)
    return len(living) == PUBLISHERS + 1 and held == CONTAINERS


@contextlib.contextmanager
def node(port: int = 0) -> Iterator[tuple[psutil.Process, Client]]:
    """Have the real node, whose DNS is at this port of `ADDRESS`."""
    port = port or dns_port([ADDRESS])
    with tempfile.TemporaryDirectory(prefix="veo-bench-") as name:
        folder = Path(name)
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "veo_shell", "start", "--name", NAME),
                    *("--address", ADDRESS, "--cluster", CLUSTER),
                    *("--dns-port", str(port)),
                    *("--data-dir", f"{name}/data", "--run-dir", f"{name}/run"),
                    *("--join", f"{address_of(1)}:{MESH_PORT}"),
                ],
                env={**os.environ, "COOKIE": COOKIE},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        client = Client(folder / "run")
        try:
            yield psutil.Process(process.pid), client
        except BaseException:
            say((folder / "log").read_text(errors="replace")[-2000:])
            raise
        finally:
            client.close()
            process.terminate()
            process.wait()


class Crowd:
    """The others. `heartbeats` were published, `pulls` asked of them.

    `heard_s`: when the real node's heartbeats came.
    """

    def __init__(self, services: int = SERVICES) -> None:
        self.view = View()
        self.heartbeats = 0
        self.pulls = 0
        self.heard_s: list[float] = []
        self._documents = documents(PUBLISHERS, services)
        for record in records(PUBLISHERS, NAME, services=services):
            self.view.merge_record(record)
        for document in self._documents:
            self.view.merge_document(document)
        self._tasks: set[asyncio.Task[None]] = set()
        keys = Keys(*derive_keys(COOKIE, CLUSTER))
        self._meshes = {
            document.node: ZmqMesh(
                document.address, document.mesh_port, document.pub_port, keys
            )
            for document in self._documents
        }

    async def start(self) -> None:
        """Bind all sockets and begin to beat."""
        for document in self._documents:
            mesh = self._meshes[document.node]
            me = Member(self, document)
            await mesh.start(self._hear, me.answer)
            self._spawn(self._beat(mesh, document))

    async def stop(self) -> None:
        """Close all sockets."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for mesh in self._meshes.values():
            await mesh.stop()

    def meet(self, newcomer: NodeDocument) -> None:
        """Take in the real node: one of the others listens to it for all."""
        first = self._documents[0].node
        self.view.merge_document(newcomer)
        self._meshes[first].connect(
            newcomer.address, newcomer.mesh_port, newcomer.pub_port
        )

    def change(self, number: int) -> None:
        """Have a container become unhealthy, or healthy again: one of any node's."""
        first = self._documents[number % PUBLISHERS]
        document = self.view.document(first.node)
        held = document.containers[number // PUBLISHERS % len(document.containers)]
        was_well = held.health is not Health.UNHEALTHY
        now = attrs.evolve(
            held, health=Health.UNHEALTHY if was_well else Health.HEALTHY
        )
        delta = Delta(
            node=document.node,
            boot_id=document.boot_id,
            incarnation=document.incarnation,
            base_version=document.version,
            version=document.version + 1,
            containers=(now,),
        )
        self.view.merge_delta(delta)
        self._meshes[document.node].publish(encode(delta))

    async def _beat(self, mesh: ZmqMesh, document: NodeDocument) -> None:
        while True:
            spread = random.uniform(0.9, 1.1)  # noqa: S311
            await asyncio.sleep(HEARTBEAT_S * spread)
            heartbeat = Heartbeat(
                node=document.node,
                boot_id=document.boot_id,
                incarnation=document.incarnation,
                version=self._version_of(document.node),
                digest=self.view.digest,
                lag_s=0.0,
                silences={},
            )
            mesh.publish(encode(heartbeat))
            self.heartbeats += 1

    def _version_of(self, node: str) -> int:
        head = self.view.head(node)
        assert head is not None
        return head.version

    def _hear(self, frame: bytes) -> None:
        message = decode(frame)
        if isinstance(message, Heartbeat):
            self.heard_s.append(time.monotonic())
        if isinstance(message, Delta):
            if self.view.merge_delta(message) is Merged.GAP:
                self._spawn(self._pull(message.node))
            for record in message.records:
                self.view.merge_record(record)
        elif isinstance(message, Forget):
            for uid in message.uids:
                self.view.forget(uid)

    async def _pull(self, peer: str) -> None:
        head = self.view.head(peer)
        if head is None:
            return
        frame = encode(self.view.pull(head.protocol))
        mesh = self._meshes[self._documents[0].node]
        with contextlib.suppress(PeerError):
            answer = decode(
                await mesh.request(head.address, head.mesh_port, frame, REQUEST_S)
            )
            assert isinstance(answer, Difference)
            for document in answer.documents:
                self.view.merge_document(document)
            for record in answer.records:
                self.view.merge_record(record)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class Member:
    """What one of the others answers."""

    def __init__(self, crowd: Crowd, document: NodeDocument) -> None:
        self._crowd = crowd
        self._document = document

    async def answer(self, frame: bytes) -> bytes | None:
        """Return the answer to a request."""
        return encode(self._reply(decode(frame)))

    def _reply(self, message: Message) -> Message:
        view = self._crowd.view
        if isinstance(message, Join):
            self._crowd.meet(message.document)
            return Welcome(members=tuple(view.nodes))
        if isinstance(message, Pull):
            self._crowd.pulls += 1
            return view.difference(message)
        if isinstance(message, Keep):
            for record in message.records:
                view.merge_record(record)
            return Ack()
        if isinstance(message, Who):
            return Me(node=self._document.node, boot_id=self._document.boot_id)
        if isinstance(message, Farewell):
            return Ack()
        raise PeerError(f"a {type(message).__name__} is not answered here")


@contextlib.asynccontextmanager
async def crowd(services: int = SERVICES) -> AsyncIterator[Crowd]:
    """Have the others, which run so many services."""
    others = Crowd(services)
    await others.start()
    try:
        yield others
    finally:
        await others.stop()
