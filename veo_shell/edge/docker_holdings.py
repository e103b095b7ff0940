"""What images, volumes and networks a Docker Engine has, and when that changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from docker import APIClient

from veo_shell.core.events import EngineHolds
from veo_shell.edge.docker_client import DockerLine
from veo_shell.edge.docker_events import EventStream

RELIST_S = 30.0
SETTLE_S = 0.1
"""What changes at one go (a prune, a load) is listed once."""
CHANGES = {
    "type": ["image", "volume", "network"],
    "event": [
        *("pull", "tag", "untag", "delete", "import", "load"),  # of images
        *("create", "destroy"),  # of the others
    ],
}
UNTAGGED = "<none>"


async def held(
    line: DockerLine, is_lan: Callable[[Mapping[str, Any]], bool]
) -> EngineHolds:
    """Return what the engine has now; `is_lan` tells of a network whether it is one."""
    return await line.call(lambda client: _held(client, is_lan))


async def changed(stream: EventStream) -> None:
    """Return when that has changed, or may have without having been told."""
    loop = asyncio.get_running_loop()
    event = await stream.next_before(loop.time() + RELIST_S)
    settled_s = loop.time() + SETTLE_S
    while event is not None:
        event = await stream.next_before(settled_s)


def _held(
    client: APIClient, is_lan: Callable[[Mapping[str, Any]], bool]
) -> EngineHolds:
    images = sorted(client.images(), key=lambda image: -image["Created"])
    volumes = client.volumes()["Volumes"] or ()
    networks = client.networks()
    return EngineHolds(
        images=tuple(name for image in images for name in _names(image)),
        # Those of a global scope are on every node: their driver sees to that.
        volumes=tuple(v["Name"] for v in volumes if v.get("Scope") != "global"),
        networks=tuple(_bridges(networks)),
        lan_networks=tuple(n["Name"] for n in networks if is_lan(n)),
    )


def _bridges(networks: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return names and subnets of bridges: who has an address there is on this host.

    From an internal one the host is not reached.
    """
    return sorted(
        (network["Name"], pool["Subnet"])
        for network in networks
        if network["Driver"] == "bridge" and not network.get("Internal")
        for pool in (network.get("IPAM") or {}).get("Config") or ()
        if pool.get("Subnet")
    )


def _names(image: dict[str, Any]) -> list[str]:
    names = [*(image["RepoTags"] or ()), *(image["RepoDigests"] or ())]
    return [name for name in names if not name.startswith(UNTAGGED)]
