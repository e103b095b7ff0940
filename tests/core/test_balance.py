"""Balance: as few moves as it takes until every service is spread evenly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.samples import (
    DOS,
    NODES,
    TRES,
    UNO,
    WEB,
    container,
    document,
    reconciler,
    slot,
)
from tests.core.samples import service as standing
from veo_shell.core.balance import next_step
from veo_shell.core.membership import Membership
from veo_shell.core.model import (
    Container,
    NodeRecord,
    Placement,
    Record,
    Restart,
    Service,
    SlotRecord,
    State,
)
from veo_shell.core.outbox import Outbox
from veo_shell.core.timing import Timing
from veo_shell.core.view import View


class Balance:
    """One node that knows all others, and what is placed where."""

    def __init__(self, *held: Record | Container) -> None:
        self.view = View()
        members = Membership(UNO, Timing(), 0.0)
        for node in NODES:
            running = [c for c in held if isinstance(c, Container) and c.node == node]
            self.view.merge_document(document(node, containers=tuple(running)))
            members.heard(node, "b", 0.0) if node != UNO else None
        for record in held:
            if not isinstance(record, Container):
                self.view.merge_record(record)
        out = Outbox(node=UNO, boot="b")
        self.reconciler = reconciler(UNO, self.view, members, out)

    def step(self) -> tuple[str, int, str | None, str] | None:
        """Return which slot is to move from where to where."""
        found = next_step(self.reconciler)
        return found and (found[0].uid, found[0].slot, found[0].node, found[1])

    def settle(self) -> list[tuple[str, int, str | None, str]]:
        """Move until all is even; return the steps."""
        steps = []
        while (found := next_step(self.reconciler)) is not None:
            record, target = found
            steps.append((record.uid, record.slot, record.node, target))
            assert len(steps) < 100, "it does not end"
            moved = attrs.evolve(
                record, node=target, revision=self.view.revision + 1, generation=9
            )
            self.view.merge_record(moved)
        return steps


def placed(*nodes: str | None, uid: str = "u1") -> Iterable[SlotRecord]:
    return (slot(node, number, uid=uid) for number, node in enumerate(nodes))


def test_what_is_even_stays() -> None:
    for nodes in ((), (UNO,), (UNO, DOS, TRES), (UNO, UNO, DOS, TRES)):
        replicas = len(nodes)
        assert Balance(standing(replicas=replicas), *placed(*nodes)).step() is None


def test_the_highest_slot_moves_from_where_most_are_to_where_fewest_are() -> None:
    balance = Balance(standing(), *placed(UNO, UNO, UNO, DOS))
    assert balance.settle() == [("u1", 2, UNO, TRES)]


def test_a_node_that_came_back_gets_its_share() -> None:
    balance = Balance(standing(), *placed(*[UNO, DOS] * 3))
    assert [target for *_, target in balance.settle()] == [TRES, TRES]


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(attrs.evolve(WEB, restart=Restart.NEVER), id="a job"),
        pytest.param(attrs.evolve(WEB, hosts=(UNO,)), id="no other node fits"),
        pytest.param(attrs.evolve(WEB, roles=("edge",)), id="no node fits any more"),
        pytest.param(attrs.evolve(WEB, placement=Placement.BINPACK), id="packed"),
    ],
)
def test_what_cannot_be_moved_stays(spec: Service) -> None:
    assert Balance(standing(spec=spec), *placed(UNO, UNO, UNO)).step() is None


def test_one_that_has_ended_is_not_run_again_elsewhere() -> None:
    ended = container(UNO, 1, state=State.EXITED)
    step = Balance(standing(), *placed(UNO, UNO), ended).step()
    assert step is not None
    assert step[:3] == ("u1", 0, UNO)
    both = [container(UNO, number, state=State.EXITED) for number in (0, 1)]
    assert Balance(standing(), *placed(UNO, UNO), *both).step() is None


def test_what_waits_or_was_given_up_does_not_count() -> None:
    records = [*placed(UNO, None), slot(UNO, 2, wanted=False)]
    assert Balance(standing(), *records).step() is None


def test_a_service_on_the_move_is_left_alone_and_others_are_not() -> None:
    moving = slot(UNO, 2, handover=True)
    two: list[Record] = [
        standing("u2", attrs.evolve(WEB, name="b")),
        *placed(DOS, DOS, uid="u2"),
    ]
    balance = Balance(standing(), *placed(UNO, UNO), moving, *two)
    assert balance.step() is not None
    assert {uid for uid, *_ in balance.settle()} == {"u2"}


def test_a_drained_node_gets_nothing() -> None:
    away = NodeRecord(node=TRES, revision=5, writer=UNO, drained=True)
    balance = Balance(standing(), *placed(UNO, UNO, UNO), away)
    assert balance.settle() == [("u1", 2, UNO, DOS)]


def test_a_node_that_could_not_take_an_instance_gets_none_of_that_service() -> None:
    other = standing("u2", attrs.evolve(WEB, name="b"))
    both = *placed(UNO, UNO, UNO), *placed(UNO, UNO, uid="u2")
    balance = Balance(standing(), other, *both)
    avoid = {("u1", TRES), ("u2", TRES), ("u2", DOS)}
    found = next_step(balance.reconciler, avoid)
    assert found is not None
    assert (found[0].uid, found[1]) == ("u1", DOS)
    assert next_step(balance.reconciler, avoid | {("u1", DOS)}) is None


def test_a_slot_that_stays_is_passed_over_and_counted() -> None:
    balance = Balance(standing(), *placed(UNO, UNO, UNO))
    found = next_step(balance.reconciler, fixed={"slot/u1/2"})
    assert found is not None
    assert (found[0].slot, found[0].node) == (1, UNO)
    fixed = {f"slot/u1/{number}" for number in range(3)}
    assert next_step(balance.reconciler, fixed=fixed) is None


def test_variants_of_one_name_spread_as_one_service() -> None:
    host = attrs.evolve(WEB, network_mode="host")
    variants = [standing("u1"), standing("u2", host)]
    balance = Balance(*variants, *placed(UNO, DOS), *placed(UNO, DOS, uid="u2"))
    assert [target for *_, target in balance.settle()] == [TRES]


@given(
    st.lists(st.sampled_from(NODES), max_size=9),
    st.lists(st.sampled_from(NODES), max_size=9),
)
def test_it_ends_even_with_no_move_too_many(one: list[str], other: list[str]) -> None:
    services = [standing("u1"), standing("u2", attrs.evolve(WEB, name="other"))]
    balance = Balance(*services, *placed(*one, uid="u1"), *placed(*other, uid="u2"))
    steps = balance.settle()
    for uid, before in (("u1", one), ("u2", other)):
        after = Counter(record.node for record in balance.view.slots(uid))
        assert max(after[node] for node in NODES) <= 1 + min(
            after[node] for node in NODES
        )
        share = -(-len(before) // 3)
        needed = max(
            sum(max(count - share, 0) for count in Counter(before).values()),
            sum(max(len(before) // 3 - before.count(node), 0) for node in NODES),
        )
        assert sum(1 for step in steps if step[0] == uid) == needed
