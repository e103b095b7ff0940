"""A node that is started again at another address of its host."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.real_node import RealNode, eventually
from tests.rig.cluster import Cluster, Running

pytestmark = [pytest.mark.rig, pytest.mark.timeout(240)]
LIMIT_S = 40.0
OTHER = "10.77.0.41"


@contextlib.contextmanager
def moved(node: RealNode) -> Iterator[None]:
    """Have a node stopped, and run at another address that its host has meanwhile."""
    node.rig.run(node.host, "ip", "addr", "add", f"{OTHER}/24", "dev", "eth0")
    try:
        node.stop()
        node.start("--address", OTHER)
        yield
        node.stop()
    finally:
        node.rig.run(node.host, "ip", "addr", "del", f"{OTHER}/24", "dev", "eth0")


def one(cluster: Cluster, before: Running | None = None) -> Running | None:
    """Return what runs on dos if it is one, and another than before."""
    running = cluster.running("dos")
    is_new = len(running) == 1 and running[0] != before
    return running[0] if is_new else None


def serves(cluster: Cluster, address: str) -> bool:
    """Tell whether DNS names that address, and what it names can be reached."""
    uno = cluster["uno"]
    srv = uno.dig("_http._tcp.web.veo", "SRV").answer
    if uno.dig("web.veo").answer != [address] or len(srv) != 1:
        return False
    _, _, port, target = srv[0].split()
    assert uno.dig(target).answer == [address]
    url = f"http://{address}:{port}/"
    done = cluster.rig.run("uno", "curl", "-sf", "-m", "2", url, check=False)
    return done.returncode == 0


def test_dns_follows_what_is_bound(cluster: Cluster) -> None:
    uno, dos = cluster["uno"], cluster["dos"]
    cluster.add("web", replicas=1, hosts=(dos.name,))
    first: Running = eventually(lambda: one(cluster), LIMIT_S)
    with moved(dos):
        eventually(lambda: uno.dig("dos.node.veo").answer == [OTHER], LIMIT_S)
        # What runs is where it was, and was not touched.
        eventually(lambda: serves(cluster, dos.address), LIMIT_S)
        assert cluster.running("dos") == [first]
        # What is started again is where its node is.
        dos.docker("kill", first.id)
        second: Running = eventually(lambda: one(cluster, first), LIMIT_S)
        eventually(lambda: serves(cluster, OTHER), LIMIT_S)
    # Its host does not have that address any more: nobody reaches what runs.
    assert cluster.running("dos") == [second]
    dos.start()
    eventually(lambda: one(cluster, second), LIMIT_S)
    eventually(lambda: serves(cluster, dos.address), LIMIT_S)
    assert f"its host does not have {OTHER} any more" in uno.console("why('web')")
