"""The view: whatever order news comes in, and however often, the end is the same."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.samples import DOS, NODES, TRES, UNO, WEB, container, document
from tests.core.samples import service as standing
from tests.core.samples import slot as placed
from veo_shell.core import view as view_module
from veo_shell.core.model import (
    Container,
    NodeDocument,
    NodeRecord,
    Record,
    Room,
    ServiceRecord,
    SlotRecord,
)
from veo_shell.core.view import Merged, View, is_tombstone, rank
from veo_shell.core.wire import (
    MAX_FRAME_BYTES,
    MAX_ITEM_BYTES,
    Delta,
    Records,
    encode,
)

UIDS = ("a", "b")
REMOVED = "a disk that was removed"
CADDY = attrs.evolve(WEB, image="caddy")
Item = NodeDocument | Delta | Record


def holding(
    node: str, incarnation: int, version: int, *numbers: int, **changes: Any
) -> NodeDocument:
    """Return a document with containers in these slots."""
    return document(
        node,
        incarnation=incarnation,
        version=version,
        containers=tuple(container(node, number, uid="a") for number in numbers),
        **changes,
    )


def delta(node: str, base: int, *numbers: int, **changes: Any) -> Delta:
    """Return how a document of incarnation 1 came to its next version."""
    made = Delta(
        node=node,
        boot_id=f"{node}#1",
        incarnation=1,
        base_version=base,
        version=base + 1,
        containers=tuple(container(node, number, uid="a") for number in numbers),
    )
    return attrs.evolve(made, **changes)


def named(number: int) -> str:
    return container(UNO, number, uid="a").name


def service(uid: str, revision: int, writer: str, spec: Any = WEB) -> ServiceRecord:
    return standing(uid, spec, revision=revision, writer=writer)


def slot(
    uid: str, revision: int, writer: str = UNO, number: int = 0, node: str | None = None
) -> SlotRecord:
    return placed(node, number, uid=uid, revision=revision, writer=writer)


def decision(node: str, revision: int, writer: str = UNO, **changes: Any) -> NodeRecord:
    made = NodeRecord(node=node, revision=revision, writer=writer)
    return attrs.evolve(made, **changes)


def apply(view: View, items: Iterable[Item]) -> View:
    for item in items:
        if isinstance(item, NodeDocument):
            view.merge_document(item)
        elif isinstance(item, Delta):
            view.merge_delta(item)
        else:
            view.merge_record(item)
    return view


def view_of(*items: Item) -> View:
    return apply(View(), items)


def content(view: View) -> tuple[dict[str, NodeDocument], dict[str, Record]]:
    """Return all that a view holds, containers in no order."""
    documents = {}
    for head in view.nodes:
        held = tuple(view.containers(head.node))
        documents[head.node] = attrs.evolve(head, containers=held)
    return documents, {record.key: record for record in view.records()}


def living(view: View) -> tuple[dict[str, NodeDocument], dict[str, Record]]:
    """Return all that a view holds but tombstones, which its digest leaves out."""
    documents, records = content(view)
    return documents, {k: r for k, r in records.items() if not is_tombstone(r)}


def shuffled(seed: int, items: list[Any]) -> list[Any]:
    """Return the items in another order, some of them twice."""
    chance = random.Random(seed)  # noqa: S311 (hypothesis gives the seed)
    chosen = items + chance.sample(items, len(items) // 2)
    chance.shuffle(chosen)
    return chosen


def settle(
    one: View,
    other: View,
    protocol: int = 2,
    page_bytes: int = view_module.PAGE_BYTES,
) -> int:
    """Let each pull from the other until there is nothing more; return the pages."""
    pages = 0
    for asker, asked in ((one, other), (other, one)) * 2:
        after, more = "", True
        while more:
            answer = asked.difference(asker.pull(protocol, after), page_bytes)
            encode(answer)  # raises if it does not fit a frame
            apply(asker, [*answer.records, *answer.documents])
            after, more = answer.after, answer.more
            pages += 1
            assert pages < 1000, "the pages do not end"
    return pages


# A write is made once: (key, revision, writer) stands for one content.
_specs = st.sampled_from([WEB, CADDY, None])
_uids, _writers = st.sampled_from(UIDS), st.sampled_from(NODES)
_records: st.SearchStrategy[Record] = st.one_of(
    st.builds(service, _uids, st.integers(1, 4), _writers, _specs),
    st.builds(
        slot,
        _uids,
        st.integers(1, 4),
        _writers,
        st.integers(0, 2),
        st.sampled_from([*NODES, None]),
    ),
    st.builds(
        decision,
        st.sampled_from(NODES),
        st.integers(1, 4),
        _writers,
        role=st.sampled_from(["a", "b"]),
        drained=st.booleans(),
        votes=st.booleans(),
        removed=st.sampled_from(["", "", REMOVED]),
    ),
)
tables = st.lists(
    _records, max_size=15, unique_by=lambda r: (r.key, r.revision, r.writer)
)


@st.composite
def lives(draw: st.DrawFn) -> list[tuple[NodeDocument, Delta | None]]:
    """Make a node's documents, one after the other, and the delta that led to each.

    None: the node came back as another incarnation, which no delta tells. The first of
    them may have the disk that a record of `tables` removes.
    """
    node = draw(st.sampled_from(NODES))
    held: set[int] = set()
    incarnation = version = 1
    disk_id, engine_lost = draw(st.sampled_from(["kept", REMOVED])), ""
    images: tuple[str, ...] = ()

    def whole() -> NodeDocument:
        return holding(
            node,
            incarnation,
            version,
            *sorted(held),
            disk_id=disk_id,
            engine_lost=engine_lost,
            images=images,
        )

    found: list[tuple[NodeDocument, Delta | None]] = [(whole(), None)]
    for _ in range(draw(st.integers(0, 6))):
        if draw(st.integers(0, 4)) == 0:
            incarnation += 1
            disk_id = "fresh" if disk_id == REMOVED else disk_id
            found.append((whole(), None))
            continue
        number = draw(st.integers(0, 2))
        engine_lost = draw(st.sampled_from(["", "away"]))
        news = draw(st.sampled_from([None, (), ("a:1",)]))
        images = images if news is None else news
        gone = (container(node, number, uid="a").name,) if number in held else ()
        step = delta(
            node,
            version,
            *([] if gone else [number]),
            gone=gone,
            incarnation=incarnation,
            engine_lost=engine_lost,
            images=news,
        )
        held ^= {number}
        version += 1
        found.append((whole(), step))
    return found


histories = st.tuples(
    tables,
    st.lists(lives(), max_size=3, unique_by=lambda life: life[0][0].node),
).map(
    lambda history: [
        *history[0],
        *(d for life in history[1] for d, _ in life),
        *(step for life in history[1] for _, step in life if step is not None),
    ]
)


def some(items: list[Item], data: st.DataObject) -> View:
    """Return a view that heard some of the items, in some order."""
    return apply(View(), data.draw(st.lists(st.sampled_from(items))) if items else [])


@given(histories, st.integers(), st.integers())
def test_the_order_and_the_number_of_merges_do_not_matter(
    items: list[Item], one: int, other: int
) -> None:
    views = [apply(View(), shuffled(seed, items)) for seed in (one, other)]
    assert content(views[0]) == content(views[1])
    assert views[0].digest == views[1].digest
    assert views[0].revision == views[1].revision
    for node in NODES:
        assert views[0].account(node) == views[1].account(node)


@given(histories, st.integers())
def test_merging_again_changes_nothing(items: list[Item], seed: int) -> None:
    view = apply(View(), items)
    before, digest = content(view), view.digest
    for item in shuffled(seed, items):
        if isinstance(item, NodeDocument):
            assert not view.merge_document(item)
        elif isinstance(item, Delta):
            assert view.merge_delta(item) is not Merged.APPLIED
        else:
            assert not view.merge_record(item)
    assert (content(view), view.digest) == (before, digest)


@given(histories, st.data())
def test_grouping_does_not_matter(items: list[Item], data: st.DataObject) -> None:
    """Merging a with what came of b and c is merging what came of a and b with c."""
    where = data.draw(
        st.lists(st.integers(0, 2), min_size=len(items), max_size=len(items))
    )
    parts = [[i for i, w in zip(items, where, strict=True) if w == n] for n in range(3)]
    a, b, c = ([i for i in part if not isinstance(i, Delta)] for part in parts)
    left = apply(View(), _all(apply(apply(View(), a), _all(apply(View(), b)))))
    right = apply(View(), _all(apply(apply(View(), b), _all(apply(View(), c)))))
    left, right = apply(left, c), apply(apply(View(), a), _all(right))
    assert content(left) == content(right)


def _all(view: View) -> list[Item]:
    documents, records = content(view)
    return [*documents.values(), *records.values()]


@given(histories, st.data())
def test_digests_are_equal_if_and_only_if_the_views_are_but_for_tombstones(
    items: list[Item], data: st.DataObject
) -> None:
    one, other = some(items, data), some(items, data)
    assert (one.digest == other.digest) == (living(one) == living(other))


@pytest.mark.parametrize("protocol", [1, 2], ids=["ranks", "buckets"])
@given(histories, st.data(), st.sampled_from([1, 300, view_module.PAGE_BYTES]))
def test_views_that_pull_from_each_other_end_the_same(
    protocol: int, items: list[Item], data: st.DataObject, page_bytes: int
) -> None:
    one, other = some(items, data), some(items, data)
    settle(one, other, protocol, page_bytes)
    assert living(one) == living(other)
    assert one.digest == other.digest


@given(histories, st.data())
def test_views_that_are_equal_have_nothing_to_tell(
    items: list[Item], data: st.DataObject
) -> None:
    view = some(items, data)
    answer = view.difference(view.pull(2))
    assert (len(answer.records), answer.documents, answer.more) == (0, (), False)


@given(tables, st.integers())
def test_a_tombstone_beats_every_concurrent_write(
    records: list[Record], seed: int
) -> None:
    gone = service("a", 1, UNO, None)
    others = [r for r in records if (r.key, r.revision, r.writer) != _stamp(gone)]
    view = apply(View(), shuffled(seed, [*others, gone]))
    assert view.spec("a") is None
    found = view.service("a")
    assert found is not None
    assert found.service is None
    assert view.slots("a") == []
    assert all(record.uid != "a" for record in view.services())
    assert [record.uid for record in view.tombstones()].count("a") == 1


def _stamp(record: Record) -> tuple[str, int, str]:
    return record.key, record.revision, record.writer


@given(tables, st.integers())
def test_the_removal_of_a_node_beats_every_concurrent_write(
    records: list[Record], seed: int
) -> None:
    away = decision(DOS, 1, removed=REMOVED)
    others = [r for r in records if _stamp(r) != _stamp(away)]
    gone = document(DOS, disk_id=REMOVED)
    view = apply(View(), shuffled(seed, [*others, away, gone]))
    assert view.head(DOS) is None
    assert view.is_removed(gone)


@given(histories, st.data())
def test_what_is_written_to_disk_step_by_step_is_the_view(
    items: list[Item], data: st.DataObject
) -> None:
    """`dropped` names all that is to be deleted, and nothing that stands."""
    view, disk = View(), dict[str, object]()
    for item in data.draw(st.lists(st.sampled_from(items))) if items else []:
        apply(view, [item])
        for key in view.dropped:
            disk.pop(key, None)
        view.dropped = set()
        documents, records = content(view)
        disk.update(documents)
        disk.update(records)
    documents, records = content(view)
    assert disk == {**documents, **records}


# Examples


def test_the_higher_revision_stands_then_the_higher_writer() -> None:
    old, new = service("a", 1, UNO), service("a", 2, DOS)
    tie = service("a", 2, UNO, CADDY)
    assert sorted([tie, new, old], key=rank) == [old, new, tie]
    assert view_of(tie, old, new).spec("a") == CADDY


def test_a_delta_of_a_stranger_or_of_another_base_is_a_gap() -> None:
    view = View()
    assert view.merge_delta(delta(UNO, 1, 0)) is Merged.GAP
    view.merge_document(document(UNO))
    assert view.merge_delta(delta(UNO, 2, 0)) is Merged.GAP
    assert view.merge_delta(delta(UNO, 1, 0)) is Merged.APPLIED
    assert view.merge_delta(delta(UNO, 1, 0)) is Merged.KNOWN
    assert view.merge_delta(delta(UNO, 2, 1, incarnation=2)) is Merged.GAP
    assert [c.name for c in view.containers()] == [named(0)]
    news = {"engine_lost": "away", "disk_trouble": "full"}
    later = delta(UNO, 2, 1, gone=(named(0), "unknown"), **news)
    assert view.merge_delta(later) is Merged.APPLIED
    assert [c.name for c in view.containers(UNO)] == [named(1)]
    head = view.head(UNO)
    assert head is not None
    assert (head.version, head.engine_lost, head.disk_trouble) == (3, "away", "full")


def test_what_is_read_from_it() -> None:
    view = view_of(
        holding(UNO, 1, 1, 1, 0),
        holding(DOS, 1, 1, 2),
        standing("s2"),
        standing("s1", attrs.evolve(WEB, cpus=0.5)),
        standing("s0", None),
        placed(UNO, uid="s1"),
        placed(UNO, 2, uid="s1", wanted=False),
        placed(DOS, 1, uid="s1"),
        placed(UNO, uid="unknown"),
        decision(DOS, 1, drained=True, votes=True),
        decision(TRES, 1, votes=True),
    )
    assert [c.slot for c in view.containers()] == [2, 0, 1]
    assert [c.slot for c in view.instances("a")] == [2, 0, 1]
    assert list(view.containers("nobody")) == view.instances("nothing") == []
    assert view.container(UNO, named(0)) == container(UNO, uid="a")
    assert view.container(DOS, named(0)) is view.container("nobody", named(0)) is None
    assert [r.uid for r in view.services()] == ["s1", "s2"]
    assert [r.uid for r in view.tombstones()] == ["s0"]
    assert [s.slot for s in view.slots("s1")] == [0, 1, 2]
    assert view.slot("s1", 1) == placed(DOS, 1, uid="s1")
    assert [(s.uid, s.slot) for s in view.assigned(UNO)] == [("s1", 0)]
    assert view.reserved(UNO) == Room(cpus=0.5)
    assert view.account(DOS).instances["web"] == 1
    assert view.head(UNO) == document(UNO)
    assert (view.head("nobody"), view.node_record(UNO)) == (None, None)
    assert view.record("x") is None
    assert (view.service("nothing"), view.spec("nothing")) == (None, None)
    assert {c.slot for c in view.document(UNO).containers} == {0, 1}
    assert (view.is_drained(DOS), view.is_drained(UNO)) == (True, False)
    assert view.voters() == [DOS]  # the other one is not known
    assert view.record("slot/s1/1") == placed(DOS, 1, uid="s1")


def test_a_role_is_what_an_operator_assigned_else_the_files() -> None:
    view = view_of(document(UNO, role="file"))
    assert (view.role(UNO), view.role("nobody")) == ("file", "")
    view.merge_record(decision(UNO, 1))
    assert view.role(UNO) == "file"  # decided on, but not about its role
    view.merge_record(decision(UNO, 2, role="edge"))
    assert view.role(UNO) == "edge"


def test_a_container_that_moves_to_another_service_is_counted_there_alone() -> None:
    """A node's name for a container is all that a document promises to be unique."""
    view = view_of(holding(UNO, 1, 1, 0))
    moved = container(UNO, uid="b", name=named(0))
    view.merge_document(document(UNO, version=2, containers=(moved,)))
    assert (view.instances("a"), view.instances("b")) == ([], [moved])


