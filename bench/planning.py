"""What a file of 1,000 services would change, on a node that knows a large cluster.

What is timed is all that is decided: which service is which, how they differ, and
where each that is new would run, seeing those before it.
"""

from __future__ import annotations

import itertools
import time

import attrs

from bench.placement import grown
from bench.population import name_of, spec
from bench.report import spread
from veo_shell.core.foresight import Foresight
from veo_shell.core.machine import Machine
from veo_shell.core.model import Service, ServiceRecord
from veo_shell.core.plan import plan
from veo_shell.core.planned import Action

SERVICES = 1000
AIM = "≤ 0.5 s"


def bench(rounds: int) -> None:
    """Measure and print."""
    machine = grown()
    new = [attrs.evolve(spec(0), name=f"s{n}", replicas=1) for n in range(SERVICES)]
    standing = [
        ServiceRecord(uid=f"{n:032}", revision=1, writer=name_of(1), service=service)
        for n, service in enumerate(new)
    ]
    changed = [attrs.evolve(service, image="nginx:1.27", cpus=0.2) for service in new]
    for what, wanted, held, action in (
        ("all new", new, [], Action.ADD),
        ("all changed", changed, standing, Action.CHANGE),
        ("all kept", new, standing, Action.KEEP),
    ):
        took = [planned_s(machine, wanted, held, action) for _ in range(rounds)]
        spread(f"plan of {SERVICES:,} services, {what}", took, aim=AIM)


def planned_s(
    machine: Machine,
    wanted: list[Service],
    standing: list[ServiceRecord],
    action: Action,
) -> float:
    """Return the seconds that a plan takes."""
    numbers = itertools.count()
    begun = time.perf_counter()
    made = plan(
        wanted,
        standing,
        Foresight(machine.situation, 0.0),
        lambda: f"{next(numbers):032}",
    )
    took_s = time.perf_counter() - begun
    assert [step.action for step in made.steps] == [action] * SERVICES
    assert all(None not in step.nodes for step in made.steps)
    return took_s
