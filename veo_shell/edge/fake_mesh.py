"""A mesh in memory: the same contract as ZeroMQ's, and a network that can be cut.

Everything is delivered through the event loop, in order, and takes no time. A request
that nobody can answer any more fails at once instead of after its time-out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from veo_shell.core.model import Knock
from veo_shell.core.wire import MAX_FRAME_BYTES
from veo_shell.errors import PeerError, PeerUnreachable, StartError

logger = logging.getLogger(__name__)


class FakeNetwork:
    """What the fake meshes of a test are joined by."""

    def __init__(self) -> None:
        self._meshes: dict[tuple[str, int], FakeMesh] = {}
        self._hosts: set[str] = set()
        self._open: set[tuple[str, int]] = set()
        self._cuts: set[tuple[str, str]] = set()
        self._to_lose: list[bytes] = []
        self._mute: set[str] = set()
        self._hung: set[str] = set()

    def join(self, address: str, mesh_port: int, pub_port: int) -> FakeMesh:
        """Return a mesh for the node at this address; it is heard once started.

        The host at this address is there from now on, with or without a node.
        """
        self._hosts.add(address)
        return FakeMesh(self, address, mesh_port, pub_port)

    def cut(self, a: str, b: str, *, one_way: bool = False) -> None:
        """Let nothing through between two addresses; `one_way`: from a to b only."""
        self._cuts.add((a, b))
        if not one_way:
            self._cuts.add((b, a))

    def mend(self, a: str, b: str) -> None:
        """Undo every cut between two addresses."""
        self._cuts -= {(a, b), (b, a)}

    def lose_next(self, count: int, holding: bytes = b"") -> None:
        """Lose the next messages, each publication per hearer, request or reply.

        Those in which these bytes are; by default all.
        """
        self._to_lose += [holding] * count

    def mute(self, *addresses: str) -> None:
        """Lose what these publish from now on; requests are carried."""
        self._mute.update(addresses)

    def unmute(self, *addresses: str) -> None:
        """Undo `mute`."""
        self._mute.difference_update(addresses)

    def hang(self, address: str) -> None:
        """Have no request to this one answered from now on; it speaks all the same."""
        self._hung.add(address)

    def is_hung(self, address: str) -> bool:
        """Tell whether requests to this one are left unanswered."""
        return address in self._hung

    def open_port(self, address: str, port: int) -> None:
        """Have something that is no mesh listen there, as a container does."""
        self._hosts.add(address)
        self._open.add((address, port))

    def close_port(self, address: str, port: int) -> None:
        """Undo `open_port`: the host refuses."""
        self._open.discard((address, port))

    def bind(self, mesh: FakeMesh, *ports: int) -> None:
        """Give a mesh its ports, unless one is taken."""
        for port in ports:
            if (mesh.address, port) in self._meshes:
                raise StartError(
                    f"cannot listen on {mesh.address}:{port}: already in use"
                )
        self._meshes |= {(mesh.address, port): mesh for port in ports}

    def unbind(self, mesh: FakeMesh) -> None:
        """Free a mesh's ports."""
        self._meshes = {k: m for k, m in self._meshes.items() if m is not mesh}

    def hearers(self, address: str, pub_port: int) -> list[FakeMesh]:
        """Return the meshes that are connected to this one, first started first."""
        if address in self._mute:
            return []
        started = dict.fromkeys(self._meshes.values())
        return [mesh for mesh in started if mesh.hears(address, pub_port)]

    def at(self, address: str, mesh_port: int) -> FakeMesh | None:
        """Return the mesh that listens there."""
        mesh = self._meshes.get((address, mesh_port))
        return mesh if mesh is not None and mesh.mesh_port == mesh_port else None

    def knock(self, source: str, target: str, port: int) -> Knock:
        """Return what a TCP connection comes to; it needs both ways."""
        if target not in self._hosts or not self._cuts.isdisjoint(
            {(source, target), (target, source)}
        ):
            return Knock.SILENT
        is_open = (target, port) in self._open | self._meshes.keys()
        return Knock.OPEN if is_open else Knock.REFUSED

    def carries(self, source: str, target: str, frame: bytes) -> bool:
        """Tell whether the next message from source to target arrives."""
        if (source, target) in self._cuts:
            return False
        lost = next((part for part in self._to_lose if part in frame), None)
        if lost is not None:
            self._to_lose.remove(lost)
        return lost is None