# Who has been told what


def test_it_tells_which_services_were_touched_until_it_is_settled() -> None:
    view = view_of(holding(UNO, 1, 1, 0), standing("b"), placed(UNO, uid="c"))
    assert view.touched == {"a", "b", "c"}
    view.settle()
    view.merge_delta(delta(UNO, 1, gone=(named(0),)))
    assert view.touched == {"a"}
    view.settle()
    view.merge_record(standing("b"))  # known
    view.merge_record(decision(UNO, 1))
    assert view.touched == set()


def copied(held: Container) -> Container:
    """Return another object that says the same, as one from the wire does."""
    return attrs.evolve(held)


def test_a_whole_document_touches_what_it_says_otherwise() -> None:
    """And keeps what it says again as it is."""
    a, b, c, d = (container(UNO, number, uid=uid) for number, uid in enumerate("abcd"))
    view = view_of(document(UNO, containers=(a, b, c)))
    view.settle()
    view.news.clear()
    changed = attrs.evolve(b, restarts=1)
    later = document(UNO, version=9, containers=(copied(a), changed, d))
    assert view.merge_document(later)
    assert view.touched == view.news == {"b", "c", "d"}
    assert view.document(UNO).version == 9
    assert list(view.containers(UNO)) == [a, changed, d]
    assert view.container(UNO, a.name) is a
    assert view.instances("c") == []


