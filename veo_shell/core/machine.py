"""One node's core: events in, commands out.

It composes the node's view, its verdicts on the peers, its dealings with them, its
containers' lives and the operators' writes. Whoever performs its commands (`node.py`,
a test) tells it what came of them as the next events.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from veo_shell.core import events as ev
from veo_shell.core import reconcile
from veo_shell.core.care import Care
from veo_shell.core.commands import Command, Publish, Save
from veo_shell.core.exchange import Exchange
from veo_shell.core.membership import GONE, Membership, Timing
from veo_shell.core.model import Container, NodeDocument, Record
from veo_shell.core.operations import Operations
from veo_shell.core.outbox import Outbox
from veo_shell.core.view import View
from veo_shell.core.wire import Delta, Records


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
        self.view = View()
        self.members = Membership(self.me, timing, now)
        self._out = out = Outbox()
        self._exchange = Exchange(
            document, cluster, self.view, self.members, out, alone=alone, now=now
        )
        self._care = Care(
            self.me, document.address, cluster, timing.stop_timeout_s, self.view, out
        )
        # With the boot in it: a process that was killed before it saved a write does
        # not write another value under the same revision and writer.
        self._writer = f"{self.me}/{document.boot_id[:8]}"
        self._operations = Operations(self._writer, self.view, self.members, out)
        self._decided: tuple[int, int] | None = None
        self._handlers = self._table()

    def _table(self) -> dict[type, Callable[[Any, float], None]]:
        exchange, care = self._exchange, self._care
        return {
            ev.EngineListed: care.on_listed,
            ev.EngineLost: care.on_engine_lost,
            ev.ContainerStarted: care.on_started,
            ev.ContainerExited: care.on_container,
            ev.HealthChanged: care.on_container,
            ev.ContainerGone: care.on_container,
            ev.ContainerCreated: care.on_named,
            ev.StartAnswered: care.on_named,
            ev.EngineFailed: care.on_named,
            ev.ContainerDiscarded: care.on_named,
            ev.TimerDue: care.on_named,
            ev.Ticked: exchange.on_tick,
            ev.HeartbeatDue: exchange.on_heartbeat_due,
            ev.Heard: exchange.on_heard,
            ev.Asked: exchange.on_asked,
            ev.Welcomed: exchange.on_welcomed,
            ev.DifferenceHeard: exchange.on_difference,
            ev.AddAsked: self._operations.on_asked,
            ev.RemoveAsked: self._operations.on_asked,
            ev.StopAsked: self._operations.on_asked,
            ev.RoleAssigned: self._operations.on_asked,
        }

    @property
    def own(self) -> NodeDocument:
        """Return this node's document, without its containers."""
        return self._exchange.own

    @property
    def is_settled(self) -> bool:
        """Tell whether it may decide: it saw one peer's view, or nobody is there."""
        return self._exchange.settled

    @property
    def knows_its_own(self) -> bool:
        """Tell whether what it says of its own containers is what its engine says."""
        return self._care.knows_its_own

    def restore(
        self, documents: list[NodeDocument], records: list[Record], now: float
    ) -> list[Command]:
        """Take back the view from disk: peers in it are unknown until heard."""
        for record in records:
            self.view.merge_record(record)
        for document in documents:
            self._exchange.restore(document, now)
            if document.node == self.me:
                self._care.remember(document.containers)
        return self._flush()

    def handle(self, event: ev.Event, now: float) -> list[Command]:
        """Return what is to be done after the event, in order."""
        self._handlers[type(event)](event, now)
        self._decide()
        self._care.follow_table(self.is_settled, now)
        return self._flush()

    def answerable(self) -> list[Container]:
        """Return the containers that DNS may answer for.

        Ready ones of services that stand, on nodes that are not dead and have their
        engine: a container whose service was removed is out at once, before its node
        has stopped it, and one whose engine went away most likely went with it.
        """
        return [
            container
            for container in self.view.containers()
            if container.is_ready
            and self._stands(container)
            and self._is_reached(container.node)
        ]

    def _is_reached(self, node: str) -> bool:
        head = self.view.head(node)
        engine = head is not None and not head.engine_lost
        return engine and self.members.status(node) not in GONE

    def _stands(self, container: Container) -> bool:
        record = self.view.service(container.uid)
        return record is None or record.service is not None

    def _flush(self) -> list[Command]:
        """Hand the commands over; what changed is published before all else."""
        out = self._out
        first: list[Command] = []
        if out.changed or out.gone or out.records or self._engine_changed():
            first.append(Publish(message=self._delta()))
        records = tuple({**out.learned, **out.records}.values())
        if records or out.documents:
            documents = tuple(self.view.document(n) for n in sorted(out.documents))
            first.append(Save(documents=documents, records=records))
        commands = first + out.commands
        out.clear()
        return commands

    def _decide(self) -> None:
        """Reconcile, unless all that it depends on is as it was the last time."""
        seen = self.view.digest, self.members.revision
        if not self.is_settled or seen == self._decided:
            return
        for record in reconcile.decide(self.view, self.members, self.me, self._writer):
            self._out.write(record)
        self._decided = seen

    def _engine_changed(self) -> bool:
        return self.own.engine_lost != self._care.engine_lost

    def _delta(self) -> Delta:
        """Return what changed since the last delta; a new version of the document."""
        own, out = self.own, self._out
        if out.changed or out.gone or self._engine_changed():
            self._exchange.own = attrs.evolve(
                own, version=own.version + 1, engine_lost=self._care.engine_lost
            )
            out.documents.add(self.me)
        delta = Delta(
            node=self.me,
            boot_id=own.boot_id,
            incarnation=own.incarnation,
            base_version=own.version,
            version=self.own.version,
            containers=tuple(out.changed.values()),
            gone=tuple(sorted(out.gone)),
            records=Records.of(out.records.values()),
            engine_lost=self.own.engine_lost,
        )
        self.view.merge_delta(delta)
        return delta
