"""The machine a node runs on, through psutil."""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path

import psutil

from veo_shell.core.model import Cpu, Disk, Memory, Resources
from veo_shell.errors import StartError, UsageError

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""Drawn by chance by the kernel as it boots (random(4)); the same in containers."""
NONLOCAL6 = Path("/proc/sys/net/ipv6/ip_nonlocal_bind")
LISTED6 = Path("/proc/net/if_inet6")


class LocalHost:
    """This machine; `data_dir` lies on the disk that is counted."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir

    def resources(self) -> Resources:
        """Return what it has and what is free, now."""
        memory = psutil.virtual_memory()
        disk = psutil.disk_usage(str(self._data_dir))
        return Resources(
            cpu=Cpu(count=float(psutil.cpu_count() or 1), load=os.getloadavg()[0]),
            memory=Memory(total_bytes=memory.total, available_bytes=memory.available),
            disk=Disk(total_bytes=disk.total, free_bytes=disk.free),
        )

    def boot_id(self) -> str:
        """Return what is another after each boot of it, "" if that cannot be told."""
        try:
            return BOOT_ID.read_text(encoding="ascii").strip()
        except OSError:  # no Linux, or its /proc is hidden
            return ""

    def has_address(self, address: str) -> bool:
        """Tell whether an IP address is one of its own, now.

        By a socket, not from the interfaces' lists: 127.0.0.2 is in none of them. And
        not by binding it alone: a host that takes over the addresses of others
        (keepalived, HAProxy) may let one be bound that is not there.
        """
        try:
            ((family, _, _, _, place), *_) = socket.getaddrinfo(
                address, 0, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST
            )
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                if family == socket.AF_INET:  # of an interface, or routed to loopback
                    packed = socket.inet_aton(str(place[0]))
                    probe.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, packed)
                    return True
                probe.bind(place)
            return NONLOCAL6.read_text() == "0\n" or _is_listed(str(place[0]))
        except OSError:
            return False


def _is_listed(address: str) -> bool:
    """Tell whether an interface has an address of IPv6."""
    packed = ipaddress.IPv6Address(address).packed.hex()
    return any(line.startswith(packed) for line in LISTED6.read_text().splitlines())


def primary_address() -> str:
    """Return the address this machine uses towards other networks, else loopback.

    Connecting a UDP socket sends nothing; the targets are reserved for documentation
    (RFC 5737, RFC 3849).
    """
    targets = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
    for family, target in targets:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((target, 9))
                return str(probe.getsockname()[0])
        except OSError:  # no route, or no such family on this machine
            continue
    return "127.0.0.1"


def own_address(text: str, option: str = "--address") -> str:
    """Return the IP address that other hosts are to use for this one."""
    found = resolve(f"{option} {text}", text)
    address = ipaddress.ip_address(found)
    if address.is_unspecified or address.is_multicast:
        why = "not the address of one host"
    elif address.version == 6 and address.is_link_local:
        why = "a link-local address means nothing to other hosts"
    else:
        return found
    raise UsageError(f"{option} {text}: {why}: name one that others reach it at")


def resolve(option: str, host: str) -> str:
    """Return the IP address of a host, its IPv4 one if it has both.

    `option` is what the message begins with if there is none: raises `StartError`.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except UnicodeError as exc:  # a label that is empty or too long
        raise StartError(f"{option}: {host!r} is not a host's name") from exc
    except OSError as exc:
        reason = exc.strerror or exc
        raise StartError(f"{option}: no address of {host}: {reason}") from exc
    best = min(found, key=lambda info: info[0] != socket.AF_INET)
    return str(best[4][0])
