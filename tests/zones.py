"""Nodes, containers and questions for the tests of DNS."""

from __future__ import annotations

from typing import Any

import dns.message
import dns.rdatatype
import dns.rrset

from veo_shell.core.dns_config import DnsConfig
from veo_shell.core.model import (
    Container,
    Cpu,
    Disk,
    Memory,
    NodeDocument,
    Port,
    Resources,
    State,
    Transport,
)
from veo_shell.core.zone import Live, Zone
from veo_shell.core.zone_making import compile_zone
from veo_shell.core.zone_records import ServiceStatus

RESOURCES = Resources(
    cpu=Cpu(count=1.0),
    memory=Memory(total_bytes=1, available_bytes=1),
    disk=Disk(total_bytes=1, free_bytes=1),
)


def make_node(name: str, address: str, address6: str = "") -> NodeDocument:
    return NodeDocument(
        node=name,
        boot_id="b",
        incarnation=1,
        version=1,
        address=address,
        address6=address6,
        mesh_port=8087,
        pub_port=8088,
        dns_port=53,
        resources=RESOURCES,
    )


UNO = make_node("uno@uno", "192.0.2.1")
DOS = make_node("dos@dos", "192.0.2.2")


def make_port(name: str, number: int, protocol: Transport = Transport.TCP) -> Port:
    return Port(name=name, container_port=80, host_port=number, protocol=protocol)


def make_container(
    service: str,
    node: NodeDocument,
    *ports: Port,
    address: str | None = None,
    address6: str | None = None,
    own: tuple[str, ...] = (),
) -> Container:
    if own:
        address, address6 = own[0], ""
    return Container(
        name=f"veo-{service}",
        service=service,
        uid="u1",
        slot=0,
        generation=1,
        node=node.node,
        address=node.address if address is None else address,
        address6=node.address6 if address6 is None else address6,
        image="nginx:latest",
        state=State.RUNNING,
        ports=ports,
        own_addresses=own,
    )


def make_zone(
    *containers: Container,
    nodes: tuple[NodeDocument, ...] = (UNO, DOS),
    primary: str = "uno@uno",
    serial: int = 7,
    ttl_s: int = 5,
    origin: str = "veo.",
    stale: str = "",
    services: tuple[ServiceStatus, ...] = (),
    on_host: tuple[str, ...] = (),
    live: Live | None = None,
    **config: Any,
) -> Zone:
    return compile_zone(
        config=DnsConfig(zone=origin, ttl_s=ttl_s, **config),
        serial=serial,
        primary=primary,
        nodes=nodes,
        containers=containers,
        stale=stale,
        services=services,
        on_host=on_host,
        live=live,
    )


def two_webs() -> tuple[Container, Container]:
    """Return one service on both nodes, under different port numbers."""
    return (
        make_container("nginx", UNO, make_port("website", 31974)),
        make_container("nginx", DOS, make_port("website", 31975)),
    )


def question(
    name: str, rdtype: str = "A", *, rdclass: str = "IN", edns_size: int = 0
) -> bytes:
    """Return a query; `edns_size` 0 asks without EDNS."""
    query = dns.message.make_query(name, rdtype, rdclass)
    if edns_size:
        query.use_edns(0, payload=edns_size)
    return query.to_wire()


def ask(
    zone: Zone, name: str, rdtype: str = "A", *, edns_size: int = 0, udp: bool = True
) -> dns.message.Message:
    """Ask twice (afresh, and from the answers kept) and return the one answer."""
    query = question(name, rdtype, edns_size=edns_size)
    first = zone.answer(query, udp=udp)
    assert first is not None
    response, again = dns.message.from_wire(first), zone.answer(query, udp=udp)
    assert again is not None
    assert dns.message.from_wire(again) == response  # in whatever order
    assert dns.message.from_wire(query).is_response(response)
    return response


def lines(section: list[dns.rrset.RRset]) -> list[str]:
    """Return records as `name type data`."""
    return [
        f"{rrset.name} {dns.rdatatype.to_text(rrset.rdtype)} {rdata}"
        for rrset in section
        for rdata in rrset
    ]
