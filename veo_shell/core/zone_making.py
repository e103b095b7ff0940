"""From a view, or from what an operator wrote, to zones."""

from __future__ import annotations

import functools
import ipaddress
import struct
from collections.abc import Collection, Iterable

import dns.name

from veo_shell.core.dns_config import DnsConfig
from veo_shell.core.dns_packet import NS, PTR, SOA
from veo_shell.core.model import Container, NodeDocument
from veo_shell.core.static_records import StaticRecords
from veo_shell.core.zone import Live, Zone
from veo_shell.core.zone_records import Draft, ServiceStatus, child, with_all_above

# Refresh, retry, expire: a secondary soon forgets what it cannot ask for any more.
_SOA_TIMERS_S = (5, 5, 60)


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

    A container whose node is not given is left out, as is what DNS cannot have as a
    name and what has no IP address. `primary` is the node that answers: the SOA and
    the first NS name it, unless `config` names others. `on_host` are the names of the
    containers on their nodes' network.
    """
    apex = _wire(config.zone)
    draft = Draft(apex, nodes, on_host)
    draft.add_containers(containers)
    draft.add_services(services)
    draft.add_static(config.records, config.ttl_s)
    named = tuple(map(_wire, config.name_servers))
    servers = named or draft.servers(primary) or (apex,)
    contact = config.contact and _wire(config.contact)
    timers = struct.pack(">5I", serial % 2**32, *_SOA_TIMERS_S, config.ttl_s)
    soa = servers[0] + (contact or child("hostmaster", apex) or apex) + timers
    return Zone(
        apex=apex,
        ttl_s=config.ttl_s,
        serial=serial,
        rrsets=draft.rrsets({NS: servers, SOA: (soa,)}),
        own=draft.targets(primary),
        ttls=draft.ttls,
        stale=stale,
        statuses=draft.statuses,
        pointers=draft.pointers(),
        live=live,
    )


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


@functools.lru_cache(maxsize=4096)
def _reverse_name(address: bytes) -> bytes:
    return _wire(ipaddress.ip_address(address).reverse_pointer)


def _wire(name: str) -> bytes:
    return dns.name.from_text(name).to_digestable()
