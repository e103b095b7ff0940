"""`veo status`: the cluster at a glance, as its node sees it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from veo_shell.console import render
from veo_shell.console.client import Client
from veo_shell.errors import UsageError


def show(run_dir: str | os.PathLike[str], *, as_json: bool) -> int:
    """Print nodes, services and containers; return the exit status."""
    client = Client(run_dir)
    try:
        parts = {
            "nodes": client.read("node_monitor.nodes"),
            "services": _services(client),
            "containers": client.read("container_sup.cloud_containers"),
        }
    finally:
        client.close()
    if as_json:
        document = msgspec.json.encode(parts)
        sys.stdout.write(msgspec.json.format(document, indent=2).decode() + "\n")
        return 0
    for title, rows in parts.items():
        _section(title, rows)
    return 0


def _services(client: Client) -> Any:
    try:
        return client.read("container_sup.service_status")
    except UsageError:  # of an older VEO
        return client.read("container_sup.services")


def _section(title: str, rows: Sequence[Any]) -> None:
    sys.stdout.write(f"{title}: {len(rows)}\n")
    if rows:
        render.show(rows)
    sys.stdout.write("\n")
