"""Services get new specs on real hosts, each with an engine of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from tests.rig.cluster import Cluster
from veo_shell.core.model import Port, UpdateConfig
from veo_shell.errors import UpdateFailed

pytestmark = [pytest.mark.rig, pytest.mark.timeout(240)]
QUICK = UpdateConfig(monitor_ns=1_000_000_000)


@pytest.fixture(autouse=True)
def no_services(cluster: Cluster) -> Iterator[None]:
    """Leave nothing to the next test."""
    yield
    uno = cluster["uno"]
    for name in {service.name for service in uno.call("container_sup.services")}:
        uno.call("container_sup.remove_service", name)


def versions(cluster: Cluster) -> list[str]:
    """Return the VERSION in the environment of each container that runs."""
    told = cluster.inspected(cluster.running())
    found = (dict(e.split("=", 1) for e in c["Config"]["Env"]) for c in told.values())
    return sorted(env.get("VERSION", "") for env in found)


def changed(cluster: Cluster, **changes: Any) -> Any:
    return cluster.service("available", replicas=3, update=QUICK, **changes)


def test_an_update_replaces_the_containers_of_every_host(cluster: Cluster) -> None:
    cluster.add("available", replicas=3, update=QUICK)
    before = cluster.one_each("available", 3)
    new = changed(cluster, environment=("VERSION=2",))
    done = cluster["dos"].call("container_sup.update_service", "available", new)
    assert (done.what, done.warning) == ("available updated", "")
    assert versions(cluster) == ["2", "2", "2"]
    assert cluster.one_each("available", 3) == before
    cluster["tres"].call("container_sup.rollback", "available")
    assert versions(cluster) == ["", "", ""]


def test_a_spec_that_does_not_run_is_rolled_back_everywhere(cluster: Cluster) -> None:
    cluster.add("available", replicas=3, update=QUICK)
    before = [running.id for running in cluster.running()]
    bad = changed(cluster, args=("nginx", "--wrong"), environment=("VERSION=2",))
    with pytest.raises(UpdateFailed, match=r"all is rolled back: slot [0-2]: "):
        cluster["uno"].call("container_sup.update_service", "available", bad)
    assert [running.id for running in cluster.running()] == before
    (stands,) = cluster["dos"].call("container_sup.services")
    assert stands.environment == ()


def test_on_a_fixed_port_the_old_one_stops_first(cluster: Cluster) -> None:
    fixed = (Port(name="http", container_port=80, host_port=8085),)
    cluster.add("available", replicas=3, update=QUICK, ports=fixed)
    new = attrs.evolve(changed(cluster, ports=fixed), environment=("VERSION=2",))
    cluster["uno"].call("container_sup.update_service", "available", new)
    assert versions(cluster) == ["2", "2", "2"]
    assert cluster.one_each("available", 3) is not None
