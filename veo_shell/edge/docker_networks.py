"""Docker's networks: which have an address of the LAN for each of their containers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from veo_shell import container_builder
from veo_shell.edge.docker_client import DockerLine
from veo_shell.errors import EngineError

LAN_DRIVERS = frozenset({"macvlan", "ipvlan"})
NOT_FOUND = 404


class Lans:
    """Tells whether a container has an address that its host does not share.

    That its network's driver says, for good: each network is looked at once.
    """

    def __init__(self, line: DockerLine, drivers: Collection[str]) -> None:
        self._line = line
        self._drivers = drivers
        self._known: dict[str, bool] = {}

    async def has(self, raw: Mapping[str, Any]) -> bool:
        """Tell that of a container, given its document."""
        network: str = container_builder.network_of(raw).get("NetworkID") or ""
        if not network:
            return False
        if network not in self._known:
            try:
                found = await self._line.call(lambda c: c.inspect_network(network))
            except EngineError as exc:
                if exc.status != NOT_FOUND:
                    raise
                return False
            self._known[network] = self.is_one(found)
        return self._known[network]

    def is_one(self, network: Mapping[str, Any]) -> bool:
        """Tell whether a network is such a one; an internal one reaches nobody."""
        return network["Driver"] in self._drivers and not network.get("Internal")
