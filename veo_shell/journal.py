"""`why()` and `history()`: what was decided and seen in the cluster, and why."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any

import attrs

from veo_shell.core.commands import Note
from veo_shell.core.membership import GONE
from veo_shell.core.model import Container, JournalEntry, NodeInfo, Service, Status
from veo_shell.core.protocols import Store
from veo_shell.core.scalars import shown
from veo_shell.core.verbs import read
from veo_shell.errors import (
    AmbiguousNode,
    PeerUnreachable,
    StoreError,
    UnknownNode,
    UnknownService,
    UsageError,
    VeoError,
)

if TYPE_CHECKING:
    from veo_shell.node import Node

logger = logging.getLogger(__name__)

PAGE = 200
"""So many entries fit a frame."""
KEPT = 10_000
DEEPEST = 50
"""So many steps back a chain of causes is followed."""
PEER_S = 1.0
LOG_INTERVAL_S = 60.0

Entries = list[JournalEntry]
Verb = Callable[..., Coroutine[Any, Any, Entries]]


class Journal:
    """Writes entries to disk and to the peers' journals; answers from all of them."""

    def __init__(self, node: Node, store: Store) -> None:
        self._node = node
        self._store = store
        self._unwritten: list[JournalEntry] = []
        self._unpublished: list[JournalEntry] = []
        self._writing: asyncio.Future[None] | None = None
        self._lost = 0
        self._silent_until_s = 0.0

    @read
    async def why(
        self, about: str | Container | Service | NodeInfo
    ) -> list[JournalEntry]:
        """Return what led to the present state of a service, a container or a node.

        Each entry comes after the one that it follows from, the oldest first.

        >>> why("nginx")
        """
        found, subject = await self._about(_subject(about))
        ends = self._ends(found, subject)
        if not ends:
            said = f"the journal has nothing about '{shown(subject)}'"
            raise UnknownService(said)
        chain = {entry.id: entry for entry in ends}
        for _ in range(DEEPEST):
            missing = {e.cause for e in chain.values() if e.cause} - chain.keys()
            causes = await self._with_ids(sorted(missing)) if missing else []
            if not causes:
                break
            chain.update((entry.id, entry) for entry in causes)
        return _in_chains(chain.values())

    @read
    async def history(self, last: int = 50) -> list[JournalEntry]:
        """Return the last entries of the cluster's journal, the oldest first.

        >>> history(last=20)
        """
        if last < 1:
            raise UsageError(f"last: {last} is less than 1")
        last = min(last, KEPT)
        await self.flushed()
        living = self._living()
        own, *told = await asyncio.gather(
            self._store.entries(last=last), *(self._last_of(n, last) for n in living)
        )
        return _in_order(_once(own, *told))[-last:]

    @read
    async def latest(self, subject: str, last: int, skip: int = 0) -> Entries:
        """Return this node's own last entries about something, a page at most.

        With "" about anything, and those before the newest `skip`.
        """
        await self.flushed()
        last = min(last, PAGE)
        if not subject:
            return await self._store.entries(last=last, skip=skip)
        return _in_order(
            _once(
                await self._store.entries(last=last, service=subject),
                await self._store.entries(last=last, container=subject),
                await self._store.entries(last=last, about=subject),
            )
        )[-last:]

    @read
    async def named(self, ids: list[str]) -> Entries:
        """Return this node's own entries with these ids."""
        await self.flushed()
        return await self._store.entries(last=len(ids), ids=ids)

    @read
    async def of_kind(self, kind: str) -> Entries:
        """Return this node's own last entries of a kind."""
        await self.flushed()
        return await self._store.entries(last=PAGE, kind=kind)

    async def heals(self) -> Entries:
        """Return how duplicates were ended lately, the oldest first."""
        return _in_order(await self._everywhere(self.of_kind, "heal"))

    def note(self, order: Note) -> None:
        """Log an entry, write it to disk and tell the peers, with the others of now."""
        entry = attrs.evolve(order.entry, at_s=time.time())
        logger.info("%s: %s", entry.node, entry.text)
        self._unpublished.append(entry)
        if len(self._unpublished) == 1:
            asyncio.get_running_loop().call_soon(self._publish)
        self.take((entry,))

    def take(self, entries: Iterable[JournalEntry]) -> None:
        """Write entries to disk, a peer's or this node's."""
        self._unwritten += entries
        del self._unwritten[:-KEPT]  # a disk that hangs costs no memory without end
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_future()
            self._node.spawn(self._write(self._writing), "journal")

    async def flushed(self) -> None:
        """Return when all that was noted so far can be read."""
        while self._writing is not None:
            await asyncio.shield(self._writing)

    def _publish(self) -> None:
        entries, self._unpublished = tuple(self._unpublished), []
        if self._node.machine.protocol > 1:
            for begin in range(0, len(entries), PAGE):
                self._node.peers.publish_entries(entries[begin : begin + PAGE])

    async def close(self) -> None:
        """Write what is left, once the node's tasks have ended."""
        await self._write_what_waits()

    async def _write(self, written: asyncio.Future[None]) -> None:
        try:
            await self._write_what_waits()
        finally:
            self._writing = None
            written.set_result(None)

    async def _write_what_waits(self) -> None:
        """Write all there is; what the disk does not take is lost, state is not."""
        while self._unwritten:
            batch, self._unwritten = self._unwritten, []
            try:
                await self._store.note(batch)
            except Exception as exc:
                self._lose(len(batch), exc)
            else:
                self._look_back()

    def _lose(self, count: int, error: Exception) -> None:
        """Count entries that were not written; log that once a minute at most."""
        self._lost += count
        now = self._node.clock.now()
        if now < self._silent_until_s:
            return
        is_ours = not isinstance(error, StoreError)
        reason = "a fault of VEO's" if is_ours else error
        logger.warning(
            "%s lost: %s",
            _entries(self._lost),
            reason,
            exc_info=error if is_ours else None,
        )
        self._lost, self._silent_until_s = 0, now + LOG_INTERVAL_S

    def _look_back(self) -> None:
        """Tell that entries are written again, no sooner than a loss would be told."""
        if self._silent_until_s and self._node.clock.now() >= self._silent_until_s:
            more = f"; {_entries(self._lost)} lost besides" if self._lost else ""
            logger.warning("the journal is written again%s", more)
            self._lost, self._silent_until_s = 0, 0.0

    async def _about(self, subject: str) -> tuple[Entries, str]:
        """Return all about a subject, and its name; of a node's, a part is enough."""
        if found := await self._everywhere(self.latest, subject, PAGE):
            return found, subject
        try:
            node = self._node.node_monitor.named(subject, removed=True)
        except AmbiguousNode:
            raise
        except UnknownNode:
            return [], subject
        return await self._everywhere(self.latest, node, PAGE), node

    def _ends(self, entries: Entries, subject: str) -> Entries:
        """Return the last about each slot, each container that is there, the node."""
        machine = self._node.machine
        present = {
            c.name
            for c in machine.view.containers()
            if machine.members.status(c.node) not in GONE
        }
        ends: dict[tuple[str, int, str], JournalEntry] = {}
        for entry in _in_order(entries):
            if not entry.uid:
                ends[entry.about, -1, entry.kind] = entry
            elif subject in (entry.service, entry.uid, entry.container):
                container = entry.container if entry.container in present else ""
                ends[entry.uid, entry.slot, container] = entry
        return list(ends.values())

    async def _with_ids(self, ids: list[str]) -> Entries:
        """Return the entries with these ids; others are asked for what is not here."""
        own = await self.named(ids)
        left = sorted(set(ids) - {entry.id for entry in own})
        return own + (await self._everywhere(self.named, left) if left else [])

    async def _everywhere(self, verb: Verb, *args: object) -> Entries:
        """Ask this node and all that live, and put together what they know."""
        asked = (self._of(node, verb.__name__, *args) for node in self._living())
        own, *told = await asyncio.gather(verb(*args), *asked)
        return _once(own, *told)

    def _living(self) -> list[str]:
        members = self._node.machine.members
        return [p.node for p in members if p.status is Status.ALIVE]

    async def _last_of(self, node: str, last: int) -> Entries:
        """Return a peer's own last entries, asked for by the page."""
        told = await self._of(node, "latest", "", min(last, PAGE))
        page = told
        while len(page) == PAGE and len(told) < last:
            left = min(last - len(told), PAGE)
            page = await self._of(node, "latest", "", left, len(told))
            told = page + told
        return told

    async def _of(self, node: str, verb: str, *args: object) -> Entries:
        try:
            async with asyncio.timeout(PEER_S):
                entries: Entries = await self._node.peers.call(
                    node, f"journal.{verb}", *args
                )
                return entries
        except (PeerUnreachable, TimeoutError) as exc:
            # What it published is in the journals of the others.
            logger.debug("the journal of %s: %s", node, exc)
        except VeoError as exc:
            logger.warning("a part of %s's journal is not told: %s", node, exc)
        return []


