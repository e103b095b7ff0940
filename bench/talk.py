"""A container says more than anybody can read: how fast are its logs, at what cost?

Two nodes share one engine. The container is dos's, the console uno's: all of it passes
the mesh. Beside it Docker's own client reads the same log.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time

import psutil

from bench.report import ratio, spread
from scripts.demo import ADDRESSES, Demo, stage
from tests.engines import BUSYBOX, load_busybox
from veo_shell.console.client import Client
from veo_shell.console.logs import Lines
from veo_shell.core.model import Container, Restart, Service

SIZE_BYTES = 200_000 * 1024
"""Whole lines: Docker keeps a begun one to itself until the container ends."""
LINES_BYTES = (1024, 16 * 1024)
"""The second is the longest that Docker logs in one piece."""
SAMPLE_S = 0.05


def loud(line_bytes: int) -> Service:
    """Return a service that says all in lines of that length, as fast as it can."""
    says = f"busybox yes {'x' * (line_bytes - 1)} | busybox head -c {SIZE_BYTES}"
    return Service(
        name="loud",
        image=BUSYBOX,
        args=("sh", "-c", f"{says}; trap 'exit 0' TERM; sleep 3600 & wait"),
        hosts=("dos@dos",),
        restart=Restart.NEVER,
    )


def bench(rounds: int) -> None:
    """Measure and print."""
    with stage() as (demo, _):
        load_busybox(demo.engine)
        demo.start("uno")
        demo.start("dos", "--join", ADDRESSES["uno"])
        with contextlib.closing(Client(demo.folder / "uno" / "run")) as client:
            for line_bytes in LINES_BYTES:
                measure(demo, client, rounds, line_bytes)


def measure(demo: Demo, client: Client, rounds: int, line_bytes: int) -> None:
    """Read the log of a new container in each round, both ways."""
    live, stored, theirs, late = [], [], [], []
    grown: list[float] = []
    for _ in range(rounds):
        with Watch(demo, client) as watch:
            container: Container = client.call(
                "container_sup.add_service", loud(line_bytes)
            )
            live.append(rate(followed(client)))
            stored.append(rate(followed(client)))
        theirs.append(rate(docker_s(container)))
        grown += watch.grown_mb.values()
        late.append(watch.late_s)
        client.call("container_sup.remove_service", "loud")
    what = f"logs(follow=True) of lines of {line_bytes} bytes, as they are said"
    spread(what, live, "MB/s")
    spread("  what is said already", stored, "MB/s", aim="100 MB/s")
    spread("docker logs --follow, what is said already", theirs, "MB/s")
    ratio("docker logs --follow", stored, theirs)
    spread("memory that the nodes took for it", grown, "MB", aim="≤ 20 MB")
    spread("longest that a node let a question wait meanwhile", late)


def rate(took_s: float) -> float:
    """Return how many megabytes a second that is."""
    return SIZE_BYTES / 1e6 / took_s


def followed(client: Client) -> float:
    """Return the seconds that the console takes to read all."""
    begun, read = time.perf_counter(), 0
    lines = Lines(client, "loud", tail=10**9, follow=True, since="")
    with contextlib.closing(lines):
        while read < SIZE_BYTES:
            read += sum(len(one.text) + 1 for one in lines.batch())
    return time.perf_counter() - begun


def docker_s(container: Container) -> float:
    """Return the seconds that Docker's own client takes."""
    begun, read = time.perf_counter(), 0
    argv = ["docker", "logs", "--follow", "--timestamps", container.name]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while read < SIZE_BYTES:
            read += len(os.read(process.stdout.fileno(), 1 << 20))
        took_s = time.perf_counter() - begun
        process.kill()
    return took_s


class Watch(contextlib.AbstractContextManager["Watch"]):
    """How much memory both nodes take more, and how long one lets a question wait."""

    def __init__(self, demo: Demo, client: Client) -> None:
        self._processes = {name: process(demo, name) for name in ADDRESSES}
        self._before = {n: p.memory_info().rss for n, p in self._processes.items()}
        self._client = client.another()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.grown_mb = dict.fromkeys(ADDRESSES, 0.0)
        self.late_s = 0.0

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._client.close()

    def _run(self) -> None:
        while not self._ended.wait(SAMPLE_S):
            for name, one in self._processes.items():
                more = (one.memory_info().rss - self._before[name]) / 1e6
                self.grown_mb[name] = max(self.grown_mb[name], more)
            begun = time.perf_counter()
            self._client.read("container_sup.count")
            self.late_s = max(self.late_s, time.perf_counter() - begun)


def process(demo: Demo, name: str) -> psutil.Process:
    """Return a node's process."""
    return psutil.Process(int((demo.folder / name / "run" / "veo.pid").read_text()))
