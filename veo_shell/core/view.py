"""What a node believes about the whole cluster: every document, and the table.

Merging is commutative, associative and idempotent: whatever order messages come in,
and however often, nodes that have heard the same end with the same view.
"""

from __future__ import annotations

import copy
import enum
import hashlib
import zlib
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Set

import attrs

from veo_shell.core.ledger import Account, Ledger
from veo_shell.core.model import (
    Container,
    NodeDocument,
    NodeRecord,
    Record,
    Room,
    Service,
    ServiceRecord,
    SlotRecord,
)
from veo_shell.core.wire import (
    MAX_FRAME_BYTES,
    MAX_ITEM_BYTES,
    PROTOCOL,
    Delta,
    Difference,
    Pull,
    Records,
    packed_bytes,
)

PAGE_BYTES = MAX_FRAME_BYTES // 2
"""A page of a difference ends before this, or is of one item: it fits a frame."""

BUCKETS = 256
FORGOTTEN = 10_000


class Merged(enum.Enum):
    """What became of a delta."""

    APPLIED = "applied"
    KNOWN = "known"
    GAP = "gap"


def rank(record: Record) -> tuple[bool, int, str]:
    """Return what decides between two records of one key: the higher one stands.

    The tombstone of a service beats every concurrent write to it, as does the removal
    of a node's state, which later decisions about the node repeat.
    """
    removes = isinstance(record, NodeRecord) and bool(record.removed)
    return is_tombstone(record) or removes, record.revision, record.writer


def is_tombstone(record: Record) -> bool:
    """Tell whether a record says that its service is removed."""
    return isinstance(record, ServiceRecord) and record.service is None


