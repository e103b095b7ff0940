"""What the cluster promised: the writes that it acknowledged with two copies."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import attrs

from tests.sim.violation import Violation
from veo_shell.core import commands as cmd
from veo_shell.core.model import NodeRecord, Record, ServiceRecord
from veo_shell.core.view import View
from veo_shell.core.wire import Delta

if TYPE_CHECKING:
    from tests.sim.host import Host
    from tests.sim.process import Process
    from tests.sim.world import World

GRAVE = "grave/"


@attrs.frozen(kw_only=True)
class Promise:
    """A record that was acknowledged, by whom and when.

    One of a single copy stands for as long as the disk that it is on.
    """

    record: Record
    operation: str
    node: str
    at_s: float
    copies: int
    disk: str


def is_tombstone(record: Record) -> bool:
    """Tell whether a record says that its service is removed."""
    return isinstance(record, ServiceRecord) and record.service is None


def rank(record: Record) -> tuple[bool, int, str]:
    """Return what decides which of two records stands: told here once more.

    What is removed, a service or a node's state, stays so.
    """
    is_removal = isinstance(record, NodeRecord) and bool(record.removed)
    return is_tombstone(record) or is_removal, record.revision, record.writer


def _is_by(record: Record, event: Any) -> bool:
    """Tell whether an operator's event led to a record, not what follows from it."""
    if isinstance(record, ServiceRecord):
        return event.operation in record.operations
    is_of_node = isinstance(record, NodeRecord)
    return is_of_node and bool(record.node == getattr(event, "node", ""))


class Ledger:
    """Keeps the promises, and the faults from breaking them by too many losses."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._asked: dict[tuple[str, str], dict[str, Record]] = {}
        self._promises: dict[str, Promise] = {}
        self._buried: set[str] = set()
        self.lost: Host | None = None
        self._answered: set[tuple[str, str]] = set()
        self._not_before_s = 0.0
        self.on_promise: list[Callable[[Process], None]] = []

    def asked(
        self, process: Process, operation: str, records: tuple[Record, ...]
    ) -> None:
        """Note which records a write is of, as this process performs it.

        Asked for again once it was acknowledged, it is of no more than it was then.
        """
        mark = process.boot_id, operation
        if not operation.startswith(GRAVE) and mark not in self._answered:
            held = self._asked.setdefault(mark, {})
            held.update((record.key, record) for record in records)

    def wrote(self, process: Process, event: Any, records: Iterable[Record]) -> None:
        """Note which of these records a write is of, which nobody else may keep."""
        mine = tuple(record for record in records if _is_by(record, event))
        self.asked(process, event.operation, mine)

    def answered(self, process: Process, order: cmd.Answer) -> None:
        """Note that a write was acknowledged."""
        mark = process.boot_id, order.operation
        if order.copies:
            self._answered.add(mark)
        for record in self._asked.get(mark, {}).values():
            if order.copies > 1:
                self._check_copies(record, order.operation)
            standing = self._promises.get(record.key)
            if order.copies and (
                standing is None
                or rank(standing.record) < rank(record)
                or not self._counts(standing)
            ):
                self._promises[record.key] = Promise(
                    record=record,
                    operation=order.operation,
                    node=process.name,
                    at_s=self._world.clock.now,
                    copies=order.copies,
                    disk=process.host.disk.id,
                )
        if order.copies < 2:
            return
        waiting, self.on_promise = self.on_promise, []
        for work in waiting:
            work(process)

    def _check_copies(self, record: Record, operation: str) -> None:
        """Two copies are on two disks, unless one was just lost."""
        disks = [host.disk for host in self._world.hosts]
        held = [disk.records.get(record.key) for disk in disks]
        copies = sum(1 for other in held if other and rank(other) >= rank(record))
        is_buried = getattr(record, "uid", "") in self._buried
        if copies < 2 and not is_buried and self.lost is None:
            raise Violation(
                f"{operation} is acknowledged with two copies, and {record.key} is on "
                f"{copies} disks"
            )

    def published(self, delta: Delta) -> None:
        """Note which services were removed, by whoever's will."""
        services = delta.records.services
        self._buried.update(r.uid for r in services if is_tombstone(r))

    # At most one disk is lost before its copies are restored

    def may_lose(self) -> bool:
        """Tell whether a disk may be lost now."""
        return self.lost is None

    def lose(self, host: Host, within_s: float = 0.0) -> None:
        """Note that a disk is lost, or will be within a time, its host with it."""
        assert self.lost is None
        self.lost = host
        self._not_before_s = self._world.clock.now + within_s

    def look(self) -> None:
        """Note when all copies are restored: every disk has the same on it."""
        if self.lost is None or self._world.clock.now < self._not_before_s:
            return
        hosts = [host for host in self._world.hosts if not host.is_gone]
        digests = set()
        for host in hosts:
            process = host.process
            if process is None or process.is_frozen or not process.writer.is_idle:
                return
            if not process.machine.is_settled or process.loop_s < 1.0:
                return
            digests.add(process.machine.view.digest)
        if len(digests) == 1:
            self._world.log(self.lost.name, "all copies are restored")
            self.lost = None

    # Whether they are kept

    def _counts(self, promise: Promise) -> bool:
        host = self._world[promise.node]
        is_there = host.disk.id == promise.disk and not host.is_gone
        return promise.copies > 1 or is_there

    def broken(self, view: View) -> str:
        """Return which promise a view does not keep, "" if it keeps all."""
        for key, promise in self._promises.items():
            if not self._counts(promise):
                continue
            uid = getattr(promise.record, "uid", "")
            if reason := _broken(promise, view, is_buried=uid in self._buried):
                return (
                    f"{key} of {promise.operation}, acknowledged by {promise.node} at "
                    f"{promise.at_s:.3f} with {promise.copies} copies: {reason}"
                )
        return ""


def _broken(promise: Promise, view: View, *, is_buried: bool) -> str:
    record = promise.record
    standing = view.record(record.key)
    if is_buried and standing is None:
        return ""
    if is_tombstone(record):
        if standing is None or is_tombstone(standing):
            return ""
        return f"removed, and back as {standing}"
    if standing is None:
        return "not there"
    if rank(standing) < rank(record):
        return f"{standing} stands, which is lower than {record}"
    return ""
