"""A node's daemon is killed and started again in two seconds: what moves?"""

from __future__ import annotations

import time

from bench.hosts import HOSTS, hosts, nodes, others, soon, wait_s
from bench.report import line, say
from tests.rig.cluster import Cluster
from tests.rig.watch import Watch

REPLICAS = 6
DOWN_S = 2.0
# By then a node that was taken for dead would have been replaced.
AFTER_S = 5.0


def bench(rounds: int) -> None:
    """Measure and print."""
    moved, changed = [], []
    with hosts() as rig, nodes(rig) as cluster:
        cluster.add("web")
        soon(lambda: cluster.one_each("web", REPLICAS))
        for number in range(rounds):
            containers, answers = kill(cluster, HOSTS[number % len(HOSTS)])
            moved.append(containers)
            changed.append(answers)
    shown = " ".join(map(str, moved))
    say(line("daemon killed, back in 2 s: containers moved or restarted", shown, "0"))
    shown = " ".join(map(str, changed))
    say(line("  changes in the others' DNS meanwhile", shown, "0"))


def kill(cluster: Cluster, victim: str) -> tuple[int, int]:
    """Kill a daemon and start it; return what moved, and what changed in DNS."""
    before = starts(cluster)
    with Watch(cluster.rig, others(victim), "_http._tcp.web.veo", "SRV") as watch:
        soon(lambda: watch.answer_everywhere() is not None)
        cluster.kill(victim)
        wait_s(DOWN_S, since_s=time.time())
        cluster.start(victim)
        wait_s(AFTER_S, since_s=time.time())
    changes = sum(len(watch.seen(host)) - 1 for host in others(victim))
    return len(starts(cluster) - before), changes


def starts(cluster: Cluster) -> set[tuple[str, str]]:
    """Return each running container's id, and when it was started."""
    told = cluster.inspected(cluster.running())
    return {(identity, each["State"]["StartedAt"]) for identity, each in told.items()}
