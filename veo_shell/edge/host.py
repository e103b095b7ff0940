"""The machine a node runs on, through psutil."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import psutil

from veo_shell.core.model import Cpu, Disk, Memory, Resources


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


def primary_address() -> str:
    """Return the address this machine uses towards other networks, else loopback.

    Connecting a UDP socket sends nothing; 192.0.2.1 is reserved for documentation
    (RFC 5737).
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])
