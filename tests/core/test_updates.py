"""How a service gets a new spec: by turns, and back if one fails."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from tests.core import samples
from tests.core.desk import BIG, KEEP, MOST, ONCE, U1, Desk, at, decision, runs, web
from tests.core.samples import DOS, NODES, TRES, UNO, WEB
from veo_shell.core.model import (
    Container,
    Health,
    Mode,
    Mount,
    MountKind,
    OldSpec,
    OnUpdateFailure,
    Port,
    Record,
    Service,
    ServiceRecord,
    SlotRecord,
    State,
    UpdateConfig,
    UpdateOrder,
    UpdateState,
    UpdateStatus,
)
from veo_shell.core.specs import are_alike, back, forward
from veo_shell.core.turns import is_named

NEW = attrs.evolve(WEB, image="new")
SECOND = 1_000_000_000


def config(**changes: Any) -> UpdateConfig:
    return attrs.evolve(UpdateConfig(monitor_ns=2 * SECOND), **changes)


def new(spec: Service = NEW, **changes: Any) -> Service:
    return attrs.evolve(spec, update=config(**changes))


def updated(record: ServiceRecord, spec: Service, spec_id: str = "b") -> ServiceRecord:
    """Return what the operation writes for a new spec."""
    state = UpdateStatus(state=UpdateState.UPDATING)
    return attrs.evolve(forward(record, spec, spec_id), update=state)


class Rollout:
    """A desk whose cluster obeys: containers begin and end as the slots say.

    `fates`: what an instance comes to, by spec id, or by spec id and slot.
    """

    def __init__(self, *held: Record | Container, me: str = UNO) -> None:
        self.desk = Desk(*held, me=me)
        self.held = {c.name: c for c in held if isinstance(c, Container)}
        self.fates: dict[str | tuple[str, int], dict[str, Any]] = {}
        self.takes_long_to_stop = False
        self.most_in_slot = 0
        self.least_ready = 99
        self.most_beginning = 0

    @classmethod
    def of(cls, replicas: int, spec: Service = WEB, **changes: Any) -> Rollout:
        nodes = [NODES[n % len(NODES)] for n in range(replicas)]
        slots = [at(node, n) for n, node in enumerate(nodes)]
        running = [runs(node, n) for n, node in enumerate(nodes)]
        record = web(spec, replicas=replicas, **changes)
        return cls(record, *slots, *running)

    @property
    def record(self) -> ServiceRecord:
        record = self.desk.view.service(U1)
        assert record is not None
        return record

    @property
    def slots(self) -> list[SlotRecord]:
        return [slot for slot in self.desk.view.slots(U1) if slot.wanted]

    @property
    def state(self) -> str:
        return self.record.update.state.value if self.record.update else ""

    @property
    def reason(self) -> str:
        return self.record.update.reason if self.record.update else ""

    def update(self, spec: Service, spec_id: str = "b") -> None:
        self.desk.write(updated(self.record, spec, spec_id))

    def fate(self, slot: SlotRecord) -> dict[str, Any]:
        by_id = self.fates.get(slot.spec_id, {})
        return self.fates.get((slot.spec_id, slot.slot), by_id)

    def step(self) -> list[SlotRecord]:
        """Let a quarter of a second pass, and then what was written be obeyed."""
        written = self.desk.decide(0.25)
        beginning = sum(s.handover and not self._is_ready(s) for s in self.slots)
        self.most_beginning = max(self.most_beginning, beginning)
        for slot in self.slots:
            if slot.node is not None and slot.node not in self.desk.lost:
                self._begin(slot)
        for slot in self.desk.view.slots(U1):
            for name in slot.ends:
                old = self.held.pop(name, None)
                if old is not None and self.takes_long_to_stop:
                    self.held[name] = attrs.evolve(old, state=State.STOPPING)
        self.held = {n: c for n, c in self.held.items() if self._stays(c)}
        self.desk.run(*self.held.values())
        self._look()
        return written

    def _is_ready(self, slot: SlotRecord) -> bool:
        return any(c.is_ready and is_named(slot, c) for c in self.held.values())

    def _stays(self, container: Container) -> bool:
        """One that is not named ends where it does not run, as `Care` has it."""
        slot = self.desk.view.slot(U1, container.slot)
        is_its = slot is not None and is_named(slot, container)
        stops = self.takes_long_to_stop and container.state is State.STOPPING
        is_there = is_its or container.is_up or stops
        return container.node not in self.desk.lost and is_there

    def _begin(self, slot: SlotRecord) -> None:
        assert slot.node is not None
        made = runs(
            slot.node,
            slot.slot,
            generation=slot.container_generation,
            spec_id=slot.spec_id,
            **self.fate(slot),
        )
        others = [c for c in self.held.values() if c.slot == slot.slot]
        if any(c.generation == made.generation for c in others):
            return
        if slot.stops_first and others:
            return
        self.held[made.name] = made

    def _look(self) -> None:
        numbers = [c.slot for c in self.held.values()]
        self.most_in_slot = max(self.most_in_slot, *map(numbers.count, numbers), 0)
        ready = {c.slot for c in self.held.values() if c.is_ready}
        self.least_ready = min(self.least_ready, len(ready))

    def run(self, for_s: float = 60.0) -> None:
        """Go on until the update has ended."""
        for _ in range(round(for_s * 4)):
            self.step()
            if not (self.record.update and self.record.update.is_going_on):
                break
        for _ in range(8):  # what was ended last goes
            self.step()

    def become(self, spec_id: str, **changes: Any) -> None:
        """Have the instances of a spec change."""
        self.held = {
            name: attrs.evolve(c, **changes) if c.spec_id == spec_id else c
            for name, c in self.held.items()
        }
        self.desk.run(*self.held.values())

    def specs(self) -> list[str]:
        return [c.spec_id for c in sorted(self.held.values(), key=lambda c: c.slot)]


# All goes well


def test_instances_are_replaced_one_by_one_the_new_one_first() -> None:
    rollout = Rollout.of(3)
    rollout.update(new())
    rollout.run()
    assert rollout.state == "completed"
    assert rollout.specs() == ["b", "b", "b"]
    assert [slot.node for slot in rollout.slots] == [*NODES]
    assert (rollout.most_beginning, rollout.most_in_slot) == (1, 2)
    assert rollout.least_ready == 3
    assert not any(s.updating or s.handover or s.stops_first for s in rollout.slots)
    assert rollout.desk.decide(20) == []
    kinds = [note.kind for note in rollout.desk.notes]
    assert kinds.count("replacing") == kinds.count("replaced") == 3
    assert kinds[-1] == "update_completed"


def test_so_many_at_a_time_as_the_spec_says() -> None:
    rollout = Rollout.of(5)
    rollout.update(new(parallelism=2))
    rollout.run()
    assert rollout.specs() == ["b"] * 5
    assert rollout.most_beginning == 2


def test_the_next_begins_once_one_is_ready_before_that_has_taken_over() -> None:
    """What it replaces runs on for as long as the new one may still fail."""
    rollout = Rollout.of(3)
    rollout.fates["b"] = {"health": Health.STARTING}
    rollout.update(new())
    for _ in range(20):
        rollout.step()
    assert [slot.updating for slot in rollout.slots] == [True, False, False]
    rollout.fates["b"] = {}
    rollout.become("b", health=Health.HEALTHY)
    rollout.step()
    assert [slot.handover for slot in rollout.slots] == [True, True, False]
    rollout.step()
    assert [slot.handover for slot in rollout.slots] == [True, True, True]
    assert rollout.specs() == ["", "b"] * 3
    rollout.run()
    assert rollout.state == "completed"
    assert rollout.least_ready == 3


def test_the_next_begins_so_long_after_one_is_ready() -> None:
    rollout = Rollout.of(2)
    rollout.update(new(delay_ns=10 * SECOND))
    begun_s = []
    for _ in range(80):
        if any(slot.handover for slot in rollout.step()):
            begun_s.append(rollout.desk.now)
    assert rollout.specs() == ["b", "b"]
    one, other = begun_s
    assert 10 <= other - one <= 11


def test_stop_first_never_has_two_in_a_slot() -> None:
    rollout = Rollout.of(3)
    rollout.update(new(order=UpdateOrder.STOP_FIRST))
    rollout.run()
    assert rollout.specs() == ["b", "b", "b"]
    assert (rollout.most_in_slot, rollout.least_ready) == (1, 2)


def test_stop_first_leaves_one_ready_however_many_may_go_at_a_time() -> None:
    rollout = Rollout.of(3)
    rollout.update(new(order=UpdateOrder.STOP_FIRST, parallelism=9))
    rollout.run()
    assert rollout.specs() == ["b", "b", "b"]
    assert rollout.least_ready >= 1


def test_one_that_has_just_begun_is_not_yet_one_that_is_left() -> None:
    """It may end at once, as all of a spec do that cannot run."""
    rollout = Rollout.of(2)
    rollout.update(new(order=UpdateOrder.STOP_FIRST, on_failure=OnUpdateFailure.PAUSE))
    while "b" not in rollout.specs():
        rollout.step()
    for _ in range(2):
        rollout.step()
        assert sorted(rollout.specs()) == ["", "b"]
    rollout.become("b", state=State.BACKOFF, reason="exit code 1")
    rollout.run()
    assert (rollout.state, rollout.specs()) == ("paused", ["b", ""])
    assert rollout.least_ready == 1


def test_what_is_not_ready_is_replaced_first() -> None:
    rollout = Rollout.of(2)
    bad = attrs.evolve(runs(DOS), state=State.BACKOFF)
    slots = at(UNO), at(DOS, 1)
    bad = runs(DOS, 1, state=State.BACKOFF)
    rollout = Rollout(web(replicas=2), *slots, runs(UNO), bad)
    rollout.update(new(order=UpdateOrder.STOP_FIRST))
    (first,) = [slot for slot in rollout.step() if slot.handover]
    assert first.slot == 1
    rollout.run()
    assert rollout.specs() == ["b", "b"]
    assert rollout.least_ready == 1


def test_one_instance_alone_stops_before_its_successor_if_it_has_to() -> None:
    rollout = Rollout.of(1)
    rollout.update(new(order=UpdateOrder.STOP_FIRST))
    rollout.run()
    assert rollout.specs() == ["b"]
    assert rollout.least_ready == 0


@pytest.mark.parametrize(
    ("changes", "first"),
    [
        ({}, False),
        ({"ports": (Port(name="web", container_port=80),)}, False),
        ({"ports": (Port(name="web", container_port=80, host_port=80),)}, True),
        ({"network_mode": "host"}, True),
        ({"on_partition": MOST.on_partition}, True),
        ({"mounts": (Mount(kind=MountKind.VOLUME, target="/d", source="d"),)}, True),
        ({"mounts": (Mount(kind=MountKind.VOLUME, target="/d"),)}, False),
        ({"mounts": (Mount(kind=MountKind.TMPFS, target="/d"),)}, False),
        (
            {
                "mounts": (
                    Mount(
                        kind=MountKind.BIND, target="/d", source="/d", read_only=True
                    ),
                )
            },
            False,
        ),
        (
            {
                "mounts": (Mount(kind=MountKind.VOLUME, target="/d", source="d"),),
                "update": UpdateConfig(order=UpdateOrder.START_FIRST),
            },
            False,
        ),
        (
            {
                "network_mode": "host",
                "update": UpdateConfig(order=UpdateOrder.START_FIRST),
            },
            True,
        ),
    ],
    ids=str,
)
def test_the_new_one_begins_first_where_two_can_be(
    changes: dict[str, Any], first: bool
) -> None:
    rollout = Rollout.of(1, attrs.evolve(WEB, **changes))
    rollout.update(attrs.evolve(NEW, **changes))
    (slot,) = [slot for slot in rollout.step() if slot.updating]
    assert slot.stops_first is first
    assert slot.node == UNO
    rollout.run()
    assert rollout.specs() == ["b"]
    assert rollout.most_in_slot == (1 if first else 2)


@pytest.mark.parametrize("network", ["lan", "other"])
def test_with_an_address_of_its_own_its_port_is_no_reason_to_stop_first(
    network: str,
) -> None:
    port = Port(name="web", container_port=80, host_port=80)
    changes: dict[str, Any] = {"ports": (port,), "network_mode": network}
    rollout = Rollout.of(1, attrs.evolve(WEB, **changes))
    rollout.desk.publish(UNO, lan_networks=("lan",))
    rollout.update(attrs.evolve(NEW, **changes))
    (slot,) = [slot for slot in rollout.step() if slot.updating]
    assert (slot.node, slot.stops_first) == (UNO, network == "other")


def test_where_there_is_no_room_beside_it_begins_on_another_node() -> None:
    rollout = Rollout.of(1, BIG)
    rollout.update(attrs.evolve(new(BIG), image="new"))
    (slot,) = [slot for slot in rollout.step() if slot.updating]
    assert slot.node in (DOS, TRES)
    assert not slot.stops_first


def test_the_next_waits_until_what_was_replaced_has_left_it_room() -> None:
    """Rather than have the node hold more than it has, or stop one first."""
    pinned = attrs.evolve(new(), hosts=(UNO,), memory_bytes=25)
    slots = [at(UNO, n) for n in range(3)]
    rollout = Rollout(
        web(pinned, replicas=3), *slots, *(runs(UNO, n) for n in range(3))
    )
    rollout.takes_long_to_stop = True
    rollout.update(attrs.evolve(pinned, image="new"))
    for _ in range(40):
        rollout.step()
    assert [slot.spec_id for slot in rollout.slots] == ["b", "", ""]
    rollout.takes_long_to_stop = False
    rollout.run()
    assert (rollout.state, rollout.specs()) == ("completed", ["b", "b", "b"])
    assert (rollout.most_in_slot, rollout.least_ready) == (2, 3)


def test_one_that_never_took_over_makes_room_for_the_next() -> None:
    pinned = attrs.evolve(new(), hosts=(UNO,), memory_bytes=40)
    rollout = Rollout(web(pinned), at(UNO), runs(UNO))
    rollout.fates["b"] = {"health": Health.STARTING}
    rollout.update(attrs.evolve(pinned, image="bad"))
    rollout.step()
    rollout.update(attrs.evolve(pinned, image="good"), "c")
    rollout.run()
    assert (rollout.state, rollout.specs()) == ("completed", ["c"])
    assert rollout.least_ready == 1


def test_where_there_is_room_nowhere_else_the_old_one_stops_first() -> None:
    rollout = Rollout.of(3, BIG)
    rollout.update(attrs.evolve(new(BIG), image="new"))
    rollout.run()
    assert rollout.specs() == ["b", "b", "b"]
    assert [slot.node for slot in rollout.slots] == [*NODES]
    assert (rollout.most_in_slot, rollout.least_ready) == (1, 2)


@pytest.mark.parametrize("order", [None, UpdateOrder.START_FIRST], ids=str)
def test_an_instance_stays_where_its_data_is(order: UpdateOrder | None) -> None:
    """Though there is no room beside it: it would begin without its data elsewhere."""
    mount = Mount(kind=MountKind.VOLUME, source="data", target="/data")
    bound = attrs.evolve(BIG, mounts=(mount,))
    rollout = Rollout.of(1, bound)
    rollout.desk.publish(UNO, volumes=("data",))
    rollout.update(attrs.evolve(new(bound, order=order), image="new"))
    (slot,) = [slot for slot in rollout.step() if slot.updating]
    assert (slot.node, slot.stops_first) == (UNO, True)
    rollout.run()
    assert rollout.specs() == ["b"]
    rollout.update(attrs.evolve(new(bound), roles=("gpu",)), "c")
    rollout.run()
    assert (rollout.state, rollout.specs()) == ("rollback_completed", ["b"])


def test_a_slot_that_waits_for_a_node_gets_the_spec_and_waits_on() -> None:
    edge = attrs.evolve(WEB, roles=("edge",))
    rollout = Rollout(web(edge), at(None))
    rollout.desk.decide(5)
    rollout.update(new(edge, delay_ns=1))
    rollout.run()
    (slot,) = rollout.slots
    assert (slot.node, slot.spec_id, rollout.state) == (None, "b", "completed")
    rollout.desk.write(decision(DOS, role="edge"))
    rollout.run(5)
    assert rollout.specs() == ["b"]


def test_one_on_trial_that_has_no_node_any_more_holds_up_no_update() -> None:
    """It was waited for until it had failed, minutes later."""
    rollout = Rollout.of(2, attrs.evolve(WEB, hosts=(UNO, DOS), cpus=3.0))
    rollout.update(attrs.evolve(rollout.record.service or NEW, image="new"))
    while not any(slot.updating and slot.node == DOS for slot in rollout.slots):
        rollout.step()
    rollout.desk.lose(DOS)
    rollout.run(20)
    assert rollout.state == "completed"
    assert [(s.node, s.updating, s.spec_id) for s in rollout.slots] == [
        *((UNO, False, "b"), (None, False, "b")),
    ]


def test_what_has_done_its_work_does_not_do_it_again() -> None:
    done = runs(UNO, state=State.EXITED, exit_code=0)
    rollout = Rollout(web(ONCE), at(UNO), done)
    rollout.desk.decide(2)
    rollout.update(new(ONCE))
    rollout.run()
    assert (rollout.state, rollout.specs()) == ("completed", [""])
    gone = Rollout(web(ONCE), at(UNO, done=True))
    gone.update(new(ONCE))
    assert [slot for slot in gone.step() if slot.updating] == []


def test_one_that_has_ended_badly_is_made_anew() -> None:
    failed = runs(UNO, state=State.EXITED, exit_code=1)
    rollout = Rollout(web(ONCE), at(UNO), failed)
    rollout.desk.decide(2)
    rollout.update(new(ONCE))
    rollout.run()
    assert rollout.state == "completed"
    assert "b" in rollout.specs()


def test_a_job_of_the_new_spec_takes_over_by_ending_well() -> None:
    rollout = Rollout.of(1, ONCE)
    rollout.fates["b"] = {"state": State.EXITED, "exit_code": 0}
    rollout.update(new(ONCE))
    rollout.run()
    assert (rollout.state, rollout.specs()) == ("completed", ["b"])


def test_a_job_that_has_done_its_work_and_is_gone_is_on_trial_no_more() -> None:
    """Its node was drained, and left: no container of it is there to be judged."""
    rollout = Rollout.of(1, ONCE)
    rollout.desk.write(attrs.evolve(rollout.slots[0], updating=True, done=True))
    rollout.desk.run()
    rollout.desk.decide()
    assert not rollout.slots[0].updating


# It fails


@pytest.mark.parametrize(
    ("fate", "why"),
    [
        ({"state": State.BACKOFF, "reason": "no such image"}, "no such image"),
        ({"state": State.UNHEALTHY}, "it is unhealthy"),
        ({"state": State.EXITED, "exit_code": 3, "reason": "exit code 3"}, "code 3"),
        ({"restarts": 1}, "it ended, and was started again"),
    ],
    ids=["backoff", "unhealthy", "exited", "restarted"],
)
def test_all_is_rolled_back_where_one_fails(fate: dict[str, Any], why: str) -> None:
    rollout = Rollout.of(3)
    rollout.fates["b", 1] = fate
    rollout.update(new())
    rollout.run()
    assert rollout.state == "rollback_completed"
    assert why in rollout.reason
    assert rollout.reason.startswith("slot 1: ")
    assert rollout.specs() == ["", "", ""]
    assert rollout.record.service == WEB
    assert [old.service.image for old in rollout.record.old_specs] == ["new"]
    assert rollout.least_ready == 3


def test_one_that_fails_within_the_monitors_time_has_all_rolled_back() -> None:
    rollout = Rollout.of(2)
    rollout.update(new(monitor_ns=60 * SECOND))
    for _ in range(60):
        rollout.step()
    assert rollout.specs() == ["b", "b"]
    assert rollout.state == "updating"
    rollout.become("b", state=State.UNHEALTHY)
    rollout.run()
    assert (rollout.state, rollout.specs()) == ("rollback_completed", ["", ""])


def test_one_that_never_gets_ready_fails_in_the_end() -> None:
    rollout = Rollout.of(1)
    rollout.fates["b"] = {"state": State.STARTING}
    rollout.update(new())
    rollout.run(400)
    assert rollout.state == "rollback_completed"
    assert rollout.reason == "slot 0: it is starting after 300 s"
    assert rollout.least_ready == 1


def test_one_that_is_never_made_fails_in_the_end() -> None:
    rollout = Rollout.of(1)
    rollout.update(new())
    for _ in range(1300):
        rollout.desk.decide(0.25)
    assert rollout.reason == "slot 0: it is not there after 300 s"


def test_a_spec_that_fits_nowhere_is_rolled_back_and_nothing_stops() -> None:
    rollout = Rollout.of(2)
    rollout.update(attrs.evolve(new(), roles=("gpu",)))
    rollout.run()
    assert (rollout.state, rollout.specs()) == ("rollback_completed", ["", ""])
    assert "no node fits: " in rollout.reason
    assert "its role is" in rollout.reason
    assert rollout.least_ready == 2


@pytest.mark.parametrize("drained", [True, False], ids=["drained", "too full"])
def test_where_an_instance_has_to_stay_it_is_updated(drained: bool) -> None:
    """The node has nothing against the new one that it has not against the old one."""
    pinned = attrs.evolve(BIG, hosts=(UNO,))
    rollout = Rollout.of(1, pinned)
    if drained:
        rollout.desk.write(decision(UNO, drained=True))
    else:
        rollout.desk.write(samples.service("u9", BIG), samples.slot(UNO, uid="u9"))
        rollout.desk.run(*rollout.held.values())
    rollout.update(attrs.evolve(new(pinned), image="new"))
    rollout.run()
    assert (rollout.state, rollout.specs()) == ("completed", ["b"])
    rollout.update(attrs.evolve(new(pinned), cpus=400.0, image="newer"), "c")
    rollout.run()
    assert (rollout.state, rollout.specs()) == ("rollback_completed", ["b"])


def test_from_a_drained_node_it_moves_as_it_is_updated() -> None:
    rollout = Rollout.of(1)
    rollout.desk.write(decision(UNO, drained=True))
    rollout.update(new(order=UpdateOrder.STOP_FIRST))
    rollout.run()
    assert (rollout.state, rollout.specs()) == ("completed", ["b"])
    assert [slot.node for slot in rollout.slots] != [UNO]


def test_paused_the_old_one_goes_on_and_nothing_more_is_begun() -> None:
    rollout = Rollout.of(3)
    rollout.fates["b", 1] = {"state": State.BACKOFF}
    rollout.update(new(on_failure=OnUpdateFailure.PAUSE, delay_ns=2 * SECOND))
    rollout.run()
    assert (rollout.state, rollout.reason) == ("paused", "slot 1: it is backoff")
    assert rollout.specs() == ["b", "", ""]
    assert rollout.desk.decide(30) == []


def test_paused_what_has_begun_well_proves_itself() -> None:
    rollout = Rollout.of(3)
    rollout.fates["b", 1] = {"state": State.BACKOFF}
    rollout.update(
        new(on_failure=OnUpdateFailure.PAUSE, delay_ns=SECOND, monitor_ns=5 * SECOND)
    )
    rollout.run()
    assert any(slot.updating for slot in rollout.slots)
    rollout.desk.decide(6)
    assert rollout.specs() == ["b", "", ""]
    assert not any(slot.handover or slot.updating for slot in rollout.slots)


def test_continued_it_goes_on_with_one_that_fails() -> None:
    rollout = Rollout.of(3)
    rollout.fates["b", 1] = {"state": State.BACKOFF}
    rollout.update(new(on_failure=OnUpdateFailure.CONTINUE))
    rollout.run()
    assert (rollout.state, rollout.specs()) == ("completed", ["b", "b", "b"])
    assert rollout.least_ready == 2


def test_a_rollback_that_fails_stops_there() -> None:
    rollout = Rollout.of(2)
    rollout.fates["b", 1] = {"state": State.BACKOFF}
    rollout.update(new(delay_ns=2 * SECOND))
    while rollout.state == "updating":
        rollout.step()
    rollout.fates[""] = {"state": State.BACKOFF, "reason": "gone"}
    rollout.run()
    assert rollout.state == "rollback_paused"
    assert rollout.reason == (
        "slot 1: it is backoff; and then as it was rolled back, slot 0: gone"
    )
    assert rollout.specs() == ["b", ""]  # what serves goes on
    assert not any(slot.handover for slot in rollout.slots)


def test_what_fails_alone_in_its_slot_is_not_on_trial_for_ever() -> None:
    """It held up whatever else was to move, as if it were under way."""
    rollout = Rollout.of(1)
    for spec_id in ("b", ""):
        rollout.fates[spec_id] = {"state": State.EXITED, "exit_code": 1}
    rollout.update(new(order=UpdateOrder.STOP_FIRST))
    rollout.run()
    assert rollout.state == "rollback_paused"
    assert not any(slot.handover or slot.updating for slot in rollout.slots)
    assert rollout.desk.decide(20) == []


def test_what_has_no_spec_before_is_paused() -> None:
    rollout = Rollout.of(1)
    rollout.fates["b"] = {"state": State.BACKOFF}
    record = attrs.evolve(updated(rollout.record, new()), old_specs=())
    rollout.desk.write(record)
    rollout.run()
    assert rollout.state == "paused"


def test_how_many_there_are_is_rolled_back_too() -> None:
    rollout = Rollout.of(2)
    rollout.fates["b"] = {"state": State.BACKOFF}
    rollout.update(attrs.evolve(new(), replicas=4))
    assert rollout.record.replicas == 4
    rollout.run()
    assert rollout.record.replicas == 2
    assert rollout.specs() == ["", ""]


# In the middle of it


def test_another_coordinator_goes_on_at_any_moment() -> None:
    for cut in range(60):
        rollout = Rollout.of(2)
        rollout.update(new())
        for _ in range(cut):
            rollout.step()
        held = [*rollout.desk.view.records(), *rollout.held.values()]
        after = Rollout(*held)
        after.run()
        assert (after.state, after.specs()) == ("completed", ["b", "b"]), cut
        assert min(rollout.least_ready, after.least_ready) == 2, cut
        assert max(rollout.most_in_slot, after.most_in_slot) <= 2, cut


def test_another_coordinator_rolls_back_at_any_moment() -> None:
    for cut in range(60):
        rollout = Rollout.of(2)
        rollout.fates["b", 1] = {"state": State.BACKOFF}
        rollout.update(new())
        for _ in range(cut):
            rollout.step()
        after = Rollout(*rollout.desk.view.records(), *rollout.held.values())
        after.fates = rollout.fates
        after.run()
        assert (after.state, after.specs()) == ("rollback_completed", ["", ""]), cut


def test_a_node_that_is_lost_does_not_fail_the_update() -> None:
    rollout = Rollout.of(3)
    rollout.update(new())
    while not any(slot.handover and slot.node == DOS for slot in rollout.slots):
        rollout.step()
    rollout.desk.lose(DOS)
    rollout.run()
    assert (rollout.state, rollout.specs()) == ("completed", ["b", "b", "b"])
    assert {slot.node for slot in rollout.slots} == {UNO, TRES}


def test_a_new_instance_whose_node_is_lost_leaves_the_old_one_running() -> None:
    rollout = Rollout.of(1, BIG)
    rollout.update(attrs.evolve(new(BIG), image="new"))
    rollout.step()
    (slot,) = rollout.slots
    assert slot.node is not None
    rollout.desk.lose(slot.node)
    rollout.run()
    assert (rollout.state, rollout.specs()) == ("completed", ["b"])
    assert rollout.least_ready == 1


def test_what_is_on_a_node_that_is_not_reached_is_waited_for() -> None:
    rollout = Rollout.of(2, attrs.evolve(WEB))
    rollout.desk.publish(DOS, engine_lost="it does not answer")
    rollout.update(new())
    for _ in range(20):
        rollout.step()
    assert rollout.state == "updating"
    assert [slot.spec_id for slot in rollout.slots] == ["b", ""]


def test_what_stays_on_a_node_that_is_lost_is_updated_when_that_is_back() -> None:
    rollout = Rollout.of(2, KEEP)
    rollout.desk.lose(DOS)
    rollout.update(new(KEEP))
    rollout.run()
    assert rollout.state == "completed"
    assert [slot.spec_id for slot in rollout.slots] == ["b", ""]
    rollout.desk.regain(DOS)
    rollout.held["there"] = runs(DOS, 1)
    for _ in range(60):
        rollout.step()
    assert [slot.spec_id for slot in rollout.slots] == ["b", "b"]


def test_another_update_takes_the_place_of_one_that_is_under_way() -> None:
    rollout = Rollout.of(2)
    rollout.fates["b"] = {"state": State.STARTING}
    rollout.update(new())
    for _ in range(6):
        rollout.step()
    rollout.update(attrs.evolve(new(), image="newer"), "c")
    rollout.run()
    assert (rollout.state, rollout.specs()) == ("completed", ["c", "c"])
    assert (rollout.least_ready, rollout.most_in_slot) == (2, 2)


def test_a_new_instance_that_is_all_there_is_goes_on_until_the_next_takes_over() -> (
    None
):
    rollout = Rollout.of(1)
    rollout.update(new())
    while not any(c.spec_id == "b" for c in rollout.held.values()):
        rollout.step()
    rollout.held = {n: c for n, c in rollout.held.items() if c.spec_id == "b"}
    rollout.update(attrs.evolve(new(), image="newer"), "c")
    rollout.run()
    assert (rollout.state, rollout.specs()) == ("completed", ["c"])
    assert rollout.least_ready == 1


def test_what_a_partition_left_behind_is_updated_afterwards() -> None:
    rollout = Rollout.of(2)
    rollout.update(new())
    rollout.run()
    rollout.desk.write(at(DOS, 1, generation=9))
    rollout.held = {
        c.name: c for c in [*rollout.held.values(), runs(DOS, 1, generation=9)]
    }
    rollout.held = {n: c for n, c in rollout.held.items() if c.spec_id or c.slot}
    for _ in range(60):
        rollout.step()
    assert (rollout.state, rollout.specs()) == ("completed", ["b", "b"])


def updated_on_a_side_that_was_overridden() -> Rollout:
    """Return a service whose record knows nothing of what one slot was updated to."""
    rollout = Rollout.of(2)
    rollout.desk.write(attrs.evolve(rollout.slots[1], spec_id="b"))
    odd = runs(DOS, 1, spec_id="b")
    rollout.held[odd.name] = odd
    return rollout


def test_what_one_side_has_updated_goes_back_where_the_other_is_right() -> None:
    rollout = updated_on_a_side_that_was_overridden()
    for _ in range(60):
        rollout.step()
    assert (rollout.record.update, rollout.specs()) == (None, ["", ""])
    assert (rollout.least_ready, rollout.most_in_slot) == (2, 2)
    assert not any(slot.updating for slot in rollout.slots)


def test_what_goes_back_and_fails_is_paused() -> None:
    rollout = updated_on_a_side_that_was_overridden()
    rollout.fates[""] = {"state": State.BACKOFF, "reason": "exit code 1"}
    rollout.run()
    assert (rollout.state, rollout.reason) == ("paused", "slot 1: exit code 1")


def test_one_that_was_not_heard_as_it_was_to_stop_is_told_again() -> None:
    rollout = Rollout.of(1)
    rollout.update(new(order=UpdateOrder.STOP_FIRST))
    rollout.step()
    (slot,) = rollout.slots
    old = runs(UNO)
    rollout.desk.write(attrs.evolve(slot, ends=()))
    rollout.held = {old.name: old}
    rollout.desk.run(old)
    rollout.run()
    assert (rollout.state, rollout.specs()) == ("completed", ["b"])
    assert rollout.most_in_slot == 1


@pytest.mark.parametrize("after", [2, 12], ids=["taking over", "on trial"])
def test_one_that_nothing_reaches_any_more_is_made_again(after: int) -> None:
    rollout = Rollout.of(1)
    rollout.update(new(monitor_ns=60 * SECOND))
    for _ in range(after):
        rollout.step()
    (slot,) = rollout.slots
    assert slot.handover is (after == 2)
    rollout.become("b", address="", reason="its host has it no more")
    rollout.run(100)
    assert (rollout.state, rollout.specs()) == ("completed", ["b"])
    assert all(c.address for c in rollout.held.values())


def test_nothing_is_begun_while_an_instance_moves() -> None:
    rollout = Rollout.of(2)
    rollout.desk.write(at(TRES, 1, handover=True, generation=2))
    rollout.update(new())
    begun = [s for s in rollout.step() if s.updating]
    assert begun == []
    rollout.run()
    assert (rollout.state, rollout.specs()) == ("completed", ["b", "b"])


# Records


def test_the_last_ten_specs_are_kept() -> None:
    record = web()
    for number in range(15):
        spec = attrs.evolve(WEB, image=f"web:{number}")
        record = forward(record, spec, f"{number}")
    assert [old.spec_id for old in record.old_specs] == [str(n) for n in range(4, 14)]
    assert record.spec_of("13") == attrs.evolve(WEB, image="web:13")
    assert record.spec_of("0") == record.service  # kept no more


def test_back_and_forth() -> None:
    record = forward(web(replicas=3), NEW, "b")
    assert record.replicas == 3
    old = OldSpec(spec_id="", service=WEB, replicas=3)
    assert record.old_specs == (old,)
    undone = back(record)
    assert (undone.service, undone.spec_id, undone.replicas) == (WEB, "", 3)
    assert [o.spec_id for o in undone.old_specs] == ["b"]
    again = forward(undone, NEW, "b")
    assert (again.spec_id, again.old_specs) == ("b", (old,))


def test_one_goes_back_to_what_has_proved_itself() -> None:
    first = updated(web(), NEW, "b")
    second = updated(first, attrs.evolve(NEW, image="newer"), "c")
    assert [old.spec_id for old in second.old_specs] == ["b", ""]
    assert back(second).service == WEB
    first = attrs.evolve(first, update=UpdateStatus(state=UpdateState.COMPLETED))
    third = forward(first, attrs.evolve(NEW, image="newer"), "c")
    assert [old.spec_id for old in third.old_specs] == ["", "b"]


def test_how_many_there_are_changes_only_with_the_spec() -> None:
    scaled = web(replicas=7)
    assert forward(scaled, NEW, "b").replicas == 7
    fewer = forward(scaled, attrs.evolve(NEW, replicas=2), "b")
    assert fewer.replicas == 2
    assert back(fewer).replicas == 7


def test_the_other_mode_begins_with_the_number_of_its_spec() -> None:
    scaled = web(replicas=7)
    each = forward(scaled, attrs.evolve(NEW, mode=Mode.GLOBAL), "b")
    assert each.replicas == 1
    assert back(each).replicas == 7
    old = each.spec_of("")
    assert old is not None
    assert (old.image, old.mode) == (WEB.image, Mode.GLOBAL)


@pytest.mark.parametrize(
    ("change", "alike"),
    [
        ({"replicas": 4}, True),
        ({"mode": Mode.GLOBAL}, True),
        ({"variant": "blue"}, True),
        ({"on_partition": MOST.on_partition}, True),
        ({"update": UpdateConfig(parallelism=2)}, True),
        ({"image": "new"}, False),
        ({"hosts": (UNO,)}, False),
    ],
    ids=str,
)
def test_containers_are_replaced_only_for_what_they_are_made_of(
    change: dict[str, Any], alike: bool
) -> None:
    assert are_alike(WEB, attrs.evolve(WEB, **change)) is alike


def test_a_removed_service_has_no_spec() -> None:
    assert (
        web(None, old_specs=(OldSpec(spec_id="", service=WEB, replicas=1),)).spec_of("")
        is None
    )
