"""Processes that end, as the kernel tells it."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from veo_shell.edge.docker_processes import Processes

CGROUP = Path("/proc/self/cgroup").read_text().strip()
"""What stands for a container's id: our children are in that cgroup, too."""


@contextlib.contextmanager
def child() -> Iterator[subprocess.Popen[bytes]]:
    """Have a process that runs until it is killed."""
    argv = [sys.executable, "-c", "input()"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


class Followed:
    """Follows processes, and has what was told of them."""

    def __init__(self) -> None:
        self.ended: asyncio.Queue[str] = asyncio.Queue()
        self.processes = Processes(self.ended.put_nowait)

    async def next(self) -> str:
        async with asyncio.timeout(10):
            return await self.ended.get()


def descriptors() -> list[Path]:
    """Return this process's open descriptors, and the one that lists them."""
    return list(Path("/proc/self/fd").iterdir())


async def test_an_end_is_told_once() -> None:
    followed = Followed()
    with child() as process:
        followed.processes.follow(CGROUP, process.pid)
        followed.processes.follow(CGROUP, process.pid)
        assert followed.processes.follows(CGROUP)
        process.kill()
        assert await followed.next() == CGROUP
    assert not followed.processes.follows(CGROUP)
    assert followed.ended.empty()


async def test_the_end_of_the_process_before_is_not_told() -> None:
    followed = Followed()
    with child() as old, child() as new:
        followed.processes.follow(CGROUP, old.pid)
        followed.processes.follow(CGROUP, new.pid)
        old.kill()
        old.wait()
        assert followed.processes.follows(CGROUP)
        new.kill()
        assert await followed.next() == CGROUP
    assert followed.ended.empty()


async def test_what_cannot_be_seen_from_here_is_not_followed() -> None:
    followed = Followed()
    with child() as process:
        followed.processes.follow("of-another-host", process.pid)
        assert not followed.processes.follows("of-another-host")
    for pid in (process.pid, 0):  # it was waited for: it is no more
        followed.processes.follow(CGROUP, pid)
        assert not followed.processes.follows(CGROUP)


async def test_no_descriptor_is_left() -> None:
    followed = Followed()
    with child() as one, child() as other:
        before = len(descriptors())
        followed.processes.follow("of-another-host", one.pid)
        followed.processes.follow(CGROUP, one.pid)
        followed.processes.follow(CGROUP, other.pid)
        assert len(descriptors()) == before + 1
        followed.processes.close()
        assert len(descriptors()) == before
    assert followed.ended.empty()
