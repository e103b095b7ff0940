"""A container dies: when is it out of DNS, and when do the other nodes know of it?"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from functools import partial
from typing import Any

import attrs
import dns.message

from bench.hosts import HOSTS, hosts, nodes, soon
from bench.report import moment, tail
from tests.rig.cluster import Cluster, Running
from tests.rig.rig import Rig
from tests.rig.watch import DNS_PORT, ask

GONE_S = 5.0
QUERY = dns.message.make_query("job.veo", "A", id=1).to_wire()


@attrs.frozen(kw_only=True)
class Death:
    """Times of one death: `told_s` is that of Docker's event, `gone_s` by host."""

    killed_s: float
    died_s: float
    told_s: float
    owner: str
    gone_s: dict[str, float]

    @property
    def last_s(self) -> float:
        """Return when it was gone from every node's DNS."""
        return max(self.gone_s.values())

    @property
    def passed_on_s(self) -> float:
        """Return how long after its own node's DNS the others' knew."""
        others = (at_s for host, at_s in self.gone_s.items() if host != self.owner)
        return max(0.0, max(others) - self.gone_s[self.owner])


def bench(rounds: int) -> None:
    """Measure and print."""
    with hosts() as rig, nodes(rig) as cluster, contextlib.ExitStack() as held:
        lines = {
            host: held.enter_context(contextlib.closing(line_to(rig, host)))
            for host in HOSTS
        }
        deaths = [die(cluster, lines) for _ in range(rounds)]
    rows = (
        ("SIGKILL → dead by Docker's FinishedAt", "killed_s", "died_s"),
        ("  FinishedAt → Docker's event", "died_s", "told_s"),
        ("  Docker's event → gone from all DNS", "told_s", "last_s"),
    )
    for what, sooner, later in rows:
        took_s = [getattr(d, later) - getattr(d, sooner) for d in deaths]
        tail(what, [1000 * value for value in took_s], "ms")
    gone_ms = [1000 * (d.last_s - d.died_s) for d in deaths]
    tail("container dies → gone from all nodes' DNS", gone_ms, "ms", aim="≤ 50 ms p99")
    views_ms = [1000 * d.passed_on_s for d in deaths]
    what = "change on one node → in all others' views, by their DNS"
    tail(what, views_ms, "ms", aim="≤ 10 ms p99")


def line_to(rig: Rig, host: str) -> socket.socket:
    """Return a socket on a host that speaks with its DNS."""
    made = rig.inside(host, partial(socket.socket, socket.AF_INET, socket.SOCK_DGRAM))
    made.settimeout(1.0)
    made.connect((rig.address(host), DNS_PORT))
    return made


def die(cluster: Cluster, lines: dict[str, socket.socket]) -> Death:
    """Run a container, kill it, and look all the time who still answers for it."""
    cluster.add("job")
    soon(lambda: all(is_answered(line) for line in lines.values()))
    [running] = cluster.running()
    [told] = cluster.inspected([running]).values()
    killed_s = time.time()
    os.kill(told["State"]["Pid"], signal.SIGKILL)
    gone_s: dict[str, float] = {}
    while len(gone_s) < len(lines) and time.time() < killed_s + GONE_S:
        for host, line in lines.items():
            if host not in gone_s and not is_answered(line):
                gone_s[host] = time.time()
    [told] = cluster.inspected([running]).values()
    death = Death(
        killed_s=killed_s,
        died_s=moment(told["State"]["FinishedAt"]),
        told_s=event_s(cluster.rig, running, killed_s),
        owner=running.host,
        gone_s=gone_s,
    )
    cluster["uno"].call("container_sup.remove_service", "job")
    return death


def event_s(rig: Rig, running: Running, since_s: float) -> float:
    """Return when the engine's event of a container's death was made."""
    told = {"event": "die", "container": running.id}
    with rig.client(running.host) as client:
        found: Any = client.api.events(
            since=int(since_s), until=int(time.time()) + 1, filters=told, decode=True
        )
        [event] = found
    return float(event["timeNano"]) / 1e9


def is_answered(line: socket.socket) -> bool:
    """Tell whether a node's DNS answers anything for the service."""
    reply = ask(line, QUERY)
    assert reply, "a node's DNS is silent"
    return int.from_bytes(reply[6:8], "big") > 0  # RFC 1035: ANCOUNT
