"""A DNS server that says what a test wants it to, over UDP and TCP."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

Say = Callable[[dns.message.Message, bool], list[bytes] | None]


class Upstream(asyncio.DatagramProtocol):
    """Says to each query what `say` returns; `asked` are all queries, in order.

    `say` gets the query and whether it came by UDP; None or nothing is silence.
    `held`: nothing is said before `go_on`.
    """

    def __init__(self, say: Say, *, held: bool = False) -> None:
        self.say = say
        self.asked: list[dns.message.Message] = []
        self.ports: list[int] = []
        self.by_tcp = 0
        self._open = asyncio.Event()
        self._arrived = asyncio.Event()
        if not held:
            self._open.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.place = ("", 0)

    def go_on(self) -> None:
        self._open.set()

    async def heard(self, count: int) -> None:
        """Wait until so many queries have come."""
        async with asyncio.timeout(15):
            while len(self.asked) < count:
                self._arrived.clear()
                await self._arrived.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.ports.append(addr[1])
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._answer(data, addr))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, data: bytes, addr: tuple[str, int]) -> None:
        for packet in await self._said(data, udp=True):
            self._transport.sendto(packet, addr)

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                size = int.from_bytes(await reader.readexactly(2))
                self.by_tcp += 1
                for packet in await self._said(await reader.readexactly(size), False):
                    writer.write(len(packet).to_bytes(2) + packet)
        writer.close()

    async def _said(self, data: bytes, udp: bool) -> list[bytes]:
        query = dns.message.from_wire(data)
        self.asked.append(query)
        self._arrived.set()
        await self._open.wait()
        return self.say(query, udp) or []


@contextlib.asynccontextmanager
async def upstream(say: Say, *, held: bool = False) -> AsyncIterator[Upstream]:
    """Have one that answers at its `place`."""
    loop = asyncio.get_running_loop()
    one = Upstream(say, held=held)
    server = await asyncio.start_server(one.serve, "127.0.0.1", 0)
    one.place = server.sockets[0].getsockname()
    transport, _ = await loop.create_datagram_endpoint(lambda: one, one.place)
    try:
        yield one
    finally:
        one.go_on()
        transport.close()
        server.close()


def answer(
    query: dns.message.Message,
    *records: str,
    rcode: dns.rcode.Rcode = dns.rcode.NOERROR,
    authority: str = "",
    flags: int = 0,
) -> dns.message.Message:
    """Return a response with these records, `TTL TYPE DATA`, of the name asked for."""
    message = dns.message.make_response(query, recursion_available=True)
    message.set_rcode(rcode)
    message.flags |= flags
    name = query.question[0].name
    for record in records:
        ttl, kind, data = record.split(" ", 2)
        made = dns.rrset.from_text(name, int(ttl), "IN", kind, data)
        rrset = message.find_rrset(
            message.answer, name, made.rdclass, made.rdtype, create=True
        )
        rrset.add(made[0], int(ttl))
    if authority:
        owner, ttl, kind, data = authority.split(" ", 3)
        message.authority.append(dns.rrset.from_text(owner, int(ttl), "IN", kind, data))
    return message


def address(data: str = "192.0.2.80", ttl: int = 60) -> Say:
    """Say that every name has this address."""
    return lambda query, udp: [answer(query, f"{ttl} A {data}").to_wire()]


def code(rcode: dns.rcode.Rcode) -> Say:
    """Say no more than a code."""
    return lambda query, udp: [answer(query, rcode=rcode).to_wire()]


def silence(query: dns.message.Message, udp: bool) -> None:
    return None


def closed_port() -> tuple[str, int]:
    """Return where nobody answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        place: tuple[str, int] = udp.getsockname()
        return place
