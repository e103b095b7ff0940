"""What nodes tell each other: who is there, and what each knows more.

Losing any message only costs time: what a delta did not bring is pulled once the
digests show that it is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from veo_shell.core import events as ev
from veo_shell.core.commands import (
    Answer,
    Connect,
    Disconnect,
    Introduce,
    Publish,
    TryPort,
)
from veo_shell.core.greetings import Greetings
from veo_shell.core.identity import Names
from veo_shell.core.kinds import verdict
from veo_shell.core.membership import Changed, Membership
from veo_shell.core.model import NodeDocument, Record, ServiceRecord, Status
from veo_shell.core.outbox import Outbox
from veo_shell.core.pen import Pen
from veo_shell.core.pulls import Pulls
from veo_shell.core.view import Merged, View, is_tombstone, pair
from veo_shell.core.wire import (
    PROTOCOL,
    Ack,
    Delta,
    Difference,
    Farewell,
    Forget,
    Heartbeat,
    Join,
    Keep,
    Message,
    Pull,
    Refused,
    Welcome,
    Who,
)


class Exchange:
    """This node's dealings with its peers; the keeper of its own document's head."""

    def __init__(
        self,
        own: NodeDocument,
        view: View,
        members: Membership,
        pen: Pen,
        out: Outbox,
        *,
        alone: bool,
        now: float,
    ) -> None:
        self._own = own
        self.settled = alone
        self._view = view
        self._members = members
        self._pen = pen
        self._out = out
        self._names = Names(self, members, out)
        self._greetings = Greetings(own.node, view, members, out)
        self._peers: dict[str, Connect] = {}
        self._met: dict[str, str] = {}  # the identity of each peer
        self.pulls = Pulls(view, members, self._peers, out)
        self._beats = 0
        self._born_s = now
        view.merge_document(own)

    @property
    def own(self) -> NodeDocument:
        """Return this node's document, without its containers."""
        return self._own

    @property
    def protocol(self) -> int:
        """Return the protocol that all known members speak."""
        return min(PROTOCOL, *(head.protocol for head in self._view.nodes), PROTOCOL)

    @property
    def names(self) -> Names:
        """Return who looks after this node's name, and the names of newcomers."""
        return self._names

    def restore(self, document: NodeDocument, now: float) -> None:
        """Take back a document from disk; its node is unknown until heard."""
        if document.node == self.own.node:
            self.rise_above(document.incarnation)
            return
        if self._view.merge_document(document):
            self._meet(document, now)
            self.settled = False

    def on_tick(self, event: ev.Ticked, now: float) -> None:
        """Judge silences; stop waiting for what does not come."""
        for change in self._members.tick(now):
            self._tell(change)
        for node in self._members.to_try(now):
            line = self._peers[node]
            self._out.order(
                TryPort(
                    node=node, container="", address=line.address, port=line.mesh_port
                )
            )
        if now - self._born_s >= self._members.timing.boot_grace_s:
            self.settled = True
        self.pulls.go_on(now)
        self._leave_removed(now)

    def on_heartbeat_due(self, event: ev.HeartbeatDue, now: float) -> None:
        """Tell the peers that this node lives, and what it holds."""
        self._beats += 1
        heartbeat = Heartbeat(
            node=self.own.node,
            boot_id=self.own.boot_id,
            incarnation=self.own.incarnation,
            version=self.own.version,
            digest=self._view.digest,
            lag_s=event.lag_s,
            silences=self._members.silences(now),
            refused=self._members.refused(now),
            strain=self._members.strain,
            count=self._beats,
            gone=self._members.gone(),
            hears=self._hears(),
        )
        self._out.order(Publish(message=heartbeat))

    def _hears(self) -> tuple[str, ...]:
        """Return whom others have for gone, and this node hears and knows as they are.

        Who believes it compares whole views: this one's is not to be of before.
        """
        return tuple(
            node
            for node in self._members.missed()
            if (head := self._view.head(node)) and self._members.is_as_told(head)
        )

    def on_heard(self, event: ev.Heard, now: float) -> None:
        """Take what a peer published; strangers are not listened to.

        Neither is what was long on its way: it is no sign of life.
        """
        message = event.message
        if message.node not in self._peers or isinstance(message, Forget):
            return
        self._greetings.on_heard(message, self._peers[message.node], now)
        if self._is_late(message):
            return
        if isinstance(message, Heartbeat):
            self._tell(self._members.heard(message.node, message.boot_id, now, message))
            self.pulls.compare(message, now)
        else:
            self._tell(self._members.heard(message.node, message.boot_id, now))
            self._apply(message, now)
            if message.records.nodes:
                self._leave_removed(now)

    def on_difference(self, event: ev.DifferenceHeard, now: float) -> None:
        """Take what a peer knew more; ask on while it has more pages."""
        if event.answer is not None:
            for record in event.answer.records:
                self.merge(record)
            for document in event.answer.documents:
                self._merge_document(document, now)
        if self.pulls.answered(event.peer, event.answer, now):
            self.settled = True

    def on_asked(self, event: ev.Asked, now: float) -> None:
        """Answer a peer's request."""
        message = event.message
        if isinstance(message, Join):
            self._names.on_join(event.operation, message, now)
            return
        reply: Message
        if isinstance(message, Pull):
            reply = self._difference(message)
        elif isinstance(message, Keep):
            reply = self._keep(message)
        elif isinstance(message, Who):
            reply = self._names.me
        else:
            reply = self._bid_farewell(message, now)
        self._out.order(Answer(operation=event.operation, value=reply))

    def on_welcomed(self, event: ev.Welcomed, now: float) -> None:
        """Meet the members that a node named; the one that spoke is alive."""
        for member in event.answer.members:
            if member.node == self.own.node:
                self._names.on_own(member)
                continue
            at = member.address, member.mesh_port
            spoke = at == (event.address, event.mesh_port)
            if spoke or not self._is_outdated(member):
                self._meet(member, now)
            if spoke and member.node in self._peers:  # else it was removed
                self._tell(self._members.heard(member.node, member.boot_id, now))
                self.pulls.ask(member.node, now)

    def merge(self, record: Record) -> None:
        """Take a peer's record that outranks what stands here, and save it."""
        if isinstance(record, ServiceRecord) and record.service is not None:
            self._bury_forgotten(record, record.service.name)
        old = self._view.record(record.key)
        if self._view.merge_record(record):
            self._out.learn(record)
            if old is not None:
                self._note_override(old, record)

    def _bury_forgotten(self, record: ServiceRecord, name: str) -> None:
        """Remove a service once more that others know again, or still, by then.

        Were it only refused here, they would run it on, and no two views agree.
        """
        if self._view.remember(record.uid):
            text = f"{name}: removed again: it was before, and a node still knew it"
            cause = self._out.note(
                "service_removed", text, service=name, uid=record.uid
            )
            self._pen.write(attrs.evolve(record, service=None, cause=cause))

    def let_in(self, join: Join, now: float) -> Welcome | Refused:
        """Take a newcomer in, unless it left with that state, or was removed."""
        newcomer = join.document
        if self._view.is_removed(newcomer):
            return Refused(
                reason=f"{newcomer.node} left the cluster, or was removed", removed=True
            )
        if newcomer.node == self.own.node:  # told to join itself
            return Welcome(members=self._members_told())
        self._meet(newcomer, now)
        # It may have been away: without this the link waits for its next attempt, and
        # what was just heard to live falls silent again.
        self._out.order(self._peers[newcomer.node])
        self._tell(self._members.heard(newcomer.node, newcomer.boot_id, now))
        self.pulls.ask(newcomer.node, now)
        return Welcome(members=self._members_told())

    def _members_told(self) -> tuple[NodeDocument, ...]:
        """Return where the members are: all that a frame has room for."""
        return tuple(
            attrs.evolve(head, images=(), volumes=(), lan_networks=())
            for head in self._view.nodes
        )

    def rise_above(self, incarnation: int) -> None:
        """Publish under a higher incarnation than one that an earlier us had."""
        if incarnation >= self.own.incarnation:
            self._own = attrs.evolve(self.own, incarnation=incarnation + 1)
            held = tuple(self._view.containers(self.own.node))
            self._view.merge_document(attrs.evolve(self.own, containers=held))
            self._out.documents.add(self.own.node)

    def next_version(self, state: Mapping[str, Any]) -> NodeDocument:
        """Begin a new version of the own document, of which a delta is to tell."""
        self._own = attrs.evolve(self.own, version=self.own.version + 1, **state)
        return self._own

    def line(self, node: str) -> Connect | None:
        """Return where a peer is."""
        return self._peers.get(node)

    def _difference(self, pull: Pull) -> Difference:
        """Return what the asker lacks; tell once of each thing that fits no frame."""
        told = dict(self._view.unfit)
        page = self._view.difference(pull)
        for what in self._view.unfit.keys() - told:
            self._out.note(
                "too_large",
                f"{what}: {self._view.unfit[what]} bytes fit no message, so the other "
                f"nodes do not get it: write it anew, smaller",
            )
        return page

    def _keep(self, keep: Keep) -> Ack | Refused:
        """Put a member's records on disk; one that was removed holds stale ones.

        What is about a service that is removed is not kept, and not said to be.
        """
        peer = self._members.peer(keep.node)
        if peer is None or peer.boot_id != keep.boot_id:
            return Refused(reason=f"{keep.node} is not a member that is known here")
        buried = []
        for record in keep.records:
            self.merge(record)
            standing = self._view.record(record.key)
            if standing is not None:  # it may be in memory alone
                self._out.learn(standing)
            is_gone = standing is None or is_tombstone(standing)
            if is_gone and not is_tombstone(record):
                buried.append(record.key)
        if buried:
            return Refused(reason=f"{', '.join(buried)}: its service was removed")
        return Ack()

    def _is_late(self, message: Heartbeat | Delta) -> bool:
        """Tell whether its sender has said something newer already."""
        peer, head = self._members.peer(message.node), self._view.head(message.node)
        if peer is None or head is None:
            return False
        if peer.boot_id != message.boot_id:  # of which process is it?
            earlier = message.incarnation < head.incarnation
            return earlier and message.boot_id != head.boot_id and peer.boot_id != ""
        if isinstance(message, Heartbeat):
            return 0 < message.count <= peer.count
        said, known = (message.incarnation, message.version), pair(head)
        # Protocol 1 does not count a delta that is of records alone.
        return said < known or (said == known and message.base_version < said[1])

    def _apply(self, delta: Delta, now: float) -> None:
        """Take a delta, unless it is older than what its sender said already.

        Its records too: what was on its way for long may be about a service that is
        removed and forgotten since.
        """
        merged = self._view.merge_delta(delta)
        head = self._view.head(delta.node)
        # Protocol 1 does not count a delta that is of records alone.
        uncounted = delta.base_version == delta.version
        if merged is Merged.KNOWN and not (
            uncounted and head is not None and head.version == delta.version
        ):
            return
        for record in delta.records:
            self.merge(record)
        if merged is Merged.GAP:
            self.pulls.forget_digest(delta.node)  # it is older than this
            self.pulls.ask(delta.node, now)
        elif merged is Merged.APPLIED:
            self._out.documents.add(delta.node)

    def _merge_document(self, document: NodeDocument, now: float) -> None:
        if document.node == self.own.node:
            self._names.on_own(document)
        elif self._view.merge_document(document):
            self._out.documents.add(document.node)
            self._tell(self._members.succeed(document.node, document.boot_id, now))
            self._meet(document, now)

    def _note_override(self, old: Record, new: Record) -> None:
        """Tell of a write of this node's that another one's undoes unseen."""
        if old.writer.startswith(f"{self.own.node}/") and new.revision <= old.revision:
            self._out.note(
                "overridden",
                f"{old.key}: a write of {old.writer} at revision {old.revision} gave "
                f"way to one of {new.writer} at the same time",
                uid=getattr(old, "uid", ""),
                about=getattr(old, "node", None) or "",
            )

    def _meet(self, document: NodeDocument, now: float) -> None:
        """Listen to a peer from now on; a changed address is taken over."""
        line = Connect(
            node=document.node,
            address=document.address,
            mesh_port=document.mesh_port,
            pub_port=document.pub_port,
        )
        if document.node == self.own.node or self._view.is_removed(document):
            return
        self._met[document.node] = document.identity
        old = self._peers.get(document.node)
        if old == line:
            return
        self._peers[document.node] = line
        if old is not None:
            self._hang_up(old)
        self._members.learn(document.node, now)
        self._out.order(
            line, Introduce(address=document.address, mesh_port=document.mesh_port)
        )

    def _is_outdated(self, document: NodeDocument) -> bool:
        """Tell whether a later document of its node is known: it may have moved."""
        head = self._view.head(document.node)
        return head is not None and pair(document) < pair(head)

    def _leave_removed(self, now: float) -> None:
        """Have no more to do with peers that left, or were removed."""
        for node in [n for n in self._peers if self._is_out(n)]:
            line = self._peers.pop(node)
            del self._met[node]
            self._hang_up(line)
            self._let_go(node, now)
            self.pulls.forget_digest(node)
        shown_s = self._members.timing.left_s
        for peer in list(self._members):
            if peer.node not in self._peers and now - peer.since_s >= shown_s:
                self._members.forget(peer.node)

    def _let_go(self, node: str, now: float) -> None:
        """Take one that wrote so itself for one that left, any other for none."""
        record, peer = self._view.node_record(node), self._members.peer(node)
        assert record is not None
        assert peer is not None
        if record.writer.startswith(f"{node}/"):
            boot_id = peer.boot_id
            change = self._members.farewell(node, boot_id, True, 0.0, now)
            self._tell(change, record.cause)
        elif peer.status is not Status.LEFT:
            self._members.forget(node)

    def _hang_up(self, line: Connect) -> None:
        """Stop hearing where a peer was, unless another one is there now."""
        there = line.address, line.mesh_port, line.pub_port
        taken = any(
            (other.address, other.mesh_port, other.pub_port) == there
            for other in self._peers.values()
        )
        if not taken:
            self._out.order(Disconnect(**attrs.asdict(line)))

    def _is_out(self, node: str) -> bool:
        record = self._view.node_record(node)
        return record is not None and record.bars(self._met[node])

    def _bid_farewell(self, message: Farewell, now: float) -> Ack:
        """Believe a farewell, but no late one of a process before the present one."""
        known = self._members.peer(message.node), self._view.head(message.node)
        boots = {process.boot_id for process in known if process is not None}
        if message.node in self._peers and message.boot_id in boots:
            change = self._members.farewell(
                message.node, message.boot_id, message.left, message.for_s, now
            )
            self._tell(change, message.cause)
        return Ack()

    def _tell(self, change: Changed | None, cause: str = "") -> None:
        """Note a verdict; it follows from the one before, if from nothing else."""
        if change is None:
            return
        text = f"{change.node}: {change.new.value}, {change.evidence}"
        peer = self._members.peer(change.node)
        assert peer is not None
        peer.entry = self._out.note(
            verdict(change.new), text, about=change.node, cause=cause or peer.entry
        )
