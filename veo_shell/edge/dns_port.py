"""The port of a node's DNS: binding it, and who has it where that cannot be.

The programs are those that `ss -lunp` and `ss -ltnp` tell.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
from collections.abc import Sequence
from typing import Any

import psutil

from veo_shell.errors import StartError

_FREE_PORT_TRIES = 16
_UDP_BUFFER_SIZE = 1 << 20
_IP_PKTINFO = 8  # Linux's, which Python's socket has from 3.14 on
_TELL_4 = (socket.IPPROTO_IP, _IP_PKTINFO)
_TELL_6 = (socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO)
_TOLD_SIZE = socket.CMSG_SPACE(20)
_NO_INTERFACE = bytes(4)

_REASONS = {
    errno.EADDRINUSE: "another program has this port: stop it, use --dns-port, or "
    "--dns-optional to do without DNS",
    errno.EACCES: "this port needs root (CAP_NET_BIND_SERVICE), or use --dns-port",
    errno.EADDRNOTAVAIL: "this machine has no such address: use --address",
}


async def bind_both(address: str, port: int) -> tuple[socket.socket, socket.socket]:
    """Return the UDP and the TCP socket of one port; raise `StartError`.

    Port 0: any that is free.
    """
    try:
        return _bind_both(address, port)
    except _Taken as taken:
        # In a thread: whoever has the port is looked for among all processes
        users = await asyncio.to_thread(users_of, taken.kind, port)
        raise _cannot_start(taken.kind, address, port, taken.error, users) from None


def socket_address(address: str, port: int) -> tuple[Any, ...]:
    """Return what a socket takes, with the interface that `fe80::1%eth0` names."""
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    (found, *_) = socket.getaddrinfo(address, port, type=socket.SOCK_DGRAM, flags=flags)
    return found[4]


def is_for_all(address: str) -> bool:
    """Tell whether this stands for all addresses of its family."""
    return ipaddress.ip_address(address).is_unspecified


def receive_there(udp: socket.socket, size: int) -> tuple[bytes, tuple[Any, ...]]:
    """Receive a datagram on all addresses; return it, and whose it is.

    That is the asker's address, its place, and at which address it was received: the
    answer has to come from there (ip(7), ipv6(7)).
    """
    packet, told, _, place = udp.recvmsg(size, _TOLD_SIZE)
    return packet, (place[0], place, told)


def send_from_there(udp: socket.socket, reply: bytes, asker: tuple[Any, ...]) -> None:
    """Answer from the address that was asked, by whichever interface leads back."""
    _, place, told = asker
    back = [
        (level, kind, _NO_INTERFACE + data[4:])
        if level == socket.IPPROTO_IP
        else (level, kind, data)
        for level, kind, data in told
    ]
    udp.sendmsg([reply], back, 0, place)


def users_of(kind: socket.SocketKind, port: int) -> list[str]:
    """Return the programs there, `NAME (pid N) on ADDRESS`; [] if they are not shown.

    The system tells a user of the user's own processes, root of those of its container.
    """
    is_tcp = kind is socket.SOCK_STREAM
    try:
        found = psutil.net_connections("tcp" if is_tcp else "udp")
    except (psutil.Error, OSError):
        return []
    return sorted(
        {
            f"{_name_of(entry.pid)} on {entry.laddr.ip}"
            for entry in found
            if entry.laddr
            and entry.laddr.port == port
            and entry.pid
            and (not is_tcp or entry.status == psutil.CONN_LISTEN)
        }
    )


def _name_of(pid: int) -> str:
    try:
        return f"{psutil.Process(pid).name()} (pid {pid})"
    except psutil.Error:  # it has just ended
        return f"pid {pid}"


class _Taken(Exception):
    """Another program has the port."""

    def __init__(self, kind: socket.SocketKind, error: OSError) -> None:
        super().__init__(kind, error)
        self.kind = kind
        self.error = error


def _bind_both(address: str, port: int) -> tuple[socket.socket, socket.socket]:
    """Return the UDP and the TCP socket of one port."""
    tries = 1 if port else _FREE_PORT_TRIES
    while True:
        tries -= 1
        listener = _bind(socket.SOCK_STREAM, address, port)
        try:
            return _bind(socket.SOCK_DGRAM, address, port_of(listener)), listener
        except (StartError, _Taken):
            listener.close()
            if not tries:
                raise


def _bind(kind: socket.SocketKind, address: str, port: int) -> socket.socket:
    bound = socket.socket(_family_of(address), kind)
    bound.setblocking(False)
    try:
        if kind is socket.SOCK_STREAM:
            # Not for UDP: there Linux lets two servers take each other's packets
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _UDP_BUFFER_SIZE)
            if is_for_all(address):
                bound.setsockopt(*(_TELL_6 if ":" in address else _TELL_4), 1)
        if bound.family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(socket_address(address, port))
        if kind is socket.SOCK_STREAM:
            bound.listen()
    except OSError as exc:
        bound.close()
        if exc.errno == errno.EADDRINUSE:
            raise _Taken(kind, exc) from exc
        raise _cannot_start(kind, address, port, exc) from exc
    return bound


def _family_of(address: str) -> socket.AddressFamily:
    try:
        version = ipaddress.ip_address(address).version
    except ValueError as exc:
        message = f"cannot answer DNS on {address!r}: no IP address; use --address"
        raise StartError(message) from exc
    return socket.AF_INET6 if version == 6 else socket.AF_INET


def _cannot_start(
    kind: socket.SocketKind,
    address: str,
    port: int,
    exc: OSError,
    users: Sequence[str] = (),
) -> StartError:
    transport = "TCP" if kind is socket.SOCK_STREAM else "UDP"
    reason = _REASONS.get(exc.errno or 0, f"{exc.strerror}; see --dns-port")
    if users:
        reason = reason.replace("another program has", f"{' and '.join(users)} has")
    return StartError(
        f"cannot answer DNS on {address} port {port} ({transport}): {reason}"
    )


def port_of(bound: socket.socket) -> int:
    """Return the port of a socket."""
    port: int = bound.getsockname()[1]
    return port
