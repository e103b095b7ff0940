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
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple
from zlib import crc32

import attrs

from veo_shell.core.dns_packet import AAAA, SRV, TXT, A, suffixes, text
from veo_shell.core.model import Container
from veo_shell.core.static_records import StaticRecords

_SRV_PRIORITY, _SRV_WEIGHT = 0, 100
_LABEL = re.compile(r"[a-z0-9_-]{1,63}")
_NOT_IN_LABEL = re.compile(r"[^a-z0-9_-]")

WHY = "_why"
LOCALHOST = frozenset({b"\x7f\0\0\x01", bytes(15) + b"\x01"})

Place = tuple[tuple[bytes, ...], bytes | None]
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


class _Endpoint(NamedTuple):
    """Where one port of one container answers. `host`: the name of its node there.

    `is_named`: that name is among the nodes' own.
    """

    host: bytes | None
    is_named: bool
    address: bytes
    number: int


@attrs.frozen(kw_only=True)
class Standing:
    """All that a service's names tell: what is answered of it, and how it stands.

    Of every service of a name, in whatever case: in DNS they are one. `on_host` are the
    names of the containers on their nodes' network.
    """

    containers: tuple[Container, ...] = ()
    statuses: tuple[ServiceStatus, ...] = ()
    on_host: frozenset[str] = frozenset()


@attrs.define(eq=False)
class Part:
    """The records that one thing has in the zone: the nodes, a service, a file.

    `statuses`: as in `Zone`. `named`: what addresses are called because of it. `at`:
    what leads to addresses that containers on a node have of their own.
    """

    found: dict[bytes, dict[int, set[bytes]]] = attrs.field(factory=dict)
    statuses: dict[bytes, tuple[bytes, ...]] = attrs.field(factory=dict)
    named: dict[bytes, set[bytes]] = attrs.field(factory=dict)
    at: dict[str, set[bytes]] = attrs.field(factory=dict)

    def add(self, name: bytes | None, rdtype: int, rdata: bytes) -> None:
        """Add a record, unless its name is none in DNS."""
        if name:
            self.found.setdefault(name, {}).setdefault(rdtype, set()).add(rdata)

    def add_address(self, name: bytes | None, address: bytes) -> None:
        """Add an address, of whichever kind it is."""
        self.add(name, A if len(address) == 4 else AAAA, address)


class Hosts:
    """The nodes: their names and addresses, by which their services are reached."""

    def __init__(self, apex: bytes, nodes: Mapping[str, tuple[str, ...]]) -> None:
        """Name the nodes, which are given with their addresses."""
        self.apex = child("node", apex)
        self.part = Part()
        self._names: dict[str, bytes | None] = {}
        self._addresses: dict[str, tuple[bytes, ...]] = {}
        labels = _host_labels(nodes)
        for node, addresses in nodes.items():
            if found := tuple(filter(None, map(_packed, addresses))):
                self._addresses[node] = found
                self._names[node] = child(labels[node], self.apex)
            for packed in found:
                self.part.add_address(self._names[node], packed)
                self.part.add_address(child(_short(node), self.apex), packed)

    def servers(self, primary: str) -> tuple[bytes, ...]:
        """Return the names of all nodes, that of `primary` first."""
        first = self._names.get(primary) or child(_short(primary), self.apex)
        names = [first, *sorted(filter(None, self._names.values()))]
        return tuple(filter(None, dict.fromkeys(names)))

    def targets(self, node: str) -> frozenset[bytes]:
        """Return the addresses and the name of a node."""
        addresses, name = self.place(node)
        return frozenset(filter(None, (*addresses, name)))

    def place(self, node: str) -> Place:
        """Return the addresses and the name of a node, () and None if it has none."""
        return self._addresses.get(node, ()), self._names.get(node)

    def name_at(self, node: str, address: bytes) -> bytes | None:
        """Return a name of a node that leads to one address, which may not be its own.

        A container may have it alone; and what was bound to another one before the node
        was started anew is there still: that name is a service's matter.
        """
        _, host = self.place(node)
        if not host:
            return None
        at = _NOT_IN_LABEL.sub("-", str(ipaddress.ip_address(address)))
        return child(f"{host[1 : 1 + host[0]].decode()}-{at}", self.apex)

    def pointers(self, named: Mapping[bytes, set[bytes]]) -> dict[bytes, Pointers]:
        """Return what each address is called, but for `localhost`.

        Those of nodes by their names; `named`: what one is called besides, or alone.
        """
        hosts: dict[bytes, set[bytes]] = defaultdict(set)
        for node, addresses in self._addresses.items():
            if host := self._names[node]:
                for address in addresses:
                    hosts[address].add(host)
        return {
            address: Pointers(
                hosts=in_order(hosts.get(address, ())),
                services=in_order(named.get(address, ())),
            )
            for address in {**hosts, **named}
            if address not in LOCALHOST
        }


