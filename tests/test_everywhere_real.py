"""`mode: global` on real hosts, each with an engine of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.real_node import eventually
from tests.rig.cluster import Cluster
from tests.rig.rig import Rig
from veo_shell.core.model import Mode, Port, UpdateConfig
from veo_shell.errors import ServiceError

pytestmark = [pytest.mark.rig, pytest.mark.timeout(240)]
LIMIT_S = 40.0
HTTP = (Port(name="http", container_port=80, host_port=8091),)
QUICK = UpdateConfig(monitor_ns=1_000_000_000)


@pytest.fixture(scope="module")
def shared_cluster(
    trio: Rig, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """Have a node on two of three hosts; the third one's is still to start."""
    cluster = Cluster(trio, tmp_path_factory.mktemp("cluster"))
    try:
        cluster.start("uno", "dos")
        cluster["tres"].log_path.touch()
        yield cluster
    finally:
        cluster.close()


def hosts_of(cluster: Cluster) -> list[str]:
    return sorted(host for _, host in cluster.places("available"))


def test_one_runs_on_each_host_whatever_comes_and_goes(cluster: Cluster) -> None:
    uno = cluster["uno"]
    each = {"mode": Mode.GLOBAL, "replicas": 1, "ports": HTTP, "update": QUICK}
    added = cluster.add("available", **each)
    assert (added.warning, hosts_of(cluster)) == ("", ["dos", "uno"])
    before = {running.id for running in cluster.running()}

    cluster.start("tres")
    eventually(lambda: hosts_of(cluster) == ["dos", "tres", "uno"], LIMIT_S)
    assert before < {running.id for running in cluster.running()}
    at = [uno.rig.address(host) for host in ("dos", "tres", "uno")]
    eventually(lambda: uno.dig("available.veo").answer == sorted(at), LIMIT_S)

    newer = cluster.service("available", **each, environment=("VERSION=2",))
    done = cluster["tres"].call("container_sup.update_service", "available", newer)
    assert (done.what, done.warning) == ("available updated", "")
    assert hosts_of(cluster) == ["dos", "tres", "uno"]
    told = cluster.inspected(cluster.running()).values()
    assert all("VERSION=2" in container["Config"]["Env"] for container in told)

    assert not uno.call("node_monitor.drain", "dos").warning
    assert hosts_of(cluster) == ["tres", "uno"]
    uno.call("node_monitor.undrain", "dos")
    eventually(lambda: hosts_of(cluster) == ["dos", "tres", "uno"], LIMIT_S)

    with pytest.raises(ServiceError, match=r"\(mode: global\)"):
        uno.call("container_sup.scale", "available", 2)
    held = cluster.places("available")
    cluster.kill("dos")
    eventually(lambda: cluster.statuses("uno")["dos"] == "dead", LIMIT_S)
    cluster.start("dos")
    assert cluster.places("available") == held
    uno.call("container_sup.remove_service", "available")
    assert cluster.running() == []
