"""Events: what a cluster's journal tells, one by one, and which of it is wanted."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable

import attrs

from veo_shell.core.chains import Entries
from veo_shell.core.kinds import VERDICTS
from veo_shell.core.model import Event, JournalEntry

HELD = 2000
"""So many entries may come before who follows them asks again."""


def event(entry: JournalEntry) -> Event:
    """Return an entry as an event."""
    return Event(
        id=entry.id,
        at_s=entry.at_s,
        kind=entry.kind,
        node=where(entry),
        service=entry.service,
        uid=entry.uid,
        container=entry.container,
        slot=None if entry.slot < 0 else entry.slot,
        text=entry.text,
        cause=entry.cause,
        user=entry.user,
        origin=entry.origin,
        session=entry.session,
        reason=entry.reason,
    )


def where(entry: JournalEntry) -> str:
    """Return the node that an entry is about: its writer, if about nothing else."""
    is_of_writer = not (entry.service or entry.uid or entry.container)
    return entry.about or (entry.node if is_of_writer else "")


@attrs.frozen(kw_only=True)
class Sought:
    """Which entries are wanted: of any of these names, and kinds; () is any.

    `names` are of services, containers or nodes, or uids. Every node judges every
    other: of verdicts only those by `judge`, if that is not "".
    """

    names: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    judge: str = ""

    def fits(self, entry: JournalEntry) -> bool:
        """Tell whether an entry is wanted."""
        about = {entry.service, entry.uid, entry.container, where(entry)}
        return (
            (not self.names or not about.isdisjoint(self.names))
            and (not self.kinds or entry.kind in self.kinds)
            and (entry.kind not in VERDICTS or self.judge in ("", entry.node))
        )


class Tail:
    """The last entries that a node learnt of, counted as they came."""

    def __init__(self, most: int = HELD) -> None:
        self.count = 0
        self._most = most
        self._held: deque[JournalEntry] = deque()
        self._ids: set[str] = set()

    def add(self, entries: Iterable[JournalEntry]) -> None:
        """Add those that are not there; the oldest make room."""
        for entry in entries:
            if entry.id in self._ids:
                continue
            self.count += 1
            self._held.append(entry)
            self._ids.add(entry.id)
            if len(self._held) > self._most:
                self._ids.discard(self._held.popleft().id)

    def after(self, count: int) -> tuple[int, Entries]:
        """Return how many that came after the first `count` are gone, and the rest."""
        first = self.count - len(self._held)
        skip = max(count - first, 0)
        return max(first - count, 0), list(itertools.islice(self._held, skip, None))
