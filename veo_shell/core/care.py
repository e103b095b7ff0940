"""This node's containers: follows the table and the engine, one life at a time."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Any

import attrs

from veo_shell.core import events as ev
from veo_shell.core.commands import Answer, Refuse
from veo_shell.core.life import (
    EngineEnded,
    Found,
    Life,
    LifeEvent,
    RestartOrdered,
    Unwanted,
    Wanted,
    ended_just_now,
    engine_stop_s,
)
from veo_shell.core.lifecycle import on_event
from veo_shell.core.mates import Mates
from veo_shell.core.membership import GONE, Membership
from veo_shell.core.model import (
    NOT_LISTED,
    Container,
    GroupRole,
    Health,
    Identity,
    Observed,
    OnPartition,
    Restart,
    Service,
    ServiceRecord,
    SlotRecord,
    State,
    Status,
)
from veo_shell.core.outbox import Outbox
from veo_shell.core.steps import steps
from veo_shell.core.turns import awaited
from veo_shell.core.view import View
from veo_shell.errors import Refused


class Fate(enum.Enum):
    """What the table says of a container of this node.

    CONTESTED: its slot names another one, and no decision yet that this one ends. ENDED
    by a decision about its slot, REMOVED with its slot or service, BANNED because this
    node may run nothing of its kind just now.
    """

    WANTED = "wanted"
    CONTESTED = "contested"
    ENDED = "ended"
    REMOVED = "removed"
    BANNED = "banned"
    UNKNOWN = "unknown"


class Care:
    """The lives of the containers that carry our labels on this node's engine."""

    def __init__(
        self,
        node: str,
        address: str,
        cluster: str,
        view: View,
        members: Membership,
        out: Outbox,
        disk_id: str = "",
        address6: str = "",
    ) -> None:
        self.lives: dict[str, Life] = {}
        self._node = node
        self._address = address
        self._address6 = address6
        self._cluster = cluster
        self._disk_id = disk_id
        self._timing = members.timing
        self._view = view
        self._members = members
        self._out = out
        self._mates = Mates(view, self.lives)
        self._remembered: dict[str, Container] = {}
        self._rebooted = False
        self.strangers: dict[str, Observed] = {}
        self._entries: dict[str, str] = {}
        self._again: set[str] = set()
        self._listed = False
        self._banned = False
        self._banned_before = False
        self._may_start_majority = False
        self._could_start = False
        self.engine_lost = ""
        self.is_leaving = False

    @property
    def knows_its_own(self) -> bool:
        """Tell whether the engine was asked what it holds, or does not answer."""
        return self._listed or bool(self.engine_lost)

    @property
    def engine_trouble(self) -> str:
        """Return why what this node says of its containers is not to be relied on."""
        return self.engine_lost or ("" if self._listed else NOT_LISTED)

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing of ours is left on this node's engine."""
        return self._listed and not self.lives

    def remember(
        self, containers: Iterable[Container], *, rebooted: bool = False
    ) -> None:
        """Take back from disk how often they were restarted, and which had ended.

        `rebooted`: the host was since; what was to run on was ended by that.
        """
        self._rebooted = rebooted
        self._remembered = {container.name: container for container in containers}

    def up_till_now(self, now: float) -> tuple[Container, ...]:
        """Return the containers, with those that ended just now as running."""
        within_s = engine_stop_s(self.lives.values())
        return tuple(
            life.to(State.RUNNING).container
            if life.container.id
            and life.container.state in (State.EXITED, State.FAILED)
            and ended_just_now(life, within_s, now)
            else life.container
            for life in self.lives.values()
        )

    # What the engine says

    def on_listed(self, event: ev.EngineListed, now: float) -> None:
        """Compare with all that the engine holds; adopt what is ours."""
        anew, self.engine_lost, self._listed = bool(self.engine_lost), "", True
        if anew:
            self._out.note("engine_back", "the engine answers again", about=self._node)
        seen = {o.identity.container_name: o for o in event.containers}
        for name in list(self.lives):
            self._live(name, Found(observed=seen.get(name), anew=anew), now)
        self.strangers = {
            name: observed for name, observed in seen.items() if name not in self.lives
        }
        self.adopt_known(now)

    def on_engine_lost(self, event: ev.EngineLost, now: float) -> None:
        """Note that the engine is away."""
        self.engine_lost = event.reason or "it does not answer"
        self._out.note(
            "engine_lost", f"the engine is away: {event.reason}", about=self._node
        )
        within_s = engine_stop_s(self.lives.values())
        for name in list(self.lives):
            self._live(name, EngineEnded(within_s=within_s), now)

    def on_named(self, event: Any, now: float) -> None:
        """Pass an answer of the engine, or a timer, to the container it is about.

        That it may be started again waits for its turn in its group.
        """
        if event.name in self.lives and not self._mates.holds(event):
            self._live(event.name, event, now)

    def on_restart_asked(self, event: ev.RestartAsked, now: float) -> None:
        """Restart a container, once for an operation, and answer that it is under way.

        With it the rest of its group, if that is its policy.
        """
        name, life = event.name, self.lives.get(event.name)
        if life is None or not life.wanted:
            error = Refused(f"{name} is no more on {self._node}: it was replaced")
            self._out.order(Refuse(operation=event.operation, error=error))
            return
        for one in [name, *self._mates.restart_with(name)]:
            self._restart(one, event.operation, now)
        self._out.order(Answer(operation=event.operation, value=None))

    def _restart(self, name: str, operation: str, now: float) -> None:
        life = self.lives[name]
        if life.container.operation == operation:
            return
        self._mates.forgive(name)
        drain_s = self._drain_s(life)
        self._live(name, RestartOrdered(operation=operation, drain_s=drain_s), now)

    def on_started(self, event: ev.ContainerStarted, now: float) -> None:
        """Pass on that a container was started."""
        name = event.observed.identity.container_name
        if name in self.lives:
            self._live(name, event, now)
        elif name in self.strangers:
            self.strangers[name] = event.observed

    def on_container(self, event: Any, now: float) -> None:
        """Pass a fact of the event stream to the container with that id."""
        for name, life in self.lives.items():
            if life.container.id == event.container_id:
                self._live(name, event, now)
                return
        for name, observed in self.strangers.items():
            if observed.id == event.container_id:
                self._tell_of_stranger(name, observed, event)
                return

    def _tell_of_stranger(self, name: str, observed: Observed, event: Any) -> None:
        """Keep what was listed of a stranger true: it may be adopted from that."""
        if isinstance(event, ev.ContainerGone):
            del self.strangers[name]
        elif isinstance(event, ev.HealthChanged):
            self.strangers[name] = attrs.evolve(
                observed, health=event.health, check_output=event.output
            )
        elif isinstance(event, ev.ContainerExited):
            self.strangers[name] = attrs.evolve(
                observed,
                running=False,
                exit_code=event.exit_code,
                oom_killed=event.oom_killed,
                health=Health.NONE,
                ports=(),
            )

    def on_tick(self, now: float) -> None:
        """Look whether this node may run what wants a majority of the nodes.

        It begins nothing of that kind before it holds what the majority holds: its own
        table may be from before they decided without it.
        """
        voters = self._view.voters()
        self._banned = self._members.has_lost_majority(voters, now)
        if not self._members.sees_majority(voters, now):
            self._may_start_majority = False
        elif not self._may_start_majority:
            digest = self._view.digest
            self._may_start_majority = self._members.agree(voters, digest)

    # What the table says

    def follow_table(self, may_start: bool, now: float) -> None:
        """Run exactly what the slots assign to this node; nothing before a listing.

        What is not wanted any more is given up even where nothing may be started yet.
        """
        if not self._listed:
            return
        banned = self._banned
        for name in self._mates.released():
            # While it waited for its turn its slot may have gone to another node.
            self._judge(name, self.lives[name], banned, now)
            if name in self.lives and self.lives[name].wanted:
                self._live(name, ev.TimerDue(name=name), now)
        changed = banned != self._banned_before or may_start != self._could_start
        self._banned_before, self._could_start = banned, may_start
        uids = self._view.touched | self._again
        if not (uids or changed or self.is_leaving):
            return
        self._again = set()
        everything = changed or self.is_leaving
        if self.strangers:
            self.adopt_known(now)
        for name, life in list(self.lives.items()):
            if everything or life.identity.uid in uids:
                self._judge(name, life, banned, now)
        if may_start and not self.is_leaving:
            slots = self._view.assigned(self._node, None if everything else uids)
            for slot in sorted(slots, key=self._waits_for_masters):
                self._begin(slot, now)

    def end_stranger(self, name: str, now: float) -> None:
        """Stop and remove a container that is known to be nobody's any more."""
        observed = self.strangers.pop(name)
        self._take(name, observed, _spec_of(observed), now)
        self._live(name, Unwanted(), now)

    def _fate(self, identity: Identity, banned: bool) -> Fate:
        if self.is_leaving:
            return Fate.REMOVED
        record = self._view.service(identity.uid)
        if record is None:
            return Fate.UNKNOWN
        if record.service is None:
            return Fate.REMOVED
        if banned and record.service.on_partition is OnPartition.MAJORITY:
            return Fate.BANNED
        slot = self._view.slot(identity.uid, identity.slot)
        if slot is None:  # before this node has seen the others' table it may be there
            return Fate.CONTESTED if self._could_start else Fate.UNKNOWN
        if not slot.wanted:
            return Fate.ENDED
        named = slot.node, slot.container_generation
        if named == (self._node, identity.generation):
            return Fate.WANTED
        ended = identity.container_name in slot.ends or self._is_old(slot)
        return Fate.ENDED if ended else Fate.CONTESTED

    def _is_old(self, slot: SlotRecord) -> bool:
        """Tell whether protocol 1 decided: all but what it names is to end."""
        head = self._view.head(slot.writer.rpartition("/")[0])
        return head is not None and head.protocol == 1

    def _judge(self, name: str, life: Life, banned: bool, now: float) -> None:
        """Have a container end that is to; one that is contested only if it is down.

        The ban reaches one that stops in order too: it would run on beside another.
        """
        fate = self._fate(life.identity, banned)
        if fate is Fate.BANNED:
            falls = list(self._mates.falls_with_banned(name))
            self._live(name, Unwanted(kill=True), now)
            for other, fall in falls:
                self._live(other, fall, now)
        elif not life.wanted:
            return
        elif fate is Fate.CONTESTED:
            if not life.container.is_up and not self._is_relieved(life):
                self._live(name, Unwanted(), now)
        elif fate is Fate.ENDED:
            self._live(name, Unwanted(drain_s=self._drain_s(life)), now)
        elif fate is Fate.REMOVED:
            self._live(name, Unwanted(), now)

    def _drain_s(self, life: Life) -> float:
        """Return for how long it runs on after it has left DNS.

        Not at all if it is not there, or no other one is, to be asked instead.
        """
        others = self._view.instances(life.identity.uid)
        is_led_away = any(c.is_ready and c.name != life.container.name for c in others)
        drains = life.container.is_ready and is_led_away
        return self._timing.drain_s if drains else 0.0

    def _is_relieved(self, life: Life) -> bool:
        """Tell whether one that is on its way up serves until another takes over."""
        slot = self._view.slot(life.identity.uid, life.identity.slot)
        begins = life.container.state in (State.CREATING, State.STARTING)
        return begins and slot is not None and slot.handover

    def _begin(self, slot: SlotRecord, now: float) -> None:
        """Make the container that a slot names, unless it is there."""
        service = self._view.spec_of(slot)
        assert service is not None
        identity = self._identity(slot, service)
        if identity.container_name in self.lives:
            return
        # How a master ended may be news that the view has not been told yet.
        is_untold = self._out.is_own_news and self._waits_for_masters(slot)
        if is_untold or awaited(self._view, service) or self._has_begun(slot, service):
            self._again.add(slot.uid)
            return
        is_majority = service.on_partition is OnPartition.MAJORITY
        if (is_majority and not self._may_start_majority) or (
            (is_majority or slot.stops_first) and self._runs_elsewhere(slot, now)
        ):
            self._again.add(slot.uid)
            return
        life = self._life(identity, service)
        is_new = life.container.state is State.PENDING
        if is_new and slot.done:  # the container went, and what is known of it
            return
        self._keep(identity.container_name, life)
        if is_new:
            self._live(identity.container_name, Wanted(), now)

    def _waits_for_masters(self, slot: SlotRecord) -> bool:
        spec = self._view.spec_of(slot)
        if spec is None or spec.group is None:
            return False
        return spec.group_role is not GroupRole.MASTER

    def _has_begun(self, slot: SlotRecord, service: Service) -> bool:
        """Tell whether a job that moves was begun where it was after all."""
        if service.restart is not Restart.NEVER or not slot.handover or slot.updating:
            return False
        return any(c.id for c in self._view.in_slot(slot.uid, slot.slot))

    def _runs_elsewhere(self, slot: SlotRecord, now: float) -> bool:
        """Tell whether another one, beside which none begins, still fills the slot."""
        record, place = self._view.service(slot.uid), (slot.uid, slot.slot)
        assert record is not None
        if any(
            life.container.may_run
            for life in self.lives.values()  # the view is told only afterwards
            if (life.identity.uid, life.identity.slot) == place
        ):
            return True
        return any(
            c.may_run and not self._is_over(c.node, record, now)
            for c in self._view.in_slot(*place)
        )

    def _is_over(self, node: str, record: ServiceRecord, now: float) -> bool:
        """Tell whether a node has surely ended a service that wants a majority.

        One that is dead has the time to notice that it is alone, one that leaves to
        stop what it shows.
        """
        status = self._members.status(node)
        if status not in GONE:
            return False
        needs_s = self._timing.majority_s
        if status is not Status.DEAD:
            needs_s = self._timing.leaving_s(record.stops_within_s)
        return self._members.lost_for_s(node, now) >= needs_s

    def _identity(self, slot: SlotRecord, service: Service) -> Identity:
        return Identity(
            cluster=self._cluster,
            node=self._node,
            service=service.name,
            uid=slot.uid,
            slot=slot.slot,
            generation=slot.container_generation,
            disk=self._disk_id,
            spec_id=slot.spec_id,
        )

    # Lives

    def adopt_known(self, now: float) -> None:
        """Take containers into care that carry our labels, if their service is known.

        One of an unknown service (this node lost its table) is a stranger until a
        peer tells what it is.
        """
        adopted = []
        for name, observed in sorted(self.strangers.items()):
            identity = observed.identity
            if (record := self._view.service(identity.uid)) is not None:
                del self.strangers[name]
                service = record.spec_of(identity.spec_id) or _spec_of(observed)
                self._take(name, observed, service, now)
                adopted.append(name)
        for name in adopted:
            for other, fall in self._mates.falls_with_adopted(name):
                self._live(other, fall, now)

    def _take(
        self, name: str, observed: Observed, service: Service, now: float
    ) -> None:
        old = self._remembered.get(name)
        cut_off = _cut_off(old, rebooted=self._rebooted) if old else ""
        life = self._life(observed.identity, service, is_there=True)
        self._keep(name, attrs.evolve(life, changed_s=now))
        self._live(name, Found(observed=observed, anew=True, cut_off=cut_off), now)
        self._again.add(observed.identity.uid)

    def _life(
        self, identity: Identity, service: Service, *, is_there: bool = False
    ) -> Life:
        container = Container(
            name=identity.container_name,
            service=identity.service,
            uid=identity.uid,
            slot=identity.slot,
            generation=identity.generation,
            node=self._node,
            address=self._address,
            address6=self._address6,
            image=service.image,
            spec_id=identity.spec_id,
        )
        old = self._remembered.pop(container.name, None)
        if old is not None:
            is_lost = not is_there and service.restart is Restart.NEVER
            container = _recalled(container, old, is_lost=is_lost)
        return Life(container=container, identity=identity, service=service)

    def _live(self, name: str, event: LifeEvent, now: float) -> None:
        before = self.lives[name]
        after, commands = on_event(before, event, now)
        self._out.order(*commands)
        self._keep(name, after)
        for kind, text in steps(before, after, event):
            ends = after is not None and not after.wanted
            self._note(name, before.identity, text, kind, ends=ends)
            self._again.add(before.identity.uid)
        if after is None:
            self._entries.pop(name, None)
        for other, fall in self._mates.falls(name, before, after, event):
            self._entries[other] = self._entries.get(name, "")
            self._live(other, fall, now)

    def _note(
        self, name: str, identity: Identity, text: str, kind: str, *, ends: bool
    ) -> None:
        """Note what became of a container; it follows from what became of it before.

        Its first cause, and that of its end, is the decision about its slot.
        """
        slot = self._view.slot(identity.uid, identity.slot)
        service = self._view.service(identity.uid)
        decision = slot.cause if slot else (service.cause if service else "")
        before = "" if ends else self._entries.get(name, "")
        self._entries[name] = self._out.note(
            kind,
            f"{name}: {text}",
            service=identity.service,
            uid=identity.uid,
            slot=identity.slot,
            container=name,
            about=self._node,
            cause=before or decision,
        )

    def _keep(self, name: str, life: Life | None) -> None:
        if life is None:
            del self.lives[name]
            self._out.forget(name)
            return
        old = self.lives.get(name)
        self.lives[name] = life
        if old is None or old.container != life.container:
            self._out.show(life.container)


def _spec_of(observed: Observed) -> Service:
    """Return what a container was made of, as far as it tells itself."""
    name, image = observed.identity.service, observed.image
    return observed.service or Service(name=name, image=image)


def _cut_off(old: Container, *, rebooted: bool) -> str:
    """Return what ended one that an earlier run of the node meant to run on, if so.

    "" where its exit code tells. One that waited to be started again has no exit code
    that counts: its engine may have ended it. Nor has one that was stopped for that.
    """
    if old.state in (State.BACKOFF, State.STOPPING):
        return old.reason
    is_over = old.state in (State.EXITED, State.FAILED)
    return "its host ended" if rebooted and not is_over else ""


def _recalled(new: Container, old: Container, *, is_lost: bool) -> Container:
    """Return a container with what is remembered of it from an earlier run of the node.

    What had ended for good stays so. `is_lost`: it may run only once, and is gone from
    the engine; if it was there it is not made again.
    """
    if old.state in (State.EXITED, State.FAILED):
        return attrs.evolve(old, address=new.address, address6=new.address6)
    if is_lost and old.id:
        return attrs.evolve(
            new, id=old.id, state=State.EXITED, reason="ended while the node was away"
        )
    return attrs.evolve(new, restarts=old.restarts, operation=old.operation)
