"""What would become of a node's work if it were lost: the same decisions, on a copy."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable

import attrs

from veo_shell.core.dns_config import DnsConfig
from veo_shell.core.membership import Membership
from veo_shell.core.model import (
    Container,
    DnsChange,
    Loss,
    Move,
    NodeDocument,
    OnPartition,
    Port,
    Restart,
    SlotRecord,
    State,
    Status,
)
from veo_shell.core.outbox import Outbox
from veo_shell.core.pen import Pen
from veo_shell.core.reconcile import Reconciler
from veo_shell.core.situation import Situation
from veo_shell.core.timing import Timing
from veo_shell.core.view import View
from veo_shell.core.zone_making import compile_zone

CHOSEN_LATER = 1
"""Stands for a port that Docker chooses when the container starts."""
GIVEN_LATER = "0.0.0.1"
"""Stands for an address of its own that a container gets when it starts."""


@attrs.define
class Lost:
    """The verdicts as they are, but one node is dead, and has been for long."""

    _members: Membership
    _me: str
    _lost: str

    @property
    def timing(self) -> Timing:
        return attrs.evolve(self._members.timing, steady_s=0.0)  # time has passed

    @property
    def revision(self) -> int:
        return self._members.revision

    @property
    def steady_since_s(self) -> float:
        return -math.inf

    @property
    def crowd(self) -> float:
        return self._members.crowd

    def status(self, node: str) -> Status:
        return Status.DEAD if node == self._lost else self._members.status(node)

    def coordinators(self) -> list[str]:
        """Return this node alone: it works out the decisions of all."""
        return [self._me]

    def is_mutual(self, node: str) -> bool:
        return False  # no newcomer is to be counted in a what-if

    def is_current(
        self, head: NodeDocument, digest: int, since_s: float, now: float
    ) -> bool:
        return True

    def lost_for_s(self, node: str, now: float) -> float:
        return math.inf if node == self._lost else self._members.lost_for_s(node, now)

    def sees_majority(self, voters: list[str], now: float) -> bool:
        rest = [node for node in voters if node != self._lost]
        seen = [node for node in rest if self._members.is_mutual(node)]
        return not voters or len(seen) > len(voters) / 2

    def entry(self, node: str) -> str:
        return ""

    def boot(self, node: str) -> str:
        return ""  # nobody is to be let go in a what-if


def if_lost(
    view: View, members: Membership, me: str, lost: str, config: DnsConfig, now: float
) -> Loss:
    """Return what would move where, what would not and why, and what DNS would say."""
    before = list(view.assigned(lost))
    copy = _copy(view)
    verdicts = Lost(members, me, lost)
    out = Outbox(node=me, boot="what-if")
    situation = Situation(me, copy, verdicts)
    pen = Pen(f"{me}/what-if", copy, out)
    reconciler = Reconciler(situation, pen, out)
    reconciler.decide(now)
    moves = tuple(_move(copy, slot, lost, reconciler) for slot in before)
    moves += tuple(_stops(view, verdicts, lost, now))
    stopped = {move.uid for move in moves if move.source != lost}
    living = [h for h in view.nodes if members.status(h.node) is Status.ALIVE]
    ready = [c for c in view.containers() if c.is_ready]
    return Loss(
        node=lost,
        moves=moves,
        dns=tuple(
            _changes(
                _answers(config, me, living, ready),
                _answers(
                    config,
                    me,
                    [head for head in living if head.node != lost],
                    [c for c in ready if c.node != lost and c.uid not in stopped]
                    + _foreseen(copy, moves),
                ),
            )
        ),
    )


def _copy(view: View) -> View:
    copy = View()
    for record in view.records():
        copy.merge_record(record)
    for head in view.nodes:
        copy.merge_document(view.document(head.node))
    return copy


def _move(view: View, before: SlotRecord, lost: str, reconciler: Reconciler) -> Move:
    after, service = view.slot(before.uid, before.slot), view.spec(before.uid)
    assert service is not None
    target, reason = (after.node if after else None), ""
    if target == lost:
        target = None
        stays = f"on_partition: {service.on_partition.value}"
        if not reconciler.situation.is_movable(before, service):
            is_job = service.restart is Restart.NEVER
            stays = "restart: never" if is_job else "it has ended"
        elif why := reconciler.situation.why_bound(before, service):
            stays = why
        reason = f"it is not moved ({stays})"
    elif target is None:
        refused = reconciler.places.candidates(service, before.uid)
        reason = "; ".join(f"{c.node}: {c.reason}" for c in refused)
    return Move(
        service=service.name,
        uid=before.uid,
        slot=before.slot,
        source=lost,
        target=target,
        reason=reason,
    )


def _stops(view: View, verdicts: Lost, lost: str, now: float) -> Iterable[Move]:
    """Yield what stops on the other nodes, which would be no majority any more."""
    if verdicts.sees_majority(view.voters(), now):
        return
    for record in view.services():
        service = record.service
        assert service is not None
        if service.on_partition is not OnPartition.MAJORITY:
            continue
        for slot in view.slots(record.uid):
            if slot.wanted and slot.node not in (None, lost):
                yield Move(
                    service=service.name,
                    uid=record.uid,
                    slot=slot.slot,
                    source=slot.node or "",
                    target=None,
                    reason="it stops: no majority of the nodes would be seen",
                )


def _foreseen(view: View, moves: Iterable[Move]) -> list[Container]:
    """Return the containers that would run, with ports as far as they are known."""
    found = []
    for move in moves:
        head = view.head(move.target) if move.target else None
        service = view.spec(move.uid)
        if head is not None and service is not None:
            is_apart = service.network_mode in head.lan_networks
            found.append(
                Container(
                    name=f"{move.uid}/{move.slot}",
                    service=move.service,
                    uid=move.uid,
                    slot=move.slot,
                    generation=0,
                    node=head.node,
                    address=GIVEN_LATER if is_apart else head.address,
                    address6="" if is_apart else head.address6,
                    own_addresses=(GIVEN_LATER,) if is_apart else (),
                    image=service.image,
                    state=State.RUNNING,
                    ports=tuple(_published(p, is_apart) for p in service.ports),
                )
            )
    return found


def _published(port: Port, is_apart: bool) -> Port:
    number = port.container_port if is_apart else port.host_port
    return attrs.evolve(port, host_port=number or CHOSEN_LATER)


Answers = dict[tuple[str, str], tuple[str, ...]]


def _answers(
    config: DnsConfig, me: str, nodes: list[NodeDocument], containers: list[Container]
) -> Answers:
    zone = compile_zone(
        config=config, serial=0, primary=me, nodes=nodes, containers=containers
    )
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, _, kind, data in zone.records():
        if kind not in ("SOA", "NS"):
            data = data.replace(f"0 100 {CHOSEN_LATER} ", "0 100 ? ")
            found[name, kind].append("?" if data == GIVEN_LATER else data)
    return {key: tuple(sorted(data)) for key, data in found.items()}


def _changes(before: Answers, after: Answers) -> Iterable[DnsChange]:
    for key in sorted({*before, *after}):
        old, new = before.get(key, ()), after.get(key, ())
        if old != new:
            yield DnsChange(name=key[0], type=key[1], before=old, after=new)