@pytest.mark.parametrize(
    "changes",
    [{"incarnation": 2}, {"boot_id": "b"}, {"disk_id": "d"}, {"address": "192.0.2.9"}],
    ids=str,
)
def test_that_of_a_node_that_begins_anew_touches_all_it_has(changes: Any) -> None:
    held = container(UNO, 0, uid="a")
    view = view_of(document(UNO, containers=(held,)))
    view.settle()
    anew = document(UNO, version=2, containers=(copied(held),), **changes)
    assert view.merge_document(anew)
    assert view.touched == {"a"}


@given(st.data())
def test_a_whole_document_comes_to_what_it_comes_to_afresh(data: st.DataObject) -> None:
    """Whatever was there before."""
    held = st.builds(
        lambda number, uid, restarts: attrs.evolve(
            container(UNO, number, uid=uid), name=named(number), restarts=restarts
        ),
        st.integers(0, 5),
        st.sampled_from("ab"),
        st.integers(0, 1),
    )
    some_held = st.lists(held, max_size=5, unique_by=lambda c: c.name).map(tuple)
    before, after = data.draw(some_held), data.draw(some_held)
    view = view_of(document(UNO, containers=before))
    view.settle()
    later = document(UNO, version=2, containers=after)
    view.merge_document(later)
    afresh = view_of(later)
    assert content(view) == content(afresh)
    for uid in "ab":
        assert view.instances(uid) == afresh.instances(uid)
        for number in range(6):
            assert view.in_slot(uid, number) == afresh.in_slot(uid, number)
    one_only = set(before) ^ set(after)
    assert view.touched == {c.uid for c in one_only}


