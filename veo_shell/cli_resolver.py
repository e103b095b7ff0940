"""`veo resolver`: this host's own names are asked of its node, and no more."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from veo_shell.console.exits import FINE
from veo_shell.errors import ResolverError

STUB = "127.0.0.53"
"""Where systemd-resolved answers."""
RunDir = Callable[[argparse.Namespace], str]

HELP = (
    "install: systemd-resolved asks the node for the cluster's zone, where it runs; "
    "else the node is named first in /etc/resolv.conf. remove: as before."
)


def add_resolver(parser: argparse.ArgumentParser, run_dir: RunDir) -> None:
    """Give `veo resolver` its words."""
    parser.set_defaults(run=lambda arguments: _run(arguments, run_dir))
    parser.add_argument(
        "what",
        choices=("install", "remove"),
        help="have this host's programs ask its node for names, or no longer",
    )


def _run(arguments: argparse.Namespace, run_dir: RunDir) -> int:
    from veo_shell.edge.host_resolver import HostResolver

    resolver = HostResolver(trouble=trouble)
    if arguments.what == "remove":
        said = resolver.remove()
    else:
        place = _place(run_dir(arguments))
        said = resolver.install(place.address, place.port, place.zones)
    for line in said:
        sys.stdout.write(f"{line}\n")
    return FINE


def _place(run_dir: str) -> Any:
    """Return where the node answers, which it does; raise `ResolverError`."""
    from veo_shell.console.client import Client

    client = Client(run_dir)
    try:
        place = client.read("dns_registry.place")
    finally:
        client.close()
    if why := trouble(place.zones[0], place.address, place.port):
        raise ResolverError(f"the node's DNS does not answer: {why}: nothing is done")
    return place


def trouble(zone: str, address: str = STUB, port: int = 53) -> str:
    """Return why a server does not know a zone, "" if it does."""
    import asyncio

    from veo_shell.edge import dns_client

    reply = asyncio.run(dns_client.ask(address, port, zone, "SOA"))
    if reply.data:
        return ""
    return reply.trouble or f"it says {reply.code}"
