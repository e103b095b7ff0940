"""From a view, or from what an operator wrote, to zones."""

from __future__ import annotations

import functools
import ipaddress
import struct
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping

import attrs
import dns.name

from veo_shell.core.dns_config import DnsConfig
from veo_shell.core.dns_packet import CNAME, NS, PTR, SOA, SRV, suffixes
from veo_shell.core.model import Container, NodeDocument
from veo_shell.core.static_records import StaticRecords
from veo_shell.core.zone import Live, RRsetKey, Zone
from veo_shell.core.zone_records import (
    Hosts,
    Part,
    Place,
    Pointers,
    ServiceStatus,
    Standing,
    child,
    in_order,
    service_part,
    static_part,
    with_all_above,
)

# Refresh, retry, expire: a secondary soon forgets what it cannot ask for any more.
_SOA_TIMERS_S = (5, 5, 60)


Key = tuple[str, str]
_NODES: Key = ("nodes", "")
_STATIC: Key = ("static", "")


class ZoneMaker:
    """Keeps a zone as its nodes and services are; only what changed is made anew.

    Its parts are the nodes, the services of each name, and what an operator wrote; a
    name may be in several of them.
    """

    def __init__(
        self, config: DnsConfig, primary: str, live: Live | None = None
    ) -> None:
        """Begin with nothing but what an operator wrote.

        `primary` is the node that answers: the SOA and the first NS name it, unless
        `config` names others.
        """
        self._config = config
        self._primary = primary
        self._apex = _wire(config.zone)
        self._depth = len(list(suffixes(self._apex)))
        self._parts: dict[Key, Part] = {}
        self._places: dict[str, tuple[Place, ...]] = {}
        self._standings: dict[str, Standing] = {}
        self._holders: dict[bytes, set[Key]] = {}
        self._below: Counter[bytes] = Counter()
        self._nodes: dict[str, tuple[str, ...]] = {}
        self._hosts = Hosts(self._apex, {})
        self._rrsets: dict[bytes, Mapping[int, tuple[bytes, ...]]] = {}
        self._ttls: dict[tuple[bytes, int], int] = {}
        self._statuses: dict[bytes, tuple[bytes, ...]] = {}
        self._named: dict[Key, Mapping[bytes, set[bytes]]] = {}
        self._called: Mapping[bytes, Pointers] | None = None
        self._at: dict[Key, Mapping[str, set[bytes]]] = {}
        self._stale = ""
        self._at_apex: Mapping[int, tuple[bytes, ...]] = {}
        self._touched: set[RRsetKey] = set()
        self._keeps_answers = False
        static = static_part(config.records)
        # What they lead to may change, and what comes along with them then
        self._leading = {(n, SRV) for n, found in static.found.items() if SRV in found}
        self.changed: set[bytes] = set()
        """The names whose records the next zone has otherwise than the last."""
        self._zone = Zone(
            apex=self._apex,
            ttl_s=config.ttl_s,
            serial=0,
            rrsets=self._rrsets,
            ttls=self._ttls,
            statuses=self._statuses,
            live=live,
        )
        self._replace(_STATIC, static)

    def take(
        self,
        nodes: Mapping[str, tuple[str, ...]],
        services: Mapping[str, Standing],
        stale: str = "",
    ) -> bool:
        """Take what is so now; tell whether answers change by that.

        `nodes` are all that count, with their addresses. `services`, by their names in
        lower case, are those that may have changed. What cannot be a name in DNS is
        left out, as is what has no IP address. `stale`: see `Zone`. Where answers
        change, the zone made before is none any more.
        """
        if nodes != self._nodes:
            self._nodes, self._hosts = dict(nodes), Hosts(self._apex, nodes)
            self._replace(_NODES, self._hosts.part)
            self._keeps_answers = False
            services = {**self._standings, **services}
        if stale != self._stale:
            self._stale, self._keeps_answers = stale, False
        for service, standing in services.items():
            self._take_service(service, standing)
        is_as_before = (stale, self._pointers()) == (
            self._zone.stale,
            self._zone.pointers,
        )
        return bool(self.changed) or not is_as_before

    def standings(self) -> Mapping[str, Standing]:
        """Return the services that there are now, by their names in lower case."""
        return dict(self._standings)

    def make(self, serial: int) -> Zone:
        """Return the zone of what was taken last; it keeps the answers that stay so."""
        servers = self._servers()
        soa = self._soa(servers[0], serial)
        self._rrsets[self._apex] = {**self._at_apex, NS: servers, SOA: (soa,)}
        at_apex = {(self._apex, rdtype) for rdtype in self._rrsets[self._apex]}
        self._zone = self._zone.renewed(
            self._touched | self._leading | at_apex if self._keeps_answers else None,
            serial=serial,
            own=self._own(),
            stale=self._stale,
            pointers=self._pointers(),
        )
        self._touched, self.changed = set(), set()
        self._keeps_answers = True
        return self._zone

    def _own(self) -> frozenset[bytes]:
        """Return what leads to the node that answers, or to what runs on it."""
        own = (at.get(self._primary, set()) for at in self._at.values())
        return self._hosts.targets(self._primary).union(*own)

    def _servers(self) -> tuple[bytes, ...]:
        named = tuple(map(_wire, self._config.name_servers))
        return named or self._hosts.servers(self._primary) or (self._apex,)

    def _soa(self, server: bytes, serial: int) -> bytes:
        contact = self._config.contact and _wire(self._config.contact)
        contact = contact or child("hostmaster", self._apex) or self._apex
        timers = struct.pack(">5I", serial % 2**32, *_SOA_TIMERS_S, self._config.ttl_s)
        return server + contact + timers

    def _pointers(self) -> Mapping[bytes, Pointers]:
        if self._called is not None:
            return self._called
        named: dict[bytes, set[bytes]] = defaultdict(set)
        for by_address in self._named.values():
            for address, names in by_address.items():
                named[address] |= names
        self._called = self._hosts.pointers(named)
        return self._called

    def _take_service(self, service: str, standing: Standing) -> None:
        places = tuple(self._hosts.place(c.node) for c in standing.containers)
        before = self._standings.get(service, Standing())
        if (before, self._places.get(service, ())) == (standing, places):
            return
        part = service_part(self._apex, service, standing, self._hosts)
        self._replace(("service", service), part)
        if standing == Standing():
            del self._standings[service], self._places[service]
        else:
            self._standings[service], self._places[service] = standing, places

    def _replace(self, key: Key, part: Part) -> None:
        """Have a part's records be these from now on; one without any is none."""
        before = self._parts.pop(key, Part())
        if part.found:
            self._parts[key] = part
        for name in before.found.keys() - part.found.keys():
            self._holders[name].discard(key)
            if not self._holders[name]:
                del self._holders[name]
                self._count(name, -1)
        for name in part.found.keys() - before.found.keys():
            if name not in self._holders:
                self._count(name, 1)
            self._holders.setdefault(name, set()).add(key)
        for name in before.found.keys() | part.found.keys():
            self._renew(name)
        for name in before.statuses:
            del self._statuses[name]
        self._statuses.update(part.statuses)
        if key == _NODES or before.named != part.named:
            self._called = None
        self._locate(key, part)

    def _locate(self, key: Key, part: Part) -> None:
        """Note what a part makes of addresses."""
        self._named.pop(key, None)
        if part.named:
            self._named[key] = part.named
        self._at.pop(key, None)
        if part.at:
            self._at[key] = part.at

    def _count(self, name: bytes, by: int) -> None:
        """Have the names above one be there, without records, or no more."""
        _, *above = suffixes(name)
        for other in above[: max(0, len(above) - self._depth)]:
            self._below[other] += by
            if other not in self._holders:
                self._renew(other)

    def _renew(self, name: bytes) -> None:
        """Put the records of a name together, from all parts that have it."""
        keys = self._holders.get(name, set())
        rrsets = self._merged(name, keys) if keys or self._below[name] else None
        before = self._at_apex if name == self._apex else self._rrsets.get(name)
        # What comes along with an answer may change though that does not
        self._touched |= {
            (name, rdtype) for rdtype in {**(before or {}), **(rrsets or {})}
        }
        if rrsets != before:
            self.changed.add(name)
        if name == self._apex:
            self._at_apex = rrsets or {}
        elif rrsets is None:
            self._rrsets.pop(name, None)
        else:
            self._rrsets[name] = rrsets

    def _merged(self, name: bytes, keys: set[Key]) -> dict[int, tuple[bytes, ...]]:
        own = self._parts[_STATIC].found[name] if _STATIC in keys else {}
        others = [self._parts[key].found[name] for key in keys if key != _STATIC]
        if CNAME in own and others:  # an alias is one where there is nothing else
            own = {}
        merged: dict[int, set[bytes]] = {}
        for found in (*others, own):
            for rdtype, rdatas in found.items():
                merged[rdtype] = merged.get(rdtype, set()) | rdatas
        for rdtype in own:
            own_s = self._config.records.ttls[name, rdtype]
            # What it shares with what comes and goes may be kept no longer than that
            is_shared = any(rdtype in found for found in others)
            ttl_s = min(own_s, self._config.ttl_s) if is_shared else own_s
            self._ttls[name, rdtype] = ttl_s
        return {rdtype: in_order(merged[rdtype]) for rdtype in sorted(merged)}


