"""One process for each name: who may have one, and what an earlier process left of it.

A name is refused only while the process that has it answers. So a node that starts
again is taken in at once, and a second one of its name is not.
"""

from __future__ import annotations

from typing import Protocol

from veo_shell.core import events as ev
from veo_shell.core.commands import Answer, AskWho, Connect, End
from veo_shell.core.membership import GONE, Membership
from veo_shell.core.model import NodeDocument
from veo_shell.core.outbox import Outbox
from veo_shell.core.wire import Join, Me, Refused, Welcome


class Door(Protocol):
    """Who takes newcomers in, and writes this node's own document."""

    @property
    def own(self) -> NodeDocument:
        """Return this node's document."""

    def line(self, node: str) -> Connect | None:
        """Return where a peer is."""

    def let_in(self, join: Join, now: float) -> Welcome | Refused:
        """Take a newcomer in, unless it was removed."""

    def rise_above(self, incarnation: int) -> None:
        """Publish under a higher incarnation than one that an earlier us had."""


class Names:
    """Doubts about names: those of newcomers, and this node's own."""

    def __init__(self, door: Door, members: Membership, out: Outbox) -> None:
        self._door = door
        self._members = members
        self._out = out
        self._waiting: dict[str, dict[str, Join]] = {}
        self._rival: NodeDocument | None = None

    @property
    def me(self) -> Me:
        """Return which process this is."""
        own = self._door.own
        return Me(node=own.node, boot_id=own.boot_id, identity=own.identity)

    def on_join(self, operation: str, join: Join, now: float) -> None:
        """Answer a newcomer; ask first whether another process has its name."""
        own, newcomer = self._door.own, join.document
        if newcomer.node == own.node and newcomer.boot_id != own.boot_id:
            self._refuse(operation, newcomer.node)
            return
        peer = self._members.peer(newcomer.node)
        line = self._door.line(newcomer.node)
        is_new = peer is None or peer.boot_id in ("", newcomer.boot_id)
        if peer is None or line is None or is_new or peer.status in GONE:
            self._welcome(operation, join, now)
            return
        waiting = self._waiting.setdefault(newcomer.node, {})
        waiting[operation] = join
        if len(waiting) == 1:
            order = AskWho(
                node=newcomer.node, address=line.address, mesh_port=line.mesh_port
            )
            self._out.order(order)

    def on_own(self, document: NodeDocument) -> None:
        """Hear of this node's name with a document that another process wrote.

        Most likely an earlier one did. Where it answers, there are two.
        """
        own = self._door.own
        if document.boot_id == own.boot_id:
            return
        here = (own.address, own.mesh_port)
        is_elsewhere = (document.address, document.mesh_port) != here
        if document.incarnation < own.incarnation:
            return
        if is_elsewhere:
            self._rival = document
            self._out.order(
                AskWho(
                    node=document.node,
                    address=document.address,
                    mesh_port=document.mesh_port,
                )
            )
        else:
            self._door.rise_above(document.incarnation)

    def on_recognized(self, event: ev.Recognized, now: float) -> None:
        """Decide by whether the process in doubt answered."""
        if event.node == self._door.own.node:
            self._judge_rival(event.boot_id)
            return
        peer = self._members.peer(event.node)
        lives = peer is not None and event.boot_id == peer.boot_id
        has_it = event.boot_id if lives else ""
        for operation, join in self._waiting.pop(event.node, {}).items():
            if has_it not in ("", join.document.boot_id):
                self._refuse(operation, event.node)
            else:
                self._welcome(operation, join, now)
                has_it = join.document.boot_id

    def _judge_rival(self, boot_id: str) -> None:
        rival, self._rival = self._rival, None
        if rival is None:
            return
        own = self._door.own
        # Where both heard of each other under the same incarnation, one has to go on.
        is_later = (rival.incarnation, boot_id) > (own.incarnation, own.boot_id)
        if boot_id == rival.boot_id and is_later:
            reason = (
                f"another process runs as {rival.node} at {rival.address}:"
                f"{rival.mesh_port}, and was taken in after this one: stop one of them"
            )
            self._out.order(End(reason=reason))
        else:
            self._door.rise_above(rival.incarnation)

    def _welcome(self, operation: str, join: Join, now: float) -> None:
        self._answer(operation, self._door.let_in(join, now))

    def _refuse(self, operation: str, node: str) -> None:
        self._answer(operation, Refused(reason=f"a node named {node} lives already"))

    def _answer(self, operation: str, reply: Welcome | Refused) -> None:
        self._out.order(Answer(operation=operation, value=reply))