class View:
    """Documents by node, records by key; changed only by the merges below.

    `digest` is of all documents and records but tombstones: those are only of use
    where the record that they bury may still be. `touched` are the services that a
    merge was about since the last `settle`, for who acts on changes; `news` those of
    which DNS may answer something else since it looked, for it to take; `epoch` grows
    when one changed what placement or DNS looks at of a node, or who may decide,
    `holdings` when what engines hold did: for that nothing is decided anew at once.
    `dropped` are the keys of records and the names of nodes that are no more: for who
    keeps the view on disk. `unfit` are keys of records and names of nodes with the
    sizes of those that fit no frame, and were left out of a page for that: for who
    reports them.
    """

    def __init__(self) -> None:
        self._heads: dict[str, NodeDocument] = {}
        self._containers: dict[str, dict[str, Container]] = {}
        self._instances: dict[str, dict[int, dict[str, Container]]] = {}
        self._records: dict[str, Record] = {}
        self._services: dict[str, ServiceRecord] = {}
        self._buried: set[str] = set()
        self._uids: dict[str, set[str]] = {}  # by name, of those that should run
        self._groups: dict[str, set[str]] = {}  # their uids, too
        self._nodes: dict[str, NodeRecord] = {}
        self._ledger = Ledger()
        self._buckets: list[set[str]] = [set() for _ in range(BUCKETS)]
        self._bucket_digests = [0] * BUCKETS
        self._forgotten: OrderedDict[str, None] = OrderedDict()
        self.revision = 0
        self.digest = 0
        self.touched: set[str] = set()
        self.news: set[str] = set()
        self.epoch = 0
        self.holdings = 0
        self.services_revision = 0  # grows also by tombstones, which no digest tells
        self.dropped: set[str] = set()
        self.unfit: dict[str, int] = {}

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

    def instances(self, uid: str) -> list[Container]:
        """Return the containers of a service, on every node, in order of name."""
        slots = self._instances.get(uid, {}).values()
        held = {name: c for slot in slots for name, c in slot.items()}
        return [held[name] for name in sorted(held)]

    def in_slot(self, uid: str, number: int) -> list[Container]:
        """Return the containers of one slot, on every node, in order of name."""
        held = self._instances.get(uid, {}).get(number, {})
        return [held[name] for name in sorted(held)]

    def unrecorded(self, uid: str) -> list[int]:
        """Return the slots of a service that have a container, and no record."""
        held = self._instances.get(uid, {})
        return sorted(n for n, cs in held.items() if cs and not self.slot(uid, n))

    def services(self) -> Iterator[ServiceRecord]:
        """Return the services that should run, in order of uid."""
        for uid in sorted(self._services):
            if self._services[uid].service is not None:
                yield self._services[uid]

    def named(self, name: str) -> list[ServiceRecord]:
        """Return the services of a name that should run, in order of uid."""
        return [self._services[uid] for uid in sorted(self._uids.get(name, ()))]

    def group(self, name: str) -> list[ServiceRecord]:
        """Return the services of a group that should run, in order of uid."""
        return [self._services[uid] for uid in sorted(self._groups.get(name, ()))]

    def service(self, uid: str) -> ServiceRecord | None:
        """Return the record of a service, its tombstone too."""
        return self._services.get(uid)

    def tombstones(self) -> Iterator[ServiceRecord]:
        """Return the records of removed services, in order of uid."""
        return map(self._services.__getitem__, sorted(self._buried))

    def spec(self, uid: str) -> Service | None:
        """Return what a service asks for; None if it is unknown or removed."""
        record = self._services.get(uid)
        return record.service if record else None

    def spec_of(self, slot: SlotRecord) -> Service | None:
        """Return what a slot's container is made of; None as for `spec`."""
        record = self._services.get(slot.uid)
        return record.spec_of(slot.spec_id) if record else None

    def slots(self, uid: str) -> list[SlotRecord]:
        """Return a service's slots in order, those given up too."""
        return self._ledger.slots(uid)

    def slot(self, uid: str, number: int) -> SlotRecord | None:
        """Return one slot of a service."""
        return self._ledger.slot(uid, number)

    def assigned(self, node: str, uids: Set[str] | None = None) -> Iterator[SlotRecord]:
        """Yield the wanted slots placed on a node, of services that stand, in order.

        `uids`: of these services alone.
        """
        slots = self._ledger.assigned(node, uids)
        return (slot for slot in slots if self.spec(slot.uid) is not None)

    def apart(self) -> View:
        """Return this view with accounts that are added to apart; it is only read."""
        copied = copy.copy(self)
        copied._ledger = self._ledger.apart()
        return copied

    def reserved(self, node: str) -> Room:
        """Return what the slots placed on a node reserve together."""
        return self._ledger.reserved(node)

    def account(self, node: str) -> Account:
        """Return what is placed on a node, now and from now on."""
        return self._ledger.account(node)

    def node_record(self, node: str) -> NodeRecord | None:
        """Return what operators decided about a node."""
        return self._nodes.get(node)

    def role(self, node: str) -> str:
        """Return a node's role: what an operator assigned, else its own file's."""
        record = self._nodes.get(node)
        if record is not None and record.role is not None:
            return record.role
        head = self._heads.get(node)
        return head.role if head else ""

    def is_drained(self, node: str) -> bool:
        """Tell whether an operator wants a node without work."""
        record = self._nodes.get(node)
        return record is not None and record.drained

    def is_removed(self, document: NodeDocument) -> bool:
        """Tell whether a node left, or was removed, with the state that it now has."""
        record = self._nodes.get(document.node)
        return record is not None and record.bars(document.identity)

    def voters(self) -> list[str]:
        """Return the nodes that count where a majority is asked for."""
        return sorted(n for n, r in self._nodes.items() if r.votes and n in self._heads)

    def record(self, key: str) -> Record | None:
        """Return a record by its key."""
        return self._records.get(key)

    def records(self) -> Iterable[Record]:
        """Return the whole table."""
        return self._records.values()

    def settle(self) -> None:
        """Note that whoever acts on changes has done so."""
        self.touched.clear()

    # Merging

    def merge_document(self, document: NodeDocument) -> bool:
        """Take a whole document if it is newer; tell whether it was.

        That of a node which left or was removed with its state is none any more. Passed
        on by protocol 1 it lacks what that does not know: then the whole one stands.
        Services of which it says nothing else are touched only if its node begins anew.
        """
        old = self._heads.get(document.node)
        if old is not None and _completeness(old) >= _completeness(document):
            return False
        if self.is_removed(document):
            return False
        held = self._containers.setdefault(document.node, {})
        now = {c.name: c for c in document.containers}
        for name in [name for name in held if name not in now]:
            self._set_container(document.node, name, None)
        for name, container in now.items():
            if held.get(name) != container:
                self._set_container(document.node, name, container)
        if old is not None and _begins_anew(old, document):
            for container in now.values():
                self._touch(container.uid)
        self._set_head(document)
        return True

    def merge_delta(self, delta: Delta) -> Merged:
        """Bring a document from the delta's base to its version.

        A gap, where the base is not what stands here, leaves the document as it is.
        """
        head = self._heads.get(delta.node)
        if head is None:
            return Merged.GAP
        if (delta.incarnation, delta.version) <= pair(head):
            return Merged.KNOWN
        if (delta.incarnation, delta.base_version) != pair(head):
            return Merged.GAP
        for name in delta.gone:
            self._set_container(delta.node, name, None)
        for container in delta.containers:
            self._set_container(delta.node, container.name, container)
        self._set_head(
            attrs.evolve(
                head,
                version=delta.version,
                engine_lost=delta.engine_lost,
                disk_trouble=delta.disk_trouble,
                dns_serial=max(head.dns_serial, delta.dns_serial),
                images=head.images if delta.images is None else delta.images,
                volumes=head.volumes if delta.volumes is None else delta.volumes,
                lan_networks=head.lan_networks
                if delta.lan_networks is None
                else delta.lan_networks,
            )
        )
        return Merged.APPLIED

    def merge_record(self, record: Record) -> bool:
        """Take a record if it outranks what stands; tell whether it did."""
        self.revision = max(self.revision, record.revision)
        if not isinstance(record, NodeRecord) and self._is_refused(record):
            return False
        old = self._records.get(record.key)
        if old is not None and rank(old) >= rank(record):
            return False
        self._put(old, record)
        if isinstance(record, ServiceRecord):
            self._set_service(record)
        elif isinstance(record, SlotRecord):
            self._ledger.set_slot(record)
            self._touch(record.uid)
        else:
            self._set_node(record)
        return True

    def forget(self, uid: str) -> bool:
        """Drop a tombstone that every member has; tell whether that could be.

        What still comes of that service is refused from then on. A node that has it
        for alive has missed something, and is to bury it first.
        """
        record = self._services.get(uid)
        if record is not None and record.service is not None:
            return False
        self._forgotten[uid] = None
        if len(self._forgotten) > FORGOTTEN:
            self._forgotten.popitem(last=False)
        if record is not None:
            self._drop(record)
            del self._services[uid]
            self._buried.discard(uid)
        return True

    def remember(self, uid: str) -> bool:
        """Refuse no more what comes of a forgotten service; tell whether it was one."""
        was_forgotten = uid in self._forgotten
        self._forgotten.pop(uid, None)
        return was_forgotten

    def forget_node(self, node: str) -> None:
        """Drop the document of a node that is no member any more."""
        head = self._heads.pop(node, None)
        if head is None:
            return
        self.digest ^= _document_hash(head)
        self.dropped.add(node)
        for name in list(self._containers[node]):
            self._set_container(node, name, None)
        del self._containers[node]
        self.epoch += 1

    # Comparing

    def pull(
        self, protocol: int, after: str = "", doubted: Collection[str] | None = ()
    ) -> Pull:
        """Return the question for what another view knows more.

        Of the `doubted` services, None for all, tombstones are asked for as well. So is
        a document that an older protocol may have passed on, in case it is had whole.
        """
        documents = {node: _held(head) for node, head in self._heads.items()}
        if protocol > 1:
            buckets = list(self._bucket_digests)
            every = range(BUCKETS) if doubted is None else set(map(_bucket_of, doubted))
            for number in every:
                buckets[number] ^= 1  # as nobody has it
            return Pull(
                documents=documents, records={}, buckets=tuple(buckets), after=after
            )
        ranks = {key: rank(record) for key, record in self._records.items()}
        return Pull(documents=documents, records=ranks, after=after)

    def difference(self, pull: Pull, page_bytes: int = PAGE_BYTES) -> Difference:
        """Return a page of what the asker lacks; `more` if another page is left."""
        documents: list[NodeDocument] = []
        records: list[Record] = []
        size_bytes = 0
        more, after = False, pull.after
        for where, item in self._lacking(pull):
            item_bytes = packed_bytes(item)
            if item_bytes > MAX_ITEM_BYTES:
                self.unfit[_called(item)] = item_bytes
                continue
            size_bytes += item_bytes
            if more := size_bytes > page_bytes and bool(documents or records):
                break
            after = where
            if isinstance(item, NodeDocument):
                documents.append(item)
            else:
                records.append(item)
        return Difference(
            documents=tuple(documents),
            records=Records.of(records),
            more=more,
            after=after,
        )

    def _lacking(self, pull: Pull) -> Iterator[tuple[str, NodeDocument | Record]]:
        """Yield what may be missing, each with its place in the order of pages."""
        for number, keys in enumerate(self._buckets):
            if pull.buckets[number : number + 1] == (self._bucket_digests[number],):
                continue
            for key in sorted(keys):
                place = f"bucket {number:03} {key}"
                if place > pull.after and self._is_lacking(key, pull):
                    yield place, self._records[key]
        for node in sorted(self._heads):
            place = f"document {node}"
            known = pull.documents.get(node, (-1, -1))
            if place > pull.after and known < pair(self._heads[node]):
                yield place, self.document(node)

    def _is_lacking(self, key: str, pull: Pull) -> bool:
        record = self._records[key]
        # The asker has no use for them: it would ask for the same page for ever.
        if isinstance(record, SlotRecord) and _buries(pull, record.uid):
            return False
        return key not in pull.records or pull.records[key] < rank(record)

    # Keeping

    def _is_refused(self, record: ServiceRecord | SlotRecord) -> bool:
        if record.uid in self._forgotten:
            return True
        standing = self._services.get(record.uid)
        buried = standing is not None and standing.service is None
        return buried and isinstance(record, SlotRecord)

    def _set_head(self, document: NodeDocument) -> None:
        old = self._heads.get(document.node)
        if old is not None:
            self.digest ^= _document_hash(old)
        head = attrs.evolve(document, containers=())
        self.dropped.discard(document.node)
        self.epoch += old is None or _shifts(old, head)
        if old is None or _stock(old) != _stock(head):
            self.holdings += 1
        self._heads[document.node] = head
        self.digest ^= _document_hash(document)

    def _set_container(self, node: str, name: str, container: Container | None) -> None:
        held = self._containers.setdefault(node, {})
        old = held.pop(name, None)
        if old is not None:
            self._instances[old.uid][old.slot].pop(name, None)
            self._touch(old.uid)
        if container is not None:
            held[name] = container
            slots = self._instances.setdefault(container.uid, {})
            slots.setdefault(container.slot, {})[name] = container
            self._touch(container.uid)

    def _touch(self, uid: str) -> None:
        self.touched.add(uid)
        self.news.add(uid)

    def _set_service(self, record: ServiceRecord) -> None:
        old = self._services.get(record.uid)
        if old is not None and old.service is not None:
            self._uids[old.service.name].discard(record.uid)
            self._groups.get(old.service.group or "", set()).discard(record.uid)
        if record.service is not None:
            self._uids.setdefault(record.service.name, set()).add(record.uid)
            if record.service.group:
                self._groups.setdefault(record.service.group, set()).add(record.uid)
        self._services[record.uid] = record
        self.services_revision += 1
        self._ledger.set_service(record)
        self._touch(record.uid)
        if record.service is None:
            self._buried.add(record.uid)
            for slot in self._ledger.drop(record.uid):
                self._drop(slot)

    def _set_node(self, record: NodeRecord) -> None:
        self._nodes[record.node] = record
        self.epoch += 1
        head = self._heads.get(record.node)
        if head is not None and self.is_removed(head):
            self.forget_node(record.node)

    def _put(self, old: Record | None, record: Record) -> None:
        number = _bucket(record.key)
        change = _record_hash(record) ^ (_record_hash(old) if old is not None else 0)
        self._bucket_digests[number] ^= change
        self.digest ^= change
        self._buckets[number].add(record.key)
        self.dropped.discard(record.key)
        self._records[record.key] = record

    def _drop(self, record: Record) -> None:
        number = _bucket(record.key)
        self._bucket_digests[number] ^= _record_hash(record)
        self.digest ^= _record_hash(record)
        self._buckets[number].discard(record.key)
        self.dropped.add(record.key)
        del self._records[record.key]


