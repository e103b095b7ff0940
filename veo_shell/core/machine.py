"""One node's core: events in, commands out.

It holds the node's view, its verdicts on the peers and its containers' lives, and
lets nothing else change them. Whoever performs its commands (`node.py`, a test) tells
it what came of them as the next events.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import attrs

from veo_shell.core import events as ev
from veo_shell.core import reconcile
from veo_shell.core.commands import (
    Answer,
    AskDifference,
    Command,
    Connect,
    Disconnect,
    Introduce,
    Publish,
    Refuse,
    Report,
    Save,
)
from veo_shell.core.lifecycle import Found, Life, LifeEvent, Unwanted, Wanted, on_event
from veo_shell.core.membership import GONE, Changed, Membership, Timing
from veo_shell.core.model import (
    Accepted,
    Container,
    Identity,
    NodeDocument,
    NodeRecord,
    Observed,
    Record,
    Service,
    ServiceRecord,
    SlotRecord,
    Status,
)
from veo_shell.core.view import Merged, View
from veo_shell.core.wire import (
    Ack,
    Delta,
    Farewell,
    Heartbeat,
    Join,
    Pull,
    Records,
    Refused,
    Welcome,
)
from veo_shell.errors import NoSuitableNode, UnknownNode, UnknownService

REMEMBERED_OPERATIONS = 10_000
PULL_S = 3.0
"""A pull that was not answered for so long is given up."""


class Machine:
    """The state machine of one node. `handle` is its only door."""

    def __init__(
        self,
        document: NodeDocument,
        cluster: str,
        timing: Timing,
        now: float,
        *,
        alone: bool,
    ) -> None:
        """Begin with an own document; `alone`: there is nobody to join."""
        self.me = document.node
        self.cluster = cluster
        self.timing = timing
        self.view = View()
        self.members = Membership(self.me, timing, now)
        self.lives: dict[str, Life] = {}
        self._own = document
        self._peers: dict[str, Connect] = {}
        self._born_s = now
        self._settled = alone
        self._listed = False
        self._engine_lost = False
        self._digests: dict[str, int] = {}
        self._pulling: tuple[str, float] | None = None
        self._answers: OrderedDict[str, Answer | Refuse] = OrderedDict()
        self._out: list[Command] = []
        self._written: dict[str, Record] = {}
        self._changed: dict[str, Container] = {}
        self._gone: set[str] = set()
        self._dirty: set[str] = set()
        self.view.merge_document(document)

    def restore(
        self, documents: list[NodeDocument], records: list[Record], now: float
    ) -> list[Command]:
        """Take back the view from disk: peers in it are unknown until heard."""
        for record in records:
            self.view.merge_record(record)
        for document in documents:
            if document.node == self.me:
                self._rise_above(document.incarnation)
                continue
            self.view.merge_document(document)
            self._meet(document, now)
            self._settled = False
        return self._flush(now)

    def handle(self, event: ev.Event, now: float) -> list[Command]:
        """Return what is to be done after the event, in order."""
        _HANDLERS[type(event)](self, event, now)
        self._reconcile(now)
        return self._flush(now)

    @property
    def is_settled(self) -> bool:
        """Tell whether it may decide: it saw one peer's view, or nobody is there."""
        return self._settled

    def answerable(self) -> list[Container]:
        """Return the containers that DNS may answer for.

        Ready ones of services that stand, on nodes that are not dead: a container
        whose service was removed is out at once, before its node has stopped it.
        """
        return [
            container
            for container in self.view.containers()
            if container.is_ready
            and self._stands(container)
            and self.members.status(container.node) not in GONE
        ]

    def _stands(self, container: Container) -> bool:
        record = self.view.service(container.uid)
        return record is None or record.service is not None

    # Engine

    def _on_listed(self, event: ev.EngineListed, now: float) -> None:
        anew, self._engine_lost, self._listed = self._engine_lost, False, True
        seen = {o.name: o for o in event.containers}
        for name in list(self.lives):
            self._live(name, Found(observed=seen.get(name), anew=anew), now)
        for name, observed in seen.items():
            if name not in self.lives:
                self._adopt(observed, now)

    def _adopt(self, observed: Observed, now: float) -> None:
        """Take a container into care that carries our labels, if its service is known.

        One of an unknown service (this node lost its table) is left alone until a
        peer tells what it is.
        """
        identity = observed.identity
        if self.view.service(identity.uid) is None:
            return
        service = self.view.spec(identity.uid) or Service(
            name=identity.service, image=observed.image
        )
        life = self._life(identity, service)
        self._keep(observed.name, attrs.evolve(life, changed_s=now))
        self._live(observed.name, Found(observed=observed, anew=True), now)

    def _on_engine_lost(self, event: ev.EngineLost, now: float) -> None:
        self._engine_lost = True
        self._report(f"the engine is away: {event.reason}")

    def _on_named(self, event: Any, now: float) -> None:
        """Pass an answer of the engine, or a timer, to the container it is about."""
        if event.name in self.lives:
            self._live(event.name, event, now)

    def _on_started(self, event: ev.ContainerStarted, now: float) -> None:
        if event.observed.name in self.lives:
            self._live(event.observed.name, event, now)

    def _on_container(self, event: Any, now: float) -> None:
        """Pass a fact of the event stream to the container with that id."""
        for name, life in self.lives.items():
            if life.container.id == event.container_id:
                self._live(name, event, now)
                return

    def _life(self, identity: Identity, service: Service) -> Life:
        return Life(
            container=Container(
                name=identity.container_name,
                service=identity.service,
                uid=identity.uid,
                slot=identity.slot,
                generation=identity.generation,
                node=self.me,
                address=self._own.address,
                image=service.image,
            ),
            identity=identity,
            service=service,
            stop_timeout_s=self.timing.stop_timeout_s,
        )

    def _live(self, name: str, event: LifeEvent, now: float) -> None:
        before = self.lives[name]
        after, commands = on_event(before, event, now)
        self._out += commands
        self._keep(name, after)
        self._tell(before, after)

    def _keep(self, name: str, life: Life | None) -> None:
        if life is None:
            del self.lives[name]
            self._changed.pop(name, None)
            self._gone.add(name)
            return
        old = self.lives.get(name)
        self.lives[name] = life
        if old is None or old.container != life.container:
            self._changed[name] = life.container
            self._gone.discard(name)

    def _tell(self, before: Life, after: Life | None) -> None:
        if after is None:
            self._report(f"{before.container.name}: removed")
        elif after.container.state is not before.container.state:
            reason = after.container.reason
            state = after.container.state.value
            self._report(f"{after.container.name}: {state} {reason}".rstrip())

    # Time and peers

    def _on_tick(self, event: ev.Ticked, now: float) -> None:
        for change in self.members.tick(now):
            self._changed_status(change)
        if now - self._born_s >= self.timing.boot_grace_s:
            self._settled = True
        if self._pulling is not None and now - self._pulling[1] > PULL_S:
            self._pulling = None

    def _on_heartbeat_due(self, event: ev.HeartbeatDue, now: float) -> None:
        self._out.append(
            Publish(
                message=Heartbeat(
                    node=self.me,
                    boot_id=self._own.boot_id,
                    incarnation=self._own.incarnation,
                    version=self._own.version,
                    digest=self.view.digest,
                    lag_s=event.lag_s,
                    silences=self.members.silences(now),
                )
            )
        )

    def _on_heard(self, event: ev.Heard, now: float) -> None:
        message = event.message
        if message.node == self.me or message.node not in self._peers:
            return
        silences = message.silences if isinstance(message, Heartbeat) else None
        self._changed_status(
            self.members.heard(message.node, message.boot_id, now, silences)
        )
        if isinstance(message, Heartbeat):
            self._compare(message, now)
        else:
            self._apply(message, now)

    def _compare(self, heartbeat: Heartbeat, now: float) -> None:
        """Pull when the peer's digest differs and stood still for two heartbeats."""
        before = self._digests.get(heartbeat.node)
        self._digests[heartbeat.node] = heartbeat.digest
        if heartbeat.digest != self.view.digest and before == heartbeat.digest:
            self._pull(heartbeat.node, now)

    def _apply(self, delta: Delta, now: float) -> None:
        for record in delta.records:
            self._merge(record)
        merged = self.view.merge_delta(delta)
        if merged is Merged.GAP:
            self._pull(delta.node, now)
        elif merged is Merged.APPLIED:
            self._dirty.add(delta.node)

    def _pull(self, peer: str, now: float) -> None:
        if self._pulling is not None or peer not in self._peers:
            return
        self._pulling = (peer, now)
        line = self._peers[peer]
        self._out.append(
            AskDifference(peer=peer, address=line.address, mesh_port=line.mesh_port)
        )

    def _on_difference(self, event: ev.DifferenceHeard, now: float) -> None:
        self._pulling = None
        if event.answer is None:
            return
        for record in event.answer.records:
            self._merge(record)
        for document in event.answer.documents:
            self._merge_document(document, now)
        if event.answer.more:
            self._pull(event.peer, now)
        else:
            self._settled = True

    def _merge_document(self, document: NodeDocument, now: float) -> None:
        if document.node == self.me:
            if document.boot_id != self._own.boot_id:
                self._rise_above(document.incarnation)
        elif self.view.merge_document(document):
            self._dirty.add(document.node)
            self._meet(document, now)

    def _rise_above(self, incarnation: int) -> None:
        """Publish under a higher incarnation than one that an earlier us had."""
        if incarnation >= self._own.incarnation:
            self._own = attrs.evolve(self._own, incarnation=incarnation + 1)
            self.view.merge_document(self._document())
            self._dirty.add(self.me)

    def _document(self) -> NodeDocument:
        containers = tuple(life.container for life in self.lives.values())
        return attrs.evolve(self._own, containers=containers)

    def _merge(self, record: Record) -> None:
        if self.view.merge_record(record):
            self._written[record.key] = record

    def _on_asked(self, event: ev.Asked, now: float) -> None:
        message = event.message
        if isinstance(message, Join):
            reply: Any = self._joined(message, now)
        elif isinstance(message, Pull):
            reply = self.view.difference(message)
        else:
            reply = self._bid_farewell(message, now)
        self._out.append(Answer(operation=event.operation, value=reply))

    def _joined(self, join: Join, now: float) -> Welcome | Refused:
        newcomer = join.document
        if join.cluster != self.cluster:
            return Refused(
                reason=f"this is a node of the cluster {self.cluster!r}, "
                f"not of {join.cluster!r}"
            )
        peer = self.members.peer(newcomer.node)
        living = newcomer.node == self.me or (
            peer is not None
            and peer.status is Status.ALIVE
            and now - peer.heard_s < self.timing.suspect_s
        )
        known = self._own.boot_id if newcomer.node == self.me else peer and peer.boot_id
        if living and known != newcomer.boot_id:
            return Refused(reason=f"a node named {newcomer.node} lives already")
        self._meet(newcomer, now)
        self._pull(newcomer.node, now)
        return Welcome(members=tuple(self.view.nodes))

    def _meet(self, document: NodeDocument, now: float) -> None:
        """Listen to a peer; a changed address is taken over."""
        line = Connect(
            node=document.node,
            address=document.address,
            mesh_port=document.mesh_port,
            pub_port=document.pub_port,
        )
        old = self._peers.get(document.node)
        if document.node == self.me or old == line:
            return
        if old is not None:
            self._out.append(Disconnect(**attrs.asdict(old)))
        self._peers[document.node] = line
        self.members.learn(document.node, now)
        self._out.append(line)
        self._out.append(
            Introduce(address=document.address, mesh_port=document.mesh_port)
        )

    def _on_welcomed(self, event: ev.Welcomed, now: float) -> None:
        for member in event.answer.members:
            self._meet(member, now)
            if member.node == self.me and member.boot_id != self._own.boot_id:
                self._rise_above(member.incarnation)
        if not self._settled and event.answer.members:
            peers = [m.node for m in event.answer.members if m.node != self.me]
            if peers:
                self._pull(peers[0], now)

    def _bid_farewell(self, message: Farewell, now: float) -> Ack:
        if message.node in self._peers:
            self._changed_status(
                self.members.farewell(
                    message.node, message.boot_id, message.left, message.for_s, now
                )
            )
        return Ack()

    def _changed_status(self, change: Changed | None) -> None:
        if change is None:
            return
        self._report(f"{change.node}: {change.new.value}, {change.evidence}")

    # Verbs

    def _on_add(self, event: ev.AddAsked, now: float) -> None:
        if self._answered(event.operation):
            return
        found = [r for r in self.view.services() if r.service == event.service]
        old = found[0] if found else None
        uid = old.uid if old else event.uid
        ranked = reconcile.candidates(self.view, self.members, event.service, uid)
        if not event.queue and not any(c.fits for c in ranked):
            refusals = [(c.node, c.reason) for c in ranked]
            error = NoSuitableNode(service=event.service.name, refusals=refusals)
            self._reply(Refuse(operation=event.operation, error=error))
            return
        record = ServiceRecord(
            uid=uid,
            revision=self.view.revision + 1,
            writer=self.me,
            service=event.service,
            replicas=old.replicas + 1 if old else 1,
        )
        number = reconcile.missing_slots(record, self.view.slots(uid))[-1]
        self._merge(record)
        slot = reconcile.place(self.view, self.members, self.me, uid, number)
        assert slot is not None
        self._merge(slot)
        self._report(f"{event.service.name}: slot {number} on {slot.node}")
        accepted = Accepted(
            uid=uid, slot=number, generation=slot.generation, node=slot.node
        )
        self._reply(Answer(operation=event.operation, value=accepted))

    def _on_remove(self, event: ev.RemoveAsked, now: float) -> None:
        if self._answered(event.operation):
            return
        record = self.view.service(event.uid)
        if record is None or record.service is None:
            error = UnknownService(f"no service has the uid {event.uid}")
            self._reply(Refuse(operation=event.operation, error=error))
            return
        self._bury(record)
        self._reply(Answer(operation=event.operation, value=None))

    def _bury(self, record: ServiceRecord) -> None:
        tombstone = attrs.evolve(
            record, service=None, revision=self.view.revision + 1, writer=self.me
        )
        self._merge(tombstone)
        assert record.service is not None
        self._report(f"{record.service.name}: removed by an operator")

    def _on_stop(self, event: ev.StopAsked, now: float) -> None:
        if self._answered(event.operation):
            return
        record = self.view.service(event.uid)
        slots = {s.slot: s for s in self.view.slots(event.uid) if s.wanted}
        slot = slots.get(event.slot)
        if record is not None and slot and slot.generation == event.generation:
            if len(slots) == 1:
                self._bury(record)
            else:
                self._give_up(record, slot)
        self._reply(Answer(operation=event.operation, value=None))

    def _give_up(self, record: ServiceRecord, slot: SlotRecord) -> None:
        revision = self.view.revision + 1
        fewer = attrs.evolve(
            record, replicas=record.replicas - 1, revision=revision, writer=self.me
        )
        self._merge(fewer)
        self._merge(
            attrs.evolve(
                slot, wanted=False, node=None, revision=revision, writer=self.me
            )
        )

    def _on_role(self, event: ev.RoleAssigned, now: float) -> None:
        if self._answered(event.operation):
            return
        if self.view.head(event.node) is None:
            error = UnknownNode(f"no node is called {event.node}")
            self._reply(Refuse(operation=event.operation, error=error))
            return
        self._merge(
            NodeRecord(
                node=event.node,
                revision=self.view.revision + 1,
                writer=self.me,
                role=event.role,
            )
        )
        self._report(f"{event.node}: role {event.role}")
        self._reply(Answer(operation=event.operation, value=None))

    def _answered(self, operation: str) -> bool:
        """Repeat the answer of an operation that was asked before."""
        known = self._answers.get(operation)
        if known is not None:
            self._out.append(known)
        return known is not None

    def _reply(self, answer: Answer | Refuse) -> None:
        self._answers[answer.operation] = answer
        if len(self._answers) > REMEMBERED_OPERATIONS:
            self._answers.popitem(last=False)
        self._out.append(answer)

    # Converging

    def _reconcile(self, now: float) -> None:
        if self._settled:
            for record in reconcile.decide(self.view, self.members, self.me):
                self._written[record.key] = record
        if self._listed:
            self._follow_table(now)

    def _follow_table(self, now: float) -> None:
        """Run exactly what the slots assign to this node."""
        wanted: dict[str, tuple[Identity, Service]] = {}
        for slot in self.view.assigned(self.me):
            service = self.view.spec(slot.uid)
            assert service is not None
            identity = Identity(
                cluster=self.cluster,
                node=self.me,
                service=service.name,
                uid=slot.uid,
                slot=slot.slot,
                generation=slot.generation,
            )
            wanted[identity.container_name] = identity, service
        for name in [n for n in self.lives if n not in wanted]:
            if self.lives[name].wanted:
                self._live(name, Unwanted(), now)
        if not self._settled:
            return
        for name, (identity, service) in wanted.items():
            if name not in self.lives:
                self._keep(name, self._life(identity, service))
                self._live(name, Wanted(), now)

    def _report(self, text: str) -> None:
        self._out.append(Report(text=text))

    def _flush(self, now: float) -> list[Command]:
        """Publish and save what changed since the last time; hand the commands over.

        What changed is published before anything else is done about it.
        """
        first: list[Command] = []
        if self._changed or self._gone or self._written:
            first.append(self._delta())
        if self._written or self._dirty:
            documents = tuple(self.view.document(node) for node in sorted(self._dirty))
            records = tuple(self._written.values())
            first.append(Save(documents=documents, records=records))
        self._written, self._changed, self._gone = {}, {}, set()
        self._dirty = set()
        out, self._out = first + self._out, []
        return out

    def _delta(self) -> Publish:
        base = self._own.version
        if self._changed or self._gone:
            self._own = attrs.evolve(self._own, version=base + 1)
            self._dirty.add(self.me)
        delta = Delta(
            node=self.me,
            boot_id=self._own.boot_id,
            incarnation=self._own.incarnation,
            base_version=base,
            version=self._own.version,
            containers=tuple(self._changed.values()),
            gone=tuple(sorted(self._gone)),
            records=Records.of(self._written.values()),
        )
        self.view.merge_delta(delta)
        return Publish(message=delta)


_HANDLERS: dict[type, Callable[[Machine, Any, float], None]] = {
    ev.EngineListed: Machine._on_listed,
    ev.EngineLost: Machine._on_engine_lost,
    ev.ContainerStarted: Machine._on_started,
    ev.ContainerExited: Machine._on_container,
    ev.HealthChanged: Machine._on_container,
    ev.ContainerGone: Machine._on_container,
    ev.ContainerCreated: Machine._on_named,
    ev.StartAnswered: Machine._on_named,
    ev.EngineFailed: Machine._on_named,
    ev.ContainerDiscarded: Machine._on_named,
    ev.TimerDue: Machine._on_named,
    ev.Ticked: Machine._on_tick,
    ev.HeartbeatDue: Machine._on_heartbeat_due,
    ev.Heard: Machine._on_heard,
    ev.Asked: Machine._on_asked,
    ev.Welcomed: Machine._on_welcomed,
    ev.DifferenceHeard: Machine._on_difference,
    ev.AddAsked: Machine._on_add,
    ev.RemoveAsked: Machine._on_remove,
    ev.StopAsked: Machine._on_stop,
    ev.RoleAssigned: Machine._on_role,
}
