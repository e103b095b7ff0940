"""Thirty instances over three hosts: VEO, plain `docker run` side by side, Swarm."""

from __future__ import annotations

import concurrent.futures
import subprocess
import time
from collections.abc import Callable

from bench.hosts import HOSTS, hosts, nodes, soon
from bench.report import moment, ratio, spread
from bench.swarm import IMAGE, Swarm, swarm
from tests.rig.cluster import Cluster
from tests.rig.rig import Rig

REPLICAS = 30
AT_ONCE = (3, 6, 12)
NAME = "beside"
Container = tuple[str, str]


def bench(rounds: int) -> None:
    """Measure and print."""
    with hosts() as rig, nodes(rig) as cluster, swarm(rig) as beside:
        ways: dict[str, Callable[[], float]] = {
            f"docker run, {count} at a time": lambda count=count: raw_s(rig, count)  # type: ignore[misc]
            for count in AT_ONCE
        }
        ways["VEO"] = lambda: veo_s(cluster)
        ways["Docker Swarm"] = lambda: swarm_s(beside)
        taken: dict[str, list[float]] = {way: [] for way in ways}
        for number in range(rounds):
            # Each takes every place in the order: what one leaves behind hits all.
            turn = number % len(ways)
            for way in [*ways][turn:] + [*ways][:turn]:
                taken[way].append(ways[way]())
    for way, series in taken.items():
        spread(f"30 instances → all running: {way}", series)
    for way, series in taken.items():
        if way != "VEO":
            aim = "≤ 1.10 median" if way.startswith("docker") else ""
            ratio(way, taken["VEO"], series, aim=aim)


def veo_s(cluster: Cluster) -> float:
    """Return how long VEO takes, from the call."""
    service = cluster.service("web", replicas=REPLICAS)
    uno = cluster["uno"]
    begun_s = time.time()
    uno.call("container_sup.add_service", service)
    # Returns once all run: to look at the engines meanwhile would cost them time.
    uno.call("container_sup.scale", "web", REPLICAS)
    found = [(r.host, r.id) for r in cluster.running()]
    took_s = last_start_s(cluster.rig, found) - begun_s
    assert len(found) == REPLICAS
    uno.call("container_sup.remove_service", "web")
    return took_s


def swarm_s(beside: Swarm) -> float:
    """Return how long Swarm takes, from the command."""
    begun_s = time.time()
    beside.create(NAME, REPLICAS, "--publish", "mode=host,target=80")
    soon(lambda: len(beside.running(NAME)) == REPLICAS)
    took_s = max(beside.started_s(beside.running(NAME))) - begun_s
    beside.remove(NAME)
    return took_s


def raw_s(rig: Rig, at_once: int) -> float:
    """Return how long plain Docker takes, so many commands at a time."""
    turns = [HOSTS[number % len(HOSTS)] for number in range(REPLICAS)]
    begun_s = time.time()
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        found = list(pool.map(lambda host: (host, run(rig, host)), turns))
        took_s = last_start_s(rig, found) - begun_s
        list(pool.map(lambda each: docker(rig, each[0], "rm", "-f", each[1]), found))
    return took_s


def run(rig: Rig, host: str) -> str:
    """Run a container as VEO does; return its id."""
    publish = f"--publish={rig.address(host)}::80"
    return docker(rig, host, "run", "--detach", publish, IMAGE)


def docker(rig: Rig, host: str, *argv: str) -> str:
    """Run Docker's own client for a host's engine."""
    command = ["docker", "--host", rig.docker_url(host), *argv]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def last_start_s(rig: Rig, found: list[Container]) -> float:
    """Return when the last of these containers started, as Docker says."""
    moments = []
    for host in HOSTS:
        with rig.client(host) as client:
            told = [client.api.inspect_container(i) for h, i in found if h == host]
            moments += [moment(each["State"]["StartedAt"]) for each in told]
    return max(moments)
