"""What the parts of one core hand out while they handle an event."""

from __future__ import annotations

import attrs

from veo_shell.core.commands import Command, Report
from veo_shell.core.model import Container, Record


@attrs.define
class Outbox:
    """Commands in order, and what changed since the last delta and save.

    `records` are this node's own writes, `learned` those that came from peers: only
    the first are published. `changed` and `gone` are this node's containers,
    `documents` the nodes whose documents are to be saved.
    """

    commands: list[Command] = attrs.field(factory=list)
    records: dict[str, Record] = attrs.field(factory=dict)
    learned: dict[str, Record] = attrs.field(factory=dict)
    changed: dict[str, Container] = attrs.field(factory=dict)
    gone: set[str] = attrs.field(factory=set)
    documents: set[str] = attrs.field(factory=set)

    def order(self, *commands: Command) -> None:
        """Have commands performed after what was ordered before."""
        self.commands += commands

    def report(self, text: str) -> None:
        """Tell the operator, in one line."""
        self.order(Report(text=text))

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

    def clear(self) -> None:
        """Begin anew, once everything was handed over."""
        self.commands, self.records, self.learned = [], {}, {}
        self.changed, self.gone, self.documents = {}, set(), set()
