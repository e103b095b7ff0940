"""Servers of others that hold a copy of a node's zone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from compat.daemons import ADDRESS, asked, comes, daemon, free_port
from tests.dns_programs import run, served
from tests.fake_cluster import WEB, FakeCluster


def knot(folder: Path, port: int, node: str, at: int) -> list[str]:
    """Return a knot that has the zone of a node."""
    config = folder / "knot.conf"
    config.write_text(
        f"""
server:
    listen: {ADDRESS}@{port}
    rundir: {folder}
database:
    storage: {folder}/db
remote:
  - id: veo
    address: {node}@{at}
acl:
  - id: all
    address: 127.0.0.0/8
    action: transfer
zone:
  - domain: veo
    master: veo
    storage: {folder}
    acl: all
log:
  - target: stderr
    any: debug
"""
    )
    return ["knotd", "--config", str(config)]


def nsd(folder: Path, port: int, node: str, at: int) -> list[str]:
    """Return an nsd that has the zone of a node."""
    config = folder / "nsd.conf"
    config.write_text(
        f"""
server:
  ip-address: {ADDRESS}@{port}
  username: ""
  chroot: ""
  zonesdir: "{folder}"
  database: ""
  pidfile: "{folder}/nsd.pid"
  xfrdfile: "{folder}/xfrd.state"
  zonelistfile: "{folder}/zone.list"
  xfrdir: "{folder}"
  server-count: 1
remote-control:
  control-enable: no
zone:
  name: "veo"
  zonefile: "veo.zone"
  request-xfr: {node}@{at} NOKEY
  provide-xfr: 127.0.0.0/8 NOKEY
"""
    )
    return ["nsd", "-d", "-c", str(config)]


async def serials(cluster: FakeCluster) -> list[str]:
    return [r.data for r in cluster["uno"].dns_registry.lookup("veo", "SOA")]


@pytest.mark.parametrize("make", [knot, nsd])
async def test_a_secondary_has_the_zone_and_follows_it(
    tmp_path: Path, make: Callable[[Path, int, str, int], list[str]]
) -> None:
    async with served(tmp_path) as cluster:
        port, at = free_port(), cluster.servers["uno"].port
        (tmp_path / "own").mkdir()
        argv = make(tmp_path / "own", port, cluster.addresses["uno"], at)
        async with daemon(tmp_path / "log", *argv):
            await comes(port, await serials(cluster), "veo", "SOA")
            await is_the_same(cluster, port)
            later = attrs.evolve(WEB, name="later")
            await cluster["uno"].container_sup.add_service(later)
            (added,) = cluster["uno"].dns_registry.lookup("later")
            await comes(port, [added.data], "later.veo")
            await comes(port, await serials(cluster), "veo", "SOA")
            await is_the_same(cluster, port)


async def is_the_same(cluster: FakeCluster, port: int) -> None:
    """See that the secondary answers every record, and has no others."""
    told = await cluster["uno"].dns_registry.records()
    own = [record for record in told if record.name.endswith("veo.")]
    for name, kind in {(r.name, r.type) for r in own}:
        expected = sorted(r.data for r in own if (r.name, r.type) == (name, kind))
        assert await asked(port, "+norec", name, kind) == expected
    whole = await run("dig", f"@{ADDRESS}", "-p", str(port), "+nocmd", "veo", "AXFR")
    shown = [line for line in whole.lines if line and line[0] != ";"]
    assert len(shown) == len(own) + 1
