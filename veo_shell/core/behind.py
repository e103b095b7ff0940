"""Which containers are behind what DNS answers."""

from __future__ import annotations

import contextlib
import ipaddress
from collections import defaultdict
from collections.abc import Iterable

from veo_shell.core.model import Container

Answered = tuple[str, int, str, str]
"""Name, TTL, type and data of a record, as in a zone file."""


class Behind:
    """Looks containers up by records, given all of both."""

    def __init__(
        self, zone: str, containers: Iterable[Container], records: Iterable[Answered]
    ) -> None:
        self._zone = zone
        self._at: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._on: dict[tuple[str, int], set[tuple[str, str]]] = defaultdict(set)
        self._addresses: dict[str, set[str]] = defaultdict(set)
        for container in containers:
            self._add(container)
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

    def _add(self, container: Container) -> None:
        for address in container.addresses:
            with contextlib.suppress(ValueError):  # nor has DNS a record of it
                self._add_at(ipaddress.ip_address(address), container)

    def _add_at(
        self, where: ipaddress.IPv4Address | ipaddress.IPv6Address, container: Container
    ) -> None:
        address, service = str(where), f"{container.service.lower()}.{self._zone}"
        self._at[service, address].add(container.name)
        if container.own_addresses:
            self._at[f"{where.reverse_pointer}.", service].add(container.name)
        for port in container.ports:
            if port.host_port:
                name = port.name.lower()
                self._at[f"{name}.{service}", address].add(container.name)
                srv = f"_{name}._{port.protocol.value}.{service}"
                self._on[srv, port.host_port].add((address, container.name))