@pytest.mark.parametrize(
    ("item", "shifts"),
    [
        (document(DOS), True),
        (document(UNO, version=2), False),
        (document(UNO, version=2, engine_lost="away"), True),
        (document(UNO, version=2, disk_trouble="full"), True),
        (document(UNO, version=2, role="edge"), True),
        (document(UNO, version=2, disk_id="another"), True),
        (document(UNO, version=2, labels=("disk=ssd",)), True),
        (document(UNO, version=2, images=("a:1",)), False),
        (document(UNO, version=2, lan_networks=("lan",)), False),
        (delta(UNO, 1, 0), False),
        (delta(UNO, 1, engine_lost="away"), True),
        (delta(UNO, 1, disk_trouble="full"), True),
        (decision(UNO, 1, drained=True), True),
        (standing(), False),
        (placed(UNO), False),
    ],
    ids=str,
)
def test_an_epoch_ends_when_what_decisions_look_at_changes(
    item: Item, shifts: bool
) -> None:
    view = view_of(document(UNO))
    before = view.epoch
    apply(view, [item])
    assert (view.epoch != before) is shifts


# Removed nodes


def test_a_removed_node_is_forgotten_and_another_disk_of_that_name_is_not() -> None:
    view = view_of(document(DOS), holding(DOS, 1, 2, 0))
    old = document(DOS, version=3)
    view.merge_record(decision(DOS, 1, removed=old.disk_id))
    assert (view.head(DOS), list(view.containers())) == (None, [])
    assert view.dropped == {DOS}
    assert view.digest == view_of(decision(DOS, 1)).digest
    assert not view.merge_document(old)
    assert view.merge_delta(delta(DOS, 2, 1)) is Merged.GAP
    assert view.merge_document(document(DOS, disk_id="fresh"))
    assert view.dropped == set()  # it is to be kept again
    view.merge_record(decision(DOS, 2, removed=old.disk_id, role="edge"))
    assert view.head(DOS) is not None


