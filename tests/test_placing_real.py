"""Where services run on real engines, as an operator asks for it in a spec."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.real_node import eventually
from tests.rig.cluster import Cluster
from tests.rig.rig import Rig
from veo_shell.core.model import Mount, MountKind, Placement, Port, PullState
from veo_shell.core.scalars import constraint
from veo_shell.errors import NoSuitableNode

pytestmark = [pytest.mark.rig, pytest.mark.timeout(240)]
LIMIT_S = 40.0
NGINX = "nginx:latest"
HTTP = (Port(name="http", container_port=80, host_port=8081),)
DATA = (Mount(kind=MountKind.VOLUME, source="veo-test-data", target="/data"),)


@pytest.fixture(scope="module")
def shared_cluster(
    trio: Rig, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """Have a node on each of three hosts, two of which have labels."""
    cluster = Cluster(trio, tmp_path_factory.mktemp("cluster"))
    cluster["uno"].rest += ("--label", "disk=ssd", "--label", "rack=1")
    cluster["dos"].rest += ("--label", "disk=hdd")
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()


@pytest.fixture(autouse=True)
def no_services(cluster: Cluster) -> Iterator[None]:
    """Leave nothing to the next test."""
    yield
    uno = cluster["uno"]
    for name in {service.name for service in uno.call("container_sup.services")}:
        uno.call("container_sup.remove_service", name)


def hosts_of(cluster: Cluster, service: str) -> list[str]:
    return sorted(host for _, host in cluster.places(service))


def test_labels_given_at_the_start_decide_where_it_runs(cluster: Cluster) -> None:
    rows = cluster["dos"].call("node_monitor.nodes")
    assert {row.node: row.labels for row in rows} == {
        "uno@uno": ("disk=ssd", "rack=1"),
        "dos@dos": ("disk=hdd",),
        "tres@tres": (),
    }
    not_hdd = (constraint("disk != hdd"), constraint("rack != 1"))
    added = cluster.add("available", replicas=1, constraints=not_hdd)
    assert added.node == "tres@tres"
    with pytest.raises(NoSuitableNode, match="it has no label disk"):
        cluster.add("keep", constraints=(constraint("disk == nvme"),))


def test_instances_that_want_one_port_are_on_hosts_of_their_own(
    cluster: Cluster,
) -> None:
    cluster.add("web", replicas=2, ports=HTTP)
    eventually(lambda: len(cluster.places("web")) == 2, LIMIT_S)
    assert len(set(hosts_of(cluster, "web"))) == 2
    cluster.add(
        "available",
        replicas=1,
        network_mode="host",
        ports=(Port(name="http", container_port=8081),),
    )
    eventually(lambda: len(cluster.places("available")) == 1, LIMIT_S)
    assert not {*hosts_of(cluster, "web")} & {*hosts_of(cluster, "available")}
    with pytest.raises(NoSuitableNode, match="port 8081/tcp is taken by"):
        cluster.add("keep", replicas=1, ports=HTTP)


def test_instances_are_packed_and_bounded(cluster: Cluster) -> None:
    cluster.add("available", replicas=3, placement=Placement.BINPACK)
    eventually(lambda: len(cluster.places("available")) == 3, LIMIT_S)
    assert len(set(hosts_of(cluster, "available"))) == 1
    added = cluster.add("web", replicas=4, max_per_node=1)
    assert added.warning == "1 waits for a node that fits"


def test_a_service_stays_with_its_volume(cluster: Cluster) -> None:
    added = cluster.add("available", replicas=1, mounts=DATA)
    home = added.node.partition("@")[0]
    others = [host for host in cluster.hosts if host != home]
    other = cluster[others[0]]
    eventually(lambda: other.call("node_monitor.drain", home).warning, LIMIT_S)
    stays = f"available slot 0 stays on {added.node}: its volume veo-test-data is there"
    assert other.call("node_monitor.drain", home).warning == stays
    other.call("node_monitor.undrain", home)
    cluster.kill(home)
    eventually(lambda: cluster.statuses(others[0])[home] == "dead", LIMIT_S)
    [waits] = other.call("container_sup.cloud_containers")
    assert waits.reason == f"{added.node} is lost, and has its volume veo-test-data"
    cluster.start(home)
    eventually(lambda: cluster.places("available") == [(0, home)], LIMIT_S)
    # Removed and added again it finds its data, whatever else would be better.
    other.call("container_sup.remove_service", "available")
    again = cluster.add("available", replicas=1, mounts=DATA)
    assert again.node == added.node
    other.call("container_sup.remove_service", "available")
    cluster[home].docker("volume", "rm", "veo-test-data")


def test_nodes_tell_which_images_they_have_and_pull_what_they_are_told(
    cluster: Cluster,
) -> None:
    dos = cluster["dos"]
    dos.docker("tag", NGINX, "veo-test-only:1")
    service = cluster.service("available", image="veo-test-only:1", replicas=1)
    first = eventually(
        lambda: next(
            (c for c in dos.call("node_monitor.where", service) if c.has_image), None
        ),
        LIMIT_S,
    )
    assert first.node == "dos@dos"
    assert dos.call("container_sup.add_service", service).node == "dos@dos"
    # No registry can be reached from these hosts: each says so in a line of its own.
    rows = dos.call("container_sup.pull", "localhost:1/missing:1", ["uno", "dos"])
    assert [(row.node, row.state) for row in rows] == [
        ("uno@uno", PullState.FAILED),
        ("dos@dos", PullState.FAILED),
    ]
    for row in rows:
        assert row.reason.startswith("localhost:1/missing:1: cannot be pulled: ")
        assert "\n" not in row.reason
    dos.call("container_sup.remove_service", "available")
    dos.docker("rmi", "veo-test-only:1")
