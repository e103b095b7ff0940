"""A group on real hosts, each with an engine of its own: together, always."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.real_node import eventually
from tests.rig.cluster import Cluster, Running
from veo_shell.core.model import GroupPolicy, GroupRole

pytestmark = [pytest.mark.rig, pytest.mark.timeout(240)]
ALL = GroupPolicy.ONE_KILLS_ALL


@pytest.fixture(autouse=True)
def no_services(cluster: Cluster) -> Iterator[None]:
    """Leave nothing to the next test, and all nodes as they were."""
    yield
    uno = cluster["uno"]
    for host in cluster.hosts:
        uno.call("node_monitor.undrain", cluster[host].name)
    for name in {service.name for service in uno.call("container_sup.services")}:
        uno.call("container_sup.remove_service", name)


def shop(cluster: Cluster, **changes: Any) -> str:
    """Have a group of three run; return the host that it is on."""
    roles = (("db", GroupRole.MASTER, 1), ("app", GroupRole.SLAVE, 2))
    for name, role, replicas in roles:
        grouped = {"group": "shop", "group_role": role, "group_policy": ALL}
        cluster.add("available", name=name, replicas=replicas, **grouped, **changes)
    return home(cluster)


def home(cluster: Cluster, *hosts: str) -> str:
    ((host,),) = {(each.host,) for each in whole(cluster, *hosts)}
    return host


def whole(cluster: Cluster, *hosts: str) -> list[Running]:
    """Return the containers of the group once each of it runs, on one of the hosts."""

    def seen() -> list[Running]:
        running = cluster.running(*hosts)
        names = [each.service for each in running]
        is_whole = sorted(names) == ["app", "app", "db"]
        return running if is_whole and len({r.host for r in running}) == 1 else []

    found: list[Running] = eventually(seen, 30)
    return found


def started(cluster: Cluster, running: list[Running]) -> dict[str, str]:
    told = cluster.inspected(running)
    return {r.id: told[r.id]["State"]["StartedAt"] for r in running}


def test_a_killed_process_takes_its_group_with_it_and_the_master_begins(
    cluster: Cluster,
) -> None:
    host = shop(cluster)
    before = started(cluster, whole(cluster))
    victim = next(r for r in whole(cluster) if r.service == "app")
    cluster[host].docker("kill", victim.id)

    def all_started() -> dict[str, str]:
        now = started(cluster, whole(cluster))
        anew = now.keys() == before.keys() and all(now[k] > before[k] for k in now)
        return now if anew else {}

    now = eventually(all_started, 30)
    (db,) = [r.id for r in whole(cluster) if r.service == "db"]
    assert now[db] == min(now.values())


def test_a_lost_host_loses_its_group_to_one_other(cluster: Cluster) -> None:
    host = shop(cluster)
    rest = [other for other in cluster.hosts if other != host]
    cluster.rig.cut(host)
    try:
        assert home(cluster, *rest) in rest
    finally:
        cluster.rig.mend(host)
    eventually(cluster.is_joined, 60)
    whole(cluster)


def test_a_drained_host_hands_its_group_over_whole(cluster: Cluster) -> None:
    host = shop(cluster)
    rest = [other for other in cluster.hosts if other != host]
    done = cluster[rest[0]].call("node_monitor.drain", cluster[host].name)
    assert done.warning == ""
    assert home(cluster) in rest
    cluster["uno"].call("container_sup.restart", "app")
    ((db,),) = {(r.name,) for r in cluster.running() if r.service == "db"}
    cluster["uno"].call("container_sup.stop", db)
    assert cluster.running() == []
