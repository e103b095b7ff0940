"""A client that makes 100 requests a second of a service, and goes by its DNS."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import socket
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import attrs
import dns.message
import dns.rdatatype

from tests.rig.rig import enter_network

EVERY_S = 0.01
LIMIT_S = 2.0
PACKET_BYTES = 4096
REQUEST = b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n"
GOOD = b"HTTP/1.1 200 "
Endpoint = tuple[str, int]


@attrs.frozen(kw_only=True)
class Directory:
    """Whom to ask where a service is, and what; `port`: where the answer has none.

    `keeps`: an answer is used for as long as it says. Who keeps none asks before every
    request.
    """

    server: str
    name: str
    kind: str
    port: int = 0
    keeps: bool = True

    async def ask(self) -> tuple[list[Endpoint], float]:
        """Return where the service is, and for how many seconds that may be kept."""
        loop = asyncio.get_running_loop()
        query = dns.message.make_query(self.name, self.kind)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
            line.setblocking(False)
            await loop.sock_connect(line, (self.server, 53))
            await loop.sock_sendall(line, query.to_wire())
            reply = dns.message.from_wire(await loop.sock_recv(line, PACKET_BYTES))
        found = list(self._endpoints(reply))
        ttls = [rrset.ttl for rrset in reply.answer] if self.keeps else []
        return found, min(ttls, default=0)

    def _endpoints(self, reply: dns.message.Message) -> list[Endpoint]:
        addresses: dict[Any, list[str]] = {}
        for rrset in (*reply.answer, *reply.additional):
            if rrset.rdtype == dns.rdatatype.A:
                addresses[rrset.name] = [rdata.address for rdata in rrset]
        answer = [(rrset, rdata) for rrset in reply.answer for rdata in rrset]
        if self.kind == "A":
            return [(rdata.address, self.port) for _, rdata in answer]
        return [
            (at, rdata.port) for _, rdata in answer for at in addresses[rdata.target]
        ]


class Asker(contextlib.AbstractContextManager["Asker"]):
    """Makes requests from the first line of a `with` to its last, each by itself.

    `network` is the file of the network that it is in.
    """

    def __init__(self, network: Path, directory: Directory) -> None:
        self.made = 0
        self.failed: Counter[str] = Counter()
        self._network = network
        self._directory = directory
        self._known: list[Endpoint] = []
        self._known_until_s = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Asker:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        enter_network(self._network)
        asyncio.run(self._ask_on())

    async def _ask_on(self) -> None:
        begun_s = time.monotonic()
        async with asyncio.TaskGroup() as requests:
            for number in itertools.count(1):
                if self._ended.is_set():
                    return
                requests.create_task(self._ask())
                at_s = begun_s + number * EVERY_S
                await asyncio.sleep(max(0.0, at_s - time.monotonic()))

    async def _ask(self) -> None:
        self.made += 1
        try:
            async with asyncio.timeout(LIMIT_S):
                reply = await _get(await self._where())
            if not reply.startswith(GOOD):
                self.failed[repr(reply[:20])] += 1
        except (OSError, TimeoutError, LookupError) as error:
            self.failed[type(error).__name__] += 1

    async def _where(self) -> Endpoint:
        """Return one of the places where the service is, by chance."""
        if time.monotonic() >= self._known_until_s:
            asked_s = time.monotonic()
            self._known, ttl_s = await self._directory.ask()
            self._known_until_s = asked_s + ttl_s
        return random.choice(self._known)  # noqa: S311


async def _get(where: Endpoint) -> bytes:
    reader, writer = await asyncio.open_connection(*where)
    try:
        writer.write(REQUEST)
        return await reader.read()
    finally:
        writer.close()
