"""Which programs have a port of this machine, as `ss -lunp` and `ss -ltnp` tell."""

from __future__ import annotations

import socket

import psutil


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
