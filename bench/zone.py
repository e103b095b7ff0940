"""What a change costs a node's DNS: one container of 10,000 is not healthy any more."""

from __future__ import annotations

import time

import attrs

from bench.placement import grown
from bench.population import document
from bench.report import spread, tail
from veo_shell.core.dns_config import DnsConfig
from veo_shell.core.machine import Machine
from veo_shell.core.model import Health
from veo_shell.core.view import Merged
from veo_shell.core.wire import Delta
from veo_shell.core.zone_making import ZoneMaker

CHANGES = 500


def bench(rounds: int) -> None:
    """Measure and print."""
    afresh_s, changes_ms = [], []
    for _ in range(rounds):
        machine, maker = grown(), ZoneMaker(DnsConfig(), document(1).node)
        afresh_s.append(_take(machine, maker, 0))
        for number in range(CHANGES):
            change(machine, number)
            changes_ms.append(1000 * _take(machine, maker, number + 1))
    spread("the zone of 10,000 containers, made afresh: processor time", afresh_s)
    tail("  one of them changes: processor time", changes_ms, "ms", aim="≤ 2 ms")


def change(machine: Machine, number: int) -> None:
    """Have a container of another node become unhealthy."""
    heads = sorted(head.node for head in machine.view.nodes)
    held = machine.view.document(heads[1 + number % (len(heads) - 1)])
    first = next(c for c in held.containers if c.health is Health.NONE)
    delta = Delta(
        node=held.node,
        boot_id=held.boot_id,
        incarnation=held.incarnation,
        base_version=held.version,
        version=held.version + 1,
        containers=(attrs.evolve(first, health=Health.UNHEALTHY),),
    )
    assert machine.view.merge_delta(delta) is Merged.APPLIED


def _take(machine: Machine, maker: ZoneMaker, serial: int) -> float:
    """Return the processor time that the zone takes to follow, in seconds."""
    begun_s = time.process_time()
    services = machine.standings.take()
    assert maker.take(machine.standings.nodes, services)
    maker.make(serial)
    return time.process_time() - begun_s