def test_no_state_that_was_removed_comes_back_whatever_came_after_it() -> None:
    view = View()
    record = decision(DOS, 1, removed="disk 1", removed_before=("disk 0",))
    view.merge_record(record)
    later = attrs.evolve(record, revision=2, **record.removing("disk 2"))
    assert later.removed_before == ("disk 0", "disk 1")
    assert view.merge_record(later)
    for number in range(3):
        assert not view.merge_document(document(DOS, disk_id=f"disk {number}"))
    assert view.merge_document(document(DOS, disk_id="disk 3"))


def test_only_so_many_removals_of_a_node_are_kept() -> None:
    record = NodeRecord(node=DOS, revision=1, writer="x")
    for number in range(20):
        record = attrs.evolve(record, **record.removing(f"disk {number}"))
    again = attrs.evolve(record, **record.removing("disk 19"))
    assert again == record
    barred = [number for number in range(20) if record.bars(f"disk {number}")]
    assert barred == list(range(3, 20))
    assert not record.bars("")


def test_a_node_of_protocol_1_is_removed_by_its_boot() -> None:
    old = document(DOS, disk_id="", protocol=1)
    view = view_of(decision(DOS, 1, removed=old.boot_id))
    assert not view.merge_document(old)
    assert view.merge_document(attrs.evolve(old, boot_id="another"))


