"""A network cut in two, one host against two, and healed again, for each policy."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import pytest

from tests.real_node import eventually
from tests.rig.cluster import Cluster

pytestmark = [pytest.mark.rig, pytest.mark.timeout(240)]
LIMIT_S = 40.0
REPLICAS = 3
POLICIES = ("available", "majority", "keep")
SMALLER, LARGER = ("uno",), ("dos", "tres")


def runs_once(cluster: Cluster, service: str, *hosts: str) -> None:
    """Wait until every slot of a service runs just once on these hosts."""
    eventually(lambda: cluster.one_each(service, REPLICAS, *hosts), LIMIT_S)


def ids(cluster: Cluster, service: str, *hosts: str) -> set[str]:
    """Return the ids of a service's containers that run on these hosts."""
    return {r.id for r in cluster.running(*hosts) if r.service == service}


def answers(cluster: Cluster, at: str, service: str, *hosts: str) -> bool:
    """Tell whether a node answers just the addresses of these hosts."""
    expected = [cluster.rig.address(host) for host in hosts]
    return cluster[at].dig(f"{service}.veo").answer == expected


def events(
    cluster: Cluster, action: str, service: str, since_s: float, *hosts: str
) -> list[float]:
    """Return when containers of a service started or died, as their engines tell."""
    found = []
    label = f"veo.service={service}"
    told = {"event": action, "label": label}
    for host in hosts:
        with cluster.rig.client(host) as client:
            seen: Any = client.api.events(
                since=int(since_s),
                until=int(time.time()) + 1,
                filters=told,
                decode=True,
            )
            found += [event["timeNano"] / 1e9 for event in seen]
    return sorted(at_s for at_s in found if at_s > since_s)


def test_a_network_cut_in_two(cluster: Cluster) -> None:
    for policy in POLICIES:
        cluster.add(policy)
        runs_once(cluster, policy)
        for at in cluster.hosts:
            eventually(partial(answers, cluster, at, policy, *cluster.hosts), LIMIT_S)
    before = {policy: ids(cluster, policy) for policy in POLICIES}
    cut_s = time.time()
    cluster.rig.part(*SMALLER)

    # Both sides run what is to be available, and answer for their own alone.
    runs_once(cluster, "available", *SMALLER)
    runs_once(cluster, "available", *LARGER)
    # Only the larger side runs what is for a majority: the smaller one stopped first.
    runs_once(cluster, "majority", *LARGER)
    assert ids(cluster, "majority", *SMALLER) == set()
    [stopped_s] = events(cluster, "die", "majority", cut_s, *SMALLER)
    [started_s] = events(cluster, "start", "majority", cut_s, *LARGER)
    assert stopped_s < started_s
    # What is to be kept is where it was.
    assert ids(cluster, "keep") == before["keep"]
    for policy in POLICIES:
        for at in LARGER:
            eventually(partial(answers, cluster, at, policy, *LARGER), LIMIT_S)
        own = () if policy == "majority" else SMALLER
        eventually(partial(answers, cluster, "uno", policy, *own), LIMIT_S)
    larger = ids(cluster, "majority", *LARGER)

    cluster.rig.unite(*SMALLER)
    for policy in POLICIES:
        runs_once(cluster, policy)
    assert ids(cluster, "available") == before["available"]
    assert ids(cluster, "majority") == larger
    assert ids(cluster, "keep") == before["keep"]
    for at in cluster.hosts:
        eventually(partial(answers, cluster, at, "available", *cluster.hosts), LIMIT_S)
        eventually(partial(answers, cluster, at, "majority", *LARGER), LIMIT_S)
        eventually(partial(answers, cluster, at, "keep", *cluster.hosts), LIMIT_S)
        heal = cluster[at].call("container_sup.last_heal")
        assert {entry.service for entry in heal} == {"available"}
        assert {entry.slot for entry in heal} == set(range(REPLICAS))
