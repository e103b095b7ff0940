"""On one machine: what a command costs beside plain Docker's, and what a node holds.

Two nodes on 127.0.0.1 and 127.0.0.2 share one engine. Rounds alternate, so that what
the machine does meanwhile touches both sides of a ratio alike.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

import dns.message
import dns.query
import dns.rcode
import psutil

from bench.report import line, ratio, say, spread
from scripts.demo import ADDRESSES, VEO, Demo, stage
from veo_shell.console.client import Client
from veo_shell.core.model import Container, Service

DNS_WAIT_S = 0.0005
SETTLE_S = 5.0


def bench(rounds: int) -> None:
    """Measure and print."""
    with stage() as (demo, _):
        demo.start("uno")
        demo.start("dos", "--join", ADDRESSES["uno"])
        client = Client(demo.folder / "uno" / "run")
        try:
            bench_add(demo, client, rounds)
            bench_attach(demo, rounds)
            bench_memory(demo)
        finally:
            client.close()


def bench_add(demo: Demo, client: Client, rounds: int) -> None:
    """Compare `add_service`, until both nodes' DNS answer, with raw Docker."""
    services: list[Service] = client.call("settings.get_applications")
    veo_s, until_running_s, raw_s = [], [], []
    for _ in range(rounds):
        raw_s.append(raw_docker_s(services[1]))
        running_s, answered_s = added_s(demo, client, services[1])
        until_running_s.append(running_s)
        veo_s.append(answered_s)
    spread("add_service → running, answered by both DNS", veo_s)
    spread("  of which until it runs", until_running_s)
    seen_s = [
        all_s - own_s for all_s, own_s in zip(veo_s, until_running_s, strict=True)
    ]
    spread("  then until both nodes' DNS have answered it", seen_s)
    spread("docker create && docker start", raw_s)
    ratio("docker create && docker start", veo_s, raw_s, aim="≤ 1.15 median")


def added_s(demo: Demo, client: Client, service: Service) -> tuple[float, float]:
    """Return seconds from the call until it runs, and until both DNS answer."""
    begun = time.perf_counter()
    container: Container = client.call("container_sup.add_service", service)
    running = time.perf_counter()
    for address in ADDRESSES.values():
        while not answers(demo, address, container.address):
            time.sleep(DNS_WAIT_S)
    answered = time.perf_counter()
    client.call("container_sup.remove_service", service.name)
    return running - begun, answered - begun


def answers(demo: Demo, server: str, expected: str) -> bool:
    """Tell whether a node's DNS answers the address for `nginx.veo`."""
    query = dns.message.make_query("nginx.veo.", "A")
    reply = dns.query.udp(query, server, timeout=1, port=demo.dns_port)
    found = [str(rdata) for rrset in reply.answer for rdata in rrset]
    return reply.rcode() == dns.rcode.NOERROR and expected in found


def raw_docker_s(service: Service) -> float:
    """Return seconds that Docker's own client takes for the same container."""
    publish = [f"--publish=127.0.0.1::{port.container_port}" for port in service.ports]
    environment = [f"--env={entry}" for entry in service.environment]
    labels = [f"--label={entry}" for entry in service.labels]
    begun = time.perf_counter()
    container = output(
        "docker", "create", *publish, *environment, *labels, service.image
    )
    output("docker", "start", container)
    took = time.perf_counter() - begun
    output("docker", "rm", "--force", container)
    return took


def bench_attach(demo: Demo, rounds: int) -> None:
    """Compare a scripted console call with `docker ps`, and Python's own start."""
    run_dir = str(demo.folder / "uno" / "run")
    count = [VEO, "attach", "--run-dir", run_dir, "-c", "container_sup.count()"]
    bare = [sys.executable, "-c", "pass"]
    attach_s, listing_s, bare_s = [], [], []
    for _ in range(rounds):
        attach_s.append(timed(lambda: output(*map(str, count))))
        listing_s.append(timed(lambda: output("docker", "ps")))
        bare_s.append(timed(lambda: output(*bare)))
    spread("veo attach -c 'container_sup.count()'", attach_s, aim="≤ 0.12 s")
    spread("docker ps", listing_s)
    ratio("docker ps", attach_s, listing_s, aim="≤ 6")
    spread("python -c pass", bare_s)


def bench_memory(demo: Demo) -> None:
    """Print what an idle node holds in memory."""
    time.sleep(SETTLE_S)
    for name in ADDRESSES:
        pid = int((demo.folder / name / "run" / "veo.pid").read_text())
        resident = psutil.Process(pid).memory_info().rss / 1e6
        say(line(f"resident memory of {name}, idle", f"{resident:.0f} MB", "≤ 70 MB"))


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that something takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def output(*argv: str) -> str:
    """Run a command that has to succeed; return what it prints."""
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    return done.stdout.strip()