def _entries(count: int) -> str:
    return "1 journal entry is" if count == 1 else f"{count} journal entries are"


def _subject(about: object) -> str:
    match about:
        case Container():
            return about.name or about.uid  # one that waits has no name yet
        case Service():
            return about.name
        case NodeInfo():
            return about.node
        case str() if about:
            return about
    raise UsageError("why() takes a service, a container or a node, or its name")


def _once(*told: Entries) -> Entries:
    """Return the entries of several, each once."""
    return list({entry.id: entry for entries in told for entry in entries}.values())


def _in_order(entries: Iterable[JournalEntry]) -> Entries:
    return sorted(entries, key=_moment)


def _moment(entry: JournalEntry) -> tuple[float, str, int]:
    origin, _, number = entry.id.rpartition("/")
    return entry.at_s, origin, int(number) if number.isdigit() else 0


def _in_chains(entries: Iterable[JournalEntry]) -> Entries:
    """Order entries so that each stands below its cause, whatever the clocks say.

    Of chains that have nothing in common, what ended last comes last.
    """
    ordered = _in_order(entries)
    known = {entry.id for entry in ordered}
    followers = defaultdict(list)
    for entry in ordered:
        followers[entry.cause if entry.cause in known else ""].append(entry)
    chains = [_chain(first, followers) for first in followers[""]]
    chains.sort(key=lambda chain: max(map(_moment, chain)))
    return [entry for chain in chains for entry in chain]


def _chain(first: JournalEntry, followers: dict[str, Entries]) -> Entries:
    chain, left = [], [first]
    while left:
        chain.append(entry := left.pop())
        left += reversed(followers.get(entry.id, ()))
    return chain
