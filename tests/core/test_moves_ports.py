"""How instances move that need a port of their host for themselves."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from tests.core.desk import (
    MOST,
    U1,
    VOTERS,
    Desk,
    at,
    brief,
    decision,
    ready,
    runs,
    web,
)
from tests.core.samples import DOS, NODES, TRES, UNO, WEB, container, service, slot
from veo_shell.core.model import (
    Container,
    Mount,
    MountKind,
    OnPartition,
    Port,
    Restart,
    Service,
    State,
)

HTTP = (Port(name="http", container_port=80, host_port=80),)
FIXED = attrs.evolve(WEB, ports=HTTP)
HOST = attrs.evolve(WEB, ports=HTTP, network_mode="host")
EVERYWHERE = [at(node, number) for number, node in enumerate(NODES)]


@pytest.mark.parametrize("spec", [FIXED, HOST], ids=["published", "host's network"])
def test_it_moves_only_to_where_its_port_is_free(spec: Service) -> None:
    desk = Desk(web(spec, replicas=2), at(UNO), at(DOS, 1), runs(UNO), runs(DOS, 1))
    desk.write(decision(DOS, drained=True))
    (moved,) = desk.decide(2)
    assert brief(moved) == (1, 2, TRES)


def test_with_addresses_of_their_own_all_have_one_port_on_one_node() -> None:
    """Also while an update has the new one begin beside the old one."""
    on_lan = attrs.evolve(FIXED, network_mode="lan")
    desk = Desk(web(on_lan, replicas=2), at(UNO), at(DOS, 1), runs(UNO), runs(DOS, 1))
    desk.lose(TRES)
    desk.publish(UNO, lan_networks=("lan",))
    desk.write(decision(DOS, drained=True))
    (moved,) = desk.decide(2)
    assert brief(moved) == (1, 2, UNO)


def test_where_its_port_is_taken_everywhere_it_stays_or_waits() -> None:
    running = [runs(node, number) for number, node in enumerate(NODES)]
    desk = Desk(web(FIXED, replicas=3), *EVERYWHERE, *running)
    desk.write(decision(DOS, drained=True))
    assert desk.decide(5) == []
    desk.write(decision(DOS))
    desk.lose(DOS)
    (waits,) = desk.decide(1)
    assert waits.node is None
    taken = "port 80/tcp is taken by web"
    assert desk.notes[-1].text == (
        f"web: slot 1 waits: dos@dos: it is dead; tres@tres: {taken}; uno@uno: {taken}"
    )


def test_it_is_placed_again_on_the_node_that_it_lost_once_that_is_back() -> None:
    """Nothing of its own is in its way there."""
    others = [runs(UNO), runs(TRES, 2)]
    desk = Desk(web(FIXED, replicas=3), *EVERYWHERE, *others)
    desk.lose(DOS)
    desk.decide(1)
    desk.publish(DOS, containers=(), boot_id=f"{DOS}#2")
    desk.regain(DOS)
    (placed,) = desk.decide(3)
    assert (placed.slot, placed.node) == (1, DOS)


@pytest.mark.parametrize("spec", [FIXED, attrs.evolve(MOST, ports=HTTP)])
def test_it_takes_over_from_itself_where_nothing_reaches_it(spec: Service) -> None:
    keep = attrs.evolve(spec, on_partition=OnPartition.KEEP)
    old = runs(DOS, address="", reason="no address")
    desk = Desk(web(keep), at(DOS), old)
    (anew,) = desk.decide(2)
    assert (anew.node, anew.generation, anew.handover) == (DOS, 2, True)
    desk.run(old, ready(DOS, generation=2))
    (over,) = desk.decide(2)
    assert (over.handover, over.ends) == (False, (old.name,))


STRANDED = runs(DOS, address="", reason="no address")


def test_it_leaves_a_node_where_nothing_reaches_it_and_another_has_its_port() -> None:
    """It cannot take over from itself there; it was tried again and again."""
    slots = at(DOS), at(DOS, 1)
    desk = Desk(web(FIXED, replicas=2), *slots, STRANDED, runs(DOS, 1))
    (moved,) = desk.decide(2)
    assert (moved.slot, moved.generation, moved.handover) == (0, 2, True)
    assert moved.node in {UNO, TRES}


@pytest.mark.parametrize(
    "changes",
    [
        {"group": "shop"},
        {"mounts": (Mount(kind=MountKind.VOLUME, source="data", target="/data"),)},
        {"hosts": (DOS,)},
    ],
    ids=["its group is there", "its data is there", "nothing else fits"],
)
def test_it_stays_where_nothing_reaches_it_if_it_cannot_leave(
    changes: dict[str, Any],
) -> None:
    record = web(attrs.evolve(FIXED, **changes), replicas=2)
    held = record, at(DOS), at(DOS, 1), STRANDED, runs(DOS, 1)
    desk = Desk(*held, me=Desk(*held).situation.coordinator(U1))
    desk.publish(DOS, volumes=("data",))
    assert desk.decide(5) == []


def test_no_two_of_a_scaled_service_are_placed_on_one_node() -> None:
    desk = Desk(web(FIXED, replicas=4))
    desk.decide(1)
    placed = [slot.node for slot in desk.view.slots(U1)]
    assert sorted(filter(None, placed)) == sorted(NODES)
    assert placed.count(None) == 1


@pytest.mark.parametrize("policy", OnPartition)
@pytest.mark.parametrize("network", ["bridge", "host"])
def test_one_whose_port_another_has_got_is_placed_anew(
    policy: OnPartition, network: str
) -> None:
    """Two coordinators, or sides, that did not know of each other placed both there."""
    spec = attrs.evolve(FIXED, on_partition=policy, network_mode=network)
    failed = runs(DOS, 1, state=State.BACKOFF, reason="port is already allocated")
    slots, record = (at(DOS), at(DOS, 1)), web(spec, replicas=2)
    desk = Desk(record, *slots, runs(DOS), failed, *VOTERS)
    (moved,) = desk.decide(2)
    assert (moved.slot, moved.generation) == (1, 2)
    assert moved.node in {UNO, TRES}


def test_one_with_an_address_of_its_own_has_no_rival_for_a_port() -> None:
    spec = attrs.evolve(FIXED, network_mode="lan")
    failed = runs(DOS, 1, state=State.BACKOFF, reason="exit code 1")
    desk = Desk(web(spec, replicas=2), at(DOS), at(DOS, 1), runs(DOS), failed)
    desk.publish(DOS, lan_networks=("lan",))
    assert desk.decide(2) == []


def test_a_job_whose_port_another_has_got_has_not_begun() -> None:
    spec = attrs.evolve(FIXED, restart=Restart.NEVER)
    failed = runs(DOS, 1, id="1", state=State.BACKOFF, reason="port is allocated")
    slots = at(DOS), at(DOS, 1, done=True)
    desk = Desk(web(spec, replicas=2), *slots, runs(DOS, id="0"), failed)
    *_, moved = desk.decide(5)
    assert (moved.slot, moved.generation, moved.done) == (1, 2, False)
    assert moved.node in {UNO, TRES}


@pytest.mark.parametrize("group", [None, "shop"])
def test_neither_a_volume_nor_its_group_keep_it_where_it_cannot_begin(
    group: str | None,
) -> None:
    data = Mount(kind=MountKind.VOLUME, source="data", target="/data")
    spec = attrs.evolve(FIXED, mounts=(data,), group=group)
    failed = runs(DOS, 1, state=State.BACKOFF, reason="port is already allocated")
    desk = Desk(web(spec, replicas=2), at(DOS), at(DOS, 1), runs(DOS), failed)
    me = desk.situation.coordinator(U1)
    desk = Desk(web(spec, replicas=2), at(DOS), at(DOS, 1), runs(DOS), failed, me=me)
    desk.publish(DOS, volumes=("data",))
    (moved,) = desk.decide(2)
    assert (moved.slot, moved.node in {UNO, TRES}) == (1, group is None)
    assert (moved.node is None) is (group is not None)


@pytest.mark.parametrize(
    "held",
    [
        [runs(DOS), runs(DOS, 1)],
        [runs(DOS, state=State.BACKOFF), runs(DOS, 1, state=State.BACKOFF)],
        [runs(DOS, 1, state=State.BACKOFF)],
    ],
    ids=["both run", "neither runs", "the other is not there yet"],
)
def test_one_whose_port_no_other_has_got_stays(held: list[Container]) -> None:
    desk = Desk(web(FIXED, replicas=2), at(DOS), at(DOS, 1), *held)
    assert desk.decide(2) == []


def test_one_that_fails_beside_what_wants_no_port_stays() -> None:
    other = service("u9", attrs.evolve(WEB, name="other"))
    beside = slot(DOS, uid="u9"), container(DOS, uid="u9", service="other")
    failed = runs(DOS, state=State.BACKOFF)
    desk = Desk(web(FIXED), other, at(DOS), *beside, failed)
    assert [s for s in desk.decide(2) if s.uid == U1] == []
