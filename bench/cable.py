"""A host's cable is pulled: when does its work run elsewhere, and when is DNS right?

VEO and Docker Swarm run a service of six each on the same three engines, and lose the
same host by the same cut.
"""

from __future__ import annotations

import time

import attrs

from bench.hosts import HOSTS, hosts, nodes, others, soon, started_s
from bench.report import say, spread
from bench.swarm import Swarm, swarm
from tests.rig.cluster import Cluster
from tests.rig.watch import Watch

REPLICAS = 6
WATCH_S = 0.005
NAME = "beside"


@attrs.frozen(kw_only=True)
class Loss:
    """Seconds from the cut: for VEO, and for Swarm, whose leader it may have been."""

    replaced_s: float
    answered_s: float
    swarm_s: float
    is_leader: bool

    @property
    def all_s(self) -> float:
        """Return when the replacements ran and DNS was right for good."""
        return max(self.replaced_s, self.answered_s)


def bench(rounds: int) -> None:
    """Measure and print."""
    losses = []
    with hosts() as rig, nodes(rig) as cluster, swarm(rig) as beside:
        cluster.add("web")
        beside.create(NAME, REPLICAS)
        for number in range(rounds):
            victim = victim_of(beside, number)
            loss = lose(cluster, beside, victim)
            say(f"  {victim} cut off: {loss.all_s:.2f} s, Swarm {loss.swarm_s:.1f} s")
            losses.append(loss)
    all_s = [loss.all_s for loss in losses]
    spread("cable pulled → replacements running, DNS right", all_s, aim="≤ 3.5 s worst")
    replaced_s = [loss.replaced_s for loss in losses]
    spread("  of which until the last replacement runs", replaced_s)
    answered_s = [loss.answered_s for loss in losses]
    spread("  of which until both survivors' DNS is right for good", answered_s)
    for is_leader, whose in ((False, "a manager's"), (True, "its leader's")):
        swarm_s = [loss.swarm_s for loss in losses if loss.is_leader is is_leader]
        if swarm_s:
            spread(f"Docker Swarm, {whose} → replacements running", swarm_s)


def victim_of(beside: Swarm, number: int) -> str:
    """Return whom to lose: in turn one that does not lead Swarm, and the one that does.

    A new leader waits for much longer before it takes a node for lost. VEO has none.
    """
    soon(beside.is_whole)  # it has no leader for a while after it lost it
    leader = next(host for host in HOSTS if beside.is_led_by(host))
    return leader if number % 2 else others(leader)[number // 2 % 2]


def lose(cluster: Cluster, beside: Swarm, victim: str) -> Loss:
    """Cut a host off and mend it; return how long it took to do without."""
    soon(lambda: cluster.is_joined() and is_even(cluster) and beside.is_whole())
    beside.respread(NAME, REPLICAS)
    survivors = others(victim)
    before = {r.id for r in cluster.running()}
    known = set(beside.running(NAME))
    is_leader = beside.is_led_by(victim)
    name = "_http._tcp.web.veo"
    with Watch(cluster.rig, survivors, name, "SRV", WATCH_S) as watch:
        soon(lambda: len(watch.answer_everywhere() or ()) == REPLICAS)
        cut_s = time.time()
        cluster.rig.cut(victim)
        soon(lambda: cluster.one_each("web", REPLICAS, *survivors))
        soon(lambda: is_right(watch, cluster, survivors))
        new = [r for r in cluster.running(*survivors) if r.id not in before]
        replaced_s = max(started_s(cluster, new)) - cut_s
        soon(lambda: len(beside.running(NAME, *survivors)) == REPLICAS)
        last_s = [watch.seen(host)[-1].at_s for host in survivors]
    theirs = [each for each in beside.running(NAME, *survivors) if each not in known]
    swarm_s = max(beside.started_s(theirs)) - cut_s
    cluster.rig.mend(victim)
    return Loss(
        replaced_s=replaced_s,
        answered_s=max(last_s) - cut_s,
        swarm_s=swarm_s,
        is_leader=is_leader,
    )


def is_even(cluster: Cluster) -> bool:
    """Tell whether each slot runs just once, and each host as many of them."""
    places = cluster.one_each("web", REPLICAS) or []
    counts = [[host for _, host in places].count(host) for host in HOSTS]
    return counts == [REPLICAS // len(HOSTS)] * len(HOSTS)


def is_right(watch: Watch, cluster: Cluster, survivors: tuple[str, ...]) -> bool:
    """Tell whether the survivors answer for all instances, all of them on survivors."""
    targets = {f"{host}.node.veo." for host in survivors}
    answer = watch.answer_everywhere() or ()
    named = {target.split()[-1] for target in answer}
    return len(answer) == REPLICAS and named <= targets
