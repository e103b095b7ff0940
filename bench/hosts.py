"""Three hosts on one machine, a node and an engine with nginx on each."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench.report import moment
from scripts import nginx_image
from tests.real_node import eventually
from tests.rig.cluster import Cluster, Running
from tests.rig.rig import Rig

HOSTS = ("uno", "dos", "tres")
LIMIT_S = 120.0


@contextlib.contextmanager
def hosts() -> Iterator[Rig]:
    """Have the hosts, their engines with the image."""
    archive = nginx_image.archive()
    with Rig(HOSTS) as rig:
        rig.load(archive)
        yield rig


@contextlib.contextmanager
def nodes(rig: Rig) -> Iterator[Cluster]:
    """Have a node on each of them."""
    with tempfile.TemporaryDirectory(prefix="veo-bench-") as folder:
        cluster = Cluster(rig, Path(folder))
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.close()


def soon(holds: Callable[[], Any]) -> Any:
    """Wait until something is true, with a look every 20 ms; return it."""
    return eventually(holds, LIMIT_S)


def started_s(cluster: Cluster, found: list[Running]) -> list[float]:
    """Return when containers started, as Docker says."""
    told = cluster.inspected(found).values()
    return [moment(each["State"]["StartedAt"]) for each in told]


def others(host: str) -> tuple[str, ...]:
    """Return all hosts but one."""
    return tuple(name for name in HOSTS if name != host)


def wait_s(seconds: float, since_s: float) -> None:
    """Wait until so many seconds after a time of `time.time`."""
    time.sleep(max(0.0, since_s + seconds - time.time()))
