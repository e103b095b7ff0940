"""Instances foreseen: each sees those before it, and the table is as it was."""

from __future__ import annotations

import copy

import attrs

from tests.core.samples import DOS, NODES, TRES, UNO, WEB, document, service, slot
from veo_shell.core.foresight import MORE, TOLD, Foresight
from veo_shell.core.ledger import Account
from veo_shell.core.membership import Membership
from veo_shell.core.model import Mode, NodeRecord, OnPartition, Port
from veo_shell.core.situation import Situation
from veo_shell.core.timing import Timing
from veo_shell.core.view import View

BIG = attrs.evolve(WEB, name="big", cpus=3.0)


def cluster() -> Situation:
    """Three nodes that live, as the first sees them; `web` runs on it."""
    view, members = View(), Membership(UNO, Timing(), 0.0)
    for node in NODES:
        view.merge_document(document(node))
        view.merge_record(NodeRecord(node=node, revision=1, writer=UNO, votes=True))
        members.heard(node, "b", 0.0) if node != UNO else None
    view.merge_record(service())
    view.merge_record(slot(UNO))
    return Situation(UNO, view, members)


def test_each_instance_sees_those_before_it() -> None:
    situation = cluster()
    before = attrs.asdict(situation.view.account(UNO))
    foresight = Foresight(situation, 0.0)
    nodes, refused = foresight.place(WEB, "u1", 2)
    assert (sorted(map(str, nodes)), refused) == ([DOS, TRES], "")
    nodes, refused = foresight.place(BIG, "u2", 4)
    assert (sorted(map(str, nodes[:3])), nodes[3]) == (sorted(NODES), None)
    assert refused == (
        "dos@dos: wants 3 cpus, 1 left of 4; tres@tres: wants 3 cpus, 1 left of 4; "
        "uno@uno: wants 3 cpus, 1 left of 4"
    )
    assert foresight.place(BIG, "u3", 1) == ((None,), refused)
    assert attrs.asdict(situation.view.account(UNO)) == before
    assert Foresight(situation, 0.0).place(BIG, "u2", 3)[1] == ""


def test_why_nothing_fits_is_told_of_some() -> None:
    foresight = Foresight(cluster(), 0.0)
    huge = attrs.evolve(WEB, cpus=64.0)
    told = [foresight.place(huge, f"u{n}", 1)[1] for n in range(TOLD + 1)]
    assert MORE not in told[:TOLD]
    assert told[TOLD] == MORE


def test_what_only_a_majority_may_begin_waits_for_it() -> None:
    situation = cluster()
    careful = attrs.evolve(WEB, on_partition=OnPartition.MAJORITY)
    nodes, refused = Foresight(situation, 1e6).place(careful, "u2", 1)
    assert nodes == (None,)
    assert refused.startswith("dos@dos: no majority of the nodes is seen")


def test_an_account_apart_changes_apart() -> None:
    port = Port(name="site", container_port=80, host_port=80)
    fixed = attrs.evolve(BIG, memory_bytes=1, disk_bytes=1, ports=(port,))
    account = Account()
    account.add(fixed, 1)
    before, apart = copy.deepcopy(account), account.apart()
    assert apart == before
    apart.add(fixed, 1)
    assert account == before
    assert apart != before


def test_what_runs_everywhere_is_on_all_that_fit_and_have_none() -> None:
    situation = cluster()
    foresight = Foresight(situation, 0.0)
    each = attrs.evolve(BIG, mode=Mode.GLOBAL)
    assert foresight.place(each, "u2", 1) == (tuple(sorted(NODES)), "")
    assert foresight.place(BIG, "u3", 1)[0] == (None,)
    nodes, refused = foresight.place(attrs.evolve(each, name="more"), "u4", 1)
    assert (nodes, "wants 3 cpus" in refused) == ((None,), True)
    web = attrs.evolve(WEB, mode=Mode.GLOBAL)
    assert Foresight(situation, 0.0).place(web, "u1", 1) == ((DOS, TRES), "")
    for number, node in enumerate((DOS, TRES)):
        situation.view.merge_record(slot(node, number + 1))
    assert Foresight(situation, 0.0).place(web, "u1", 1) == ((), "")
