"""What nodes tell each other: who is there, and what each knows more.

Losing any message only costs time: what a delta did not bring is pulled once the
digests show that it is missing.
"""

from __future__ import annotations

from typing import Any

import attrs

from veo_shell.core import events as ev
from veo_shell.core.commands import (
    Answer,
    AskDifference,
    Connect,
    Disconnect,
    Introduce,
    Publish,
)
from veo_shell.core.membership import Changed, Membership
from veo_shell.core.model import NodeDocument, Record, Status
from veo_shell.core.outbox import Outbox
from veo_shell.core.view import Merged, View
from veo_shell.core.wire import (
    Ack,
    Delta,
    Farewell,
    Heartbeat,
    Join,
    Pull,
    Refused,
    Welcome,
)

PULL_S = 3.0
"""A pull that was not answered for so long is given up."""


class Exchange:
    """This node's dealings with its peers; the keeper of its own document's head."""

    def __init__(
        self,
        own: NodeDocument,
        cluster: str,
        view: View,
        members: Membership,
        out: Outbox,
        *,
        alone: bool,
        now: float,
    ) -> None:
        self.own = own
        self.settled = alone
        self._cluster = cluster
        self._view = view
        self._members = members
        self._out = out
        self._peers: dict[str, Connect] = {}
        self._digests: dict[str, int] = {}
        self._pulling: tuple[str, float] | None = None
        self._born_s = now
        view.merge_document(own)

    def restore(self, document: NodeDocument, now: float) -> None:
        """Take back a document from disk; its node is unknown until heard."""
        if document.node == self.own.node:
            self._rise_above(document.incarnation)
            return
        self._view.merge_document(document)
        self._meet(document, now)
        self.settled = False

    def on_tick(self, event: ev.Ticked, now: float) -> None:
        """Judge silences; stop waiting for what does not come."""
        for change in self._members.tick(now):
            self._tell(change)
        if now - self._born_s >= self._members.timing.boot_grace_s:
            self.settled = True
        if self._pulling is not None and now - self._pulling[1] > PULL_S:
            self._pulling = None

    def on_heartbeat_due(self, event: ev.HeartbeatDue, now: float) -> None:
        """Tell the peers that this node lives, and what it holds."""
        heartbeat = Heartbeat(
            node=self.own.node,
            boot_id=self.own.boot_id,
            incarnation=self.own.incarnation,
            version=self.own.version,
            digest=self._view.digest,
            lag_s=event.lag_s,
            silences=self._members.silences(now),
        )
        self._out.order(Publish(message=heartbeat))

    def on_heard(self, event: ev.Heard, now: float) -> None:
        """Take what a peer published; strangers are not listened to."""
        message = event.message
        if message.node not in self._peers:
            return
        self._greet_again(message.node, message.boot_id)
        silences = message.silences if isinstance(message, Heartbeat) else None
        self._tell(self._members.heard(message.node, message.boot_id, now, silences))
        if isinstance(message, Heartbeat):
            self._compare(message, now)
        else:
            self._apply(message, now)

    def on_difference(self, event: ev.DifferenceHeard, now: float) -> None:
        """Take what a peer knew more; ask on while it has more pages."""
        self._pulling = None
        if event.answer is None:
            return
        for record in event.answer.records:
            self.merge(record)
        for document in event.answer.documents:
            self._merge_document(document, now)
        if event.answer.more:
            self._pull(event.peer, now)
        else:
            self.settled = True

    def on_asked(self, event: ev.Asked, now: float) -> None:
        """Answer a peer's request."""
        message = event.message
        if isinstance(message, Join):
            reply: Any = self._joined(message, now)
        elif isinstance(message, Pull):
            reply = self._view.difference(message)
        else:
            reply = self._bid_farewell(message, now)
        self._out.order(Answer(operation=event.operation, value=reply))

    def on_welcomed(self, event: ev.Welcomed, now: float) -> None:
        """Meet the members that a node named; the one that spoke is alive."""
        for member in event.answer.members:
            self._meet(member, now)
            if member.node == self.own.node:
                if member.boot_id != self.own.boot_id:
                    self._rise_above(member.incarnation)
            elif (member.address, member.mesh_port) == (event.address, event.mesh_port):
                self._tell(self._members.heard(member.node, member.boot_id, now))
                self._pull(member.node, now)

    def _greet_again(self, node: str, boot_id: str) -> None:
        """Introduce this node to a new process of a peer: it may have lost its disk."""
        peer = self._members.peer(node)
        if peer is not None and peer.boot_id not in ("", boot_id):
            line = self._peers[node]
            self._out.order(Introduce(address=line.address, mesh_port=line.mesh_port))

    def merge(self, record: Record) -> None:
        """Take a peer's record that outranks what stands here, and save it."""
        if self._view.merge_record(record):
            self._out.learn(record)

    def _compare(self, heartbeat: Heartbeat, now: float) -> None:
        """Pull when the peer's digest differs and stood still for two heartbeats."""
        before = self._digests.get(heartbeat.node)
        self._digests[heartbeat.node] = heartbeat.digest
        if heartbeat.digest != self._view.digest and before == heartbeat.digest:
            self._pull(heartbeat.node, now)

    def _apply(self, delta: Delta, now: float) -> None:
        for record in delta.records:
            self.merge(record)
        merged = self._view.merge_delta(delta)
        if merged is Merged.GAP:
            self._pull(delta.node, now)
        elif merged is Merged.APPLIED:
            self._out.documents.add(delta.node)

    def _pull(self, peer: str, now: float) -> None:
        if self._pulling is not None or peer not in self._peers:
            return
        self._pulling = peer, now
        line = self._peers[peer]
        self._out.order(
            AskDifference(peer=peer, address=line.address, mesh_port=line.mesh_port)
        )

    def _merge_document(self, document: NodeDocument, now: float) -> None:
        if document.node == self.own.node:
            if document.boot_id != self.own.boot_id:
                self._rise_above(document.incarnation)
        elif self._view.merge_document(document):
            self._out.documents.add(document.node)
            self._meet(document, now)

    def _rise_above(self, incarnation: int) -> None:
        """Publish under a higher incarnation than one that an earlier us had."""
        if incarnation >= self.own.incarnation:
            self.own = attrs.evolve(self.own, incarnation=incarnation + 1)
            held = tuple(self._view.containers(self.own.node))
            self._view.merge_document(attrs.evolve(self.own, containers=held))
            self._out.documents.add(self.own.node)

    def _joined(self, join: Join, now: float) -> Welcome | Refused:
        newcomer = join.document
        if join.cluster != self._cluster:
            return Refused(
                reason=f"this is a node of the cluster {self._cluster!r}, "
                f"not of {join.cluster!r}"
            )
        if self._is_taken(newcomer, now):
            return Refused(reason=f"a node named {newcomer.node} lives already")
        if newcomer.node == self.own.node:  # told to join itself
            return Welcome(members=tuple(self._view.nodes))
        self._meet(newcomer, now)
        # It may have been away: without this the link waits for its next attempt, and
        # what was just heard to live falls silent again.
        self._out.order(self._peers[newcomer.node])
        self._tell(self._members.heard(newcomer.node, newcomer.boot_id, now))
        self._pull(newcomer.node, now)
        return Welcome(members=tuple(self._view.nodes))

    def _is_taken(self, newcomer: NodeDocument, now: float) -> bool:
        """Tell whether another process of that name was heard lately."""
        if newcomer.node == self.own.node:
            return newcomer.boot_id != self.own.boot_id
        peer = self._members.peer(newcomer.node)
        return (
            peer is not None
            and peer.status is Status.ALIVE
            and peer.boot_id != newcomer.boot_id
            and now - peer.heard_s < self._members.timing.suspect_s
        )

    def _meet(self, document: NodeDocument, now: float) -> None:
        """Listen to a peer from now on; a changed address is taken over."""
        line = Connect(
            node=document.node,
            address=document.address,
            mesh_port=document.mesh_port,
            pub_port=document.pub_port,
        )
        old = self._peers.get(document.node)
        if document.node == self.own.node or old == line:
            return
        if old is not None:
            self._out.order(Disconnect(**attrs.asdict(old)))
        self._peers[document.node] = line
        self._members.learn(document.node, now)
        self._out.order(
            line, Introduce(address=document.address, mesh_port=document.mesh_port)
        )

    def _bid_farewell(self, message: Farewell, now: float) -> Ack:
        if message.node in self._peers:
            self._tell(
                self._members.farewell(
                    message.node, message.boot_id, message.left, message.for_s, now
                )
            )
        return Ack()

    def _tell(self, change: Changed | None) -> None:
        if change is not None:
            self._out.report(f"{change.node}: {change.new.value}, {change.evidence}")
