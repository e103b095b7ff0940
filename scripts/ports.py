"""Find the port that nodes on this machine can answer DNS on.

python -m scripts.ports ADDRESS…        prints it
"""

from __future__ import annotations

import itertools
import socket
import sys
from collections.abc import Iterable


def dns_port(addresses: Iterable[str]) -> int:
    """Return 53 if it is free on all addresses, else the first free from 5300 on.

    Not 5353: there a desktop answers multicast DNS.
    """
    wanted = list(addresses)
    ports = itertools.chain([53], range(5300, 6000))
    return next(port for port in ports if all(is_free(a, port) for a in wanted))


def is_free(address: str, port: int) -> bool:
    """Tell whether we may listen there on UDP and TCP."""
    try:
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            with socket.socket(socket.AF_INET, kind) as probe:
                if kind == socket.SOCK_STREAM:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((address, port))
    except OSError:
        return False
    return True


def is_unused(address: str, port: int) -> bool:
    """Tell whether nobody takes connections there."""
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) != 0


if __name__ == "__main__":
    sys.stdout.write(f"{dns_port(sys.argv[1:])}\n")
