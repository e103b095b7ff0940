"""Beats a node's heart: tells the others that it lives, and has it judge them."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from veo_shell.core.events import HeartbeatDue, Ticked

if TYPE_CHECKING:
    from veo_shell.node import Node

TICK_S = 0.25
MOMENT_S = 0.001


class Heartbeat:
    """The clock that drives a node, and the lag of its loop behind that."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._lag_s = 0.0

    def begin(self) -> None:
        """Begin to tell the others that this node lives, and to judge them."""
        self._node.spawn(self._beat(), "heartbeat")
        self._node.spawn(self._tick(), "tick")

    async def _beat(self) -> None:
        while True:
            self._node.feed(HeartbeatDue(lag_s=self._lag_s))
            period_s = self._node.machine.heartbeat_s
            # Spread, so that nodes started together do not speak together.
            await asyncio.sleep(period_s * random.uniform(0.9, 1.1))  # noqa: S311

    async def _tick(self) -> None:
        clock = self._node.clock
        while True:
            # No later than when a silence becomes a death: every moment counts then.
            verdict_s = self._node.machine.members.due_s(clock.now()) + MOMENT_S
            wait_s = min(TICK_S, verdict_s)
            due_s = clock.now() + wait_s
            await asyncio.sleep(wait_s)
            self._lag_s = max(0.0, clock.now() - due_s)
            self._node.feed(Ticked(lag_s=self._lag_s))
