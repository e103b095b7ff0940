"""A disk: what is on it, and what is on its way there."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from veo_shell.core import commands as cmd
from veo_shell.core import events as ev
from veo_shell.core.model import NodeDocument, Record

if TYPE_CHECKING:
    from tests.sim.process import Process

AGAIN_S = 1.0


@attrs.define
class Disk:
    """What a node saved. It is full until `full_until_s`, and slow by `slow_s`."""

    id: str
    documents: dict[str, NodeDocument] = attrs.field(factory=dict)
    records: dict[str, Record] = attrs.field(factory=dict)
    full_until_s: float = 0.0
    slow_s: float = 0.002

    def write(self, orders: list[cmd.Save]) -> None:
        """Take orders, all or (it is not called) none of them."""
        for order in orders:
            for key in order.dropped:
                self.documents.pop(key, None)
                self.records.pop(key, None)
            self.documents.update((d.node, d) for d in order.documents)
            self.records.update((r.key, r) for r in order.records)


class Writer:
    """Writes one process's orders to its host's disk, in batches, one by one."""

    def __init__(self, process: Process, disk: Disk) -> None:
        self._process = process
        self._disk = disk
        self._clock = process.world.clock
        self._random = process.world.random
        self._waiting: list[cmd.Save] = []
        self._batch: list[cmd.Save] = []
        self._flushed: list[tuple[int, Callable[[], None]]] = []
        self._ordered = 0
        self._is_busy = False

    @property
    def is_idle(self) -> bool:
        """Tell whether all that was ordered is on disk."""
        return not self._waiting and not self._batch

    def save(self, order: cmd.Save) -> None:
        """Write soon."""
        self._waiting.append(order)
        self._ordered = order.ticket
        if not self._is_busy:
            self._write()

    def when_flushed(self, work: Callable[[], None]) -> None:
        """Do something once all that was ordered so far is on disk."""
        if self.is_idle:
            work()
        else:
            self._flushed.append((self._ordered, work))

    def crash(self) -> None:
        """End with the process: what is being written is on disk, or is not."""
        if self._batch and not self._is_full() and self._random.random() < 0.5:
            self._disk.write(self._batch)
        self._batch, self._waiting, self._flushed = [], [], []

    def close(self) -> bool:
        """Write what is left, as a process ending in order does; tell if it could."""
        could = not self._is_full()
        if could:
            self._disk.write([*self._batch, *self._waiting])
        self._batch, self._waiting, self._flushed = [], [], []
        return could

    def _is_full(self) -> bool:
        return self._clock.now < self._disk.full_until_s

    def _write(self) -> None:
        if not self._waiting or not self._process.is_running:
            self._is_busy = False
            return
        self._is_busy = True
        self._batch, self._waiting = self._waiting, []
        self._clock.after(self._disk.slow_s * (0.5 + self._random.random()), self._end)

    def _end(self) -> None:
        if not self._process.is_running:
            return
        if self._is_full():
            self._waiting, self._batch = self._batch + self._waiting, []
            self._process.arrive(
                self._process.feed, ev.SaveFailed(reason="the disk is full")
            )
            self._process.timer(AGAIN_S, self._write)
            return
        done, self._batch = self._batch, []
        self._disk.write(done)
        self._process.arrive(self._saved, done[-1].ticket)

    def _saved(self, ticket: int) -> None:
        self._process.feed(ev.Saved(ticket=ticket))
        due = [work for at, work in self._flushed if at <= ticket]
        self._flushed = [(at, work) for at, work in self._flushed if at > ticket]
        for work in due:
            work()
        self._write()
