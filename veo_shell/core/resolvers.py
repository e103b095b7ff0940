"""Whom containers ask for names, and what they try behind a short one."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable

import attrs

from veo_shell.core.model import NodeDocument, Service
from veo_shell.core.ports import publishes
from veo_shell.core.scalars import Wrong, quoted

PORT = 53
MOST_SEARCH = 6
"""More of them older programs do not look at (glibc before 2.26)."""
DOMAIN = re.compile(r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.?)+")
OPTION = re.compile(r"[a-z0-9-]+(?::[0-9]+)?")
BRIDGE = "bridge"


@attrs.frozen(kw_only=True)
class Resolvers:
    """The addresses of DNS servers, and domains; as Docker's `Dns` and `DnsSearch`."""

    servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()


def resolvers(
    me: str, nodes: Iterable[NodeDocument], domains: Iterable[str]
) -> Resolvers:
    """Return a node that containers can ask, and the next one by name; or nobody.

    Asked can be who has the port that all ask at, on an address of IPv4 that is not
    loopback: containers have one of their own, and IPv6 as a rule not at all.
    """
    found = {n.node: n.address for n in nodes if n.dns_port == PORT and _far(n.address)}
    if me not in found:
        return Resolvers()
    ring = sorted(found)
    at = ring.index(me)
    servers = dict.fromkeys(found[name] for name in (*ring[at:], *ring[:at]))
    search = dict.fromkeys(domain.removesuffix(".") for domain in domains)
    return Resolvers(
        servers=tuple(servers)[:2], search=tuple(filter(None, search))[:MOST_SEARCH]
    )


def takes(service: Service, bridges: Collection[str]) -> bool:
    """Tell whether a service's containers are to ask nodes.

    Not those that say whom to ask, those with the host's network, which has its own
    resolvers, and those of a network from which the host may not be reached.
    """
    mode = service.network_mode or BRIDGE
    if service.dns or not publishes(mode):
        return False
    return mode in ("default", BRIDGE) or mode in bridges


def server(text: str) -> str:
    """Read the address of a DNS server."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise Wrong(f"{quoted(text)} is not an IP address") from None
    return text


def domain(text: str) -> str:
    """Read a domain to try behind short names; `.` alone has none be tried."""
    if text != "." and (not DOMAIN.fullmatch(text) or len(text) > 253):
        raise Wrong(f"{quoted(text)} is not a domain, like example.com")
    return text


def option(text: str) -> str:
    """Read an option of resolv.conf(5)."""
    if not OPTION.fullmatch(text):
        raise Wrong(f"{quoted(text)} is not an option of resolv.conf, like ndots:2")
    return text


def _far(address: str) -> bool:
    parsed = ipaddress.ip_address(address)
    return parsed.version == 4 and not parsed.is_loopback