class FakeMesh:
    """One node's end of a `FakeNetwork`."""

    def __init__(
        self, network: FakeNetwork, address: str, mesh_port: int, pub_port: int
    ) -> None:
        self.address = address
        self.mesh_port = mesh_port
        self.pub_port = pub_port
        self._network = network
        self._peers: set[tuple[str, int, int]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._tallies: dict[str, tuple[int, int]] = {}
        self._asked: dict[asyncio.Future[bytes | None], tuple[str, int]] = {}
        self._is_up = False

    async def start(
        self,
        on_publication: Callable[[bytes], None],
        on_request: Callable[[bytes], Awaitable[bytes | None]],
    ) -> None:
        """Take this node's ports and deliver what comes; raise `StartError`."""
        self._network.bind(self, self.mesh_port, self.pub_port)
        self._on_publication = on_publication
        self._on_request = on_request
        self._is_up = True

    def connect(self, address: str, mesh_port: int, pub_port: int) -> None:
        """Hear a peer's publications from now on."""
        self._peers.add((address, mesh_port, pub_port))

    def disconnect(self, address: str, mesh_port: int, pub_port: int) -> None:
        """Forget a peer."""
        self._peers.discard((address, mesh_port, pub_port))
        for reply, asked in self._asked.items():
            if asked == (address, mesh_port):
                _settle(reply, None)

    def hears(self, address: str, pub_port: int) -> bool:
        """Tell whether this node is connected to that one."""
        return any((peer, port) == (address, pub_port) for peer, _, port in self._peers)

    def publish(self, frame: bytes) -> None:
        """Send a frame to every node that hears this one."""
        _check_size(frame)
        loop = asyncio.get_running_loop()
        for mesh in self._network.hearers(self.address, self.pub_port):
            if self._network.carries(self.address, mesh.address, frame):
                loop.call_soon(mesh.deliver, frame)

    async def request(
        self, address: str, mesh_port: int, frame: bytes, timeout_s: float
    ) -> bytes:
        """Ask the node there and return its reply; raise `PeerUnreachable`."""
        _check_size(frame)
        where = f"{address}:{mesh_port}"
        await asyncio.sleep(0)
        peer = self._network.at(address, mesh_port)
        if peer is None or not self._network.carries(self.address, address, frame):
            raise PeerUnreachable(f"{where} could not be reached")
        reply = peer.receive(frame)
        self._asked[reply] = (address, mesh_port)
        try:
            async with asyncio.timeout(timeout_s):
                answer = await reply
        except TimeoutError as exc:
            raise PeerUnreachable(f"{where} did not answer in {timeout_s:g} s") from exc
        finally:
            del self._asked[reply]
        if answer is None or not self._network.carries(address, self.address, answer):
            raise PeerUnreachable(f"{where} did not answer")
        return answer

    def tallies(self) -> Mapping[str, tuple[int, int]]:
        """Return how many tries to connect were refused, and messages dropped."""
        return dict(self._tallies)

    def count(self, address: str = "", *, refused: int = 0, dropped: int = 0) -> None:
        """Add to the tallies of an address; without one it is not known whose."""
        tries, messages = self._tallies.get(address, (0, 0))
        self._tallies[address] = tries + refused, messages + dropped

    async def knock(self, address: str, port: int, timeout_s: float) -> Knock:
        """Connect to a TCP port and hang up; tell what came of it, at once."""
        await asyncio.sleep(0)
        return self._network.knock(self.address, address, port)

    async def stop(self) -> None:
        """Free the ports; nothing is delivered afterwards."""
        self._is_up = False
        self._network.unbind(self)
        self._peers.clear()
        for reply in self._asked:
            _settle(reply, None)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def deliver(self, frame: bytes) -> None:
        """Take in a publication."""
        if not self._is_up:
            return
        try:
            self._on_publication(frame)
        except PeerError:
            self.count(dropped=1)
        except Exception:
            logger.exception("a message could not be handled")

    def receive(self, frame: bytes) -> asyncio.Future[bytes | None]:
        """Take in a request; what comes of it goes on if the asker gives up."""
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[bytes | None] = loop.create_future()
        if self._network.is_hung(self.address):
            return reply
        task = loop.create_task(self._answer(frame, reply))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: _settle(reply, None))
        return reply

    async def _answer(self, frame: bytes, reply: asyncio.Future[bytes | None]) -> None:
        try:
            _settle(reply, await self._on_request(frame))
        except PeerError:
            self.count(dropped=1)
        except Exception:
            logger.exception("a request could not be answered")


def _settle(reply: asyncio.Future[bytes | None], answer: bytes | None) -> None:
    if not reply.done():
        reply.set_result(answer)


def _check_size(frame: bytes) -> None:
    if len(frame) > MAX_FRAME_BYTES:
        raise ValueError(f"a frame of {len(frame)} bytes: peers would hang up")
