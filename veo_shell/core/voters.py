"""Which nodes count towards a majority."""

from __future__ import annotations

import attrs

from veo_shell.core.model import NodeRecord, Status
from veo_shell.core.pen import Pen
from veo_shell.core.situation import Situation


class Voters:
    """Writes of the nodes it coordinates whether they count."""

    def __init__(self, situation: Situation, pen: Pen) -> None:
        self._situation = situation
        self._pen = pen

    def admit(self) -> None:
        """Count a node towards majorities once all that count hear each other.

        So a side of a partition cannot make itself the larger one by newcomers. One
        that left counts no more: nobody else can take it for one that it sees.
        """
        for node in self._situation.view.voters():
            if self._situation.verdicts.status(node) is Status.LEFT:
                self._count(node, votes=False)
        voters = self._situation.view.voters()
        if not all(self._situation.verdicts.is_mutual(node) for node in voters):
            return
        for head in sorted(self._situation.view.nodes, key=lambda head: head.node):
            if head.node in voters or not self._situation.verdicts.is_mutual(head.node):
                continue
            self._count(head.node, votes=True)

    def _count(self, node: str, *, votes: bool) -> None:
        """Write whether a node counts, if it is on this one to write it."""
        if self._situation.coordinator(f"node/{node}") == self._situation.me:
            old = self._situation.view.node_record(node) or NodeRecord(
                node=node, revision=0, writer=""
            )
            self._pen.write(attrs.evolve(old, votes=votes))