def service_part(apex: bytes, service: str, standing: Standing, hosts: Hosts) -> Part:
    """Return the records of the services of a name.

    What runs on a node that is not known, or has no IP address, is left out.
    """
    part, name = Part(), child(service, apex)
    for status in standing.statuses:
        _add_status(part, name, status)
    by_port: dict[str, dict[str, set[_Endpoint]]] = {}
    for container in standing.containers:
        is_host = container.name in standing.on_host
        for address, host in _reached(container, hosts):
            part.add_address(name, address)
            if host not in hosts.part.found:
                part.at.setdefault(container.node, set()).update((address, host or b""))
            if name and (container.own_addresses or is_host):
                part.named.setdefault(address, set()).add(name)
            for port in container.ports:
                if port.host_port:
                    by_protocol = by_port.setdefault(port.name.lower(), {})
                    by_protocol.setdefault(port.protocol.value, set()).add(
                        _Endpoint(
                            host=host,
                            is_named=host in hosts.part.found,
                            address=address,
                            number=port.host_port,
                        )
                    )
    for port_name, by_protocol in by_port.items():
        # A service called "node": its ports' names are the nodes'
        at = None if name == hosts.apex else child(port_name, name)
        _add_port(part, at, name, port_name, by_protocol)
    return part


def _reached(
    container: Container, hosts: Hosts
) -> Iterator[tuple[bytes, bytes | None]]:
    """Yield where a container is reached, with the name of its node there.

    That leads to all addresses of the node: where it is at others, or not at all of
    these, each has one of its own.
    """
    there, host = hosts.place(container.node)
    found = tuple(filter(None, map(_packed, container.addresses))) if there else ()
    is_whole = {*found} == {*there}
    for address in found:
        yield address, host if is_whole else hosts.name_at(container.node, address)


def _add_status(part: Part, name: bytes | None, status: ServiceStatus) -> None:
    """Have a service say how it stands, whether anything of it runs or not.

    Below its name is one that is answered as it is asked for: see `Zone`.
    """
    if name is None:
        return
    part.add(name, TXT, status.data)
    part.statuses[name] = (*part.statuses.get(name, ()), status.data)
    if why := child(WHY, name):
        part.found.setdefault(why, {})


def _add_port(
    part: Part,
    name: bytes | None,
    service_name: bytes | None,
    port: str,
    by_protocol: Mapping[str, set[_Endpoint]],
) -> None:
    everywhere = {e.address for found in by_protocol.values() for e in found}
    for address in everywhere:
        part.add_address(name, address)
    for protocol, found in by_protocol.items():
        srv_name = child(f"_{port}", child(f"_{protocol}", service_name))
        numbers = {e.number for e in found}
        # Port and address must belong together, whichever pair an asker takes
        alike = len(numbers) == 1 and {e.address for e in found} == everywhere
        for endpoint in found:
            target = (name if alike else None) or endpoint.host
            if target == endpoint.host and not endpoint.is_named:
                part.add_address(target, endpoint.address)
            if target:
                part.add(srv_name, SRV, _srv(endpoint.number, target))


def static_part(static: StaticRecords) -> Part:
    """Return the records that an operator wrote."""
    return Part(
        found={
            name: {rdtype: set(rdatas) for rdtype, rdatas in by_type.items()}
            for name, by_type in static.rrsets.items()
        }
    )


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


def in_order(rdatas: Iterable[bytes]) -> tuple[bytes, ...]:
    """Return an RRset in an order that is the same on every node."""
    return tuple(sorted(rdatas))


def _short(node: str) -> str:
    return node.partition("@")[0].lower()


def _host_labels(nodes: Collection[str]) -> dict[str, str]:
    """Give each node a label of its own: its short name, longer where several share it.

    An SRV record must lead to one host: `uno@a` and `uno@b` are `uno-a` and `uno-b`.
    Where that is another one's too, as with `uno-a@c`, a checksum tells them apart.
    """
    count = Counter(map(_short, nodes))
    labels = {
        node: _short(node)
        if count[_short(node)] == 1
        else _NOT_IN_LABEL.sub("-", node.lower())
        for node in nodes
    }
    taken = Counter(n for node in nodes for n in {labels[node], _short(node)})
    return {
        node: label if taken[label] == 1 else f"{label}-{crc32(node.encode()):08x}"
        for node, label in labels.items()
    }


@functools.lru_cache(maxsize=4096)
def _packed(address: str) -> bytes | None:
    try:
        return ipaddress.ip_address(address).packed
    except ValueError:
        return None
