"""Resolvers that ask a node for the names of its zone, on behalf of others."""

from __future__ import annotations

from pathlib import Path

import pytest

from compat.daemons import ADDRESS, Make, beside, comes, status
from tests.dns_programs import run, served
from tests.fake_cluster import FakeCluster

BOTH = ["127.0.0.1", "127.0.0.2"]


def unbound(folder: Path, port: int, node: str, at: int) -> list[str]:
    """Return an unbound that changes the case of what it asks (0x20), too."""
    config = folder / "unbound.conf"
    config.write_text(
        f"""
server:
  interface: {ADDRESS}@{port}
  access-control: 127.0.0.0/8 allow
  do-not-query-localhost: no
  do-daemonize: no
  use-caps-for-id: yes
  chroot: ""
  username: ""
  directory: "{folder}"
  pidfile: "{folder}/unbound.pid"
  use-syslog: no
  domain-insecure: "veo"
  local-zone: "127.in-addr.arpa." nodefault
remote-control:
  control-enable: no
stub-zone:
  name: "veo"
  stub-addr: {node}@{at}
stub-zone:
  name: "2.0.0.127.in-addr.arpa"
  stub-addr: {node}@{at}
"""
    )
    return ["unbound", "-d", "-c", str(config)]


def dnsmasq(folder: Path, port: int, node: str, at: int) -> list[str]:
    """Return a dnsmasq as it runs on many a router."""
    return [
        *(
            "dnsmasq",
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--log-facility=-",
        ),
        *(f"--port={port}", f"--listen-address={ADDRESS}", "--bind-interfaces"),
        *("--no-resolv", "--no-hosts", "--user=", f"--pid-file={folder}/pid"),
        f"--server=/veo/{node}#{at}",
        f"--server=/2.0.0.127.in-addr.arpa/{node}#{at}",
    ]


def knot_resolver(folder: Path, port: int, node: str, at: int) -> list[str]:
    """Return a knot-resolver that has the zone as a stub."""
    config = folder / "kresd.conf"
    config.write_text(
        f"""
net.listen('{ADDRESS}', {port}, {{ kind = 'dns' }})
modules = {{ 'policy' }}
trust_anchors.remove('.')
cache.size = 10 * MB
policy.add(policy.suffix(policy.FLAGS({{'NO_CACHE'}}), policy.todnames({{'veo'}})))
policy.add(policy.suffix(policy.STUB('{node}@{at}'),
    policy.todnames({{'veo', '2.0.0.127.in-addr.arpa'}})))
"""
    )
    return ["kresd", "--noninteractive", "--config", str(config), str(folder)]


@pytest.mark.parametrize("make", [unbound, dnsmasq, knot_resolver])
async def test_a_resolver_asks_a_node_for_its_zone(tmp_path: Path, make: Make) -> None:
    async with (
        served(tmp_path) as cluster,
        beside(cluster, tmp_path, make) as port,
    ):
        await comes(port, BOTH, "web.veo")
        await look_around(cluster, port)


async def look_around(cluster: FakeCluster, port: int) -> None:
    """See that all that a node answers comes through."""
    await comes(port, [*BOTH, "web.veo."], "WWW.veo")
    await comes(port, ["dos.node.veo."], "-x", "127.0.0.2")
    await comes(port, ["192.0.2.7"], "+tcp", "old.veo")
    await comes(port, ["dos.node.veo.", "uno.node.veo."], "veo", "NS")
    (srv, *_) = cluster["uno"].dns_registry.lookup("_website._tcp.web", "SRV")
    found = await run(
        *("dig", f"@{ADDRESS}", "-p", str(port), "+short"),
        *("_website._tcp.web.veo", "SRV"),
    )
    assert srv.data.lower() in found.text.lower()
    assert await status(port, "nothing.veo") == "NXDOMAIN 0"
    assert await status(port, "web.veo", "AAAA") == "NOERROR 0"
    assert await status(port, "x.web.veo") == "NXDOMAIN 0"