def _shifts(old: NodeDocument, new: NodeDocument) -> bool:
    """Tell whether what placement, who decides, or DNS depends on is another."""
    before, after = (
        (
            *(d.engine_lost, d.disk_trouble, d.resources, d.role, d.labels),
            *(d.identity, d.addresses),
        )
        for d in (old, new)
    )
    return before != after


def _begins_anew(old: NodeDocument, new: NodeDocument) -> bool:
    """Tell whether a node's document is of another run of it, or from elsewhere."""
    before, after = (
        (d.identity, d.boot_id, d.incarnation, d.address, d.protocol)
        for d in (old, new)
    )
    return before != after


def _buries(pull: Pull, uid: str) -> bool:
    """Tell whether the asker has the tombstone of a service."""
    return f"service/{uid}" in pull.records and pull.records[f"service/{uid}"][0]


def pair(document: NodeDocument) -> tuple[int, int]:
    """Return what decides between two documents of a node: the higher one stands."""
    return document.incarnation, document.version


def _completeness(document: NodeDocument) -> tuple[int, int, int]:
    return (*pair(document), document.protocol)


def _stock(document: NodeDocument) -> tuple[tuple[str, ...], ...]:
    return document.images, document.volumes, document.lan_networks


def _held(document: NodeDocument) -> tuple[int, int]:
    """Return what is said to be held of a document: less, if it may lack something."""
    is_whole = document.protocol >= PROTOCOL
    return document.incarnation, max(document.version - (not is_whole), 0)


def _called(item: NodeDocument | Record) -> str:
    return item.node if isinstance(item, NodeDocument) else item.key


def _bucket(key: str) -> int:
    """Return a record's bucket, the same for a service and its slots.

    Where one view has slots and the other the tombstone, which is in no digest, the
    bucket differs, and the tombstone is told.
    """
    return _bucket_of(key.split("/")[1])


def _bucket_of(uid: str) -> int:
    return zlib.crc32(uid.encode()) % BUCKETS


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


def _document_hash(document: NodeDocument) -> int:
    return _hash(f"{document.node} {document.incarnation} {document.version}")


def _record_hash(record: Record) -> int:
    """Return a record's part of the digest; none of a tombstone."""
    if is_tombstone(record):
        return 0
    return _hash(f"{record.key} {record.revision} {record.writer}")
