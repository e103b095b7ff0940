"""A client that follows DNS: it looks a service up anew for every page it fetches."""

from __future__ import annotations

import http.client
import random
import socket
import threading
from types import TracebackType
from typing import Self

import dns.message
import dns.rdatatype
import dns.rdtypes.IN.SRV

from tests.rig.rig import Rig
from tests.rig.watch import DNS_PORT, ask

PAGE_S = 5.0
EVERY_S = 0.02


class Visitor:
    """Fetches a service's pages from the first line of a `with` to the end of it.

    `failures` says what went wrong, with the address that DNS had given.
    """

    def __init__(self, rig: Rig, host: str, service: str, port: str) -> None:
        self._server = rig.address(host)
        self._name = f"_{port}._tcp.{service}.veo"
        self._chance = random.Random(0)  # noqa: S311
        self._ending = threading.Event()
        self._thread = rig.thread(host, self._visit)
        self.pages = 0
        self.failures: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ending.set()
        self._thread.join()

    def _visit(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
            line.settimeout(PAGE_S)
            line.connect((self._server, DNS_PORT))
            while not self._ending.wait(EVERY_S):
                self._fetch(line)

    def _fetch(self, line: socket.socket) -> None:
        target = "none in DNS"
        try:
            address, port = self._look_up(line)
            target = f"{address}:{port}"
            connection = http.client.HTTPConnection(address, port, timeout=PAGE_S)
            connection.request("GET", "/")
            page = connection.getresponse().read()
            connection.close()
        except (OSError, LookupError, http.client.HTTPException) as error:
            self.failures.append(f"{target}: {error!r}")
            return
        if b"Welcome to nginx!" in page:
            self.pages += 1
        else:
            self.failures.append(f"{target}: {page[:100]!r}")

    def _look_up(self, line: socket.socket) -> tuple[str, int]:
        """Return the address and port of one of the service's instances."""
        number = self._chance.randrange(0x10000)
        query = dns.message.make_query(self._name, "SRV", id=number)
        reply = dns.message.from_wire(ask(line, query.to_wire()) or query.to_wire())
        found = [rdata for rrset in reply.answer for rdata in rrset]
        srv = self._chance.choice(found)
        assert isinstance(srv, dns.rdtypes.IN.SRV.SRV)
        [address] = [
            rdata.to_text()
            for rrset in reply.additional
            if rrset.name == srv.target and rrset.rdtype == dns.rdatatype.A
            for rdata in rrset
        ]
        return address, srv.port
