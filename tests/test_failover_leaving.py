"""Nodes that are drained, removed, or leave: their work goes on elsewhere."""

from __future__ import annotations

from collections import Counter
from functools import partial

import pytest

from tests.real_node import STOP_S, eventually
from tests.rig.cluster import Cluster
from tests.rig.visitor import Visitor

pytestmark = [pytest.mark.rig, pytest.mark.timeout(240)]
LIMIT_S = 40.0
WEB = 6
PAGES = 20


@pytest.fixture(scope="module", autouse=True)
def web(shared_cluster: Cluster) -> None:
    """Have a service of six instances."""
    shared_cluster.add("web")
    runs_on(shared_cluster, "uno", "dos", "tres")


def runs_on(cluster: Cluster, *hosts: str) -> None:
    """Wait until every slot runs once, evenly on these hosts, and DNS says so."""
    even = dict.fromkeys(hosts, WEB // len(hosts))
    eventually(lambda: spread(cluster) == even, LIMIT_S)
    answer = [cluster.rig.address(host) for host in hosts]
    for at in hosts:
        eventually(partial(answers, cluster, at, answer), LIMIT_S)


def spread(cluster: Cluster) -> Counter[str] | None:
    """Return how many instances each host runs; None unless each slot runs once."""
    places = cluster.one_each("web", WEB)
    return Counter(host for _, host in places) if places else None


def answers(cluster: Cluster, host: str, answer: list[str]) -> bool:
    """Tell whether that is what a node answers for the service."""
    return cluster[host].dig("web.veo").answer == answer


def is_known(cluster: Cluster, host: str, of: str) -> bool:
    """Tell whether another is a member for a node, dead or alive."""
    return cluster.statuses(host).get(of, "left") != "left"


def is_forgotten(cluster: Cluster, host: str, of: str) -> bool:
    """Tell the opposite."""
    return not is_known(cluster, host, of)


def comes_back(cluster: Cluster, host: str) -> None:
    """Start a node that is no member any more, and have it take its share of work."""
    cluster.start(host)
    cluster["uno"].call("node_monitor.rebalance")
    runs_on(cluster, "uno", "dos", "tres")


def test_a_node_drained_and_given_work_again_under_load(cluster: Cluster) -> None:
    with Visitor(cluster.rig, "dos", "web", "http") as visitor:
        cluster["uno"].call("node_monitor.drain", "tres")
        assert spread(cluster) == {"uno": 3, "dos": 3}
        runs_on(cluster, "uno", "dos")
        cluster["uno"].call("node_monitor.undrain", "tres")
        cluster["dos"].call("node_monitor.rebalance")
        runs_on(cluster, "uno", "dos", "tres")
    assert visitor.failures == []
    assert visitor.pages > PAGES


def test_a_live_node_removed(cluster: Cluster) -> None:
    with Visitor(cluster.rig, "dos", "web", "http") as visitor:
        cluster["uno"].call("node_monitor.remove_node", "tres")
        assert spread(cluster) == {"uno": 3, "dos": 3}
        process = cluster["tres"].process
        assert process is not None
        assert process.wait(STOP_S) == 0
        runs_on(cluster, "uno", "dos")
    assert visitor.failures == []
    for at in ("uno", "dos"):
        eventually(partial(is_forgotten, cluster, at, "tres"), LIMIT_S)
    comes_back(cluster, "tres")


def test_a_dead_node_removed_that_is_not_dead_after_all(cluster: Cluster) -> None:
    cluster.rig.cut("tres")
    eventually(lambda: cluster.statuses("uno")["tres"] == "dead", LIMIT_S)
    cluster["uno"].call("node_monitor.remove_node", "tres")
    for at in ("uno", "dos"):
        eventually(partial(is_forgotten, cluster, at, "tres"), LIMIT_S)
    eventually(lambda: cluster.one_each("web", WEB, "uno", "dos"), LIMIT_S)
    cluster.rig.mend("tres")
    # It finds that it is no member any more, and begins anew as one that never was.
    eventually(lambda: not cluster["tres"].is_running, LIMIT_S)
    comes_back(cluster, "tres")


def test_a_node_that_leaves(cluster: Cluster) -> None:
    cluster["tres"].stop("--leave")
    assert [cluster.statuses(at).get("tres") for at in ("uno", "dos")] == ["left"] * 2
    runs_on(cluster, "uno", "dos")
    comes_back(cluster, "tres")
