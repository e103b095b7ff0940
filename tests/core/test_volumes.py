"""A service that is bound to a named volume stays on the node that has it."""

from __future__ import annotations

import attrs
import pytest

from tests.core.desk import MOST, U1, Desk, at, brief, decision, ready, runs, web
from tests.core.samples import DOS, TRES, UNO, WEB, document
from veo_shell.core.balance import next_step
from veo_shell.core.dns_config import DnsConfig
from veo_shell.core.model import (
    Mount,
    MountKind,
    NodeDocument,
    Service,
    Status,
)
from veo_shell.core.progress import (
    Draining,
    data_left,
    draining,
    why_not_remove,
)
from veo_shell.core.what_if import if_lost

DATA = (Mount(kind=MountKind.VOLUME, source="data", target="/data"),)
BOUND = attrs.evolve(WEB, mounts=DATA)
LOOSE = attrs.evolve(BOUND, sticky=False)


def bound(spec: Service = BOUND) -> Desk:
    """An instance runs on dos, where its volume is."""
    desk = Desk(web(spec), at(DOS), runs(DOS))
    desk.publish(DOS, volumes=("data",))
    return desk


def head(desk: Desk, node: str) -> NodeDocument:
    found = desk.view.head(node)
    assert found is not None
    return found


@pytest.mark.parametrize("spec", [BOUND, attrs.evolve(MOST, mounts=DATA)])
def test_what_has_its_data_on_a_lost_node_waits_for_that(spec: Service) -> None:
    desk = bound(spec)
    desk.lose(DOS)
    assert desk.decide(10) == []
    desk.regain(DOS)
    assert desk.decide(2) == []


def test_without_its_engine_a_node_keeps_what_is_there_too() -> None:
    desk = bound()
    desk.publish(DOS, containers=(), engine_lost="gone")
    assert desk.decide(30) == []


@pytest.mark.parametrize("spec", [LOOSE, BOUND], ids=["not sticky", "no volume yet"])
def test_what_has_no_data_there_is_placed_anew(spec: Service) -> None:
    desk = bound(spec)
    desk.publish(DOS, volumes=("data",) if spec is LOOSE else ("another",))
    desk.lose(DOS)
    (moved,) = desk.decide(2)
    assert moved.node in (UNO, TRES)


def test_with_the_node_its_data_is_gone() -> None:
    """It was removed by force: the slot begins anew."""
    desk = bound()
    desk.write(decision(DOS, removed=document(DOS).disk_id))
    (moved,) = desk.decide(2)
    assert moved.node in (UNO, TRES)


def test_it_does_not_move_away_from_a_drained_node() -> None:
    desk = bound()
    desk.write(decision(DOS, drained=True))
    assert desk.decide(5) == []
    stays = "web slot 0 stays on dos@dos: its volume data is there"
    assert draining(desk.desk, DOS) == Draining(stays=(stays,))


def test_it_is_filled_anew_where_it_is_if_nothing_reaches_it() -> None:
    desk = bound()
    old = runs(DOS, address="", reason="no address")
    desk.run(old)
    (anew,) = desk.decide(2)
    assert brief(anew) == (0, 2, DOS)
    desk.run(old, ready(DOS, generation=2))
    (over,) = desk.decide(2)
    assert over.ends == (old.name,)


def test_it_is_not_rebalanced() -> None:
    desk = Desk(web(BOUND, replicas=3), at(DOS), at(DOS, 1), at(DOS, 2))
    assert next_step(desk.desk) is not None
    desk.publish(DOS, volumes=("data",))
    assert next_step(desk.desk) is None


def test_each_instance_waits_for_its_own_node() -> None:
    desk = Desk(web(BOUND, replicas=2), at(DOS), at(TRES, 1), runs(DOS), runs(TRES, 1))
    for node in (DOS, TRES):
        desk.publish(node, volumes=("data",))
    for node in (DOS, TRES):
        desk.lose(node)
    assert desk.decide(5) == []
    desk.regain(TRES)
    assert desk.decide(5) == []
    assert [slot.node for slot in desk.view.slots(U1)] == [DOS, TRES]


def test_one_more_begins_with_a_volume_of_its_own() -> None:
    desk = bound()
    desk.write(web(BOUND, replicas=3))
    placed = {slot.node for slot in desk.decide(1)}
    assert placed == {UNO, TRES}


def test_one_that_was_given_up_goes_back_to_its_data() -> None:
    desk = bound()
    desk.publish(TRES, volumes=("data",))
    desk.write(web(BOUND, replicas=2))
    (placed,) = desk.decide(1)
    assert placed.node == TRES


def test_a_service_that_is_added_again_waits_for_the_node_with_its_data() -> None:
    desk = Desk()
    desk.publish(DOS, volumes=("data",))
    desk.lose(DOS)
    desk.write(web(BOUND))
    (waits,) = desk.decide(1)
    assert waits.node is None
    assert desk.notes[-1].text == (
        "web: slot 0 waits: dos@dos: it is dead; tres@tres: its volume data is on "
        "dos@dos; uno@uno: its volume data is on dos@dos"
    )
    desk.regain(DOS)
    (placed,) = desk.decide(2)
    assert placed.node == DOS


def test_what_would_be_lost_with_a_node_is_told() -> None:
    desk = bound()
    assert data_left(desk.situation, UNO) == []
    assert data_left(desk.situation, DOS) == ["web slot 0 has its volume data there"]
    loss = if_lost(desk.view, desk.members, UNO, DOS, DnsConfig(), desk.now)
    (stays,) = loss.moves
    assert stays.target is None
    assert stays.reason == "it is not moved (its volume data is there)"


def test_a_dead_node_with_data_is_not_removed_unless_forced() -> None:
    desk = bound()
    assert why_not_remove(desk.situation, DOS) == ""  # it is drained first
    desk.lose(DOS)
    assert why_not_remove(desk.situation, DOS) == (
        "dos@dos is dead, and has data: web slot 0 has its volume data there: start "
        "it, or remove_node('dos@dos', force=True) has that begin anew without"
    )
    desk.publish(DOS, volumes=())
    assert why_not_remove(desk.situation, DOS) == ""
    assert desk.members.status(DOS) is Status.DEAD


def test_what_engines_hold_is_no_reason_to_decide_anew() -> None:
    """Else each image that is pulled somewhere would cost every node that."""
    desk = bound()
    epoch, holdings = desk.view.epoch, desk.view.holdings
    desk.publish(DOS, images=("nginx:latest",))
    assert (desk.view.epoch, desk.view.holdings) == (epoch, holdings + 1)
    desk.publish(DOS, containers=())
    assert desk.view.holdings == holdings + 1
    assert head(desk, DOS).images == ("nginx:latest",)
