"""Which nodes count towards a majority."""

from __future__ import annotations

import attrs

from veo_shell.core.model import NodeRecord, Status
from veo_shell.core.pen import Pen
from veo_shell.core.situation import Situation

SETTLED_S = 2.0
"""So long the node that decides about one that left has to write that it left."""


class Voters:
    """Writes whether nodes count, of those that this node decides about."""

    def __init__(self, situation: Situation, pen: Pen) -> None:
        self._situation = situation
        self._view = situation.view
        self._verdicts = situation.verdicts
        self._pen = pen

    def admit(self) -> None:
        """Count a node towards majorities once all that count hear each other.

        So a side of a partition cannot make itself the larger one by newcomers. One
        that left counts no more: nobody else can take it for one that it sees. Who
        decides about it may not have heard it say so: then any other one writes it.
        """
        for node in self._view.voters():
            if self._verdicts.status(node) is Status.LEFT and (
                self._decides(node)
                or self._verdicts.lost_for_s(node, self._situation.now) >= SETTLED_S
            ):
                self._count(node, votes=False)
        voters = self._view.voters()
        if not all(self._verdicts.is_mutual(node) for node in voters):
            return
        for node in sorted(head.node for head in self._view.nodes):
            is_new = node not in voters and self._verdicts.is_mutual(node)
            if is_new and self._decides(node):
                self._count(node, votes=True)

    def _decides(self, node: str) -> bool:
        return self._situation.coordinator(f"node/{node}") == self._situation.me

    def _count(self, node: str, *, votes: bool) -> None:
        old = self._view.node_record(node) or NodeRecord(
            node=node, revision=0, writer=""
        )
        self._pen.write(attrs.evolve(old, votes=votes))
