"""What a node believes about the whole cluster: every document, and the table.

Merging is commutative, associative and idempotent: whatever order messages come in,
and however often, nodes that have heard the same end with the same view.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable, Iterator

import attrs

from veo_shell.core.model import (
    Container,
    NodeDocument,
    NodeRecord,
    Record,
    Service,
    ServiceRecord,
    SlotRecord,
)
from veo_shell.core.wire import (
    MAX_FRAME_BYTES,
    Delta,
    Difference,
    Pull,
    Records,
    packed_bytes,
)

PAGE_BYTES = MAX_FRAME_BYTES // 2
"""A page of a difference ends with the item that reaches this: it fits a frame."""


class Merged(enum.Enum):
    """What became of a delta."""

    APPLIED = "applied"
    KNOWN = "known"
    GAP = "gap"


def rank(record: Record) -> tuple[bool, int, str]:
    """Return what decides between two records of one key: the higher one stands.

    The tombstone of a service beats every concurrent write to it.
    """
    gone = isinstance(record, ServiceRecord) and record.service is None
    return gone, record.revision, record.writer


class View:
    """Documents by node, records by key; changed only by the merges below."""

    def __init__(self) -> None:
        self._heads: dict[str, NodeDocument] = {}
        self._containers: dict[str, dict[str, Container]] = {}
        self._records: dict[str, Record] = {}
        self._services: dict[str, ServiceRecord] = {}
        self._slots: dict[str, dict[int, SlotRecord]] = {}
        self.revision = 0
        self.digest = 0

    # Reading

    @property
    def nodes(self) -> Iterable[NodeDocument]:
        """Return every document, without its containers."""
        return self._heads.values()

    def head(self, node: str) -> NodeDocument | None:
        """Return a node's document without its containers."""
        return self._heads.get(node)

    def document(self, node: str) -> NodeDocument:
        """Return a node's whole document."""
        containers = tuple(self._containers[node].values())
        return attrs.evolve(self._heads[node], containers=containers)

    def containers(self, node: str | None = None) -> Iterator[Container]:
        """Return the containers of one node, or of all, in order of node and name."""
        for name in sorted(self._containers) if node is None else [node]:
            held = self._containers.get(name, {})
            yield from (held[key] for key in sorted(held))

    def container(self, node: str, name: str) -> Container | None:
        """Return one container by its node and name."""
        return self._containers.get(node, {}).get(name)

    def services(self) -> Iterator[ServiceRecord]:
        """Return the services that should run, in order of uid."""
        for uid in sorted(self._services):
            if self._services[uid].service is not None:
                yield self._services[uid]

    def service(self, uid: str) -> ServiceRecord | None:
        """Return the record of a service, its tombstone too."""
        return self._services.get(uid)

    def spec(self, uid: str) -> Service | None:
        """Return what a service asks for; None if it is unknown or removed."""
        record = self._services.get(uid)
        return record.service if record else None

    def slots(self, uid: str) -> list[SlotRecord]:
        """Return a service's slots in order, those given up too."""
        held = self._slots.get(uid, {})
        return [held[slot] for slot in sorted(held)]

    def assigned(self, node: str) -> Iterator[SlotRecord]:
        """Return the wanted slots that are placed on a node."""
        for uid, held in self._slots.items():
            if self.spec(uid) is not None:
                yield from (s for s in held.values() if s.wanted and s.node == node)

    def role(self, node: str) -> str:
        """Return a node's role: what an operator assigned, else its own file's."""
        record = self._records.get(f"node/{node}")
        if isinstance(record, NodeRecord) and record.role is not None:
            return record.role
        head = self._heads.get(node)
        return head.role if head else ""

    def records(self) -> Iterable[Record]:
        """Return the whole table."""
        return self._records.values()

    # Merging

    def merge_document(self, document: NodeDocument) -> bool:
        """Take a whole document if it is newer; tell whether it was."""
        old = self._heads.get(document.node)
        if old is not None and _pair(old) >= _pair(document):
            return False
        self._containers[document.node] = {c.name: c for c in document.containers}
        self._set_head(document)
        return True

    def merge_delta(self, delta: Delta) -> Merged:
        """Bring a document from the delta's base to its version.

        A gap, where the base is not what stands here, leaves the document as it is.
        """
        head = self._heads.get(delta.node)
        if head is None:
            return Merged.GAP
        if (delta.incarnation, delta.version) <= _pair(head):
            return Merged.KNOWN
        if (delta.incarnation, delta.base_version) != _pair(head):
            return Merged.GAP
        held = self._containers[delta.node]
        for name in delta.gone:
            held.pop(name, None)
        held.update((c.name, c) for c in delta.containers)
        lost = delta.engine_lost
        self._set_head(attrs.evolve(head, version=delta.version, engine_lost=lost))
        return Merged.APPLIED

    def merge_record(self, record: Record) -> bool:
        """Take a record if it outranks what stands; tell whether it did."""
        self.revision = max(self.revision, record.revision)
        if isinstance(record, SlotRecord) and self._is_removed(record.uid):
            return False
        old = self._records.get(record.key)
        if old is not None:
            if rank(old) >= rank(record):
                return False
            self.digest ^= _record_hash(old)
        self._records[record.key] = record
        self.digest ^= _record_hash(record)
        if isinstance(record, ServiceRecord):
            self._services[record.uid] = record
            if record.service is None:
                self._drop_slots(record.uid)
        elif isinstance(record, SlotRecord):
            self._slots.setdefault(record.uid, {})[record.slot] = record
        return True

    # Comparing

    def pull(self) -> Pull:
        """Return the question for what another view knows more."""
        return Pull(
            documents={node: _pair(head) for node, head in self._heads.items()},
            records={key: rank(record) for key, record in self._records.items()},
        )

    def difference(self, pull: Pull) -> Difference:
        """Return a page of what the asker lacks; `more` if another page is left."""
        documents: list[NodeDocument] = []
        records: list[Record] = []
        size_bytes = 0
        more = False
        for item in self._lacking(pull):
            if more := size_bytes >= PAGE_BYTES:
                break
            size_bytes += packed_bytes(item)
            if isinstance(item, NodeDocument):
                documents.append(item)
            else:
                records.append(item)
        return Difference(
            documents=tuple(documents), records=Records.of(records), more=more
        )

    def _lacking(self, pull: Pull) -> Iterator[NodeDocument | Record]:
        for key in sorted(self._records):
            record = self._records[key]
            # The asker has no use for them: it would ask for the same page for ever.
            if isinstance(record, SlotRecord) and _buries(pull, record.uid):
                continue
            if key not in pull.records or pull.records[key] < rank(record):
                yield record
        for node in sorted(self._heads):
            if pull.documents.get(node, (-1, -1)) < _pair(self._heads[node]):
                yield self.document(node)

    def _set_head(self, document: NodeDocument) -> None:
        old = self._heads.get(document.node)
        if old is not None:
            self.digest ^= _document_hash(old)
        self._heads[document.node] = attrs.evolve(document, containers=())
        self.digest ^= _document_hash(document)

    def _is_removed(self, uid: str) -> bool:
        record = self._services.get(uid)
        return record is not None and record.service is None

    def _drop_slots(self, uid: str) -> None:
        for slot in self._slots.pop(uid, {}).values():
            self.digest ^= _record_hash(self._records.pop(slot.key))


def _buries(pull: Pull, uid: str) -> bool:
    """Tell whether the asker has the tombstone of a service."""
    return f"service/{uid}" in pull.records and pull.records[f"service/{uid}"][0]


def _pair(document: NodeDocument) -> tuple[int, int]:
    return document.incarnation, document.version


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


def _document_hash(document: NodeDocument) -> int:
    return _hash(f"{document.node} {document.incarnation} {document.version}")


def _record_hash(record: Record) -> int:
    return _hash(f"{record.key} {record.revision} {record.writer}")
