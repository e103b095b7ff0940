"""Nine instances get a new image by turns, while a client goes on making requests.

VEO and Docker Swarm run on the same three engines, with the same images and the same
settings: one at a time, the new one first, watched for 5 s, and back if one fails.
Each client goes by DNS as it can: that of VEO keeps an answer for the 5 s that it says,
and connects to a port of a host. Swarm's answers say 600 s, so its client asks before
every request, from a container on the service's network: to reach what is published,
Swarm needs IPVS, which not every kernel has.
"""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from bench.asker import Asker, Directory
from bench.hosts import hosts, nodes, soon, wait_s
from bench.report import line, ratio, say, spread
from bench.swarm import Swarm, swarm
from tests.rig.cluster import Cluster
from tests.rig.rig import Rig
from veo_shell.core.model import HealthCheck, HealthKind, Service, UpdateConfig

REPLICAS = 9
IMAGES = ("rolling:1", "rolling:2")
CHECK = "wget -qO- http://127.0.0.1/"
CHECK_S = 2
NETWORK = "beside"
NAME = "beside"
DOCKERS_DNS = "127.0.0.11"
BEFORE_S = 1.0
AFTER_S = 6.0
"""Longer than VEO's answers may be kept."""


@attrs.frozen(kw_only=True)
class Rolled:
    """One update: seconds from the command, and what became of the requests."""

    ready_s: float
    returned_s: float
    made: int
    failed: Counter[str]


def bench(rounds: int) -> None:
    """Measure and print."""
    with hosts() as rig, nodes(rig) as cluster, swarm(rig) as beside:
        for number, image in enumerate(IMAGES):
            build(rig, image, number)
        beside.network(NETWORK)
        client = beside.client(NETWORK)
        for checked, often in ((False, rounds), (True, (rounds + 1) // 2)):
            measure(cluster, beside, client, often, checked=checked)


def build(rig: Rig, image: str, number: int) -> None:
    """Have an image on all engines that differs from the others of its kind."""
    for host in rig.names:
        with rig.client(host) as client:
            text = f"FROM nginx:latest\nENV VERSION={number}\n"
            client.images.build(fileobj=io.BytesIO(text.encode()), tag=image)


def measure(
    cluster: Cluster, beside: Swarm, client: Path, rounds: int, *, checked: bool
) -> None:
    """Have both run a service and update it, in turn."""
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(veo(cluster, checked=checked))
        theirs.append(swarms(beside, cluster.rig, client, checked=checked))
    what = "with a health check" if checked else "without a health check"
    for way, rolled in (("VEO", ours), ("Docker Swarm", theirs)):
        spread(f"9 instances, {what} → all ready: {way}", [r.ready_s for r in rolled])
        spread("  until the command returns", [r.returned_s for r in rolled])
        tell_failed(way, rolled)
    pair = ([r.ready_s for r in rolled] for rolled in (ours, theirs))
    ratio("Docker Swarm", *pair, aim="≤ 1 median")


def tell_failed(way: str, rolled: list[Rolled]) -> None:
    """Print how many requests were made, and how many failed, by what."""
    made = sum(r.made for r in rolled)
    failed = sum((r.failed for r in rolled), Counter[str]())
    why = ", ".join(f"{count} {what}" for what, count in failed.items())
    text = f"{failed.total()} of {made:,}" + (f" ({why})" if why else "")
    say(line(f"  requests that failed: {way}", text, "0" if way == "VEO" else ""))


def service_of(cluster: Cluster, image: str, *, checked: bool) -> Service:
    """Return what VEO is to run."""
    second = 1_000_000_000
    check = HealthCheck(
        kind=HealthKind.SHELL, cmd=(CHECK,), interval_ns=CHECK_S * second
    )
    return cluster.service(
        "web",
        image=image,
        replicas=REPLICAS,
        health_check=check if checked else None,
        update=UpdateConfig(),
    )


def veo(cluster: Cluster, *, checked: bool) -> Rolled:
    """Have VEO run the service, and update it."""
    uno = cluster["uno"]
    old, new = (service_of(cluster, image, checked=checked) for image in IMAGES)
    uno.call("container_sup.add_service", old)
    uno.call("container_sup.scale", "web", REPLICAS)
    directory = Directory(server=uno.address, name="_http._tcp.web.veo", kind="SRV")
    rolled = roll(
        cluster.rig,
        Asker(cluster.rig.network("uno"), directory),
        lambda: uno.call("container_sup.update_service", "web", new),
        checked=checked,
    )
    uno.call("container_sup.remove_service", "web")
    return rolled


def swarms(beside: Swarm, rig: Rig, client: Path, *, checked: bool) -> Rolled:
    """Have Swarm run the service, and update it."""
    old, new = IMAGES
    check = ("--health-cmd", CHECK, "--health-interval", f"{CHECK_S}s")
    beside.create(
        NAME,
        REPLICAS,
        *("--network", NETWORK, "--update-order", "start-first"),
        *("--update-failure-action", "rollback", *(check if checked else ())),
        image=old,
    )
    soon(lambda: len(beside.running(NAME)) == REPLICAS)
    directory = Directory(server=DOCKERS_DNS, name=NAME, kind="A", port=80, keeps=False)
    rolled = roll(
        rig,
        Asker(client, directory),
        lambda: beside.update(NAME, "--image", new),
        checked=checked,
    )
    beside.remove(NAME)
    return rolled


def roll(
    rig: Rig, asker: Asker, update: Callable[[], object], *, checked: bool
) -> Rolled:
    """Have a service updated that all of runs, while a client asks it."""
    if checked:  # Docker tells nobody that it is healthy before its first check
        time.sleep(CHECK_S + BEFORE_S)
    with asker:
        time.sleep(BEFORE_S)
        begun_s = time.time()
        update()
        returned_s = time.time()
        last_s = last_ready_s(rig, IMAGES[-1], begun_s, checked=checked)
        wait_s(AFTER_S, returned_s)
    return Rolled(
        ready_s=last_s - begun_s,
        returned_s=returned_s - begun_s,
        made=asker.made,
        failed=asker.failed,
    )


def last_ready_s(rig: Rig, image: str, since_s: float, *, checked: bool) -> float:
    """Return when the last instance of an image was ready, as Docker's events say."""
    what = "health_status: healthy" if checked else "start"
    filters = {"event": what, "image": image}
    moments: list[float] = []
    for host in rig.names:
        with rig.client(host) as client:
            told: Any = client.api.events(
                since=int(since_s),
                until=int(time.time()) + 1,
                filters=filters,
                decode=True,
            )
            moments += [float(event["timeNano"]) / 1e9 for event in told]
    found = [at_s for at_s in moments if at_s > since_s]
    assert len(found) == REPLICAS, f"{len(found)} were ready"
    return max(found)