def test_forgetting_a_node_that_is_not_known_is_nothing() -> None:
    view = view_of(document(UNO))
    epoch = view.epoch
    view.forget_node(DOS)
    assert (view.epoch, view.dropped) == (epoch, set())


# Tombstones


def test_a_tombstone_that_is_forgotten_is_gone_and_its_service_stays_so() -> None:
    view = view_of(standing("a"), placed(UNO, uid="a"), service("a", 3, UNO, None))
    assert view.dropped == {"slot/a/0"}
    assert view.forget("a")
    assert list(view.records()) == []
    assert view.dropped == {"slot/a/0", "service/a"}
    assert view.digest == View().digest
    late: list[Record] = [standing("a"), placed(UNO, uid="a")]
    late.append(service("a", 9, DOS, None))
    assert [view.merge_record(record) for record in late] == [False] * 3
    assert view.forget("a")  # the word of that was doubled
    assert view.revision == 9  # what is written next is above all that was seen


def test_what_an_older_protocol_passed_on_is_had_whole_from_who_has_it() -> None:
    """It was of both when it came; the digests tell no difference."""
    whole, stripped = View(), View()
    whole.merge_document(document(DOS, protocol=2, host_boot="b"))
    stripped.merge_document(document(DOS, protocol=1))
    assert whole.digest == stripped.digest
    (had,) = whole.difference(stripped.pull(2)).documents
    assert stripped.merge_document(had)
    assert stripped.document(DOS) == whole.document(DOS)
    assert whole.difference(stripped.pull(2)).documents == ()
    assert not stripped.merge_document(document(DOS, protocol=1))


