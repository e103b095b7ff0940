"""Hosts and processes lost and back, on three hosts with an engine and nginx each.

The limits are generous, as all runs on two cores; `make bench` has the exact times.
"""

from __future__ import annotations

import time
from collections import Counter
from functools import partial

import pytest

from scripts.soak_hosts import alarms_of
from tests.real_node import eventually
from tests.rig.cluster import Cluster
from tests.rig.watch import Watch

pytestmark = [pytest.mark.rig, pytest.mark.timeout(240)]
LIMIT_S = 40.0
WEB = 6
FROZEN_S = 20.0
Places = list[tuple[int, str]]


@pytest.fixture(scope="module", autouse=True)
def web(shared_cluster: Cluster) -> None:
    """Have a service of six instances, two on each host."""
    shared_cluster.add("web")
    places = eventually(lambda: shared_cluster.one_each("web", WEB), LIMIT_S)
    assert Counter(host for _, host in places) == {"uno": 2, "dos": 2, "tres": 2}


def runs_once(cluster: Cluster, *hosts: str) -> Places:
    """Wait until every slot of the service runs just once, and DNS says where."""
    places: Places = eventually(lambda: cluster.one_each("web", WEB, *hosts), LIMIT_S)
    answer = list(cluster.addresses(places))
    for host in hosts or cluster.hosts:
        eventually(partial(answers, cluster, host, answer), LIMIT_S)
    return places


def answers(cluster: Cluster, host: str, answer: list[str]) -> bool:
    """Tell whether that is what a node answers for the service."""
    return cluster[host].dig("web.veo").answer == answer


def is_clean(cluster: Cluster) -> bool:
    """Tell whether no engine has a container of the cluster that does not run."""
    return not any(cluster.leftovers(host) for host in cluster.hosts)


def ids(cluster: Cluster, *hosts: str) -> set[str]:
    """Return the ids of all that runs, on all hosts by default."""
    return {running.id for running in cluster.running(*hosts)}


def tells_of_heal(cluster: Cluster, host: str) -> bool:
    """Tell whether a node says that each slot was healed last."""
    heal = cluster[host].call("container_sup.last_heal")
    return {entry.slot for entry in heal} == set(range(WEB))


def spread(cluster: Cluster) -> None:
    """Have two instances on each host again."""
    cluster["uno"].call("node_monitor.rebalance")
    places = runs_once(cluster)
    assert Counter(host for _, host in places) == {"uno": 2, "dos": 2, "tres": 2}


def test_a_pulled_cable(cluster: Cluster) -> None:
    rig, before = cluster.rig, ids(cluster)
    lost = {slot for slot, host in runs_once(cluster) if host == "tres"}
    foreseen = cluster["uno"].call("container_sup.if_lost", "tres")
    log_size = len(cluster.log("uno"))
    with Watch(rig, ("uno", "dos"), "web.veo") as watch:
        rig.cut("tres")
        moved = dict(runs_once(cluster, "uno", "dos"))
        replaced_s = time.time()
        # What is looked for elsewhere, and not found, is what a node does say.
        eventually(lambda: alarms_of(cluster, "uno", log_size), LIMIT_S)
        assert {(m.slot, m.target) for m in foreseen.moves} == {
            (slot, f"{moved[slot]}@{moved[slot]}") for slot in lost
        }
        # Alone, the lost host runs all of it too.
        eventually(lambda: cluster.one_each("web", WEB, "tres"), LIMIT_S)
        mended_s = time.time()
        rig.mend("tres")
        runs_once(cluster)
    for host in ("uno", "dos"):
        while_lost = [s for s in watch.seen(host, replaced_s) if s.at_s < mended_s]
        assert [rig.address("tres") in s.answer for s in while_lost] == [False]
    # What ran before all this is what stays.
    assert ids(cluster) == before
    for host in cluster.hosts:
        eventually(partial(tells_of_heal, cluster, host), LIMIT_S)
    eventually(lambda: is_clean(cluster), LIMIT_S)


def test_a_power_loss(cluster: Cluster) -> None:
    rig = cluster.rig
    rig.fail_power("tres")
    moved = runs_once(cluster, "uno", "dos")
    running = ids(cluster, "uno", "dos")
    rig.restore_power("tres")
    cluster.start("tres")
    eventually(lambda: is_clean(cluster), LIMIT_S)
    # A host that returns takes no work that has found another place.
    assert runs_once(cluster) == moved
    assert ids(cluster) == running
    spread(cluster)


def test_a_killed_daemon_takes_back_what_runs(cluster: Cluster) -> None:
    before = cluster.running()
    with Watch(cluster.rig, ("uno", "tres"), "web.veo") as watch:
        cluster.kill("dos")
        eventually(lambda: cluster.statuses("uno")["dos"] == "down", LIMIT_S)
        cluster.start("dos")
        assert runs_once(cluster) == [(r.slot, r.host) for r in before]
    assert cluster.running() == before
    for host in cluster.hosts:
        held = cluster[host].call("container_sup.cloud_containers")
        assert {container.id for container in held} == {r.id for r in before}
        assert [container.restarts for container in held] == [0] * WEB
    everywhere = tuple(map(cluster.rig.address, cluster.hosts))
    for host in ("uno", "tres"):
        assert [seen.answer for seen in watch.seen(host)] == [everywhere]


def test_a_frozen_daemon(cluster: Cluster) -> None:
    before = ids(cluster)
    log_size = len(cluster.log("tres"))
    cluster["tres"].freeze()
    frozen_s = time.monotonic()
    runs_once(cluster, "uno", "dos")
    eventually(lambda: len(ids(cluster)) == WEB + 2, LIMIT_S)
    eventually(lambda: time.monotonic() - frozen_s > FROZEN_S, 2 * FROZEN_S)
    cluster["tres"].thaw()
    runs_once(cluster)
    assert ids(cluster) == before
    # It knows that it was itself that did not hear.
    assert alarms_of(cluster, "tres", log_size) == []
    eventually(lambda: cluster.is_joined() and is_clean(cluster), LIMIT_S)


def test_a_restarted_engine(cluster: Cluster) -> None:
    before = runs_once(cluster)
    cluster.rig.stop_engine("uno")
    others = [cluster.rig.address(host) for host in ("dos", "tres")]
    eventually(lambda: answers(cluster, "dos", others), LIMIT_S)
    cluster.rig.start_engine("uno")
    assert runs_once(cluster) == before
    eventually(lambda: is_clean(cluster), LIMIT_S)


def test_the_whole_cluster_killed(cluster: Cluster) -> None:
    before = ids(cluster)
    cluster.kill()
    cluster.start()
    runs_once(cluster)
    assert ids(cluster) == before


def test_the_whole_cluster_and_its_engines_killed(cluster: Cluster) -> None:
    before = runs_once(cluster)
    cluster.kill()
    for host in cluster.hosts:
        cluster.rig.kill_engine(host)
    for host in cluster.hosts:
        cluster.rig.start_engine(host)
    cluster.start()
    assert runs_once(cluster) == before
    eventually(lambda: is_clean(cluster), LIMIT_S)
