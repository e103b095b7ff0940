"""One instance on every node that fits: what is placed, kept, and given up."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.desk import U1, Desk, at, brief, decision, runs, web
from tests.core.samples import DOS, NODES, TRES, UNO, WEB, container, document, slot
from tests.core.samples import service as standing
from tests.core.test_updates import Rollout
from veo_shell.core.everywhere import own_number
from veo_shell.core.listed import Listed
from veo_shell.core.model import (
    Accepted,
    Constraint,
    Container,
    Health,
    Mode,
    Mount,
    MountKind,
    OldSpec,
    OnPartition,
    Port,
    Record,
    Restart,
    Service,
    SlotRecord,
    State,
    Status,
    UpdateConfig,
    UpdateState,
    UpdateStatus,
)
from veo_shell.core.outcomes import outcomes_of
from veo_shell.errors import ServiceError

EACH = attrs.evolve(WEB, mode=Mode.GLOBAL)
MOST = attrs.evolve(EACH, on_partition=OnPartition.MAJORITY)
JOB = attrs.evolve(EACH, restart=Restart.NEVER)
EDGE = attrs.evolve(EACH, roles=("edge",))
PORT = attrs.evolve(EACH, ports=(Port(name="p", container_port=80, host_port=80),))
ON_ALL = [at(UNO), at(DOS, 1), at(TRES, 2)]
ALL_RUN = [runs(UNO), runs(DOS, 1), runs(TRES, 2)]
OF_UNO, OF_DOS, OF_TRES = map(own_number, (UNO, DOS, TRES))
CUATRO = "cuatro@cuatro"


class Settled(Desk):
    """A desk that has heard all the others for a while."""

    def __init__(self, *held: Record | Container, me: str = UNO) -> None:
        super().__init__(*held, me=me)
        self._quarter(1.0, decide=False)


def everywhere(spec: Service = EACH, *more: Any) -> Desk:
    """Return a node that knows the service on each of the three."""
    return Settled(web(spec), *ON_ALL, *ALL_RUN, *more)


def held(desk: Desk) -> dict[int, str | None]:
    """Return which slots are wanted, and on which nodes."""
    return {slot.slot: slot.node for slot in desk.view.slots(U1) if slot.wanted}


def join(desk: Desk, node: str) -> None:
    desk.view.merge_document(document(node))
    desk.members.heard(node, f"{node}#1", desk.now)


def told(desk: Desk) -> list[str]:
    return [entry.text for entry in desk.notes]


# Filling


def test_each_node_gets_one_however_many_replicas_are_said() -> None:
    desk = Settled(web(EACH, replicas=7, cause="x/y/1"))
    written = desk.look()
    assert [brief(slot) for slot in written] == [
        *((OF_DOS, 1, DOS), (OF_TRES, 1, TRES)),
        (OF_UNO, 1, UNO),
    ]
    assert {entry.cause for entry in desk.notes} == {"x/y/1"}
    desk.run(runs(DOS, OF_DOS), runs(TRES, OF_TRES), runs(UNO, OF_UNO))
    assert desk.decide(60) == []


def test_a_slot_is_numbered_by_its_node_in_each_version_of_veo() -> None:
    assert (OF_UNO, OF_DOS, OF_TRES) == (3768, 7414, 2859)


@pytest.mark.parametrize("placed", [True, False])
def test_the_next_number_is_taken_where_another_node_has_it(placed: bool) -> None:
    there = [at(UNO, OF_DOS)] if placed else []
    desk = Settled(web(EACH), *there, runs(UNO, OF_DOS), at(TRES, 2), runs(TRES, 2))
    if not placed:
        desk.write(at(None, OF_DOS, wanted=False, generation=2))
    written = desk.look()
    assert brief(written[0]) == (OF_DOS + 1, 1, DOS)


def test_variants_of_one_name_each_have_one() -> None:
    other = standing("other", EACH)
    desk = Settled(web(EACH), other, *(slot(n, uid="other") for n in NODES))
    desk.look()
    assert sorted(map(str, held(desk).values())) == sorted(NODES)


def test_a_node_that_joins_gets_one_and_no_other_is_touched() -> None:
    desk = everywhere()
    assert desk.decide(5) == []
    join(desk, CUATRO)
    assert [brief(slot) for slot in desk.decide()] == [(own_number(CUATRO), 1, CUATRO)]


@pytest.mark.parametrize(
    ("spec", "in_the_way"),
    [
        (attrs.evolve(EACH, memory_bytes=60), attrs.evolve(WEB, memory_bytes=60)),
        (PORT, attrs.evolve(PORT, name="other", mode=Mode.REPLICATED)),
    ],
    ids=["room", "a port"],
)
def test_one_that_is_full_gets_its_own_as_soon_as_there_is_room(
    spec: Service, in_the_way: Service
) -> None:
    other = standing("other", in_the_way)
    taker = slot(DOS, uid="other")
    desk = Settled(web(spec), other, taker, container(DOS, uid="other"))
    assert [slot.node for slot in desk.look()] == [TRES, UNO]
    desk.run(
        *(runs(TRES, OF_TRES), runs(UNO, OF_UNO)),
        container(DOS, uid="other"),
    )
    before = len(desk.notes)
    assert desk.decide(30) == []  # and what each has itself is no reason to go
    assert len(desk.notes) == before
    desk.write(attrs.evolve(taker, wanted=False, node=None))
    assert [brief(slot) for slot in desk.look()] == [(OF_DOS, 1, DOS)]


def test_where_none_fits_one_waits_and_says_why_once() -> None:
    desk = Settled(web(EDGE))
    (waiting,) = desk.look()
    assert (waiting.slot, waiting.node, waiting.wanted) == (0, None, True)
    assert told(desk) == [
        "web: slot 0 waits: dos@dos: its role is not set, not edge; "
        "tres@tres: its role is not set, not edge; "
        "uno@uno: its role is not set, not edge"
    ]
    assert desk.decide(30) == []
    desk.write(decision(DOS, role="edge"), decision(TRES, role="edge"))
    assert [brief(slot)[::2] for slot in desk.look()] == [
        *((OF_DOS, DOS), (OF_TRES, TRES)),
        (0, None),
    ]
    assert told(desk)[-1] == "web: slot 0 given up: nothing has to wait"
    assert held(desk) == {OF_DOS: DOS, OF_TRES: TRES}


def test_what_waits_for_any_node_is_given_up_once_others_have_one() -> None:
    desk = everywhere(EACH, at(None, 3), at(None, 4))
    assert [brief(slot)[0] for slot in desk.look()] == [3, 4]
    assert told(desk) == [
        "web: slot 3 given up: nothing has to wait",
        "web: slot 4 given up: nothing has to wait",
    ]


def test_of_two_that_wait_one_is_enough() -> None:
    desk = Settled(web(EDGE), at(None, 3), at(None, 4))
    desk.look()
    assert held(desk) == {3: None}


def test_what_waits_is_given_up_too_where_one_is_found_and_kept() -> None:
    desk = Settled(web(EDGE), at(None), runs(DOS, 7))
    desk.write(decision(DOS, role="edge"))
    assert [brief(slot) for slot in desk.look()] == [(7, 2, DOS), (0, 1, None)]
    assert desk.decide(20) == []


def test_what_waits_is_never_placed_itself() -> None:
    desk = Settled(web(EDGE), at(None))
    desk.decide(3)
    desk.write(at(DOS, OF_DOS))
    assert [brief(slot) for slot in desk.look()] == [(OF_DOS, 1, None)]
    desk.write(decision(DOS, role="edge"))
    assert desk.look() == []  # that of dos was just given up
    desk.decide()
    assert held(desk) == {OF_DOS: DOS}


# Staying


@pytest.mark.parametrize("status", [Status.SUSPECT, Status.DEAD, Status.PAUSED])
def test_it_is_never_moved_off_a_node_that_is_away(status: Status) -> None:
    desk = everywhere()
    if status is Status.SUSPECT:
        desk.lost.add(DOS)
        assert desk.decide(2) == []
        assert desk.members.status(DOS) is Status.SUSPECT
    else:
        desk.lose(DOS, status)
    assert desk.decide(90) == []
    desk.regain(DOS)
    assert desk.decide(20) == []
    assert held(desk) == {0: UNO, 1: DOS, 2: TRES}


def test_it_stays_where_the_engine_is_away() -> None:
    desk = everywhere()
    desk.publish(DOS, engine_lost="no answer")
    assert desk.decide(60) == []


def test_a_dead_node_gets_none_and_one_that_is_back_does() -> None:
    desk = Settled(web(EACH))
    desk.lose(DOS)
    assert [slot.node for slot in desk.look()] == [TRES, UNO]
    desk.run(runs(TRES, OF_TRES), runs(UNO, OF_UNO))
    assert desk.decide(20) == []
    desk.regain(DOS)
    assert [slot.node for slot in desk.decide(2)] == [DOS]


def test_a_volume_is_each_nodes_own() -> None:
    spec = attrs.evolve(
        EACH, mounts=(Mount(kind=MountKind.VOLUME, source="data", target="/data"),)
    )
    desk = Settled(web(spec))
    desk.publish(DOS, volumes=("data",))
    assert [slot.node for slot in desk.look()] == [DOS, TRES, UNO]
    desk.write(decision(DOS, drained=True))
    assert [brief(slot)[0] for slot in desk.look()] == [OF_DOS]


def test_without_a_majority_nothing_is_decided() -> None:
    desk = everywhere(MOST)
    desk.lose(DOS)
    desk.lose(TRES)
    desk.write(decision(DOS, drained=True))
    assert desk.decide(60) == []
    assert desk.desk.places.free(MOST, "new") == []


def test_a_majority_has_each_node_keep_its_own() -> None:
    desk = everywhere(MOST)
    desk.lose(DOS)
    assert desk.decide(60) == []


# Giving up


def test_one_that_is_drained_loses_it_and_has_it_again_afterwards() -> None:
    running = [runs(UNO), runs(DOS, OF_DOS), runs(TRES, 2)]
    desk = Settled(web(EACH), at(UNO), at(DOS, OF_DOS), at(TRES, 2), *running)
    desk.write(decision(DOS, drained=True, drained_by="a/b/1"))
    assert [brief(slot) for slot in desk.look()] == [(OF_DOS, 1, None)]
    assert (desk.notes[-1].cause, desk.notes[-1].kind) == ("a/b/1", "given_up")
    assert told(desk) == [f"web: slot {OF_DOS} given up: dos@dos is drained"]
    desk.run(*running)  # it is about to stop
    assert desk.decide(5) == []
    desk.write(decision(DOS))
    (again,) = desk.look()
    assert brief(again) == (OF_DOS, 2, DOS)


def test_what_another_node_still_runs_in_a_slot_is_not_to_contest_it() -> None:
    number = own_number(CUATRO)
    running = [runs(UNO), runs(DOS, number), runs(TRES, 2)]
    desk = Settled(web(EACH), at(UNO), at(DOS, number), at(TRES, 2), *running)
    desk.write(decision(DOS, drained=True))
    desk.look()
    join(desk, CUATRO)
    assert [brief(slot)[::2] for slot in desk.decide()] == [(number + 1, CUATRO)]


def test_where_all_are_drained_one_waits_for_the_reasons_to_be_told() -> None:
    desk = everywhere()
    desk.write(*(decision(node, drained=True) for node in NODES))
    desk.look()
    desk.run()
    desk.decide(2)
    assert list(held(desk).values()) == [None]


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        (attrs.evolve(EACH, hosts=(UNO, TRES)), "not one of the hosts"),
        (EDGE, "its role is not set, not edge"),
        (
            attrs.evolve(
                EACH,
                constraints=(Constraint(attribute="node", equal=False, value=DOS),),
            ),
            "it is dos@dos (node != dos@dos)",
        ),
    ],
    ids=["hosts", "roles", "constraints"],
)
def test_one_that_fits_no_more_loses_it(spec: Service, why: str) -> None:
    roles = [decision(node, role="edge") for node in (UNO, TRES)]
    desk = everywhere(spec)
    desk.write(*roles)
    written = desk.look()
    assert [brief(slot)[::2] for slot in written] == [(1, None)]
    assert f"slot 1 given up: dos@dos: {why}" in told(desk)[0]
    assert desk.decide(20) == []


@pytest.mark.parametrize("how", ["left", "forgotten"])
def test_one_that_is_no_member_any_more_loses_it(how: str) -> None:
    desk = everywhere()
    desk.lose(DOS, Status.LEFT)
    if how == "forgotten":
        desk.view.forget_node(DOS)
    assert [brief(slot)[::2] for slot in desk.look()] == [(1, None)]
    assert told(desk)[-1] == "web: slot 1 given up: dos@dos is no member any more"
    desk.run(runs(UNO), runs(TRES, 2))
    assert desk.decide(5) == []


@pytest.mark.parametrize(
    "done", [JOB, attrs.evolve(EACH, restart=Restart.ON_FAILURE)], ids=["job", "ended"]
)
def test_what_has_done_its_work_does_not_do_it_again_for_a_drain(done: Service) -> None:
    ended = attrs.evolve(runs(DOS, 1), state=State.EXITED, exit_code=0)
    desk = Settled(web(done), *ON_ALL, runs(UNO), ended, runs(TRES, 2))
    desk.decide(1)
    desk.write(decision(DOS, drained=True))
    assert desk.decide(20) == []


def test_what_is_taken_back_by_turns_is_so_at_most_twice_a_second() -> None:
    desk = Settled(web(EACH), at(UNO), at(DOS, OF_DOS), at(TRES, 2), *ALL_RUN[::2])
    desk.write(decision(DOS, drained=True))
    desk.look()
    desk.write(decision(DOS))
    assert desk.look() == []
    assert [brief(slot) for slot in desk.decide()] == [(OF_DOS, 2, DOS)]


def test_one_whose_port_another_has_got_is_given_up_until_that_is_free() -> None:
    """Two coordinators, or sides, that did not know of each other placed both there."""
    other = standing("other", attrs.evolve(PORT, name="other", mode=Mode.REPLICATED))
    taker, taking = slot(DOS, uid="other"), container(DOS, uid="other", service="other")
    failed = runs(DOS, 1, state=State.BACKOFF, reason="port is already allocated")
    running = [runs(UNO), failed, runs(TRES, 2), taking]
    desk = Settled(web(PORT), *ON_ALL, other, taker, *running)
    assert [brief(slot)[::2] for slot in desk.look()] == [(1, None)]
    assert told(desk) == ["web: slot 1 given up: another one has its port on dos@dos"]
    desk.run(runs(UNO), runs(TRES, 2), taking)
    assert desk.decide(30) == []
    desk.write(attrs.evolve(taker, wanted=False, node=None))
    assert [brief(slot)[::2] for slot in desk.look()] == [(OF_DOS, DOS)]


# Two of one


def test_of_two_slots_on_a_node_the_one_that_serves_stays() -> None:
    ill = attrs.evolve(runs(DOS, 1), health=Health.UNHEALTHY, state=State.UNHEALTHY)
    sound = runs(DOS, 3)
    desk = Settled(web(EACH), *ON_ALL, at(DOS, 3), runs(UNO), ill, sound, runs(TRES, 2))
    assert [brief(slot)[0] for slot in desk.look()] == [1]
    assert told(desk) == ["web: slot 1 given up: dos@dos has slot 3"]
    assert held(desk) == {0: UNO, 2: TRES, 3: DOS}


def test_of_two_that_serve_the_lower_number_stays() -> None:
    desk = everywhere(EACH, at(DOS, 3))
    desk.run(*ALL_RUN, runs(DOS, 3))
    desk.look()
    assert held(desk) == {0: UNO, 1: DOS, 2: TRES}


def test_a_slot_that_both_sides_gave_away_is_settled_before_another_is_placed() -> None:
    desk = Settled(
        web(EACH), at(UNO), at(DOS, 1), runs(UNO), runs(DOS, 1), runs(TRES, 1)
    )
    assert desk.look() == []  # tres has one, which no slot names: it runs on
    written = desk.decide(10)
    assert brief(written[0])[::2] == (1, DOS)
    desk.run(runs(UNO), runs(DOS, 1))
    desk.decide(2)
    assert held(desk) == {0: UNO, 1: DOS, OF_TRES: TRES}


@pytest.mark.parametrize("fits", [True, False])
def test_what_runs_without_a_record_is_taken_back_if_its_node_is_to_have_one(
    fits: bool,
) -> None:
    desk = Settled(web(EACH), at(UNO), runs(UNO), runs(DOS, 7))
    desk.write(decision(DOS, drained=not fits))
    desk.decide(10)
    numbers = {node: number for number, node in held(desk).items()}
    assert numbers.get(DOS) == (7 if fits else None)
    assert "slot 7 taken back" in told(desk)[0] or not fits


def test_what_runs_without_a_record_beside_its_nodes_own_ends() -> None:
    desk = everywhere()
    desk.run(*ALL_RUN, runs(DOS, 7))
    desk.decide(10)
    assert held(desk) == {0: UNO, 1: DOS, 2: TRES}
    seventh = desk.view.slot(U1, 7)
    assert seventh is not None
    assert not seventh.wanted
    assert told(desk) == ["web: slot 7 given up: no more are wanted"]


# The sides of a partition


def test_what_each_side_placed_stays_as_they_meet() -> None:
    """Else one of the two gives its slot up, and waits for its port until that ends."""
    one = Settled(web(PORT), at(UNO), runs(UNO))
    one.lose(TRES)
    assert [slot.node for slot in one.look()] == [DOS]
    other = Settled(web(PORT), at(UNO), runs(UNO), me=TRES)
    other.lose(UNO)
    other.lose(DOS)
    assert [slot.node for slot in other.look()] == [TRES]
    assert held(one).keys() & held(other).keys() == {0}
    for record in other.view.slots(U1):
        one.view.merge_record(record)
    numbers = {node: number for number, node in held(one).items()}
    assert sorted(map(str, numbers)) == sorted(NODES)
    one.regain(TRES)
    one.run(*(runs(str(node), number) for node, number in numbers.items()))
    before = len(one.notes)
    assert one.decide(20) == []
    assert len(one.notes) == before


def test_what_waited_on_both_sides_is_none_of_what_each_placed() -> None:
    one, other = Settled(web(EDGE), at(None)), Settled(web(EDGE), at(None), me=TRES)
    one.lose(TRES)
    one.write(decision(DOS, role="edge"))
    other.lose(UNO)
    other.lose(DOS)
    other.write(decision(TRES, role="edge"))
    one.look()
    other.look()
    assert (held(one), held(other)) == ({OF_DOS: DOS}, {OF_TRES: TRES})


def test_what_the_other_side_gave_its_node_does_not_begin_once_more() -> None:
    """Its job would run twice, where this side knows nothing yet of its end."""
    ended: dict[str, Any] = {"state": State.EXITED, "exit_code": 0}
    done = [runs(UNO, **ended), runs(TRES, 2, **ended)]
    desk = Settled(web(JOB), at(UNO), at(TRES, 2), *done)
    desk.lose(DOS)
    desk.decide(2)
    desk.regain(DOS)
    assert desk.decide(0.5) == []
    desk.view.merge_record(at(DOS, OF_DOS, generation=3, done=True))
    desk.run(*done, runs(DOS, OF_DOS, generation=3, **ended))
    assert desk.decide(20) == []


# The other mode


def test_a_service_that_becomes_global_keeps_one_on_each_node() -> None:
    desk = everywhere(WEB, at(UNO, 3))
    desk.run(*ALL_RUN, runs(UNO, 3))
    desk.write(web(EACH))
    desk.decide(2)
    assert held(desk) == {0: UNO, 1: DOS, 2: TRES}


def test_one_that_is_global_no_more_has_as_many_as_its_spec_says() -> None:
    desk = everywhere()
    desk.write(web(WEB, replicas=2))
    desk.decide(2)
    assert held(desk) == {0: UNO, 1: DOS}
    desk.lose(DOS)
    desk.decide(5)
    assert DOS not in held(desk).values()


def test_one_that_is_global_no_more_keeps_its_numbers_beside_the_lowest() -> None:
    desk = Settled(web(EACH))
    running = [runs(str(slot.node), slot.slot) for slot in desk.look()]
    desk.run(*running)
    desk.write(web(WEB, replicas=4))
    assert [brief(slot)[0] for slot in desk.decide(2)] == [0]
    assert held(desk).keys() == {0, OF_UNO, OF_DOS, OF_TRES}
    desk.run(*running, runs(str(held(desk)[0])))
    desk.write(web(WEB, replicas=2))
    desk.decide(2)
    assert held(desk).keys() == {0, OF_TRES}


def test_an_old_spec_of_another_mode_is_not_moved_while_it_is_updated() -> None:
    old = OldSpec(spec_id="", service=WEB, replicas=3)
    going = UpdateStatus(state=UpdateState.UPDATING)
    record = web(EACH, spec_id="b", old_specs=(old,), update=going)
    desk = Settled(record, *ON_ALL, *ALL_RUN)
    desk.lose(DOS)
    desk.decide(10)
    assert held(desk)[1] == DOS


# Updates


def new(spec: Service, **changes: Any) -> Service:
    return attrs.evolve(spec, update=UpdateConfig(monitor_ns=10**9), **changes)


def going(spec: Service) -> Rollout:
    """Return a cluster that runs it on all nodes, and obeys."""
    return Rollout(web(spec), *ON_ALL, *ALL_RUN)


def test_an_update_goes_through_all_nodes_each_in_its_place() -> None:
    rollout = going(new(EACH))
    rollout.update(new(EACH, image="new"))
    rollout.run(30)
    assert rollout.state == "completed"
    assert (rollout.most_in_slot, rollout.least_ready, rollout.most_beginning) == (
        *(2, 3),
        1,
    )
    assert [(s.slot, s.node, s.spec_id) for s in rollout.slots] == [
        *((0, UNO, "b"), (1, DOS, "b")),
        (2, TRES, "b"),
    ]


def test_where_two_do_not_fit_the_old_one_stops_first_and_none_goes_elsewhere() -> None:
    big = new(EACH, memory_bytes=60)
    rollout = going(big)
    rollout.update(attrs.evolve(big, image="new"))
    rollout.run(30)
    assert (rollout.state, rollout.most_in_slot) == ("completed", 1)
    assert [slot.node for slot in rollout.slots] == [UNO, DOS, TRES]


def test_the_spec_that_asks_for_other_nodes_has_them_at_once() -> None:
    rollout = going(new(EACH))
    rollout.update(new(EACH, hosts=(UNO, TRES)))
    rollout.run(30)
    assert rollout.state == "completed"
    assert [(s.node, s.spec_id) for s in rollout.slots] == [(UNO, "b"), (TRES, "b")]


def test_one_that_fails_has_all_nodes_rolled_back_those_that_it_left_too() -> None:
    rollout = going(new(EACH))
    rollout.fates["b"] = {"state": State.FAILED, "reason": "exit code 1"}
    rollout.update(new(EACH, hosts=(UNO, TRES)))
    rollout.run(30)
    assert rollout.state == "rollback_completed"
    assert sorted(str(slot.node) for slot in rollout.slots) == sorted(NODES)
    assert {slot.spec_id for slot in rollout.slots} == {""}


def test_one_on_a_node_that_is_lost_is_updated_there_once_that_is_back() -> None:
    rollout = going(new(EACH))
    rollout.desk.lose(DOS)
    rollout.update(new(EACH, image="new"))
    rollout.run(30)
    assert rollout.state == "completed"
    assert [s.node for s in rollout.slots if s.spec_id == ""] == [DOS]
    rollout.desk.regain(DOS)
    rollout.run(30)
    assert [(s.node, s.spec_id) for s in rollout.slots] == [
        *((UNO, "b"), (DOS, "b")),
        (TRES, "b"),
    ]


# What cannot be reached is filled anew, on its node and on no other


def test_one_that_nothing_reaches_is_filled_anew_on_its_node() -> None:
    desk = everywhere()
    desk.run(runs(UNO), runs(DOS, 1, address=""), runs(TRES, 2))
    (anew,) = desk.decide(2)
    assert (anew.node, anew.handover) == (DOS, True)


def test_of_a_majority_too_though_it_fails_there() -> None:
    desk = everywhere(MOST)
    desk.run(runs(UNO), runs(DOS, 1, address=""), runs(TRES, 2))
    (anew,) = desk.decide(2)
    failed = runs(DOS, 1, generation=anew.generation, state=State.FAILED)
    desk.run(runs(UNO), failed, runs(TRES, 2))
    desk.decide(20)
    assert held(desk) == {0: UNO, 1: DOS, 2: TRES}
    assert any("stays there" in text for text in told(desk))


# Whatever was decided, and whatever runs


def obey(desk: Desk, running: list[Container]) -> list[Container]:
    """Have the containers begin and end as `Care` has it, at once."""
    slots = {slot.slot: slot for slot in desk.view.slots(U1)}
    stay = [
        c
        for c in running
        if c.slot not in slots
        or (slots[c.slot].wanted and c.name not in slots[c.slot].ends)
    ]
    names = {c.name for c in stay}
    made = [
        runs(slot.node, slot.slot, generation=slot.container_generation)
        for slot in slots.values()
        if slot.wanted and slot.node is not None
    ]
    return stay + [c for c in made if c.name not in names]


NUMBERS = st.integers(0, 4) | st.sampled_from([OF_UNO, OF_DOS, OF_TRES])
SLOTS = st.lists(
    st.builds(
        at,
        st.sampled_from([*NODES, None]),
        NUMBERS,
        generation=st.integers(1, 3),
        wanted=st.booleans(),
    ).map(lambda slot: slot if slot.wanted else attrs.evolve(slot, node=None)),
    unique_by=lambda slot: slot.slot,
    max_size=5,
)
RUNNING = st.lists(
    st.builds(runs, st.sampled_from(NODES), NUMBERS, generation=st.integers(1, 3)),
    unique_by=lambda container: container.name,
    max_size=6,
)


@settings(max_examples=150, deadline=None)
@given(SLOTS, RUNNING, st.sets(st.sampled_from(NODES)))
def test_whatever_the_sides_of_a_partition_decided_each_node_has_one(
    slots: list[SlotRecord], running: list[Container], drained: set[str]
) -> None:
    desk = Settled(web(EACH), *slots)
    desk.write(*(decision(node, drained=True) for node in sorted(drained)))
    for _ in range(60):
        running = obey(desk, running)
        desk.run(*running)
        desk.decide(0.25)
    nodes = sorted(set(NODES) - drained)
    assert sorted(map(str, held(desk).values())) == (nodes or ["None"])
    assert sorted(c.node for c in obey(desk, running)) == nodes
    assert desk.decide(5) == []


# Told


def test_where_tells_which_nodes_have_their_own() -> None:
    desk = everywhere(EACH, decision(DOS))
    desk.view.merge_record(attrs.evolve(at(TRES, 2), wanted=False, revision=9))
    first, *rest = desk.desk.places.for_one_more(EACH, U1)
    assert (first.node, first.fits) == (TRES, True)
    assert {c.node: c.reason for c in rest} == dict.fromkeys(
        (DOS, UNO), "it has its own (mode: global)"
    )


def became_of(desk: Desk, spec: Service, *numbers: int) -> list[str]:
    """Return on which nodes they run, or are to, who were told of these slots."""
    accepted = [Accepted(uid=U1, slot=n, generation=1, node=None) for n in numbers]
    listed = Listed(desk.situation, desk.desk.places)
    return [outcome.container.node for outcome in outcomes_of(listed, accepted, spec)]


def test_who_was_told_that_one_waits_is_told_what_runs_instead() -> None:
    desk = Settled(web(EDGE), at(None))
    assert became_of(desk, EDGE, 0) == [""]
    desk.write(decision(DOS, role="edge"))
    desk.look()
    desk.run(runs(DOS, OF_DOS))
    assert became_of(desk, EDGE, 0) == [DOS]
    assert became_of(desk, EDGE, OF_UNO) == [""]  # it is not known here yet


def test_of_what_begins_everywhere_one_that_is_drained_is_left_out() -> None:
    desk = everywhere()
    desk.write(decision(DOS, drained=True))
    desk.look()
    assert became_of(desk, EACH, 0, 1, 2) == [UNO, TRES]


def test_of_others_one_that_is_given_up_was_stopped() -> None:
    desk = Settled(web(), at(None, wanted=False), at(None, 1, wanted=False))
    for spec in (WEB, EACH):
        with pytest.raises(ServiceError, match="web was stopped while it was being"):
            became_of(desk, spec, 0)
