"""Programs of others that ask a node's DNS, or serve copies of what it answers."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs

from tests.fake_cluster import WEB, FakeCluster, eventually, fake_cluster
from veo_shell.core.parse import parse
from veo_shell.edge.dns_server import DnsServer

LIMIT_S = 60.0
DNS = """
dns:
  records: [www CNAME web, "old 60 A 192.0.2.7", 'note TXT "a; b"']
  transfer: [127.0.0.0/8]
  forward: [127.0.53.54]
"""


@attrs.frozen
class Said:
    """What a program said, and how it ended."""

    status: int
    text: str

    @property
    def lines(self) -> list[str]:
        """Return its lines, each with single spaces in it, in order."""
        return sorted(" ".join(line.split()) for line in self.text.splitlines())


async def run(*argv: str) -> Said:
    """Run a program to its end."""
    assert shutil.which(argv[0]), f"install {argv[0]}"
    process = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), LIMIT_S)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode is not None
    return Said(process.returncode, output.decode())


@asynccontextmanager
async def served(folder: Path, dns_yml: str = DNS) -> AsyncIterator[FakeCluster]:
    """Have two nodes with `web` on each, whose zone may be copied."""
    dns = parse(dns_yml, "cluster.yml").dns
    async with fake_cluster(folder, dns=dns) as cluster:
        await cluster["uno"].container_sup.add_service(attrs.evolve(WEB, replicas=2))
        lookup = cluster["uno"].dns_registry.lookup
        await eventually(lambda: len(lookup("web")) == 2)
        yield cluster


@asynccontextmanager
async def on_port_53(cluster: FakeCluster, address: str) -> AsyncIterator[None]:
    """Have uno answer where programs ask that cannot be told a port."""
    server = DnsServer()
    answer = cluster["uno"].dns_registry.answer
    await server.start(address, 53, answer, lambda asker: True)
    try:
        yield
    finally:
        await server.stop()
