"""Who asks a node's DNS, as far as their address tells."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable


def is_near(
    address: str, networks: Iterable[str], is_own: Callable[[str], bool]
) -> bool:
    """Tell whether one asks from this host, or from a network of its containers.

    `is_own`: whether this host has an address. From elsewhere nobody comes with one of
    these, or with one of loopback: the kernel drops that.
    """
    asker = ipaddress.ip_address(address)
    return (
        asker.is_loopback
        or any(asker in ipaddress.ip_network(net, strict=False) for net in networks)
        or is_own(address)
    )
