"""What was removed stays so, not at the end alone: no node has it back for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sim.violation import Violation

if TYPE_CHECKING:
    from tests.sim.process import Process


class GraveWatch:
    """Which services each process has once held for removed, forgotten ones too."""

    def __init__(self) -> None:
        self._revisions: dict[str, int] = {}
        self._buried: dict[str, set[str]] = {}

    def handled(self, process: Process) -> None:
        """Check services that are new."""
        view, boot = process.machine.view, process.boot_id
        if self._revisions.get(boot) == view.services_revision:
            return
        self._revisions[boot] = view.services_revision
        buried = self._buried.setdefault(boot, set())
        buried.update(record.uid for record in view.tombstones())
        if back := [r.key for r in view.services() if r.uid in buried]:
            raise Violation(f"{process.name} held {back} for removed, and has it again")
