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
from veo_shell.core.answered import Answered
from veo_shell.core.calls import Calls
from veo_shell.core.care import Care
from veo_shell.core.commands import Command, End, Publish, Refuse, Save
from veo_shell.core.copies import Copies
from veo_shell.core.doors import Doors
from veo_shell.core.exchange import Exchange
from veo_shell.core.graves import Graves
from veo_shell.core.holdings import Holdings
from veo_shell.core.listed import Listed
from veo_shell.core.membership import Membership
from veo_shell.core.model import (
    NOT_LISTED,
    Candidate,
    Container,
    NodeDocument,
    NodeRecord,
    Record,
    Service,
)
from veo_shell.core.operations import OPERATIONS, Operation, Operations
from veo_shell.core.orphans import Orphans
from veo_shell.core.outbox import Outbox
from veo_shell.core.pen import Pen
from veo_shell.core.reconcile import Reconciler
from veo_shell.core.situation import Situation
from veo_shell.core.standings import Standings
from veo_shell.core.timing import Timing
from veo_shell.core.view import View
from veo_shell.core.wire import Delta, Forget, Heartbeat, Records
from veo_shell.errors import PeerUnreachable

LOOK_AGAIN_S = 1.0


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
        document = attrs.evolve(document, engine_lost=NOT_LISTED)
        self.me = document.node
        self.cluster = cluster
        self.view = View()
        self.members = Membership(self.me, timing, now)
        # With the boot in it: a process that was killed before it saved a write does
        # not write another value under the same revision and writer.
        boot = document.boot_id[:8]
        self._out = out = Outbox(node=self.me, boot=boot)
        pen = Pen(f"{self.me}/{boot}", self.view, out)
        self._exchange = Exchange(
            document, self.view, self.members, pen, out, alone=alone, now=now
        )
        self._care = Care(
            self.me,
            document.address,
            cluster,
            self.view,
            self.members,
            out,
            disk_id=document.disk_id,
            address6=document.address6,
        )
        self._orphans = Orphans(self.me, self.view, self._care, pen, out)
        self._copies = Copies(self.view, self.members, out)
        self._graves = Graves(document.boot_id, self.view, self.members, out)
        self._doors = Doors(self.view, self.members, out)
        self.answered = Answered(self.view, self.members, self._doors)
        self.standings = Standings(self.view, self.members, self.answered)
        self._holdings = Holdings(self.view)
        self.situation = Situation(self.me, self.view, self.members)
        self.reconciler = Reconciler(self.situation, pen, out)
        self.listed = Listed(self.situation, self.reconciler.places)
        self._operations = Operations(
            self.view, pen, self.reconciler, self._copies, out
        )
        self._born_s = now
        self._looked_s = now
        self._may_judge = False
        self._has_ended = False
        self._dns_serial = 0
        self.leaves = ""  # the journal's id of the decision to
        self._handlers = self._table()

    def _table(self) -> dict[type, Callable[[Any, float], None]]:
        exchange, care = self._exchange, self._care
        return {
            ev.EngineListed: care.on_listed,
            ev.EngineLost: care.on_engine_lost,
            ev.ContainerStarted: care.on_started,
            ev.ProcessEnded: care.on_container,
            ev.ContainerExited: care.on_container,
            ev.HealthChanged: care.on_container,
            ev.ContainerGone: care.on_container,
            ev.ContainerCreated: care.on_named,
            ev.StartAnswered: care.on_named,
            ev.StopAnswered: care.on_named,
            ev.Called: Calls(self._out).on_called,
            ev.RestartAsked: care.on_restart_asked,
            ev.EngineFailed: care.on_named,
            ev.ContainerDiscarded: care.on_named,
            ev.TimerDue: care.on_named,
            ev.SerialsReserved: self._on_serials_reserved,
            ev.EngineHolds: lambda e, _: self._holdings.take(
                e.images, e.volumes, e.lan_networks
            ),
            ev.Ticked: self._on_tick,
            ev.HeartbeatDue: exchange.on_heartbeat_due,
            ev.Heard: self._on_heard,
            ev.Asked: exchange.on_asked,
            ev.Welcomed: exchange.on_welcomed,
            ev.RefusedEntry: self._on_refused_entry,
            ev.DifferenceHeard: exchange.on_difference,
            ev.Recognized: exchange.names.on_recognized,
            ev.Tried: self._on_tried,
            ev.Saved: self._copies.on_saved,
            ev.SaveFailed: self._copies.on_save_failed,
            ev.CopyAnswered: self._on_copy_answered,
            ev.Leaving: self._on_leaving,
            **dict.fromkeys(OPERATIONS, self._on_operation),
        }

    @property
    def own(self) -> NodeDocument:
        """Return this node's document, without its containers."""
        return self._exchange.own

    @property
    def protocol(self) -> int:
        """Return the protocol that all known members speak."""
        return self._exchange.protocol

    @property
    def heartbeat_s(self) -> float:
        """Return the time until the next heartbeat, give or take."""
        return self.members.heartbeat_s

    @property
    def is_settled(self) -> bool:
        """Tell whether it may decide: it saw one peer's view, or nobody is there."""
        return self._exchange.settled

    @property
    def knows_its_own(self) -> bool:
        """Tell whether what it says of its own containers is what its engine says."""
        return self._care.knows_its_own

    @property
    def is_leaving(self) -> bool:
        """Tell whether it leaves the cluster, or was removed."""
        return self._care.is_leaving

    @property
    def may_deny(self) -> bool:
        """Tell whether what it knows no service of is none: of that name, in DNS."""
        return self.is_settled and not self._orphans.doubted

    @property
    def dns_serial(self) -> int:
        """Return a serial above which its DNS never was, also before a restart."""
        return self._dns_serial

    @property
    def dns_key(self) -> tuple[int, int, int, int]:
        """Return what changes whenever what DNS may answer does."""
        view = self.view
        verdicts, doors = self.members.revision, self._doors.revision
        return view.digest, view.services_revision, verdicts, doors

    def candidates(self, service: Service, uid: str = "") -> list[Candidate]:
        """Rank all nodes for one more instance of a service."""
        return self.reconciler.places.for_one_more(service, uid)

    def begin_afresh(self, removed: str) -> None:
        """Note with what state this node was removed, before anybody can tell it."""
        record = NodeRecord(node=self.me, revision=0, writer="", removed=removed)
        self._exchange.merge(record)

    def restore(
        self, documents: list[NodeDocument], records: list[Record], now: float
    ) -> list[Command]:
        """Take back the view from disk: peers in it are unknown until heard.

        What is to be saved goes with the first event: these commands wait for that, and
        would put the document of before, which has no containers, over the newer one.
        """
        for record in records:
            self.view.merge_record(record)
        for document in documents:
            self._exchange.restore(document, now)
            if document.node == self.me:
                boots = document.host_boot, self.own.host_boot
                rebooted = all(boots) and len(set(boots)) > 1
                self._care.remember(document.containers, rebooted=rebooted)
                self._holdings.remember(document)
                self._dns_serial = document.dns_serial
        self.view.settle()
        commands, self._out.commands = self._out.commands, []
        return commands

    def pause(self, now: float) -> list[Command]:
        """Return what is to be done last, as this process ends in order.

        The disk is to know as up what ended just now: its host may be ending too. Where
        it is not, the engine tells the exit codes when this node is back.
        """
        held = self._care.up_till_now(now)
        own = attrs.evolve(self.own, containers=held)
        return [Save(ticket=self._out.ticket, documents=(own,))] if held else []

    def handle(self, event: ev.Event, now: float) -> list[Command]:
        """Return what is to be done after the event, in order."""
        self.situation.now = now
        verdicts = self.members.revision
        self._handlers[type(event)](event, now)
        # Most of all events are heartbeats that say what is known.
        if not _is_heartbeat(event) or self.members.revision != verdicts:
            self._decide(now)
        return self._flush()

    def _decide(self, now: float) -> None:
        """Act on all that changed.

        What this node's own containers changed is merged later, as it is published: so
        that is looked at with the next event that is decided on.
        """
        if self.view.is_removed(self.own):
            self._care.is_leaving = True
        if self.is_settled and not self._care.is_leaving:
            self.reconciler.decide(now)
        self._care.follow_table(self.is_settled, now)
        if self._may_judge:
            # Last: who coordinates what is known again is to see with it what runs.
            self._orphans.judge(now)
            self._may_judge = False
        self._end_if_left()
        self.view.settle()

    def health_for_s(self, name: str, now: float) -> float:
        """Return for how long a container of this node has had its health.

        Not from before it was started, or found as this node was.
        """
        life = self._care.lives.get(name)
        if life is None:
            return 0.0
        return now - max(life.health_s, life.started_s or life.changed_s)

    def answerable(self) -> list[Container]:
        """Return the containers that DNS may answer for."""
        return self.answered.containers()

    # Events that concern several parts

    def _on_operation(self, event: Operation, now: float) -> None:
        """Have a write performed; by the next coordinator while this node leaves."""
        if self._care.is_leaving:
            error = PeerUnreachable(f"{self.me} is leaving the cluster")
            self._out.order(Refuse(operation=event.operation, error=error))
        else:
            self._operations.on_asked(event, now)

    def _on_tick(self, event: ev.Ticked, now: float) -> None:
        self._exchange.on_tick(event, now)
        uids = self._orphans.doubted
        has_asked = self._exchange.pulls.hear_out(uids, now)
        grown_up = now - self._born_s >= self.members.timing.boot_grace_s
        self._may_judge = bool(uids) and grown_up and has_asked
        self._copies.on_tick(now)
        self._graves.on_tick(now)
        self._doors.on_tick(now)
        self._care.on_tick(now)
        if now - self._looked_s >= LOOK_AGAIN_S:
            self._looked_s = now
            self.reconciler.tick()

    def _on_heard(self, event: ev.Heard, now: float) -> None:
        self._exchange.on_heard(event, now)
        is_peer = self._exchange.line(event.message.node) is not None
        if is_peer and isinstance(event.message, Forget):
            self._graves.on_forget(event.message.uids)

    def _on_tried(self, event: ev.Tried, now: float) -> None:
        if event.container:
            self._doors.on_tried(event, now)
        else:
            self.members.tried(event.node, event.knock, now)

    def _on_copy_answered(self, event: ev.CopyAnswered, now: float) -> None:
        self._copies.on_copy_answered(event, now)
        self._graves.on_copy_answered(event, now)

    def _on_refused_entry(self, event: ev.RefusedEntry, now: float) -> None:
        if event.removed:
            reason = f"{self.me} left the cluster, or was removed: it joins afresh"
            self._out.order(End(reason=reason, afresh=True))
        else:
            self._out.order(End(reason=event.reason))

    def _on_leaving(self, event: ev.Leaving, now: float) -> None:
        how = "removed from the cluster by an operator"
        text = f"{self.me} {how if event.removed else 'leaves the cluster'}"
        self.leaves = self._out.note("node_leaves", text, about=self.me)
        self._care.is_leaving = True

    def _end_if_left(self) -> None:
        """End this process once it is to leave and nothing of it runs any more.

        Then alone it lets itself go: what the others do not see they do not wait for.
        """
        if self._has_ended:
            return
        if self._care.is_leaving and (self._care.is_empty or self._care.engine_lost):
            self._has_ended = True
            if not self.view.is_removed(self.own):
                self.reconciler.voters.let_go(self.own, self.leaves)
            if self._care.engine_lost:
                text = "its engine is away: what runs there is left to itself"
                self._out.note("node_leaves", text, about=self.me)
            self._out.order(End(reason=f"{self.me} has left the cluster", clean=True))

    # What is handed out

    def _flush(self) -> list[Command]:
        """Hand the commands over; what changed is published before all else."""
        out, view = self._out, self.view
        first: list[Command] = []
        if out.is_own_news or self._changed_state():
            first.append(Publish(message=self._delta()))
        if out.records or out.learned or out.documents or view.dropped:
            first.append(self._save())
        commands = first + out.commands
        out.clear()
        return commands

    def _on_serials_reserved(self, event: ev.SerialsReserved, now: float) -> None:
        self._dns_serial = event.until

    def _save(self) -> Save:
        out, view = self._out, self.view
        known = [n for n in sorted(out.documents) if view.head(n) is not None]
        records = {**out.learned, **out.records}
        save = Save(
            ticket=out.ticket,
            documents=tuple(map(view.document, known)),
            records=tuple(records[k] for k in records if k not in view.dropped),
            dropped=tuple(sorted(view.dropped)),
        )
        view.dropped = set()
        out.ticket += 1
        return save

    def _changed_state(self) -> dict[str, Any]:
        """Return what the own document does not say yet of this node, by field."""
        state = {
            "engine_lost": self._care.engine_trouble,
            "disk_trouble": self._copies.disk_trouble,
            "dns_serial": self._dns_serial,
            "images": self._holdings.images,
            "volumes": self._holdings.volumes,
            "lan_networks": self._holdings.lan_networks,
        }
        return {k: value for k, value in state.items() if getattr(self.own, k) != value}

    def _delta(self) -> Delta:
        """Return what changed since the last delta, as a new version of the document.

        Also for records alone: the version tells a delta that was long on its way.
        """
        base, out, state = self.own, self._out, self._changed_state()
        own = self._exchange.next_version(state)
        out.documents.add(self.me)
        delta = Delta(
            node=self.me,
            boot_id=own.boot_id,
            incarnation=own.incarnation,
            base_version=base.version,
            version=own.version,
            containers=tuple(out.changed.values()),
            gone=tuple(sorted(out.gone)),
            records=Records.of(out.records.values()),
            engine_lost=own.engine_lost,
            disk_trouble=own.disk_trouble,
            dns_serial=own.dns_serial,
            images=state.get("images"),
            volumes=state.get("volumes"),
            lan_networks=state.get("lan_networks"),
        )
        self.view.merge_delta(delta)
        return delta


def _is_heartbeat(event: ev.Event) -> bool:
    return isinstance(event, ev.Heard) and isinstance(event.message, Heartbeat)
