"""One node that decides about slots, for tests of what it writes."""

from __future__ import annotations

import itertools
from typing import Any

import attrs

from tests.core.samples import (
    DOS,
    NODES,
    TRES,
    UNO,
    WEB,
    beat,
    container,
    document,
    reconciler,
    service,
    slot,
)
from veo_shell.core.commands import Note
from veo_shell.core.membership import Membership
from veo_shell.core.model import (
    Container,
    JournalEntry,
    NodeRecord,
    OnPartition,
    Record,
    Restart,
    Service,
    ServiceRecord,
    SlotRecord,
    Status,
)
from veo_shell.core.outbox import Outbox
from veo_shell.core.placement import rendezvous
from veo_shell.core.timing import Timing
from veo_shell.core.view import View, pair

BIG = attrs.evolve(WEB, name="big", cpus=1.5, memory_bytes=60, disk_bytes=600)
ONCE = attrs.evolve(WEB, restart=Restart.NEVER)
KEEP = attrs.evolve(WEB, on_partition=OnPartition.KEEP)
MOST = attrs.evolve(WEB, on_partition=OnPartition.MAJORITY)
EDGE = attrs.evolve(WEB, roles=("edge",))
# Such that uno decides about it wherever it lives, then dos.
U1 = next(
    uid
    for uid in (f"u{n}" for n in itertools.count())
    if sorted(NODES, key=rendezvous(uid), reverse=True) == [UNO, DOS, TRES]
)


def web(spec: Service | None = WEB, replicas: int = 1, **changes: Any) -> ServiceRecord:
    return service(U1, spec, replicas=replicas, **changes)


def at(node: str | None, number: int = 0, **changes: Any) -> SlotRecord:
    return slot(node, number, uid=U1, **changes)


def runs(node: str, number: int = 0, **changes: Any) -> Container:
    return container(node, number, uid=U1, **changes)


def decision(node: str, **changes: Any) -> NodeRecord:
    made = NodeRecord(node=node, revision=5, writer=UNO, votes=True)
    return attrs.evolve(made, **changes)


VOTERS = [decision(node) for node in NODES]


class Desk:
    """One node that decides; the others are heard unless they are said to be lost.

    Everybody votes already.
    """

    def __init__(self, *held: Record | Container, me: str = UNO) -> None:
        self.now = 100.0
        self.me = me
        self.view, self.out = View(), Outbox(node=me, boot="b")
        self.members = Membership(me, Timing(), self.now)
        self.desk = reconciler(me, self.view, self.members, self.out)
        self.situation = self.desk.situation
        self.lost: set[str] = set()
        self.unheard_by: set[str] = set()
        self.notes: list[JournalEntry] = []
        for node in NODES:
            self.view.merge_document(document(node))
        for record in [*VOTERS, *(h for h in held if not isinstance(h, Container))]:
            self.view.merge_record(record)
        self.run(*(h for h in held if isinstance(h, Container)))
        self._quarter(0.25, decide=False)

    def run(self, *containers: Container) -> None:
        """Have all members publish that these run, and nothing else."""
        for node in [node for node in NODES if self.view.head(node) is not None]:
            held = tuple(c for c in containers if c.node == node)
            self.publish(node, containers=held)

    def publish(self, node: str, **changes: Any) -> None:
        head = self.view.document(node)
        newer = attrs.evolve(head, version=head.version + 1, **changes)
        self.view.merge_document(newer)

    def write(self, *records: Record) -> None:
        """Have an operator's or another node's records stand, whatever they outrank."""
        for record in records:
            newer = attrs.evolve(record, revision=self.view.revision + 1)
            assert self.view.merge_record(newer)

    def lose(self, node: str, status: Status = Status.DEAD) -> None:
        """Have a node judged; it is not heard any more."""
        self.lost.add(node)
        for_s = 0.0 if status is Status.DEAD else 60.0
        left = status is Status.LEFT
        self.members.farewell(node, f"{node}#1", left, for_s, self.now)
        self.members.tick(self.now)
        assert self.members.status(node) is status

    def regain(self, node: str) -> None:
        """Have a node heard again, as another process."""
        self.lost.discard(node)
        self.members.forget(node)

    def decide(self, for_s: float = 1.0) -> list[SlotRecord]:
        """Let time pass; return what is written about slots meanwhile."""
        written: list[SlotRecord] = []
        for _ in range(round(for_s / 0.25)):
            written += self._quarter(0.25)
        return written

    def look(self) -> list[SlotRecord]:
        """Decide now, once."""
        return self._quarter(0.0)

    def _quarter(self, after_s: float, *, decide: bool = True) -> list[SlotRecord]:
        self.now += after_s
        for node in {*NODES} - self.lost - {self.me}:
            said = self.view.head(node)
            incarnation, version = pair(said) if said else (1, 1)
            unheard = {*self.lost, *({self.me} if node in self.unheard_by else ())}
            silences = dict.fromkeys(unheard, 9.0)
            heartbeat = beat(
                node, incarnation=incarnation, version=version, silences=silences
            )
            self.members.heard(node, f"{node}#1", self.now, heartbeat)
        self.members.tick(self.now)
        if not decide:
            return []
        self.desk.tick()
        self.desk.decide(self.now)
        written = list(self.out.records.values())
        self.notes += [c.entry for c in self.out.commands if isinstance(c, Note)]
        self.out.clear()
        self.view.settle()
        return [record for record in written if isinstance(record, SlotRecord)]


def brief(record: SlotRecord) -> tuple[int, int, str | None]:
    """Return which slot, in which generation, is where."""
    return record.slot, record.generation, record.node


def ready(node: str, **changes: Any) -> Container:
    return runs(node, **changes)
