"""The mesh over ZeroMQ: PUB and ROUTER bound here, a SUB and a DEALER to every peer."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

import zmq

from veo_shell.core.model import Knock
from veo_shell.core.wire import MAX_FRAME_BYTES
from veo_shell.edge import zmq_knock
from veo_shell.edge.zmq_guard import REFUSED, Gatekeeper, Inbound, Keys, Tally
from veo_shell.edge.zmq_link import Context, Line, Link, Socket, configure, endpoint
from veo_shell.edge.zmq_pump import Monitor, Pump
from veo_shell.edge.zmq_rounds import Rounds
from veo_shell.errors import PeerError, PeerUnreachable, StartError

logger = logging.getLogger(__name__)

MAX_SOCKETS = 16_384  # six for a peer: libzmq's own limit of 1,023 ends at 170 peers
MAX_REQUESTS = 256
MAX_REQUESTS_OF_ONE = 128  # so that no peer takes the others' places
REFUSED_DURING_CHANGE = f"{REFUSED}; while the cookie is changed, nodes try both"


class ZmqMesh:
    """One node's sockets. `refused` and `dropped` count what had no effect.

    `also` are the keys of further cookies, for while the cluster's is changed: first
    every node is given the new one besides its own, then the new one as its own and the
    old one besides, then the new one alone. A node takes only who shows its own keys;
    so it shows each peer, one after the other, all that it has. At each step any two
    nodes can talk.
    """

    def __init__(
        self,
        address: str,
        mesh_port: int,
        pub_port: int,
        keys: Keys,
        also: Sequence[Keys] = (),
    ) -> None:
        self._address = address
        self._mesh_port = mesh_port
        self._pub_port = pub_port
        self._keys = keys
        self._accepted = tuple(dict.fromkeys((keys, *also)))
        self._heard: dict[tuple[str, int], Link] = {}
        self._lines: dict[tuple[str, int], Line] = {}
        self._kept: set[tuple[str, int]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._asking: Counter[bytes] = Counter()
        self._bound = contextlib.ExitStack()
        self._refused_here = Tally(REFUSED_DURING_CHANGE if also else REFUSED)
        self._refused_there = Tally(REFUSED)
        self._dropped = Tally("a message that cannot be used was dropped")
        self._context: Context

    @property
    def refused(self) -> int:
        """Return how many handshakes failed, here and at the peers."""
        return self._refused_here.count + self._refused_there.count

    @property
    def dropped(self) -> int:
        """Return how many messages were dropped as malformed or as too many."""
        return self._dropped.count

    def tallies(self) -> Mapping[str, tuple[int, int]]:
        """Return by address how many handshakes failed and messages were dropped.

        Under "" are those of strangers, and of requests, which do not say whose.
        """
        refused = self._refused_here.by_source + self._refused_there.by_source
        dropped = self._dropped.by_source
        return {at: (refused[at], dropped[at]) for at in refused | dropped}

    async def start(
        self,
        on_publication: Callable[[bytes], None],
        on_request: Callable[[bytes], Awaitable[bytes | None]],
    ) -> None:
        """Bind this node's sockets and deliver what comes; raise `StartError`."""
        self._on_publication = on_publication
        self._on_request = on_request
        self._context = zmq.Context()
        self._bound.callback(self._context.term)
        self._context.max_sockets = MAX_SOCKETS
        self._rounds = Rounds()
        self._bound.callback(self._rounds.close)
        self._bound.callback(Gatekeeper(self._context, self._keys).close)
        self._router = Pump(self._socket(zmq.ROUTER), self._receive_request)
        self._bound.callback(self._router.close)
        self._pub = self._socket(zmq.PUB)
        self._bound.callback(self._pub.close, linger=0)
        try:
            self._listen(self._router.socket, self._mesh_port)
            self._listen(self._pub, self._pub_port)
        except StartError:
            self._bound.close()
            raise

    def connect(self, address: str, mesh_port: int, pub_port: int) -> None:
        """Hear a peer's publications from now on, and keep a line for requests.

        Of a peer that is connected already: hurry if it is out of reach just now.
        """
        if not _is_ip(address):
            logger.warning("cannot connect to %s: not an IP address", address)
            return
        try:
            self._keep_line(address, mesh_port)
            self._hear(address, pub_port)
        except zmq.ZMQError as exc:
            logger.error("cannot connect to %s: %s", address, exc.strerror)

    def disconnect(self, address: str, mesh_port: int, pub_port: int) -> None:
        """Forget a peer; what is queued for it is dropped."""
        link = self._heard.pop((address, pub_port), None)
        if link is not None:
            link.close()
        self._kept.discard((address, mesh_port))
        line = self._lines.pop((address, mesh_port), None)
        if line is not None:
            line.close("disconnected")

    def publish(self, frame: bytes) -> None:
        """Send a frame to every node that hears this one. Never blocks.

        A peer whose queue is full misses it.
        """
        _check_size(frame)
        self._pub.send(frame, zmq.DONTWAIT)

    async def request(
        self, address: str, mesh_port: int, frame: bytes, timeout_s: float
    ) -> bytes:
        """Ask the node there and return its reply; raise `PeerUnreachable`."""
        _check_size(frame)
        key = (address, mesh_port)
        if not _is_ip(address):  # libzmq would look a name up, and hold up all others
            raise PeerUnreachable(f"{address}: not an IP address")
        try:
            line = self._line(*key)
        except zmq.ZMQError as exc:
            raise PeerUnreachable(f"{address}:{mesh_port}: {exc.strerror}") from exc
        try:
            return await line.ask(frame, timeout_s)
        finally:
            if line.is_idle and key not in self._kept and self._lines.get(key) is line:
                del self._lines[key]
                line.close("done")

    async def knock(self, address: str, port: int, timeout_s: float) -> Knock:
        """Connect to a TCP port and hang up; tell what came of it."""
        return await zmq_knock.knock(address, port, timeout_s)

    async def stop(self) -> None:
        """Close the sockets; nothing is delivered afterwards."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for link in self._heard.values():
            link.close()
        for line in self._lines.values():
            line.close("this node stops")
        self._heard.clear()
        self._lines.clear()
        self._kept.clear()
        self._bound.close()

    def _socket(self, kind: int) -> Socket:
        socket = self._context.socket(kind)
        configure(socket, self._address)
        self._keys.guard(socket)
        if kind == zmq.ROUTER:
            socket.router_handover = True
            # Of each peer: frames may be a mebibyte, and more would be dropped anyway.
            socket.sndhwm = socket.rcvhwm = 2 * MAX_REQUESTS_OF_ONE
        return socket

    def _listen(self, socket: Socket, port: int) -> None:
        where = f"{self._address}:{port}"
        inbound = Inbound()

        def on_event(event: zmq.Event, value: int) -> None:
            if inbound.is_refusal(event, value):
                self._refused_here.add(f"a connection to {where}")

        self._bound.callback(Monitor(self._context, socket, on_event).close)
        try:
            socket.bind(endpoint(self._address, port))
        except zmq.ZMQError as exc:
            raise StartError(f"cannot listen on {where}: {_reason(exc)}") from exc

    def _hear(self, address: str, pub_port: int) -> None:
        key = (address, pub_port)
        if key in self._heard:
            self._heard[key].hurry()
            return
        self._heard[key] = Link(
            zmq.SUB,
            address,
            pub_port,
            context=self._context,
            keys=self._accepted,
            on_message=partial(self._receive_publication, address, pub_port),
            on_refusal=partial(self._note_refusal, address),
            rounds=self._rounds,
        )

    def _keep_line(self, address: str, mesh_port: int) -> None:
        self._line(address, mesh_port).hurry()
        self._kept.add((address, mesh_port))

    def _line(self, address: str, mesh_port: int) -> Line:
        key = (address, mesh_port)
        if key not in self._lines:
            self._lines[key] = Line(
                address,
                mesh_port,
                context=self._context,
                keys=self._accepted,
                on_refusal=partial(self._note_refusal, address),
            )
        return self._lines[key]

    def _note_refusal(self, address: str, where: str) -> None:
        self._refused_there.add(f"this node at {where}", address)

    def _receive_publication(
        self, address: str, pub_port: int, parts: list[bytes]
    ) -> None:
        where = f"published by {address}:{pub_port}"
        match parts:
            case [frame]:
                try:
                    self._on_publication(frame)
                except PeerError as exc:
                    self._dropped.add(f"{where}: {exc}", address)
            case _:
                self._dropped.add(where, address)

    def _receive_request(self, parts: list[bytes]) -> None:
        match parts:
            case [peer, number, frame] if self._has_room_for(peer):
                loop = asyncio.get_running_loop()
                task = loop.create_task(self._answer(peer, number, frame))
                self._tasks.add(task)
                self._asking[peer] += 1
                task.add_done_callback(partial(self._is_answered, peer))
            case [_, _, _]:
                self._dropped.add("requested, more than is answered at once")
            case _:
                self._dropped.add("requested")

    def _has_room_for(self, peer: bytes) -> bool:
        return (
            len(self._tasks) < MAX_REQUESTS and self._asking[peer] < MAX_REQUESTS_OF_ONE
        )

    def _is_answered(self, peer: bytes, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._asking[peer] -= 1
        if not self._asking[peer]:
            del self._asking[peer]

    async def _answer(self, peer: bytes, number: bytes, frame: bytes) -> None:
        try:
            reply = await self._on_request(frame)
            if reply is not None:
                _check_size(reply)
                self._router.send([peer, number, reply])
        except PeerError as exc:
            self._dropped.add(f"requested: {exc}")
        except Exception:
            logger.exception("a request could not be answered")


def _check_size(frame: bytes) -> None:
    if len(frame) > MAX_FRAME_BYTES:
        raise ValueError(f"a frame of {len(frame)} bytes: peers would hang up")


def _is_ip(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True


def _reason(exc: zmq.ZMQError) -> str:
    if exc.errno == errno.EADDRINUSE:
        return "already in use: stop what holds it, or choose another --mesh-port"
    if exc.errno in (errno.EADDRNOTAVAIL, errno.ENODEV):
        return "not an address of this host: choose another with --address"
    return exc.strerror or str(exc)
