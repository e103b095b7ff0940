"""Of a majority service no two sides run the same slot, but for a short time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sim.violation import Violation
from veo_shell.core.model import OnPartition

if TYPE_CHECKING:
    from tests.sim.engine import Box
    from tests.sim.host import Host
    from tests.sim.process import Process
    from tests.sim.world import World

NOTICE_S = 6.0
"""A running loop notices within this time that it has lost the majority."""


class MajorityWatch:
    """Who sees how many, and what runs twice."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._loops_s: dict[str, float] = {}
        self._lonely_s: dict[str, float] = {}

    def look(self) -> None:
        """Count lonely time, then look for slots that are filled twice."""
        for process in self._world.processes():
            self._count(process)
        for boxes in self._filled().values():
            if len(boxes) > 1:
                self._check(boxes)

    def _count(self, process: Process) -> None:
        """Count for how long a loop has run without a majority in reach."""
        boot = process.boot_id
        ran_s = process.loop_s - self._loops_s.get(boot, 0.0)
        self._loops_s[boot] = process.loop_s
        is_able = process.host.engine.is_well() and not self._sees_majority(process)
        self._lonely_s[boot] = self._lonely_s.get(boot, 0.0) + ran_s if is_able else 0.0

    def _sees_majority(self, process: Process) -> bool:
        voters = process.machine.view.voters()
        seen = [node for node in voters if self._sees(process, node)]
        return len(seen) * 2 > len(voters) or not voters

    def _sees(self, process: Process, node: str) -> bool:
        if node == process.name:
            return True
        other = self._world[node].process
        is_there = other is not None and not other.is_frozen
        return is_there and self._world.network.joins(process.name, node)

    def _filled(self) -> dict[tuple[str, int], list[tuple[Host, Box]]]:
        filled: dict[tuple[str, int], list[tuple[Host, Box]]] = {}
        for host in self._world.hosts:
            for box in host.engine.own():
                is_meant = box.service.on_partition is OnPartition.MAJORITY
                if box.running and is_meant and box.identity is not None:
                    slot = box.identity.uid, box.identity.slot
                    filled.setdefault(slot, []).append((host, box))
        return filled

    def _check(self, boxes: list[tuple[Host, Box]]) -> None:
        for host, _ in boxes:
            boot = host.process.boot_id if host.process is not None else ""
            lonely_s = self._lonely_s.get(boot, 0.0)
            if lonely_s > NOTICE_S:
                names = ", ".join(f"{box.name} on {host.name}" for host, box in boxes)
                raise Violation(
                    f"{names} run in one slot, {lonely_s:.1f} s after {host.name} lost "
                    "the majority"
                )
