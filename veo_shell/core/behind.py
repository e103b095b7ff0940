"""What DNS answers, with the containers that are behind it."""

from __future__ import annotations

import functools
import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from veo_shell.core.model import Container, DnsRecord
from veo_shell.core.pieces import PIECE
from veo_shell.core.zone import Zone
from veo_shell.core.zone_records import Standing

Answered = tuple[str, int, str, str]
"""Name, TTL, type and data of a record, as in a zone file."""


def all_records(
    own: Zone, others: Sequence[Zone], standings: Mapping[str, Standing]
) -> Iterator[list[DnsRecord]]:
    """Yield all records of these zones, each time so few; some pieces are empty.

    `own` is the one that was made of `standings`. Nothing of these may change before
    the end: see `Zone.apart`.
    """
    behind = Behind(own.name)
    containers = (c for standing in standings.values() for c in standing.containers)
    for number, container in enumerate(containers, 1):
        behind.add(container)
        if number % PIECE == 0:
            yield []
    found: list[list[Answered]] = []
    waiting: list[Answered] = []
    for zone in (own, *others):
        for piece in zone.pieces():
            behind.note(piece)
            waiting += piece
            if piece and len(waiting) < PIECE:
                continue  # many zones are of one name
            found.append(waiting[:PIECE])
            waiting = waiting[PIECE:]
            yield []
    for piece in (*found, waiting):
        yield told(piece, behind)


def told(records: Iterable[Answered], behind: Behind) -> list[DnsRecord]:
    """Return records with the containers that they lead to."""
    return [
        DnsRecord(
            name=name,
            ttl_s=ttl_s,
            type=kind,
            data=data,
            containers=behind.containers(name, kind, data),
        )
        for name, ttl_s, kind, data in records
    ]


class Behind:
    """Looks containers up by records, given all of both."""

    def __init__(
        self,
        zone: str,
        containers: Iterable[Container] = (),
        records: Iterable[Answered] = (),
    ) -> None:
        self._zone = zone
        self._at: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._on: dict[tuple[str, int], set[tuple[str, str]]] = defaultdict(set)
        self._addresses: dict[str, set[str]] = defaultdict(set)
        for container in containers:
            self.add(container)
        self.note(records)

    def note(self, records: Iterable[Answered]) -> None:
        """Take in what addresses names have."""
        for name, _, kind, data in records:
            if kind in ("A", "AAAA"):
                self._addresses[name].add(data)

    def containers(self, name: str, kind: str, data: str) -> tuple[str, ...]:
        """Return the names of containers that a record leads to, in order."""
        if kind != "SRV":
            return tuple(sorted(self._at.get((name, data), ())))
        _, _, port, target = data.split()
        found = self._on.get((name, int(port)), set())
        where = self._addresses[target]
        return tuple(sorted({name for address, name in found if address in where}))

    def add(self, container: Container) -> None:
        """Take in a container; DNS has no record of an address that is none."""
        for address in container.addresses:
            if where := _shown(address):
                self._add_at(where, container)

    def _add_at(self, address: str, container: Container) -> None:
        service = f"{container.service.lower()}.{self._zone}"
        self._at[service, address].add(container.name)
        if container.own_addresses:
            reverse = ipaddress.ip_address(address).reverse_pointer
            self._at[f"{reverse}.", service].add(container.name)
        for port in container.ports:
            if port.host_port:
                name = port.name.lower()
                self._at[f"{name}.{service}", address].add(container.name)
                srv = f"_{name}._{port.protocol.value}.{service}"
                self._on[srv, port.host_port].add((address, container.name))


@functools.lru_cache(maxsize=4096)
def _shown(address: str) -> str:
    """Return an address as a record has it, "" for what is none."""
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return ""