def compile_zone(
    *,
    config: DnsConfig,
    serial: int,
    primary: str,
    nodes: Iterable[NodeDocument],
    containers: Iterable[Container],
    services: Iterable[ServiceStatus] = (),
    on_host: Collection[str] = (),
    stale: str = "",
    live: Live | None = None,
) -> Zone:
    """Make the zone of these nodes and containers, all taken as fit to be answered.

    `on_host`: see `Standing`; the rest: see `ZoneMaker`.
    """
    maker = ZoneMaker(config, primary, live)
    by_name: dict[str, list[Container]] = defaultdict(list)
    for container in containers:
        by_name[container.service.lower()].append(container)
    statuses: dict[str, list[ServiceStatus]] = defaultdict(list)
    for status in services:
        statuses[status.name.lower()].append(status)
    standings = {
        name: Standing(
            containers=tuple(by_name[name]),
            statuses=tuple(statuses[name]),
            on_host=frozenset(on_host),
        )
        for name in {**by_name, **statuses}
    }
    maker.take({node.node: node.addresses for node in nodes}, standings, stale)
    return maker.make(serial)


def static_zone(static: StaticRecords) -> Zone:
    """Make a zone of what an operator wrote alone, with its own SOA."""
    (soa,) = static.rrsets[static.apex][SOA]
    timers = struct.unpack(">5I", soa[-20:])
    rrsets = with_all_above(static.apex, static.rrsets)
    return Zone(
        apex=static.apex,
        ttl_s=timers[-1],
        serial=timers[0],
        rrsets=rrsets,
        ttls=static.ttls,
    )


