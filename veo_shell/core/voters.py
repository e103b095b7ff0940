"""Which nodes count towards a majority, and which are no members any more."""

from __future__ import annotations

from typing import Any

import attrs

from veo_shell.core.model import NodeDocument, NodeRecord, Status
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
        that left is let go first.
        """
        for head in list(self._view.nodes):
            if self._has_left(head):
                self.let_go(head, self._verdicts.entry(head.node))
        voters = self._view.voters()
        if not all(self._verdicts.is_mutual(node) for node in voters):
            return
        for node in sorted(head.node for head in self._view.nodes):
            is_new = node not in voters and self._verdicts.is_mutual(node)
            if is_new and self._decides(node):
                self._write(node, votes=True)

    def let_go(self, head: NodeDocument, cause: str) -> None:
        """Write that a node is no member any more, with the state that it had.

        Nothing waits for it: where it comes back it is to begin with an empty table.
        """
        gone = self._record(head.node).removing(head.identity)
        self._write(head.node, **gone, cause=cause)

    def _has_left(self, head: NodeDocument) -> bool:
        """Tell whether this node is to write that another one left.

        It writes that itself once nothing runs there any more; until then it is shown.
        Who decides about that one may not have heard it say so: then any other writes
        it. Not of a process that came after the one that said so.
        """
        node, verdicts = head.node, self._verdicts
        if verdicts.status(node) is not Status.LEFT:
            return False
        for_s = verdicts.lost_for_s(node, self._situation.now)
        runs = any(c.may_run for c in self._view.containers(node))
        if runs and for_s < self._situation.leaving_s(node):
            return False
        is_due = self._decides(node) or for_s >= SETTLED_S
        return is_due and verdicts.boot(node) == head.boot_id

    def _decides(self, node: str) -> bool:
        return self._situation.coordinator(f"node/{node}") == self._situation.me

    def _write(self, node: str, **changes: Any) -> None:
        self._pen.write(attrs.evolve(self._record(node), **changes))

    def _record(self, node: str) -> NodeRecord:
        known = self._view.node_record(node)
        return known or NodeRecord(node=node, revision=0, writer="")
