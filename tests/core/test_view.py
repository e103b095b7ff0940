"""The view: whatever order news comes in, and however often, the end is the same."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veo_shell.core.model import (
    Container,
    Cpu,
    Disk,
    Memory,
    NodeDocument,
    NodeRecord,
    Record,
    Resources,
    Service,
    ServiceRecord,
    SlotRecord,
    State,
)
from veo_shell.core.view import Merged, View, rank
from veo_shell.core.wire import Delta, Records, encode

WEB = Service(name="web", image="nginx")
RESOURCES = Resources(
    cpu=Cpu(count=1.0),
    memory=Memory(total_bytes=1, available_bytes=1),
    disk=Disk(total_bytes=1, free_bytes=1),
)
NODES = ("uno@uno", "dos@dos", "tres@tres")
UIDS = ("a", "b")
Item = NodeDocument | Delta | Record


def document(node: str, incarnation: int, version: int, *names: str) -> NodeDocument:
    return NodeDocument(
        node=node,
        boot_id="b",
        incarnation=incarnation,
        version=version,
        address="10.0.0.1",
        mesh_port=1,
        pub_port=2,
        dns_port=3,
        resources=RESOURCES,
        role="file",
        containers=tuple(container(node, name) for name in names),
    )


def container(node: str, name: str, state: State = State.RUNNING) -> Container:
    return Container(
        name=name,
        service="web",
        uid="a",
        slot=0,
        generation=1,
        node=node,
        address="10.0.0.1",
        image="nginx",
        state=state,
    )


def delta(node: str, base: int, *names: str, gone: tuple[str, ...] = ()) -> Delta:
    return Delta(
        node=node,
        boot_id="b",
        incarnation=1,
        base_version=base,
        version=base + 1,
        containers=tuple(container(node, name) for name in names),
        gone=gone,
    )


def service(uid: str, revision: int, writer: str, spec: Any = WEB) -> ServiceRecord:
    return ServiceRecord(uid=uid, revision=revision, writer=writer, service=spec)


def slot(
    uid: str, revision: int, writer: str = "uno@uno", number: int = 0
) -> SlotRecord:
    return SlotRecord(
        uid=uid, slot=number, revision=revision, writer=writer, generation=1, node=None
    )


def apply(view: View, items: Iterable[Item]) -> View:
    for item in items:
        if isinstance(item, NodeDocument):
            view.merge_document(item)
        elif isinstance(item, Delta):
            view.merge_delta(item)
        else:
            view.merge_record(item)
    return view


def content(view: View) -> tuple[dict[str, NodeDocument], dict[str, Record]]:
    """Return all that a view holds, containers in no order."""
    documents = {}
    for head in view.nodes:
        held = tuple(view.containers(head.node))
        documents[head.node] = attrs.evolve(head, containers=held)
    return documents, {record.key: record for record in view.records()}


def shuffled(seed: int, items: list[Any]) -> list[Any]:
    """Return the items in another order, some of them twice."""
    chance = random.Random(seed)  # noqa: S311 (hypothesis gives the seed)
    chosen = items + chance.sample(items, len(items) // 2)
    chance.shuffle(chosen)
    return chosen


def settle(one: View, other: View) -> None:
    """Let each pull from the other until there is nothing more."""
    for asker, asked in ((one, other), (other, one)) * 2:
        for _ in range(50):
            answer = asked.difference(asker.pull())
            encode(answer)  # raises if it does not fit a frame
            apply(asker, [*answer.records, *answer.documents])
            if not answer.more:
                break
        else:
            raise AssertionError("the pages do not end")


# A write is made once: (key, revision, writer) stands for one content.
_specs = st.sampled_from([WEB, attrs.evolve(WEB, image="caddy"), None])
_records: st.SearchStrategy[Record] = st.one_of(
    st.builds(
        service,
        st.sampled_from(UIDS),
        st.integers(1, 4),
        st.sampled_from(NODES),
        _specs,
    ),
    st.builds(
        slot,
        st.sampled_from(UIDS),
        st.integers(1, 4),
        st.sampled_from(NODES),
        st.integers(0, 2),
    ),
    st.builds(
        lambda node, revision, writer, role: NodeRecord(
            node=node, revision=revision, writer=writer, role=role
        ),
        st.sampled_from(NODES),
        st.integers(1, 4),
        st.sampled_from(NODES),
        st.sampled_from(["a", "b"]),
    ),
)
tables = st.lists(
    _records, max_size=15, unique_by=lambda r: (r.key, r.revision, r.writer)
)


@st.composite
def lives(draw: st.DrawFn) -> list[tuple[NodeDocument, Delta | None]]:
    """Make a node's documents, one after the other, and the delta that led to each.

    None: the node came back as another incarnation, which no delta tells.
    """
    node = draw(st.sampled_from(NODES))
    held: set[str] = set()
    incarnation = version = 1
    found: list[tuple[NodeDocument, Delta | None]] = [
        (document(node, incarnation, version), None)
    ]
    for _ in range(draw(st.integers(0, 6))):
        if draw(st.integers(0, 4)) == 0:
            incarnation += 1
            found.append((document(node, incarnation, version, *sorted(held)), None))
            continue
        name = draw(st.sampled_from(["x", "y", "z"]))
        step = (
            delta(node, version, gone=(name,))
            if name in held
            else delta(node, version, name)
        )
        held ^= {name}
        version += 1
        found.append(
            (
                document(node, incarnation, version, *sorted(held)),
                attrs.evolve(step, incarnation=incarnation),
            )
        )
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


@given(histories, st.integers(), st.integers())
def test_the_order_and_the_number_of_merges_do_not_matter(
    items: list[Item], one: int, other: int
) -> None:
    views = [apply(View(), shuffled(seed, items)) for seed in (one, other)]
    assert content(views[0]) == content(views[1])
    assert views[0].digest == views[1].digest
    assert views[0].revision == views[1].revision


@given(histories, st.integers())
def test_merging_again_changes_nothing(items: list[Item], seed: int) -> None:
    view = apply(View(), items)
    before, digest = content(view), view.digest
    for item in shuffled(seed, items):
        if isinstance(item, NodeDocument):
            assert not view.merge_document(item)
        elif isinstance(item, Delta):
            assert view.merge_delta(item) is Merged.KNOWN
        else:
            assert not view.merge_record(item)
    assert (content(view), view.digest) == (before, digest)


@given(histories, st.data())
def test_grouping_does_not_matter(items: list[Item], data: st.DataObject) -> None:
    """Merging a with what came of b and c is merging what came of a and b with c."""
    where = data.draw(st.lists(st.integers(0, 2), min_size=len(items)))
    parts = [
        [i for i, w in zip(items, where, strict=False) if w == n] for n in range(3)
    ]
    a, b, c = ([i for i in part if not isinstance(i, Delta)] for part in parts)
    left = apply(View(), _all(apply(apply(View(), a), _all(apply(View(), b)))))
    right = apply(View(), _all(apply(apply(View(), b), _all(apply(View(), c)))))
    left, right = apply(left, c), apply(apply(View(), a), _all(right))
    assert content(left) == content(right)


def _all(view: View) -> list[Item]:
    documents, records = content(view)
    return [*documents.values(), *records.values()]


@given(histories, st.data())
def test_digests_are_equal_if_and_only_if_the_views_are(
    items: list[Item], data: st.DataObject
) -> None:
    one, other = (
        apply(View(), data.draw(st.lists(st.sampled_from(items)))) if items else View()
        for _ in range(2)
    )
    assert (one.digest == other.digest) == (content(one) == content(other))


@given(histories, st.data())
def test_views_that_pull_from_each_other_end_the_same(
    items: list[Item], data: st.DataObject
) -> None:
    one, other = (
        apply(View(), data.draw(st.lists(st.sampled_from(items)))) if items else View()
        for _ in range(2)
    )
    settle(one, other)
    assert content(one) == content(other)
    assert one.digest == other.digest


@given(tables, st.integers())
def test_a_tombstone_beats_every_concurrent_write(
    records: list[Record], seed: int
) -> None:
    gone = service("a", 1, "uno@uno", None)
    others = [r for r in records if (r.key, r.revision, r.writer) != _stamp(gone)]
    view = apply(View(), shuffled(seed, [*others, gone]))
    assert view.spec("a") is None
    found = view.service("a")
    assert found is not None
    assert found.service is None
    assert view.slots("a") == []
    assert all(record.uid != "a" for record in view.services())


def _stamp(record: Record) -> tuple[str, int, str]:
    return record.key, record.revision, record.writer


# Examples


def test_the_higher_revision_stands_then_the_higher_writer() -> None:
    old, new = service("a", 1, "uno@uno"), service("a", 2, "dos@dos")
    tie = service("a", 2, "uno@uno", attrs.evolve(WEB, image="caddy"))
    assert sorted([tie, new, old], key=rank) == [old, new, tie]
    assert apply(View(), [tie, old, new]).spec("a") == tie.service


def test_a_delta_of_a_stranger_or_of_another_base_is_a_gap() -> None:
    view = View()
    assert view.merge_delta(delta("uno@uno", 1, "x")) is Merged.GAP
    view.merge_document(document("uno@uno", 1, 1))
    assert view.merge_delta(delta("uno@uno", 2, "x")) is Merged.GAP
    assert view.merge_delta(delta("uno@uno", 1, "x")) is Merged.APPLIED
    assert view.merge_delta(delta("uno@uno", 1, "x")) is Merged.KNOWN
    later = attrs.evolve(delta("uno@uno", 2, "y"), incarnation=2)
    assert view.merge_delta(later) is Merged.GAP
    assert [c.name for c in view.containers()] == ["x"]
    assert view.merge_delta(delta("uno@uno", 2, "y", gone=("x", "w"))) is Merged.APPLIED
    assert [c.name for c in view.containers("uno@uno")] == ["y"]


def test_what_is_read_from_it() -> None:
    view = apply(
        View(),
        [
            document("uno@uno", 1, 1, "b", "a"),
            document("dos@dos", 1, 1, "c"),
            service("s2", 1, "uno@uno"),
            service("s1", 1, "uno@uno"),
            service("s0", 1, "uno@uno", None),
            attrs.evolve(slot("s1", 1), node="uno@uno"),
            attrs.evolve(slot("s1", 1, number=2), node="uno@uno", wanted=False),
            attrs.evolve(slot("s1", 1, number=1), node="dos@dos"),
            attrs.evolve(slot("unknown", 1), node="uno@uno"),
        ],
    )
    assert [c.name for c in view.containers()] == ["c", "a", "b"]
    assert [c.name for c in view.containers("nobody")] == []
    assert view.container("uno@uno", "a") == container("uno@uno", "a")
    assert view.container("uno@uno", "c") is view.container("nobody", "c") is None
    assert [r.uid for r in view.services()] == ["s1", "s2"]
    assert [s.slot for s in view.slots("s1")] == [0, 1, 2]
    assert [(s.uid, s.slot) for s in view.assigned("uno@uno")] == [("s1", 0)]
    assert view.head("uno@uno") == document("uno@uno", 1, 1)
    assert view.head("nobody") is None
    assert (view.service("nothing"), view.spec("nothing")) == (None, None)
    whole = view.document("uno@uno")
    assert {c.name for c in whole.containers} == {"a", "b"}


def test_a_role_is_what_an_operator_assigned_else_the_files() -> None:
    view = apply(View(), [document("uno@uno", 1, 1)])
    assert (view.role("uno@uno"), view.role("nobody")) == ("file", "")
    record = NodeRecord(node="uno@uno", revision=1, writer="dos@dos")
    view.merge_record(record)
    assert view.role("uno@uno") == "file"  # decided on, but not about its role
    view.merge_record(attrs.evolve(record, revision=2, role="edge"))
    assert view.role("uno@uno") == "edge"


# Pages


@pytest.mark.parametrize("pull_first", [True, False], ids=["stale asks", "stale asked"])
def test_pages_end_though_one_holds_what_the_other_has_buried(
    pull_first: bool,
) -> None:
    """Slots of a removed service are of no use to who knows that it is removed."""
    stale = apply(View(), [service("a", 1, "uno@uno")])
    apply(stale, (slot("a", 1, number=n) for n in range(9000)))
    fresh = apply(View(), [service("a", 1, "uno@uno", None)])
    settle(*((stale, fresh) if pull_first else (fresh, stale)))
    assert content(stale) == content(fresh)
    assert stale.slots("a") == []


def test_large_views_come_in_pages_that_fit_a_frame() -> None:
    large = attrs.evolve(WEB, environment=("A=" + "x" * 250_000,))
    one = apply(View(), (service(f"s{n}", 1, "uno@uno", large) for n in range(12)))
    names = [f"c{n}" for n in range(1500)]
    apply(one, [document("uno@uno", 1, 1, *names), document("dos@dos", 1, 1, *names)])
    other = View()
    answer = one.difference(other.pull())
    assert answer.more
    assert 1 < len(answer.records) < 12
    settle(one, other)
    assert content(one) == content(other)


def test_records_are_sorted_by_kind_and_counted() -> None:
    view = apply(View(), [service("a", 1, "x"), slot("b", 1)])
    records = Records.of(view.records())
    assert len(records) == len(list(records)) == 2
