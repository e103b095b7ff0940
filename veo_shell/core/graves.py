"""When the tombstone of a removed service may be dropped: every member has it on disk.

Asked for, not concluded from digests: a member that never heard of the service must
hold the tombstone too while another one's old message about it may still arrive. A
node that left or was removed is no member: it is let in with an empty table alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import attrs

from veo_shell.core import events as ev
from veo_shell.core.commands import AskCopy, Publish
from veo_shell.core.membership import Membership
from veo_shell.core.model import NodeRecord, Record, Status
from veo_shell.core.outbox import Outbox
from veo_shell.core.placement import coordinator
from veo_shell.core.view import View
from veo_shell.core.wire import Forget

AT_ONCE = 200
SLACK_S = 10.0
"""All that was sent before a member confirmed has arrived, or never will, by then."""
ORPHANED_FACTOR = 20
"""A tombstone this many times older than need be is anyone's to drop."""
PREFIX = "grave/"


@attrs.define
class _Round:
    """One question to all members; `left` have not confirmed yet."""

    operation: str
    uids: tuple[str, ...]
    left: set[str]
    members: frozenset[str]
    begun_s: float
    confirmed_s: float = math.inf


class Graves:
    """Drops tombstones, this node's and everybody's."""

    def __init__(
        self, boot_id: str, view: View, members: Membership, out: Outbox
    ) -> None:
        self._boot_id = boot_id
        self._view = view
        self._members = members
        self._out = out
        self._dug_s: dict[str, float] = {}
        self._round: _Round | None = None
        self._rounds = 0

    def on_tick(self, now: float) -> None:
        """Ask the members, or act on what they have all confirmed."""
        grave_s = self._members.timing.grave_s
        standing = {r.uid: self._dug_s.get(r.uid, now) for r in self._view.tombstones()}
        self._dug_s = standing
        if self._round is not None:
            self._follow(self._round, now, grave_s)
        elif due := self._due(now, grave_s):
            self._begin(due[:AT_ONCE], now)

    def on_copy_answered(self, event: ev.CopyAnswered, now: float) -> None:
        """Note that a member has the tombstones on disk, or cannot be asked now."""
        current = self._round
        if current is None or current.operation != event.operation:
            return
        if not event.kept:
            self._give_up(current, now)
            return
        current.left.discard(event.peer)
        if not current.left:
            current.confirmed_s = now

    def on_forget(self, uids: Iterable[str]) -> None:
        """Drop tombstones that another node knows to be with every member."""
        for uid in uids:
            record = self._view.service(uid)
            if not self._view.forget(uid) and record is not None:
                tombstone = attrs.evolve(record, service=None)
                self._view.merge_record(tombstone)
                self._out.learn(tombstone)

    def _due(self, now: float, grave_s: float) -> list[str]:
        if not self._dug_s or not self._all_alive():
            return []
        alive = self._members.coordinators()
        return [
            uid
            for uid, dug_s in self._dug_s.items()
            if not self._view.instances(uid)  # what is left of it may be lost sight of
            and (
                now - dug_s >= grave_s * ORPHANED_FACTOR
                or (
                    now - dug_s >= grave_s and coordinator(uid, alive) == self._out.node
                )
            )
        ]

    def _all_alive(self) -> bool:
        return all(
            self._members.status(head.node) is Status.ALIVE and not head.engine_lost
            for head in self._view.nodes
        )

    def _begin(self, uids: list[str], now: float) -> None:
        others = {head.node for head in self._view.nodes} - {self._out.node}
        self._rounds += 1
        current = _Round(
            operation=f"{PREFIX}{self._out.node}/{self._rounds}",
            uids=tuple(uids),
            left=set(others),
            members=frozenset(others),
            begun_s=now,
            confirmed_s=now if not others else math.inf,
        )
        self._round = current
        records = self._questioned(uids)
        for node in sorted(others):
            head = self._view.head(node)
            assert head is not None
            self._out.order(
                AskCopy(
                    operation=current.operation,
                    peer=node,
                    address=head.address,
                    mesh_port=head.mesh_port,
                    records=records,
                )
            )

    def _questioned(self, uids: list[str]) -> tuple[Record, ...]:
        """Return what every member is to have on disk before tombstones go.

        Also which nodes are no members any more: they were not asked, and may still
        hold what is buried. Nobody is to take them in with the state that they had.
        """
        graves = [r for r in map(self._view.service, uids) if r is not None]
        gone = [
            r for r in self._view.records() if isinstance(r, NodeRecord) and r.removed
        ]
        return (*graves, *gone)

    def _follow(self, current: _Round, now: float, grave_s: float) -> None:
        members = {head.node for head in self._view.nodes} - {self._out.node}
        # After a lag of our own, what was sent before may still be in our sockets.
        lagged = self._members.lagged_s >= current.begun_s
        late = lagged or now - current.begun_s > 2 * grave_s
        if late or members != current.members or self._is_in_doubt(current):
            self._give_up(current, now)
        elif now - current.confirmed_s >= SLACK_S:
            self._round = None
            message = Forget(
                node=self._out.node, boot_id=self._boot_id, uids=current.uids
            )
            self._out.order(Publish(message=message))
            self.on_forget(current.uids)

    def _is_in_doubt(self, current: _Round) -> bool:
        """Tell whether something may be left of what is asked about, after all."""
        return not self._all_alive() or any(map(self._view.instances, current.uids))

    def _give_up(self, current: _Round, now: float) -> None:
        """Try again after a while, with what is due then."""
        self._round = None
        self._dug_s.update((uid, now) for uid in current.uids if uid in self._dug_s)
