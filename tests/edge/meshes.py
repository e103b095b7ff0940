"""Started meshes on loopback addresses, for the tests of the mesh."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from collections.abc import Awaitable, Callable
from typing import TypeVar

from veo_shell.core.protocols import Mesh
from veo_shell.edge.cookie import derive_keys
from veo_shell.edge.zmq_guard import Keys
from veo_shell.edge.zmq_mesh import ZmqMesh

KEYS = Keys(*derive_keys("the cookie of the tests", "veo"))
UNO, DOS, TRES, CUATRO = "127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"
PATIENCE_S = 20.0

M = TypeVar("M", bound=Mesh)
Make = Callable[[str, int, int], Mesh]


def listener(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address, port), family=family)


def free_ports(
    addresses: tuple[str, ...] = (UNO, DOS, TRES, CUATRO),
) -> tuple[int, int]:
    """Return two ports that are free at every one of the addresses."""
    while True:
        ports: list[int] = []
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for _ in range(2):
                first = stack.enter_context(listener(addresses[0], 0))
                ports.append(first.getsockname()[1])
                for address in addresses[1:]:
                    stack.enter_context(listener(address, ports[-1]))
            return ports[0], ports[1]


async def until(condition: Callable[[], bool]) -> None:
    """Return as soon as the condition holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 (what others do sets no event)
            await asyncio.sleep(0.002)


async def echo(frame: bytes) -> bytes | None:
    return b"echo " + frame


class Party:
    """Started meshes at loopback addresses, all with the same two ports."""

    def __init__(self, make: Make) -> None:
        self.ports = free_ports()
        self.make = make
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Party:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def new(self, address: str) -> Mesh:
        return self.make(address, *self.ports)

    async def start(
        self,
        address: str,
        on_request: Callable[[bytes], Awaitable[bytes | None]] = echo,
    ) -> tuple[Mesh, list[bytes]]:
        return await self.started(self.new(address), on_request)

    async def started(
        self,
        mesh: M,
        on_request: Callable[[bytes], Awaitable[bytes | None]] = echo,
    ) -> tuple[M, list[bytes]]:
        """Start a mesh and return it with what it hears; it is stopped at the end."""
        heard = list[bytes]()
        self._stack.push_async_callback(mesh.stop)
        await mesh.start(heard.append, on_request)
        return mesh, heard

    async def pair(self) -> tuple[Mesh, list[bytes]]:
        """Return the mesh of dos, and what uno hears of it already."""
        uno, heard = await self.start(UNO)
        dos, _ = await self.start(DOS)
        uno.connect(DOS, *self.ports)
        await is_heard(dos, heard)
        return dos, heard


_numbers = itertools.count()


async def is_heard(speaker: Mesh, *hearers: list[bytes]) -> None:
    """Wait until the hearers' subscriptions have reached the speaker; forget all."""
    first, last = b"hello %d" % next(_numbers), b"hello %d" % next(_numbers)

    def arrives() -> bool:
        speaker.publish(first)
        return all(first in heard for heard in hearers)

    await until(arrives)
    speaker.publish(last)
    await until(lambda: all(heard[-1] == last for heard in hearers))
    for heard in hearers:
        heard.clear()


def new_zmq_mesh(address: str, mesh_port: int, pub_port: int) -> Mesh:
    return ZmqMesh(address, mesh_port, pub_port, KEYS)


async def ask(mesh: Mesh, party: Party, frame: bytes) -> bytes:
    """Ask dos."""
    return await mesh.request(DOS, party.ports[0], frame, PATIENCE_S)
