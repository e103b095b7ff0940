"""No false alarm: a node that is well and can be heard is not taken for dead."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from tests.sim.violation import Violation
from veo_shell.core.membership import GONE
from veo_shell.core.model import Status

if TYPE_CHECKING:
    from tests.sim.process import Process
    from tests.sim.world import World

WELL_S = 6.0
"""Who was well for so long, with the way from it, must have been heard since."""
FALSE = (Status.DEAD, Status.DOWN)
TOLD_S = 5.0
"""A verdict of so long ago may still be told."""


class VerdictWatch:
    """Since when which process is well, and how each judges the others."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._revisions: dict[str, int] = {}
        self._held: dict[tuple[str, str], Status] = {}
        self._learned_s: dict[tuple[str, str], float] = {}
        self._gone_s: dict[str, dict[str, float]] = defaultdict(dict)

    def look(self) -> None:
        """Note who is not well now."""
        now = self._world.clock.now
        for process in self._world.processes():
            if process.is_frozen or process.machine.members.strain:
                process.unwell_s = now
            for node in process.machine.members.gone():
                self._gone_s[node][process.name] = now
        self._world.network.look()

    def handled(self, process: Process) -> None:
        """Check verdicts that are new."""
        members = process.machine.members
        if self._revisions.get(process.boot_id) == members.revision:
            return
        self._revisions[process.boot_id] = members.revision
        for peer in members:
            mark = process.boot_id, peer.node
            before = self._held.get(mark)
            self._held[mark] = peer.status
            self._learned_s.setdefault(mark, process.now)
            if peer.status in GONE:
                self._gone_s[peer.node][process.name] = self._world.clock.now
            if peer.status in FALSE and before is not peer.status:
                if before in (None, Status.UNKNOWN):
                    self._check_grace(process, peer.node)
                self._check(process, peer.node, peer.status)

    def _check_grace(self, process: Process, node: str) -> None:
        """Who was not heard yet is unknown for a while, unless another one judged it.

        That one's verdict counts after the time of a death.
        """
        timing = process.machine.members.timing
        known_s = process.now - self._learned_s[process.boot_id, node]
        told_s = self._world.clock.now - known_s - TOLD_S
        others = self._gone_s[node].items()
        is_told = any(n != process.name and at_s >= told_s for n, at_s in others)
        if known_s < (timing.dead_s if is_told else timing.boot_grace_s) - 0.1:
            raise Violation(
                f"{process.name} takes {node} for dead, which it knows for "
                f"{known_s:.1f} s and never heard"
            )

    def _check(self, process: Process, node: str, status: Status) -> None:
        other = self._world[node].process
        if other is None or not self._is_well(other):
            return
        between = [process, *self._world.processes()]
        for third in between:
            if third is process and self._has_way(other, process):
                raise Violation(
                    f"{process.name} takes {node} for {status.value}, which is well"
                )
            if third in (process, other) or not self._is_well(third):
                continue
            if self._has_way(other, third) and self._has_way(third, process):
                raise Violation(
                    f"{process.name} takes {node} for {status.value}, which "
                    f"{third.name} hears"
                )

    def _is_well(self, process: Process) -> bool:
        since_s = max(process.unwell_s, process.speaks_s)
        is_well = not process.is_frozen and not process.is_leaving
        return is_well and self._world.clock.now - since_s > WELL_S

    def _has_way(self, one: Process, other: Process) -> bool:
        """Tell whether all that one published has reached another for a while."""
        if not other.mesh.hears(one):
            return False
        since_s = self._world.network.bad_s((one.name, other.name))
        since_s = max(since_s, other.mesh.heard[one.host.address][1])
        return self._world.clock.now - since_s > WELL_S
