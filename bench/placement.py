"""Placement decisions of one core that knows 100 nodes and 10,000 containers.

What is timed is all that the core does for an operator's command: the table, the
journal and the orders that carry it out are in it.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import attrs

from bench.population import CLUSTER, documents, name_of, observed, records, spec
from bench.report import spread
from veo_shell.core.events import (
    AddAsked,
    DifferenceHeard,
    EngineListed,
    Heard,
    RemoveAsked,
    Ticked,
)
from veo_shell.core.machine import Machine
from veo_shell.core.model import NodeDocument, Status
from veo_shell.core.timing import Timing
from veo_shell.core.wire import Difference, Heartbeat, Records

NODES = 100
DECISIONS = 1000
TICK_S = 0.25
NOTHING_MORE = Difference(documents=(), records=Records(), more=False)


def bench(rounds: int) -> None:
    """Measure and print."""
    machine = grown()
    rates = [decisions_per_s(machine, number) for number in range(rounds)]
    aim = "≥ 5,000/s (Nomad's C1M: 3,750/s on 5 servers)"
    spread("placement decisions, one service of 1,000", rates, "/s", aim=aim)
    rates = [services_per_s(machine, number) for number in range(rounds)]
    spread("placement decisions, 1,000 services of one", rates, "/s", aim=aim)
    rates = [moves_per_s(number) for number in range(rounds)]
    spread("a node is lost: 1,000 of its services placed anew", rates, "/s", aim=aim)


def grown() -> Machine:
    """Return the core of one node of a large cluster in which all is well."""
    own, *peers = documents(NODES)
    machine = Machine(own, CLUSTER, Timing(), 0.0, alone=False)
    machine.restore([own, *peers], records(NODES), 0.0)
    machine.handle(EngineListed(containers=tuple(map(observed, own.containers))), 0.0)
    beat(machine, peers, 0.0, {})
    machine.handle(DifferenceHeard(peer=peers[0].node, answer=NOTHING_MORE), 0.0)
    assert machine.is_settled
    assert all(machine.members.status(p.node) is Status.ALIVE for p in peers)
    return machine


def beat(
    machine: Machine, peers: list[NodeDocument], now: float, silences: dict[str, float]
) -> None:
    """Have peers heard, which do not hear some others."""
    for peer in peers:
        heartbeat = Heartbeat(
            node=peer.node,
            boot_id=peer.boot_id,
            incarnation=1,
            version=1,
            digest=machine.view.digest,
            lag_s=0.0,
            silences=silences,
        )
        machine.handle(Heard(message=heartbeat), now)


def decisions_per_s(machine: Machine, number: int) -> float:
    """Have a service of many instances placed; return how many a second."""
    uid = next(own_uids(machine, number))
    service = attrs.evolve(spec(0), name=f"new{number}", replicas=DECISIONS)
    begun = time.perf_counter()
    machine.handle(AddAsked(operation=f"add{number}", uid=uid, service=service), 0.0)
    took_s = time.perf_counter() - begun
    slots = machine.view.slots(uid)
    assert len(slots) == DECISIONS
    placed = [slot.node for slot in slots]
    assert {placed.count(name_of(n)) for n in range(1, NODES + 1)} == {
        DECISIONS // NODES
    }
    machine.handle(RemoveAsked(operation=f"remove{number}", uid=uid), 0.0)
    return DECISIONS / took_s


def services_per_s(machine: Machine, number: int) -> float:
    """Have many services of one instance each placed; return how many a second."""
    events = adds(machine, number)
    begun = time.perf_counter()
    for event in events:
        machine.handle(event, 0.0)
    took_s = time.perf_counter() - begun
    for uid in [event.uid for event in events]:
        assert [slot.node is not None for slot in machine.view.slots(uid)] == [True]
        machine.handle(RemoveAsked(operation=f"remove{uid}", uid=uid), 0.0)
    return DECISIONS / took_s


def adds(machine: Machine, number: int) -> list[AddAsked]:
    """Return the commands to add many services of one instance each."""
    uids = itertools.islice(own_uids(machine, 1000 + number), DECISIONS)
    return [
        AddAsked(
            operation=f"add{uid}",
            uid=uid,
            service=attrs.evolve(spec(0), name=f"s{number}-{at}", replicas=1),
        )
        for at, uid in enumerate(uids)
    ]


def moves_per_s(number: int) -> float:
    """Have a node lost that runs much; return how much a second is placed anew."""
    machine = grown()
    _, lost, *peers = documents(NODES)
    uids = []
    for event in adds(machine, number):
        machine.handle(event, 0.0)
        [slot] = machine.view.slots(event.uid)
        there = attrs.evolve(slot, node=lost.node, revision=slot.revision + 1)
        machine.view.merge_record(there)
        uids.append(event.uid)
    now = took_s = 0.0
    while machine.members.status(lost.node) is not Status.DEAD:
        now += TICK_S
        beat(machine, peers, now, {lost.node: now})
        begun = time.perf_counter()
        machine.handle(Ticked(lag_s=0.0), now)
        took_s = time.perf_counter() - begun
    for uid in uids:
        assert [slot.node != lost.node for slot in machine.view.slots(uid)] == [True]
    return DECISIONS / took_s


def own_uids(machine: Machine, number: int) -> Iterator[str]:
    """Yield uids about which this node decides."""
    for count in itertools.count(1):
        uid = f"{number:06}{count:026}"
        if machine.situation.coordinator(uid) == machine.me:
            yield uid
