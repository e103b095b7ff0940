"""From nodes and their containers to the names and records of the zone.

Names and data are in wire form, names lower-case. What cannot be a name in DNS is None
here and is left out, as is all that has no IP address.
"""

from __future__ import annotations

import functools
import ipaddress
import itertools
import re
import struct
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping

import attrs

from veo_shell.core.dns_packet import AAAA, CNAME, SRV, TXT, A, suffixes, text
from veo_shell.core.model import Container, NodeDocument
from veo_shell.core.static_records import StaticRecords

_SRV_PRIORITY, _SRV_WEIGHT = 0, 100
_LABEL = re.compile(r"[a-z0-9_-]{1,63}")
_NOT_IN_LABEL = re.compile(r"[^a-z0-9_-]")

WHY = "_why"
LOCALHOST = frozenset({b"\x7f\0\0\x01", bytes(15) + b"\x01"})

RRsets = Mapping[bytes, Mapping[int, tuple[bytes, ...]]]


@attrs.frozen(kw_only=True)
class ServiceStatus:
    """How a service that should run stands: what the TXT record of its name says."""

    name: str
    variant: str
    revision: int
    wanted: int
    healthy: int

    @property
    def data(self) -> bytes:
        """Return it in the form of DNS-SD (RFC 6763, section 6)."""
        variant = [f"variant={self.variant}"] if self.variant else []
        counts = f"wanted={self.wanted}", f"healthy={self.healthy}"
        return text(*variant, f"revision={self.revision}", *counts)


@attrs.frozen(kw_only=True)
class Pointers:
    """What an address is called: names of nodes, and of what runs on their network."""

    hosts: tuple[bytes, ...]
    services: tuple[bytes, ...] = ()


@attrs.frozen(kw_only=True)
class _Endpoint:
    """Where one port of one container answers. `host`: the name of its node."""

    host: bytes | None
    address: bytes
    number: int


