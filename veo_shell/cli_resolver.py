"""`veo resolver`: this host's own names are asked of its node, and no more."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from veo_shell.console.exits import FINE
from veo_shell.errors import ResolverError

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

    resolver = HostResolver()
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
    import asyncio

    from veo_shell.console.client import Client
    from veo_shell.edge import dns_client

    client = Client(run_dir)
    try:
        place = client.read("dns_registry.place")
    finally:
        client.close()
    asked = dns_client.ask(place.address, place.port, place.zones[0], "SOA")
    reply = asyncio.run(asked)
    if not reply.data:
        why = reply.trouble or reply.code or "it does not know its own zone"
        raise ResolverError(f"the node's DNS does not answer: {why}: nothing is done")
    return place
