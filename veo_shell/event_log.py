"""`container_sup.events()`: what happens in the cluster, from the journal and live."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import time
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from veo_shell.core.chains import Entries, in_order, once
from veo_shell.core.happened import Sought, Tail, event
from veo_shell.core.kinds import KINDS
from veo_shell.core.model import Container, Event, JournalEntry, NodeInfo, Service
from veo_shell.core.near import meant
from veo_shell.core.protocols import Store
from veo_shell.core.scalars import Wrong, duration_ns, quoted, shown
from veo_shell.core.verbs import read
from veo_shell.errors import UnknownNode, UnknownService, UsageError
from veo_shell.journals import PAGE

if TYPE_CHECKING:
    from veo_shell.node import Node

LAST = 50
MOST = 10_000
WAIT_S = 1.0
"""A follower is answered after so long at most, and asks again."""

About = str | Container | Service | NodeInfo
Kinds = str | list[str]


class EventLog:
    """Answers from the node's journal and those of its peers, or as entries come."""

    def __init__(self, node: Node, store: Store) -> None:
        self._node = node
        self._store = store
        self._tail = Tail()
        self._news = asyncio.Event()

    def take(self, entries: Iterable[JournalEntry]) -> None:
        """Tell those who follow of entries, this node's own or a peer's."""
        self._tail.add(entries)
        self._news.set()
        self._news = asyncio.Event()

    async def last(
        self,
        about: About | None,
        kind: Kinds | None,
        since: str | float | None,
        limit: int | None,
    ) -> list[Event]:
        """Return the last events of a kind about something, the oldest first."""
        if limit is not None and limit < 1:
            raise UsageError(f"limit: {limit} is less than 1")
        sought = self._sought(about, kind)
        since_s = 0.0 if since is None else _moment_s(since)
        last = min(limit or (LAST if since is None else MOST), MOST)
        found = in_order(await self._all(sought, last, since_s))
        if not found and sought.names:
            everything = Sought(names=sought.names)
            if not await self._all(everything, 1, 0.0):
                name = sought.names[0]
                said = f"the journal has nothing about '{shown(name)}'"
                raise UnknownService(said + meant(name, self._node.machine.view))
        return [event(e) for e in found if e.at_s >= since_s][-last:]

    @read
    async def after(
        self, cursor: str = "", about: About | None = None, kind: Kinds | None = None
    ) -> dict[str, Any]:
        """Return what comes after a cursor, as soon as it is there, and the next one.

        Without a cursor the present one alone. It waits for a second at most.
        """
        sought = self._sought(about, kind)
        boot, _, number = cursor.rpartition(":")
        count = int(number) if number.isdigit() else 0
        if not cursor:
            return self._told(self._tail.count, [])
        if boot != self._node.boot_id or count > self._tail.count:
            text = "the node was started again meanwhile"
            return self._told(self._tail.count, [_missed(text)])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WAIT_S):
                while not (found := self._fitting(count, sought))[1]:
                    count = found[0]
                    await self._news.wait()
                return self._told(*found)
        return self._told(count, [])

    def _fitting(self, count: int, sought: Sought) -> tuple[int, list[Event]]:
        """Return what fits of those after a count, a page at most, and the next one."""
        missed, entries = self._tail.after(count)
        text = f"{missed} entries of the journal came too fast"
        found, count = [_missed(text)] if missed else [], count + missed
        for entry in entries:
            if len(found) == PAGE:
                break
            count += 1
            if sought.fits(entry):
                found.append(event(entry))
        return count, found

    def _told(self, count: int, events: list[Event]) -> dict[str, Any]:
        return {"cursor": f"{self._node.boot_id}:{count}", "events": events}

    async def _all(self, sought: Sought, last: int, since_s: float) -> Entries:
        await self._node.journal.flushed()
        own, told = await asyncio.gather(
            self._store.entries(last=last, sought=sought),
            self._node.journals.all_pages(
                "sought",
                *(list(sought.names), list(sought.kinds), sought.judge),
                last=last,
                since_s=since_s,
            ),
        )
        return once(own, told)

    def _sought(self, about: About | None, kind: Kinds | None) -> Sought:
        kinds = [kind] if isinstance(kind, str) else kind or []
        for name in kinds:
            if name not in KINDS:
                near = difflib.get_close_matches(name, KINDS, 1)
                hint = f"did you mean {near[0]!r}?" if near else ", ".join(KINDS)
                raise UsageError(f"kind: '{shown(name)}' is none; {hint}")
        names = () if about is None else self._names(about)
        return Sought(names=names, kinds=tuple(kinds), judge=self._node.machine.me)

    def _names(self, about: About) -> tuple[str, ...]:
        """Return what the journal may call it; of a node's name a part will do."""
        name = self._node.journal.subject(about, "events")
        try:
            return name, self._node.node_monitor.named(name, removed=True)
        except UnknownNode:
            return (name,)


def _moment_s(since: str | float) -> float:
    """Return a time, said as so long ago or itself, in seconds since 1970."""
    with contextlib.suppress(Wrong):
        return time.time() - duration_ns(str(since)) / 1e9
    try:
        return datetime.fromisoformat(str(since)).timestamp()
    except (ValueError, OverflowError):
        raise UsageError(
            f"since: {quoted(str(since))} is neither a duration (seconds, or like 5m, "
            "1h30m) nor a time like 2026-01-31T10:00:00Z"
        ) from None


def _missed(text: str) -> Event:
    return Event(
        id="", at_s=time.time(), kind="missed", text=f"{text}: events() has them"
    )
