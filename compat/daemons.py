"""Other people's DNS servers, as children of a test."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from tests.dns_programs import run
from tests.fake_cluster import FakeCluster

ADDRESS = "127.0.77.1"
UP_S = 30.0

Make = Callable[[Path, int, str, int], list[str]]
"""Gives a command from a folder, the port to have, and a node's address and port."""


def free_port() -> int:
    """Return a port that nobody has for TCP and UDP just now."""
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        tcp.bind((ADDRESS, 0))
        port: int = tcp.getsockname()[1]
        udp.bind((ADDRESS, port))
    return port


@asynccontextmanager
async def daemon(log: Path, *argv: str) -> AsyncIterator[None]:
    """Run a program in the foreground for as long as the test looks at it."""
    assert shutil.which(argv[0]), f"install {argv[0]}"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *argv, stdout=output, stderr=output
        )
    try:
        yield
        assert process.returncode is None, f"it ended: see {log}"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@asynccontextmanager
async def beside(cluster: FakeCluster, folder: Path, make: Make) -> AsyncIterator[int]:
    """Have a server of others' that asks uno, or has a copy of its zone, at a port."""
    port, own = free_port(), folder / "own"
    own.mkdir()
    argv = make(own, port, cluster.addresses["uno"], cluster.servers["uno"].port)
    async with daemon(folder / "log", *argv):
        yield port


async def asked(port: int, *words: str) -> list[str]:
    """Return what the daemon there answers to dig, in order; [] while it is not up."""
    ask = "dig", f"@{ADDRESS}", "-p", str(port), "+short", "+time=2", "+tries=1"
    said = await run(*ask, *words)
    return said.lines if said.status == 0 else []


async def status(port: int, *words: str) -> str:
    """Return the code and the number of answers that the daemon there gives."""
    said = await run("dig", f"@{ADDRESS}", "-p", str(port), "+time=5", *words)
    _, _, rest = said.text.partition("status: ")
    count = said.text.partition("ANSWER: ")[2].partition(",")[0]
    return f"{rest.partition(',')[0]} {count}"


async def comes(port: int, expected: list[str], *words: str) -> None:
    """Wait until the daemon there answers this."""
    deadline = asyncio.get_running_loop().time() + UP_S
    while (seen := await asked(port, *words)) != expected:
        assert asyncio.get_running_loop().time() < deadline, (seen, expected)
        await asyncio.sleep(0.2)  # another program's doing, which nothing tells us of