def static_zones(several: Collection[StaticRecords]) -> dict[bytes, Zone]:
    """Make the zones that an operator wrote, by their names; one may lie in another."""
    names = frozenset(static.apex for static in several)
    return {
        static.apex: attrs.evolve(static_zone(static), others=names - {static.apex})
        for static in several
    }


def reverse_zones(zone: Zone) -> dict[bytes, Zone]:
    """Return a zone for each address that has names, by its name under `arpa`.

    Of an address alone, as its neighbours are not ours to deny.
    """
    shared = {kind: zone.rrsets[zone.apex][kind] for kind in (NS, SOA)}
    zones = {}
    for address, named in zone.pointers.items():
        apex = _reverse_name(address)
        zones[apex] = Zone(
            apex=apex,
            ttl_s=zone.ttl_s,
            serial=zone.serial,
            rrsets={apex: {**shared, PTR: (*named.hosts, *named.services)}},
            own=frozenset(named.hosts),
            stale=zone.stale,
        )
    return zones


def same_pointers(one: Zone, other: Zone) -> bool:
    """Tell whether two zones have the same zones of addresses, but for the serials."""
    return (one.pointers, one.stale, one.rrsets[one.apex][NS]) == (
        other.pointers,
        other.stale,
        other.rrsets[other.apex][NS],
    )


@functools.lru_cache(maxsize=4096)
def _reverse_name(address: bytes) -> bytes:
    return _wire(ipaddress.ip_address(address).reverse_pointer)


def _wire(name: str) -> bytes:
    return dns.name.from_text(name).to_digestable()
