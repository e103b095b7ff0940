"""Which ports of its node an instance takes."""

from __future__ import annotations

from collections.abc import Collection

from veo_shell.core.model import Service, Transport

HostPort = tuple[int, Transport]


def publishes(network_mode: str | None) -> bool:
    """Tell whether ports are published in that mode, not just there."""
    mode = network_mode or ""
    return mode not in ("host", "none") and not mode.startswith("container:")


def fixed_ports(service: Service, lans: Collection[str] = ()) -> list[HostPort]:
    """Return the ports of the host that an instance needs, and no other can have.

    On the host's network it listens on those that it declares; on one of `lans` it has
    an address of its own.
    """
    if service.network_mode == "host":
        return [(port.container_port, port.protocol) for port in service.ports]
    if not service.ports or not publishes(service.network_mode):
        return []
    if service.network_mode in lans:
        return []
    return [(p.host_port, p.protocol) for p in service.ports if p.host_port]