class Draft:
    """The records of a zone while they are gathered."""

    def __init__(
        self,
        apex: bytes,
        nodes: Iterable[NodeDocument],
        on_host: Collection[str] = (),
    ) -> None:
        """Begin with the nodes; `on_host`: the containers on their nodes' network."""
        self._apex = apex
        self._on_host = on_host
        self._named: dict[bytes, set[bytes]] = defaultdict(set)
        self.statuses: dict[bytes, tuple[bytes, ...]] = {}
        self._nodes_apex = child("node", apex)
        self._found: dict[bytes, dict[int, set[bytes]]] = {}
        self.ttls: dict[tuple[bytes, int], int] = {}
        self._hosts: dict[str, bytes | None] = {}
        self._addresses: dict[str, bytes] = {}
        self._add_nodes({node.node: _packed(node.address) for node in nodes})

    def servers(self, primary: str) -> tuple[bytes, ...]:
        """Return the names of all nodes, that of `primary` first."""
        first = self._hosts.get(primary) or child(_short(primary), self._nodes_apex)
        names = [first, *sorted(filter(None, self._hosts.values()))]
        return tuple(filter(None, dict.fromkeys(names)))

    def targets(self, node: str) -> frozenset[bytes]:
        """Return the address and the name of a node."""
        found = self._addresses.get(node), self._hosts.get(node)
        return frozenset(filter(None, found))

    def add_containers(self, containers: Iterable[Container]) -> None:
        """Add what the containers of the nodes given answer."""
        by_service = defaultdict(list)
        for container in containers:
            if container.node in self._hosts and _packed(container.address):
                # Services whose names differ in case only are one in DNS
                by_service[container.service.lower()].append(container)
        for service, instances in by_service.items():
            self._add_service(child(service, self._apex), instances)

    def add_services(self, services: Iterable[ServiceStatus]) -> None:
        """Add how services stand, under their names, whether anything runs or not.

        Below these are names that are answered as they are asked for: see `Zone`.
        """
        for service in services:
            if name := child(service.name, self._apex):
                self._add(name, TXT, service.data)
                self.statuses[name] = (*self.statuses.get(name, ()), service.data)
                if why := child(WHY, name):
                    self._found.setdefault(why, {})

    def pointers(self) -> Mapping[bytes, Pointers]:
        """Return what each address of a node is called, but for `localhost`."""
        hosts: dict[bytes, set[bytes]] = defaultdict(set)
        for node, address in self._addresses.items():
            if host := self._hosts[node]:
                hosts[address].add(host)
        return {
            address: Pointers(
                hosts=_in_order(names),
                services=_in_order(self._named.get(address, ())),
            )
            for address, names in hosts.items()
            if address not in LOCALHOST
        }

    def add_static(self, static: StaticRecords, ttl_s: int) -> None:
        """Add what an operator wrote; an alias only where there is nothing else.

        Where it shares a name and type with what comes and goes it may be kept no
        longer than that.
        """
        for name, by_type in static.rrsets.items():
            if CNAME in by_type and name in self._found:
                continue
            for rdtype, rdatas in by_type.items():
                is_shared = rdtype in self._found.get(name, {})
                own_s = static.ttls[name, rdtype]
                self.ttls[name, rdtype] = min(own_s, ttl_s) if is_shared else own_s
                for rdata in rdatas:
                    self._add(name, rdtype, rdata)

    def rrsets(self, authority: Mapping[int, tuple[bytes, ...]]) -> RRsets:
        """Return all records in the order they are answered, `authority` at the apex.

        Names that only have others below them are there too, without records.
        """
        found = {
            name: {t: _in_order(by_type[t]) for t in sorted(by_type)}
            for name, by_type in self._found.items()
        }
        found[self._apex] = {**found.get(self._apex, {}), **authority}
        return with_all_above(self._apex, found)

    def _add(self, name: bytes | None, rdtype: int, rdata: bytes) -> None:
        if name:
            self._found.setdefault(name, {}).setdefault(rdtype, set()).add(rdata)

    def _add_address(self, name: bytes | None, address: bytes) -> None:
        self._add(name, A if len(address) == 4 else AAAA, address)

    def _add_nodes(self, addresses: Mapping[str, bytes | None]) -> None:
        labels = _host_labels(addresses)
        for node, address in addresses.items():
            if address:
                self._addresses[node] = address
                self._hosts[node] = child(labels[node], self._nodes_apex)
                self._add_address(self._hosts[node], address)
                self._add_address(child(_short(node), self._nodes_apex), address)

    def _host_at(self, node: str, address: bytes) -> bytes | None:
        """Return the name of a node at an address, which may not be its own now.

        What was bound to another one before the node was started anew is there still.
        """
        host = self._hosts[node]
        if not host or address == self._addresses[node]:
            return host
        text = _NOT_IN_LABEL.sub("-", str(ipaddress.ip_address(address)))
        label = host[1 : 1 + host[0]].decode()
        name = child(f"{label}-{text}", self._nodes_apex)
        self._add_address(name, address)
        return name

    def _add_service(self, name: bytes | None, instances: list[Container]) -> None:
        for container in instances:
            self._add_address(name, _address(container))
            if name and container.name in self._on_host:
                self._named[_address(container)].add(name)
        for port, endpoints in self._endpoints(instances).items():
            self._add_port(port, name, endpoints)

    def _endpoints(
        self, instances: Iterable[Container]
    ) -> dict[str, dict[str, set[_Endpoint]]]:
        """Sort what is published by port name, then by transport protocol."""
        found: dict[str, dict[str, set[_Endpoint]]]
        found = defaultdict(lambda: defaultdict(set))
        for container in instances:
            address = _address(container)
            host = self._host_at(container.node, address)
            for port in container.ports:
                if port.host_port:
                    found[port.name.lower()][port.protocol.value].add(
                        _Endpoint(host=host, address=address, number=port.host_port)
                    )
        return found

    def _add_port(
        self,
        port: str,
        service_name: bytes | None,
        by_protocol: Mapping[str, set[_Endpoint]],
    ) -> None:
        everywhere = {e.address for found in by_protocol.values() for e in found}
        name = child(port, service_name)
        if service_name == self._nodes_apex:
            name = None  # a service called "node": its ports' names are the nodes'
        for address in everywhere:
            self._add_address(name, address)
        for protocol, found in by_protocol.items():
            srv_name = child(f"_{port}", child(f"_{protocol}", service_name))
            numbers = {e.number for e in found}
            # Port and address must belong together, whichever pair an asker takes
            alike = len(numbers) == 1 and {e.address for e in found} == everywhere
            for endpoint in found:
                target = (name if alike else None) or endpoint.host
                if target:
                    self._add(srv_name, SRV, _srv(endpoint.number, target))


def with_all_above(apex: bytes, rrsets: RRsets) -> RRsets:
    """Return these and, without records, the names that only have others below them."""
    found = {apex: rrsets[apex]}
    for name, by_type in rrsets.items():
        above = itertools.takewhile(lambda n: n not in found, suffixes(name))
        found.update({missing: {} for missing in above})
        found[name] = by_type
    return found


def child(label: str, parent: bytes | None) -> bytes | None:
    """Return a name one label longer, None if its lengths or letters are not DNS's."""
    label = label.lower()
    if not parent or not _LABEL.fullmatch(label) or len(parent) + len(label) > 254:
        return None
    return bytes((len(label),)) + label.encode() + parent


def _srv(number: int, target: bytes) -> bytes:
    return struct.pack(">HHH", _SRV_PRIORITY, _SRV_WEIGHT, number) + target


def _in_order(rdatas: Iterable[bytes]) -> tuple[bytes, ...]:
    """Return an RRset in an order that is the same on every node."""
    return tuple(sorted(rdatas))


def _short(node: str) -> str:
    return node.partition("@")[0].lower()


def _host_labels(nodes: Collection[str]) -> dict[str, str]:
    """Give each node a label of its own: its short name, longer where several share it.

    An SRV record must lead to one host: `uno@a` and `uno@b` are `uno-a` and `uno-b`.
    """
    count = Counter(map(_short, nodes))
    return {
        node: _short(node)
        if count[_short(node)] == 1
        else _NOT_IN_LABEL.sub("-", node.lower())
        for node in nodes
    }


@functools.lru_cache(maxsize=4096)
def _packed(address: str) -> bytes | None:
    try:
        return ipaddress.ip_address(address).packed
    except ValueError:
        return None


def _address(container: Container) -> bytes:
    address = _packed(container.address)
    assert address, "containers without an IP address are left out before"
    return address
