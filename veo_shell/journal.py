"""`why()` and `history()`: what was decided and seen in the cluster, and why."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any

import attrs

from veo_shell.core.chains import (
    Entries,
    first_cause,
    in_chains,
    in_order,
    moment,
    once,
)
from veo_shell.core.commands import Note
from veo_shell.core.happened import Sought
from veo_shell.core.kinds import VERDICTS, topic
from veo_shell.core.membership import GONE
from veo_shell.core.model import (
    Container,
    JournalEntry,
    NodeInfo,
    Service,
    StandingService,
)
from veo_shell.core.near import meant
from veo_shell.core.protocols import Store
from veo_shell.core.scalars import shown
from veo_shell.core.verbs import read
from veo_shell.errors import (
    AmbiguousNode,
    StoreError,
    UnknownNode,
    UnknownService,
    UsageError,
)
from veo_shell.journals import PAGE

if TYPE_CHECKING:
    from veo_shell.node import Node

logger = logging.getLogger(__name__)

KEPT = 10_000
DEEPEST = 50
"""So many steps back a chain of causes is followed."""
LOG_INTERVAL_S = 60.0

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
        found, subject = await self._about(self.subject(about, "why"))
        ends = self._ends(found, subject)
        if not ends:
            said = f"the journal has nothing about '{shown(subject)}'"
            raise UnknownService(said + meant(subject, self._node.machine.view))
        chain = await self._with_causes(ends)
        broken = [e for e in chain.values() if e.uid and e.cause not in {"", *chain}]
        if broken:
            chain |= await self._with_causes(
                await self._with_ids(
                    sorted({i for e in broken for i in self._why_there(e)})
                )
            )
        for entry in broken:
            await self._bridge(entry, chain)
        return in_chains(chain.values())

    @read
    async def history(self, last: int = 50) -> list[JournalEntry]:
        """Return the last entries of the cluster's journal, the oldest first.

        >>> history(last=20)
        """
        if last < 1:
            raise UsageError(f"last: {last} is less than 1")
        last = min(last, KEPT)
        await self.flushed()
        own, told = await asyncio.gather(
            self._store.entries(last=last),
            self._node.journals.all_pages("latest", "", last=last),
        )
        return in_order(once(own, told))[-last:]

    @read
    async def latest(self, subject: str, last: int, skip: int = 0) -> Entries:
        """Return this node's own last entries, a page at most.

        Those before the newest `skip`; of a subject, the last of each thing about it.
        """
        last = min(last, PAGE)
        if subject:
            return (await self._last_about(subject))[-last:]
        await self.flushed()
        return await self._store.entries(last=last, skip=skip)

    @read
    async def named(self, ids: list[str]) -> Entries:
        """Return this node's own entries with these ids."""
        await self.flushed()
        return await self._store.entries(last=len(ids), ids=ids)

    @read
    async def sought(
        self, names: list[str], kinds: list[str], judge: str, last: int, skip: int = 0
    ) -> Entries:
        """Return this node's own last entries that are sought, a page at most."""
        await self.flushed()
        which = Sought(names=tuple(names), kinds=tuple(kinds), judge=judge)
        return await self._store.entries(last=min(last, PAGE), sought=which, skip=skip)

    async def heals(self) -> Entries:
        """Return how duplicates were ended lately, the oldest first."""
        return in_order(await self._everywhere(self.sought, [], ["healed"], "", PAGE))

    def note(self, order: Note) -> None:
        """Log an entry, write it to disk and tell the peers, with the others of now."""
        entry = attrs.evolve(order.entry, at_s=time.time())
        logger.info("%s: %s", entry.node, entry.text)
        self._unpublished.append(entry)
        if len(self._unpublished) == 1:
            asyncio.get_running_loop().call_soon(self.publish)
        self.take((entry,))

    def take(self, entries: Iterable[JournalEntry]) -> None:
        """Write entries to disk, a peer's or this node's, and tell who follows."""
        entries = list(entries)
        self._node.event_log.take(entries)
        self._unwritten += entries
        del self._unwritten[:-KEPT]  # a disk that hangs costs no memory without end
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_future()
            self._node.spawn(self._write(self._writing), "journal")

    async def flushed(self) -> None:
        """Return when all that was noted so far can be read."""
        while self._writing is not None:
            await asyncio.shield(self._writing)

    def publish(self) -> None:
        """Tell the peers of what was noted."""
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

    async def _last_about(self, subject: str) -> Entries:
        """Return the last own entries about each slot, or kind, of a subject."""
        await self.flushed()
        found = once(
            await self._store.entries(last=KEPT, service=subject),
            await self._store.entries(last=KEPT, container=subject),
            await self._store.entries(last=KEPT, about=subject),
        )
        return self._ends(found, subject)

    def subject(self, about: object, verb: str) -> str:
        """Return the name of something; of a container that is there, by its id too.

        Of a service that is given as it stands the uid, if others have its name.
        """
        name, view = _name_of(about, verb), self._node.machine.view
        if isinstance(about, StandingService) and len(view.named(name)) > 1:
            return about.uid
        held = view.containers()
        return next((c.name for c in held if c.id == name), name)

    async def _with_causes(self, ends: Entries) -> dict[str, JournalEntry]:
        """Return entries, and what they follow from so many steps back, by id."""
        chain = {entry.id: entry for entry in ends}
        for _ in range(DEEPEST):
            missing = {e.cause for e in chain.values() if e.cause} - chain.keys()
            causes = await self._with_ids(sorted(missing)) if missing else []
            if not causes:
                break
            chain.update((entry.id, entry) for entry in causes)
        return chain

    def _why_there(self, entry: JournalEntry) -> list[str]:
        """Return the ids of the decisions about an entry's slot, and its service."""
        view = self._node.machine.view
        records = view.slot(entry.uid, entry.slot), view.service(entry.uid)
        return [record.cause for record in records if record and record.cause]

    async def _bridge(
        self, entry: JournalEntry, chain: dict[str, JournalEntry]
    ) -> None:
        """Have an entry whose causes go too far back follow from what was decided."""
        known = [i for i in self._why_there(entry) if i in chain]
        decided = [i for i in known if first_cause(i, chain) != entry.cause]
        if not decided:
            return
        begin, end = moment(chain[decided[0]]), moment(entry)
        held = await self._store.entries(last=KEPT, service=entry.uid)
        between = [e for e in held if e.slot == entry.slot and begin < moment(e) < end]
        left_out = sum(e.id not in chain for e in between)
        chain[entry.cause] = attrs.evolve(
            entry,
            id=entry.cause,
            kind="left out",
            text=f"steps left out: {left_out or 'some'}",
            cause=decided[0],
        )

    async def _about(self, subject: str) -> tuple[Entries, str]:
        """Return the last of a subject, and its name; of a node's, a part will do."""
        if found := await self._told_about(subject):
            return found, subject
        try:
            node = self._node.node_monitor.named(subject, removed=True)
        except AmbiguousNode:
            raise
        except UnknownNode:
            return [], subject
        return await self._told_about(node), node

    async def _told_about(self, subject: str) -> Entries:
        own, told = await asyncio.gather(
            self._last_about(subject), self._node.journals.all("latest", subject, PAGE)
        )
        return once(own, told)

    def _ends(self, entries: Entries, subject: str) -> Entries:
        """Return the last about each slot, each container that is there, the node.

        Of the verdicts on that, this node's own, if it has one.
        """
        machine = self._node.machine
        present = {
            c.name
            for c in machine.view.containers()
            if machine.members.status(c.node) not in GONE
        }
        ends: dict[tuple[str, int, str], JournalEntry] = {}

        def place(entry: JournalEntry) -> tuple[bool, tuple[float, str, int]]:
            is_own = entry.kind in VERDICTS and entry.node == machine.me
            return is_own, moment(entry)

        for entry in sorted(entries, key=place):
            if not entry.uid:
                ends[entry.about, -1, topic(entry.kind)] = entry
            elif subject in (entry.service, entry.uid, entry.container):
                container = entry.container if entry.container in present else ""
                ends[entry.uid, entry.slot, container] = entry
                if entry.kind == "added":  # a refusal under its name is over
                    ends.pop((entry.service, -1, ""), None)
        return in_order(ends.values())

    async def _with_ids(self, ids: list[str]) -> Entries:
        """Return the entries with these ids; others are asked for what is not here."""
        own = await self.named(ids)
        left = sorted(set(ids) - {entry.id for entry in own})
        return own + (await self._everywhere(self.named, left) if left else [])

    async def _everywhere(self, verb: Verb, *args: object) -> Entries:
        """Ask this node and all that live, and put together what they know."""
        own, told = await asyncio.gather(
            verb(*args), self._node.journals.all(verb.__name__, *args)
        )
        return once(own, told)


def _entries(count: int) -> str:
    return "1 journal entry is" if count == 1 else f"{count} journal entries are"


def _name_of(about: object, verb: str) -> str:
    match about:
        case Container():
            return about.name or about.uid  # one that waits has no name yet
        case Service():
            return about.name
        case NodeInfo():
            return about.node
        case str() if about:
            return about
    raise UsageError(f"{verb}() takes a service, a container or a node, or its name")
