"""When a write is answered: on this node's disk, and on one peer's.

Alone, or where no peer confirms in time, it is answered with one copy; the peers get
theirs as soon as they can be reached, as with everything they lack.
"""

from __future__ import annotations

import itertools
import math
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import attrs

from veo_shell.core import events as ev
from veo_shell.core.commands import Answer, AskCopy, Refuse
from veo_shell.core.membership import Membership
from veo_shell.core.model import NodeDocument, Record
from veo_shell.core.outbox import Outbox
from veo_shell.core.view import View
from veo_shell.errors import StoreError, VeoError

REMEMBERED = 10_000
ASKED_AT_ONCE = 3
REST_S = 5.0
"""So long a disk has to take all that is written before its node decides again: one
that is full takes what fits into the room that its files have."""


@attrs.define
class _Pending:
    """A write that is not answered yet. `ticket`: what has to be saved here first."""

    value: Any
    records: tuple[Record, ...]
    ticket: int
    begun_s: float
    asked: set[str] = attrs.field(factory=set)
    is_kept: bool = False


class Copies:
    """Holds answers back until what they answer for is safe.

    `disk_trouble` says why this node's disk takes nothing, or did not just now.
    """

    def __init__(self, view: View, members: Membership, out: Outbox) -> None:
        self._view = view
        self._members = members
        self._out = out
        self._pending: dict[str, _Pending] = {}
        self._answers: OrderedDict[str, Answer | Refuse] = OrderedDict()
        self._saved = 0
        self.disk_trouble = ""
        self._is_failing = False
        self._failed_s = -math.inf

    def check_disk(self) -> None:
        """Raise `StoreError` while this node's disk takes nothing."""
        if self._is_failing:
            raise StoreError(
                f"{self._out.node} writes nothing: {self.disk_trouble}; "
                "mend that, then try again"
            )

    def repeat(self, operation: str) -> bool:
        """Answer an operation again that was asked before; tell whether it was."""
        if operation in self._answers:
            self._out.order(self._answers[operation])
        return operation in self._answers or operation in self._pending

    def refuse(self, operation: str, error: VeoError) -> None:
        """Refuse an operation, which has written nothing.

        What the disk does not take is begun when it is asked again, if it does then.
        """
        refusal = Refuse(operation=operation, error=error)
        if isinstance(error, StoreError):
            self._out.order(refusal)
        else:
            self._settle(refusal)

    def answer(
        self, operation: str, value: Any, records: tuple[Record, ...], now: float
    ) -> None:
        """Answer an operation once its records are safe; at once if it has none."""
        if not records:
            self._settle(Answer(operation=operation, value=value))
            return
        pending = _Pending(
            value=value, records=records, ticket=self._out.ticket, begun_s=now
        )
        self._pending[operation] = pending
        self._ask(operation, pending, ASKED_AT_ONCE)

    def on_saved(self, event: ev.Saved, now: float) -> None:
        """Note what is on this node's disk."""
        self._saved, self._is_failing = event.ticket, False
        self._look(now)

    def on_save_failed(self, event: ev.SaveFailed, now: float) -> None:
        """Note that this node's disk takes nothing."""
        if not self.disk_trouble:
            self._out.note("disk_failed", f"nothing can be written: {event.reason}")
        self.disk_trouble = event.reason
        self._is_failing, self._failed_s = True, now

    def on_copy_answered(self, event: ev.CopyAnswered, now: float) -> None:
        """Note a copy on a peer's disk; ask the next one where there is none."""
        pending = self._pending.get(event.operation)
        if pending is None:
            return
        if event.kept:
            pending.is_kept = True
        elif not pending.is_kept:
            self._ask(event.operation, pending, 1)
        self._look(now)

    def on_tick(self, now: float) -> None:
        """Answer what has waited long enough; rely on a disk that was full."""
        is_over = not self._is_failing and now - self._failed_s >= REST_S
        if self.disk_trouble and is_over:
            self._out.note("disk_back", "the disk takes what is written again")
            self.disk_trouble = ""
        self._look(now)

    def _ask(self, operation: str, pending: _Pending, count: int) -> None:
        """Ask so many more, in an order that spreads the work."""
        living = self._members.alive()
        first = zlib.crc32(operation.encode()) % len(living)
        in_turn = self._able(living[first:] + living[:first])
        others = (head for head in in_turn if head.node not in pending.asked)
        for head in itertools.islice(others, count):
            pending.asked.add(head.node)
            self._out.order(
                AskCopy(
                    operation=operation,
                    peer=head.node,
                    address=head.address,
                    mesh_port=head.mesh_port,
                    records=pending.records,
                )
            )

    def _able(self, nodes: list[str]) -> Iterator[NodeDocument]:
        """Yield the peers among these that can keep a copy."""
        for head in map(self._view.head, nodes):
            if (
                head is not None
                and head.node != self._out.node
                and head.protocol > 1
                and not head.disk_trouble
            ):
                yield head

    def _look(self, now: float) -> None:
        limit_s = self._members.timing.copy_s
        is_alone = not any(self._able(self._members.alive()))
        for operation, pending in list(self._pending.items()):
            late = now - pending.begun_s >= limit_s
            if self._saved < pending.ticket:
                if late and self._is_failing:
                    self._give_up(operation)
            elif pending.is_kept or late or is_alone:
                self._finish(operation, pending)

    def _finish(self, operation: str, pending: _Pending) -> None:
        del self._pending[operation]
        copies = 2 if pending.is_kept else 1
        self._settle(Answer(operation=operation, value=pending.value, copies=copies))

    def _give_up(self, operation: str) -> None:
        del self._pending[operation]
        error = StoreError(
            f"{self._out.node} cannot write it to its disk: {self.disk_trouble}; "
            "it may still take effect"
        )
        self._settle(Refuse(operation=operation, error=error))

    def _settle(self, answer: Answer | Refuse) -> None:
        self._answers[answer.operation] = answer
        if len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)
        self._out.order(answer)
