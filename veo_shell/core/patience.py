"""For how long nothing may be seen of what is under way, though all is well.

A container may take its `stop_timeout` to end, its health check its `start_period` and
more to decide, an update its `monitor` time: by what the specs say, and only while
there is something of that kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from veo_shell.core.model import (
    Container,
    Health,
    HealthCheck,
    Service,
    ServiceRecord,
    State,
)
from veo_shell.core.situation import Situation
from veo_shell.core.view import View

NANO = 1_000_000_000
CHECK_NS = 30 * NANO
"""Docker's own interval, and time-out, of a check that says none."""
RETRIES = 3


def slow_s(situation: Situation, records: Iterable[ServiceRecord | None]) -> float:
    """Return how long what is under way of some services may take, seen as nothing.

    `records` are those that were read before anything was begun, or after: one that is
    removed says no more how long it takes to stop.
    """
    found = (time_s for r in records if r for time_s in _times_s(situation, r))
    return max(found, default=0.0)


def _times_s(situation: Situation, record: ServiceRecord) -> Iterator[float]:
    view, specs = situation.view, _specs(record)
    held = view.instances(record.uid)
    if any(_is_to_end(view, container) for container in held):
        yield situation.verdicts.timing.drain_s + record.stops_within_s
    if any(c.state is State.RUNNING and c.health is Health.STARTING for c in held):
        yield from (decides_within_s(s.health_check) for s in specs if s.health_check)
    now = view.service(record.uid)
    if now is not None and now.service is not None and now.update is not None:
        update = now.service.update
        yield max(update.monitor_ns, update.delay_ns) / NANO


def _specs(record: ServiceRecord) -> list[Service]:
    specs = [record.service, *(old.service for old in record.old_specs)]
    return [spec for spec in specs if spec is not None]


def _is_to_end(view: View, container: Container) -> bool:
    if container.state is State.STOPPING or view.spec(container.uid) is None:
        return True
    slot = view.slot(container.uid, container.slot)
    return slot is None or not slot.wanted or container.name in slot.ends


def decides_within_s(check: HealthCheck) -> float:
    """Return after how long a health check has succeeded, or failed for good."""
    each_ns = (check.interval_ns or CHECK_NS) + (check.timeout_ns or CHECK_NS)
    return (check.start_period_ns + (check.retries or RETRIES) * each_ns) / NANO
