"""Show that nothing but death makes a node dead: three hosts, in full length.

    python -m scripts.soak_hosts            10 and 2 minutes
    python -m scripts.soak_hosts 60 30      so many seconds

First both processors are kept busy while the hosts lose one packet in a hundred; then
a hundred instances a minute are started and as many stopped. No node may be declared
dead by any other, and fewer starts and stops show nothing. Needs root, as the hosts are
network namespaces.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import attrs

from scripts import nginx_image
from tests.rig.cluster import Cluster
from tests.rig.rig import Rig, lacking
from veo_shell.console.client import Client
from veo_shell.errors import VeoError

BUSY_S = 600.0
CHURN_S = 120.0
LOSS = 0.01
STARTS_PER_S = 100 / 60
SHARE = 0.95
"""So much of that has to be done: the last turns of a time are not over in it."""
WORKERS = 4
LOOK_S = 0.5
HOSTS = ("uno", "dos", "tres")


@attrs.define(kw_only=True)
class Churn:
    """What came of much starting and stopping, for a time."""

    for_s: float
    starts: int = 0
    stops: int = 0
    alarms: list[str] = attrs.field(factory=list)
    failures: list[str] = attrs.field(factory=list)

    def is_enough(self, share: float = SHARE) -> bool:
        """Tell whether as much was done as should be, or that share of it."""
        return min(self.starts, self.stops) >= share * STARTS_PER_S * self.for_s


@contextlib.contextmanager
def busy() -> Iterator[None]:
    """Keep every processor busy."""
    context = multiprocessing.get_context("spawn")
    loops = [
        context.Process(target=_spin, daemon=True) for _ in range(os.cpu_count() or 1)
    ]
    for loop in loops:
        loop.start()
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.join()


def _spin() -> None:
    while True:
        pass


@contextlib.contextmanager
def lossy(rig: Rig, share: float) -> Iterator[None]:
    """Have every host lose this share of what it receives."""
    for host in rig.names:
        rig.loss(host, share)
    try:
        yield
    finally:
        for host in rig.names:
            rig.loss(host, 0)


def alarms(cluster: Cluster, for_s: float) -> list[str]:
    """Let time pass; return the lines in which a node declared another one dead."""
    sizes = {host: len(cluster.log(host)) for host in cluster.hosts}
    deadline = time.monotonic() + for_s
    found: list[str] = []
    while not found and time.monotonic() < deadline:
        time.sleep(LOOK_S)
        told = (alarms_of(cluster, host, size) for host, size in sizes.items())
        found = [line for lines in told for line in lines]
    return found


def alarms_of(cluster: Cluster, host: str, size: int) -> list[str]:
    """Return the lines behind that size of a node's log that declare another lost."""
    return [line for line in cluster.log(host)[size:].splitlines() if _is_alarm(line)]


def _is_alarm(line: str) -> bool:
    """Tell whether a line of a log takes a node for anything but alive or suspect."""
    return any(f"@{host}: {word}," in line for host in HOSTS for word in ALARMS)


ALARMS = ("dead", "down", "left", "paused")


def churn(cluster: Cluster, for_s: float) -> Churn:
    """Start and stop a hundred instances a minute each; return what came of it."""
    done = Churn(for_s=for_s)
    ending = threading.Event()
    workers = [
        threading.Thread(target=_start_and_stop, args=(cluster, number, ending, done))
        for number in range(WORKERS)
    ]
    for worker in workers:
        worker.start()
    try:
        done.alarms = alarms(cluster, for_s)
    finally:
        ending.set()
        for worker in workers:
            worker.join()
    return done


def _start_and_stop(
    cluster: Cluster, number: int, ending: threading.Event, done: Churn
) -> None:
    """Start a service and stop it again, in time with the other workers' turns."""
    every_s = WORKERS / STARTS_PER_S
    run_dir = cluster[cluster.hosts[number % len(cluster.hosts)]].run_dir
    service = cluster.service("available", name=f"churn{number}", replicas=1)
    due_s = time.monotonic() + every_s * number / WORKERS
    with contextlib.closing(Client(run_dir)) as client:
        while not ending.wait(max(0.0, due_s - time.monotonic())):
            due_s += every_s
            try:
                client.call("container_sup.add_service", service)
                done.starts += 1
                client.call("container_sup.remove_service", service.name)
                done.stops += 1
            except VeoError as error:
                done.failures.append(f"{service.name}: {type(error).__name__}: {error}")


def main() -> int:
    """Do both; return 1 if a node was taken for dead, or too little was done."""
    if reason := lacking():
        say(reason)
        return 1
    lengths_s = [float(word) for word in sys.argv[1:]]
    busy_s, churn_s = lengths_s if lengths_s else (BUSY_S, CHURN_S)
    archive = nginx_image.archive()
    with tempfile.TemporaryDirectory() as folder, Rig(HOSTS) as rig:
        rig.load(archive)
        cluster = Cluster(rig, Path(folder))
        try:
            cluster.start()
            cluster.add("web")
            return soak(cluster, busy_s, churn_s)
        finally:
            cluster.close()


def soak(cluster: Cluster, busy_s: float, churn_s: float) -> int:
    """Print what came of both; return the exit status."""
    with busy(), lossy(cluster.rig, LOSS):
        found = alarms(cluster, busy_s)
    say(f"both processors busy, 1 % loss, {busy_s:g} s: {len(found)} false alarms")
    done = churn(cluster, churn_s)
    say(
        f"{done.starts} starts and {done.stops} stops in {churn_s:g} s: "
        f"{len(done.alarms)} false alarms, {len(done.failures)} failures"
    )
    for line in [*found, *done.alarms, *done.failures]:
        say(line)
    if not done.is_enough():
        say(f"too few: {STARTS_PER_S * churn_s:.0f} of each are to be")
    is_well = done.is_enough() and not (found or done.alarms or done.failures)
    return 0 if is_well else 1


def say(text: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