def test_a_forgotten_service_may_be_remembered() -> None:
    view = View()
    assert not view.remember("a")
    view.forget("a")
    assert view.remember("a")
    assert view.merge_record(service("a", 3, UNO, None))


def test_what_stands_is_not_forgotten() -> None:
    view = view_of(standing("a"))
    assert not view.forget("a")
    assert view.spec("a") == WEB


def test_only_so_many_are_remembered_as_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(view_module, "FORGOTTEN", 2)
    view = View()
    for uid in ("a", "b", "c"):
        view.forget(uid)
    assert view.merge_record(standing("a"))  # too long ago
    assert not view.merge_record(standing("b"))


# Pages


@pytest.mark.parametrize("protocol", [1, 2])
@pytest.mark.parametrize("stale_first", [True, False], ids=["stale asks", "is asked"])
def test_pages_end_though_one_holds_what_the_other_has_buried(
    stale_first: bool, protocol: int
) -> None:
    """Slots of a removed service are of no use to who knows that it is removed."""
    stale = view_of(standing("a"), *(placed(UNO, n, uid="a") for n in range(9000)))
    fresh = view_of(standing("a", None))
    settle(*((stale, fresh) if stale_first else (fresh, stale)), protocol)
    assert content(stale) == content(fresh)
    assert stale.slots("a") == []


def test_a_slot_alone_is_met_by_the_tombstone_of_its_service() -> None:
    """Its node heard neither of the service nor of its end."""
    stale = view_of(placed(UNO, uid="a"))
    fresh = view_of(standing("a", None))
    settle(stale, fresh)
    assert stale.slots("a") == []
    assert stale.digest == fresh.digest


@pytest.mark.parametrize("protocol", [1, 2])
def test_large_views_come_in_pages_that_fit_a_frame(protocol: int) -> None:
    large = attrs.evolve(WEB, environment=("A=" + "x" * 250_000,))
    one = view_of(*(standing(f"s{n}", large) for n in range(12)))
    apply(one, [holding(UNO, 1, 1, *range(1200)), holding(DOS, 1, 1, *range(1200))])
    other = View()
    answer = one.difference(other.pull(protocol))
    assert answer.more
    assert 1 < len(answer.records) < 12
    assert settle(one, other, protocol) > 4
    assert content(one) == content(other)


def test_what_fits_no_frame_is_left_out_of_the_pages() -> None:
    """It had the same page asked for, and refused by the encoder, for ever."""
    huge = attrs.evolve(WEB, environment=("A=" + "x" * MAX_FRAME_BYTES,))
    nearly = attrs.evolve(WEB, environment=("A=" + "x" * (MAX_ITEM_BYTES - 1_000),))
    one = view_of(*(standing(f"s{n}") for n in range(8)))
    apply(one, [standing("huge", huge), standing("nearly", nearly), holding(UNO, 1, 1)])
    other = View()
    settle(one, other)
    documents, records = living(one)
    assert len(documents) == 1
    assert living(other) == (
        documents,
        {key: r for key, r in records.items() if key != "service/huge"},
    )
    assert [(key, size > MAX_FRAME_BYTES) for key, size in one.unfit.items()] == [
        ("service/huge", True)
    ]


def test_pages_go_on_though_what_they_are_of_changes_meanwhile() -> None:
    one, other = view_of(*(standing(f"s{n}") for n in range(30))), View()
    first = one.difference(other.pull(2), page_bytes=1)
    apply(other, first.records)
    apply(one, [standing("new"), service("s0", 5, UNO, None)])
    after, more = first.after, True
    while more:
        answer = one.difference(other.pull(2, after), page_bytes=1)
        apply(other, answer.records)
        after, more = answer.after, answer.more
    settle(one, other)
    assert living(one) == living(other)


def test_records_are_sorted_by_kind_and_counted() -> None:
    view = view_of(standing("a"), placed(UNO, uid="b"))
    records = Records.of(view.records())
    assert len(records) == len(list(records)) == 2
