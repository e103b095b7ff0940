"""What cluster.yml says of DNS, `dns:`; it counts for the node whose own file it is."""

from __future__ import annotations

import ipaddress
import re

import attrs

from veo_shell.core import scalars
from veo_shell.core.dns_config import DnsConfig, Network
from veo_shell.core.fields import Fields, fields, scalar, several
from veo_shell.core.scalars import Wrong, quoted
from veo_shell.core.static_records import Collected, read_records, read_zone
from veo_shell.core.tree import Tree

NAME = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+")
LONGEST_NAME = 254
LONGEST_TTL_S = 86_400
DNS_PORT = 53
INJECT = {"auto": True, "off": False}


def read_dns(tree: Tree) -> DnsConfig | None:
    """Read the mapping; what is wrong is noted in the tree's log."""
    pairs = list(tree.pairs())
    values = fields(pairs, DNS)
    if None in values.values():
        return None
    lines, files = values.pop("records", ()), values.pop("zones", ())
    config = DnsConfig(**values)
    static = Collected()
    for read, given in ((read_records, lines), (read_zone, files)):
        for at, name, text in given:
            try:
                static.add(read(text, config.zone, config.ttl_s))
            except Wrong as wrong:
                at.complain(f"{quoted(name)}: {wrong}")
    return attrs.evolve(config, records=static.own, zones=static.zones)


def _name(text: str) -> str:
    name = f"{text.lower().removesuffix('.')}."
    if not NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        raise Wrong(f"{quoted(text)} is no name of DNS, like veo or ns1.example.com")
    return name


def _ttl_s(text: str) -> int:
    seconds = scalars.count(text)
    if not 1 <= seconds <= LONGEST_TTL_S:
        raise Wrong(f"{quoted(text)} is not from 1 to {LONGEST_TTL_S} seconds")
    return seconds


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise Wrong(f"{quoted(text)} is no address, like 127.0.0.1 or ::1") from None


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise Wrong(
            f"{quoted(text)} is no address or network, like 192.0.2.7 or 192.0.2.0/24"
        ) from None


def _server(text: str) -> tuple[str, int]:
    """Read `ADDRESS`, `ADDRESS:PORT` or `[V6]:PORT`."""
    address, port = text, ""
    if bracketed := re.fullmatch(r"\[(.*)\](?::(.*))?", text):
        address, port = bracketed[1], bracketed[2] or ""
    elif text.count(":") == 1:
        address, _, port = text.partition(":")
    try:
        ipaddress.ip_address(address)
        return address, scalars.container_port(port) if port else DNS_PORT
    except (ValueError, Wrong):
        said = "is no address of a DNS server, like 192.0.2.53 or 192.0.2.53:5353"
        raise Wrong(f"{quoted(text)} {said}") from None


def _line(tree: Tree) -> tuple[Tree, str, str]:
    text = tree.text()
    return tree, text, text


def _file(tree: Tree) -> tuple[Tree, str, str]:
    name = tree.text()
    return tree, name, tree.log.read(name)


DNS: Fields = {
    "zone": ("zone", scalar(_name)),
    "ttl": ("ttl_s", scalar(_ttl_s)),
    "contact": ("contact", scalar(_name)),
    "name_servers": ("name_servers", several(scalar(_name))),
    "inject": ("inject", scalar(scalars.one_of(INJECT))),
    "forward": ("forward", several(scalar(_server))),
    "records": ("records", several(_line)),
    "zones": ("zones", several(_file)),
    "transfer": ("transfer", several(scalar(_network))),
    "listen": ("listen", several(scalar(_address))),
}
