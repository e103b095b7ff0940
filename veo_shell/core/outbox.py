"""What the parts of one core hand out while they handle an event."""

from __future__ import annotations

import attrs

from veo_shell.core.commands import Command, Note
from veo_shell.core.kinds import KINDS
from veo_shell.core.model import Container, JournalEntry, Record
from veo_shell.core.printable import printable
from veo_shell.core.sessions import NOBODY, Session

TEXT_MOST_BYTES = 3200
WHO_MOST_BYTES, REASON_MOST_BYTES = 120, 600
"""So that 200 entries fit a frame, whatever an engine, or a session, says."""


@attrs.define
class Outbox:
    """Commands in order, and what changed since the last delta and save.

    `records` are this node's own writes, `learned` those that came from peers: only
    the first are published. `changed` and `gone` are this node's containers,
    `documents` the nodes whose documents are to be saved. `ticket` is the number of
    the next order to save. `cause` is the journal's id of what the event at hand was
    about.
    """

    node: str
    boot: str
    commands: list[Command] = attrs.field(factory=list)
    records: dict[str, Record] = attrs.field(factory=dict)
    learned: dict[str, Record] = attrs.field(factory=dict)
    changed: dict[str, Container] = attrs.field(factory=dict)
    gone: set[str] = attrs.field(factory=set)
    documents: set[str] = attrs.field(factory=set)
    ticket: int = 1
    cause: str = ""
    _noted: int = 0

    def order(self, *commands: Command) -> None:
        """Have commands performed after what was ordered before."""
        self.commands += commands

    def note(
        self,
        kind: str,
        text: str,
        *,
        service: str = "",
        uid: str = "",
        slot: int = -1,
        container: str = "",
        about: str = "",
        cause: str | None = None,
        by: Session = NOBODY,
    ) -> str:
        """Write to the journal, in one line; return the entry's id, a cause of others.

        Without a `cause` it is what the event at hand was about. `by` is who asked.
        """
        assert kind in KINDS, f"{kind} is none of core/kinds.py"
        self._noted += 1
        entry = JournalEntry(
            id=f"{self.node}/{self.boot}/{self._noted}",
            node=self.node,
            kind=kind,
            text=_cut(printable(text)),  # it is logged, too
            service=service,
            uid=uid,
            slot=slot,
            container=container,
            about=about,
            cause=self.cause if cause is None else cause,
            user=_cut(printable(by.user), WHO_MOST_BYTES),
            origin=_cut(printable(by.origin), WHO_MOST_BYTES),
            session=_cut(printable(by.id), WHO_MOST_BYTES),
            reason=_cut(printable(by.reason), REASON_MOST_BYTES),
        )
        self.order(Note(entry=entry))
        return entry.id

    def write(self, record: Record) -> None:
        """Publish and save a record."""
        self.records[record.key] = record

    def learn(self, record: Record) -> None:
        """Save a record that a peer told."""
        self.learned[record.key] = record

    def show(self, container: Container) -> None:
        """Publish and save a container of this node."""
        self.changed[container.name] = container
        self.gone.discard(container.name)

    def forget(self, name: str) -> None:
        """Publish and save that a container of this node is gone."""
        self.changed.pop(name, None)
        self.gone.add(name)

    @property
    def is_own_news(self) -> bool:
        """Tell whether there is something of this node's own to publish."""
        return bool(self.changed or self.gone or self.records)

    def clear(self) -> None:
        """Begin anew, once everything was handed over."""
        self.commands = []
        self.cause = ""
        if self.is_own_news or self.learned or self.documents:
            self.records, self.learned, self.changed = {}, {}, {}
            self.gone, self.documents = set(), set()


def _cut(text: str, most_bytes: int = TEXT_MOST_BYTES) -> str:
    encoded = text.encode()
    if len(encoded) <= most_bytes:
        return text
    return encoded[:most_bytes].decode(errors="ignore") + "…"
