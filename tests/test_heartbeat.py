"""How often a node beats, and that it tells what its own loop was late by."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from tests.virtual_loop import VirtualLoop
from veo_shell.core.events import Event, HeartbeatDue, Ticked
from veo_shell.heartbeat import TICK_S, Heartbeat

HEARTBEAT_S = 0.5


class Beating:
    """What a node's heartbeat has it told, and when."""

    def __init__(self, loop: VirtualLoop, verdict_s: float) -> None:
        self.told: list[tuple[float, Event]] = []
        members = SimpleNamespace(
            due_s=lambda now: verdict_s - now if now < verdict_s else math.inf
        )
        self.machine = SimpleNamespace(heartbeat_s=HEARTBEAT_S, members=members)
        self.clock = SimpleNamespace(now=loop.time)
        self._loop = loop
        self._tasks: list[asyncio.Task[None]] = []

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.append(self._loop.create_task(work, name=name))

    def feed(self, event: Event) -> None:
        self.told.append((self._loop.time(), event))

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def of(self, kind: type[HeartbeatDue | Ticked]) -> list[tuple[float, float]]:
        """Return when events of a kind were told, and the lag that each tells."""
        return [(at_s, e.lag_s) for at_s, e in self.told if isinstance(e, kind)]


def beat(
    for_s: float, stands_still: dict[float, float], verdict_s: float = 0.0
) -> Beating:
    """Run a heartbeat's loops for a while; the loop stands still after some times.

    `verdict_s`: when a peer is dead, 0 for never.
    """

    async def run() -> Beating:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        node = Beating(loop, verdict_s)
        Heartbeat(node).begin()  # type: ignore[arg-type]
        for after_s, still_s in stands_still.items():
            loop.call_later(after_s, loop.stand_still, still_s)
        await asyncio.sleep(for_s)
        await node.end()
        return node

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(run())


def test_heartbeats_come_in_time_and_not_in_step() -> None:
    times = [at_s for at_s, _ in beat(200.0, {}).of(HeartbeatDue)]
    periods = [later - at_s for at_s, later in itertools.pairwise(times)]
    assert 0.9 * HEARTBEAT_S - 1e-6 <= min(periods) < 0.95 * HEARTBEAT_S
    assert 1.05 * HEARTBEAT_S < max(periods) <= 1.1 * HEARTBEAT_S + 1e-6
    assert sum(periods) / len(periods) == pytest.approx(HEARTBEAT_S, rel=0.02)


def test_a_death_is_not_found_later_than_it_is_due() -> None:
    node = beat(5.0, {}, verdict_s=1002.3)
    times = [at_s for at_s, _ in node.of(Ticked)]
    late = [at_s - 1002.3 for at_s in times if at_s >= 1002.3]
    assert 0.0 < late[0] < 0.01
    assert late[1] - late[0] == pytest.approx(TICK_S)
    assert {lag_s for _, lag_s in node.of(Ticked)} == {0.0}


def test_a_lag_is_measured_once() -> None:
    node = beat(6.0, {2.0 + TICK_S / 2: 3.0})
    [lag_s] = [lag_s for _, lag_s in node.of(Ticked) if lag_s > 0.01]
    assert lag_s == pytest.approx(3.0 - TICK_S / 2, abs=0.01)


def test_heartbeats_tell_the_lag_that_was_measured_last() -> None:
    node = beat(60.0, {number + 0.3: 0.7 for number in range(1, 50)})
    last_s, told = 0.0, set[float]()
    for _, event in node.told:
        if isinstance(event, Ticked):
            last_s = event.lag_s
        elif isinstance(event, HeartbeatDue):
            assert event.lag_s == last_s
            told.add(event.lag_s)
    assert max(told) > 0.4


def test_a_loop_in_time_tells_of_no_lag() -> None:
    node = beat(10.0, {})
    assert {round(lag, 6) for _, lag in node.of(Ticked)} == {0.0}
    assert {round(lag, 6) for _, lag in node.of(HeartbeatDue)} == {0.0}
