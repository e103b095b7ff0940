"""The ends of containers' processes, as the kernel tells them well before Docker."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import attrs


@attrs.frozen(kw_only=True)
class _Process:
    pid: int
    descriptor: int


class Processes:
    """Follows the first process of each container, where it can be seen from here.

    It cannot where this node has another PID namespace than the engine, as in a
    container without `pid: host`: then Docker's event is the first to tell of an end.
    """

    def __init__(self, on_end: Callable[[str], None]) -> None:
        self._on_end = on_end
        self._followed: dict[str, _Process] = {}
        self._loop = asyncio.get_running_loop()

    def follow(self, container_id: str, pid: int) -> None:
        """Follow a container's process, 0 for none (`State.Pid` of its document)."""
        followed = self._followed.get(container_id)
        if followed is not None and followed.pid == pid:
            return
        self._drop(container_id)
        descriptor = _open(container_id, pid) if pid else None
        if descriptor is not None:
            self._followed[container_id] = _Process(pid=pid, descriptor=descriptor)
            self._loop.add_reader(descriptor, self._ended, container_id)

    def follows(self, container_id: str) -> bool:
        """Tell whether a process of the container is followed that has not ended."""
        return container_id in self._followed

    def close(self) -> None:
        """Follow none any more."""
        for container_id in list(self._followed):
            self._drop(container_id)

    def _ended(self, container_id: str) -> None:
        self._drop(container_id)
        self._on_end(container_id)

    def _drop(self, container_id: str) -> None:
        followed = self._followed.pop(container_id, None)
        if followed is not None:
            self._loop.remove_reader(followed.descriptor)
            os.close(followed.descriptor)


def _open(container_id: str, pid: int) -> int | None:
    """Return a descriptor of a process (pidfd_open(2)), if it is the container's.

    Its number may stand for another one here, or by now: its cgroup tells.
    """
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return None
    try:
        cgroup = Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        cgroup = ""
    if container_id in cgroup:
        return descriptor
    os.close(descriptor)
    return None
