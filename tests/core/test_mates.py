"""What the end, the restart and the stop of one of a group mean for the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest

from tests.core.cores import add, cut
from tests.core.samples import container, document, service, slot
from tests.sim.cluster import SimNode, World
from veo_shell.core import events as ev
from veo_shell.core.model import (
    Container,
    GroupPolicy,
    GroupRole,
    Health,
    OnPartition,
    Restart,
    Service,
    State,
    UpdateState,
    UpdateStatus,
)
from veo_shell.core.turns import awaited
from veo_shell.core.view import View

ONE, MASTER = GroupPolicy.ONE_KILLS_ALL, GroupPolicy.MASTER_KILLS_ALL
DB = Service(
    name="db",
    image="nginx",
    restart=Restart.ALWAYS,
    group="shop",
    group_role=GroupRole.MASTER,
)
APP = attrs.evolve(DB, name="app", group_role=GroupRole.SLAVE)


def shop(*services: Service, **changes: Any) -> World:
    """Return one node that runs a group; its services' uids are their names."""
    world = World("uno@uno")
    for member in services or (DB, APP):
        spec = attrs.evolve(member, **changes)
        add(world["uno@uno"], spec, spec.name)
    world.run(3)
    return world


def of(world: World, name: str) -> Container:
    (found,) = world["uno@uno"].machine.view.instances(name)
    return found


def states(world: World) -> dict[str, State]:
    held = world["uno@uno"].machine.view.containers()
    return {c.service: c.state for c in held}


def both_run(world: World) -> Callable[[], bool]:
    both = {"db": State.RUNNING, "app": State.RUNNING}
    return lambda: states(world) == both


def told(node: SimNode, *kinds: str) -> list[str]:
    return [entry.service for entry in node.journal if entry.kind in kinds]


# The beginning


def test_the_master_begins_first_and_the_others_once_it_is_ready() -> None:
    world = World("uno@uno")
    uno = world["uno@uno"]
    uno.engine.broken = "no such image"
    add(uno, DB, "db")
    add(uno, APP, "app")
    world.run(3)
    assert states(world) == {"db": State.BACKOFF}
    uno.engine.broken = ""
    world.run_until(both_run(world))
    assert told(uno, "started", "ready") == ["db", "db", "app", "app"]


def test_also_after_its_engine_was_away() -> None:
    world = shop()
    uno = world["uno@uno"]
    uno.lose_engine()
    before = len(uno.journal)
    uno.list_engine()
    assert not both_run(world)()
    world.run_until(both_run(world))
    begun = [e.service for e in uno.journal[before:] if e.kind in ("started", "ready")]
    assert begun == ["db", "db", "app", "app"]
    assert (of(world, "db").restarts, of(world, "app").restarts) == (0, 0)


def test_a_master_that_has_done_its_job_is_not_waited_for() -> None:
    """As where it prepares what the others work on."""
    world = World("uno@uno")
    uno = world["uno@uno"]
    add(uno, attrs.evolve(DB, restart=Restart.ON_FAILURE, group_policy=ONE), "db")
    world.run_until(lambda: states(world) == {"db": State.RUNNING})
    uno.exit(of(world, "db"), 0)
    add(uno, APP, "app")
    world.run_until(lambda: states(world).get("app") is State.RUNNING)
    uno.engine.containers.pop(of(world, "db").name)
    uno.list_engine()
    world.run(10)
    assert states(world)["app"] is State.RUNNING
    assert of(world, "app").restarts == 0


@pytest.mark.parametrize("done", [True, False])
def test_of_a_master_whose_container_is_gone_its_slot_tells(done: bool) -> None:
    """As where its job was done on another node, which is lost."""
    view = View()
    for record in (
        service("db", DB),
        slot("dos@dos", uid="db", done=done),
        service("gone", attrs.evolve(DB, name="gone")),
        slot(None, uid="gone", wanted=False),
    ):
        view.merge_record(record)
    view.merge_document(
        document(
            "dos@dos", containers=(container("dos@dos", 0, uid="db", generation=7),)
        )
    )
    assert awaited(view, APP) == ("" if done else "db")


def test_one_that_crashes_while_its_master_is_away_waits_if_all_end_with_that() -> None:
    for policy, waits in ((MASTER, True), (None, False)):
        world = shop(group_policy=policy)
        uno = world["uno@uno"]
        uno.set_health(of(world, "db"), Health.STARTING)
        uno.exit(of(world, "app"), 1)
        world.run(5)
        assert states(world)["app"] is (State.BACKOFF if waits else State.RUNNING)
        uno.set_health(of(world, "db"), Health.HEALTHY)
        world.run_until(both_run(world))


def test_what_waits_for_its_turn_and_is_removed_is_forgotten() -> None:
    world = shop(group_policy=MASTER)
    uno = world["uno@uno"]
    uno.set_health(of(world, "db"), Health.STARTING)
    uno.exit(of(world, "app"), 1)
    world.run(3)
    uno.ask(ev.RemoveAsked(operation="r1", uid="app"))
    world.run(3)
    uno.set_health(of(world, "db"), Health.HEALTHY)
    world.run(3)
    assert states(world) == {"db": State.RUNNING}


def test_a_master_that_finds_no_room_holds_up_nobody() -> None:
    world = shop(attrs.evolve(DB, cpus=3.0))
    uno = world["uno@uno"]
    uno.ask(ev.ScaleAsked(operation="more", uid="db", replicas=2))
    add(uno, APP, "app")
    world.run(3)
    assert states(world) == {"db": State.RUNNING, "app": State.RUNNING}


# The end of one


@pytest.mark.parametrize(
    ("policy", "ends", "falls"),
    [
        (None, "db", False),
        (GroupPolicy.ONE_FOR_ONE, "app", False),
        (MASTER, "app", False),
        (MASTER, "db", True),
        (ONE, "app", True),
        (ONE, "db", True),
    ],
)
def test_whether_the_others_end_with_one_and_begin_again(
    policy: GroupPolicy | None, ends: str, falls: bool
) -> None:
    world = shop(group_policy=policy)
    uno = world["uno@uno"]
    (other,) = {"db", "app"} - {ends}
    ids = of(world, other).id
    uno.journal.clear()
    uno.exit(of(world, ends), 3)
    assert (states(world)[other] is State.STOPPING) is falls
    world.run_until(both_run(world))
    assert of(world, ends).restarts == 1
    assert of(world, other).restarts == 0
    assert of(world, other).id == ids
    begun = [e.service for e in uno.journal if e.kind in ("started", "restarted")]
    assert begun == (["db", "app"] if falls else [ends])


def test_why_one_ended_leads_to_the_one_that_ended_first() -> None:
    world = shop(group_policy=MASTER)
    uno = world["uno@uno"]
    uno.exit(of(world, "db"), 3)
    name = of(world, "db").name
    stopping = next(e for e in uno.journal if e.kind == "stopping")
    assert stopping.text.endswith(f"stopping: {name} of its group ended: exit code 3")
    by_id = {entry.id: entry for entry in uno.journal}
    assert by_id[stopping.cause].text == f"{name}: backoff: exit code 3"


def test_all_end_for_good_with_one_that_is_not_started_again() -> None:
    world = shop(
        attrs.evolve(DB, restart_count=1),
        APP,
        attrs.evolve(APP, name="log"),
        group_policy=MASTER,
    )
    uno = world["uno@uno"]
    uno.exit(of(world, "db"), 3)
    world.run(0.15)  # app and log have begun to stop
    uno.exit(of(world, "log"), 1)
    world.run_until(lambda: set(states(world).values()) == {State.RUNNING})
    uno.exit(of(world, "log"), 1)  # and it waits to be started again
    uno.exit(of(world, "db"), 3)
    world.run(30)
    assert set(states(world).values()) == {State.FAILED}
    name = of(world, "db").name
    for other in ("app", "log"):
        reason = of(world, other).reason
        assert reason == f"{name} of its group ended: exit code 3, restarted 1 times"
    uno.ask(ev.RestartAsked(operation="op", name=name))
    world.run_until(lambda: set(states(world).values()) == {State.RUNNING})


@pytest.mark.parametrize(("limit", "then"), [(1, State.FAILED), (0, State.RUNNING)])
def test_one_that_is_stopped_meanwhile_ends_with_it_too(
    limit: int, then: State
) -> None:
    world = shop(attrs.evolve(DB, restart_count=limit), APP, group_policy=ONE)
    uno = world["uno@uno"]
    uno.stop_s = 3.0
    uno.exit(of(world, "db"), 3)
    world.run_until(lambda: states(world)["db"] is State.RUNNING)
    assert states(world)["app"] is State.STOPPING
    uno.exit(of(world, "db"), 3)
    world.run(10)
    assert set(states(world).values()) == {then}


def test_one_that_stops_anyhow_is_not_stopped_for_its_group() -> None:
    world = shop(group_policy=ONE)
    uno = world["uno@uno"]
    uno.stop_s = 2.0
    uno.ask(ev.RemoveAsked(operation="r", uid="app"))
    uno.exit(of(world, "db"), 3)
    world.run(5)
    assert states(world) == {"db": State.RUNNING}


def test_what_runs_once_does_not_run_again_with_its_group() -> None:
    world = shop(DB, attrs.evolve(APP, restart=Restart.NEVER), group_policy=ONE)
    uno = world["uno@uno"]
    uno.exit(of(world, "db"), 3)
    world.run(10)
    assert states(world) == {"db": State.RUNNING, "app": State.FAILED}


def test_a_job_that_is_done_ends_nothing_and_one_that_fails_all() -> None:
    for code, then in ((0, State.RUNNING), (2, State.FAILED)):
        world = shop(DB, attrs.evolve(APP, restart=Restart.NEVER), group_policy=ONE)
        world["uno@uno"].exit(of(world, "app"), code)
        world.run(10)
        assert states(world) == {"db": then, "app": State.EXITED}


def test_one_that_is_being_started_is_stopped_once_it_runs() -> None:
    world = shop(group_policy=MASTER)
    uno = world["uno@uno"]
    uno.exit(of(world, "app"), 1)
    world.run_until(lambda: states(world)["app"] is State.STARTING)
    uno.exit(of(world, "db"), 1)
    world.run_until(lambda: states(world)["app"] is State.STOPPING)
    world.run_until(both_run(world))
    assert (of(world, "db").restarts, of(world, "app").restarts) == (1, 1)


def test_one_whose_start_fails_as_its_group_ends_is_not_stopped_twice() -> None:
    world = shop(group_policy=MASTER)
    uno = world["uno@uno"]
    uno.exit(of(world, "app"), 1)
    uno.engine.broken = "it is busy"
    world.run_until(lambda: states(world)["app"] is State.STARTING)
    uno.exit(of(world, "db"), 1)
    world.run(1)
    uno.engine.broken = ""
    world.run_until(both_run(world))


@pytest.mark.parametrize("policy", [MASTER, ONE])
def test_an_instance_on_trial_ends_nobody(policy: GroupPolicy) -> None:
    """Nor the one before it: an update that fails leaves all as it was."""
    world = shop(group_policy=policy)
    uno = world["uno@uno"]
    before = [c.id for c in uno.machine.view.containers()]
    for uid in ("db", "app"):
        spec = uno.machine.view.spec(uid)
        assert spec is not None
        new = attrs.evolve(spec, image="broken")
        uno.ask(ev.UpdateAsked(operation=f"update {uid}", uid=uid, service=new))

        def broken(uid: str = uid) -> list[Container]:
            held = uno.machine.view.instances(uid)
            return [c for c in held if c.image == "broken" and c.is_up]

        world.run_until(broken)
        uno.exit(broken()[0], 1)
        world.run(20)
        assert [c.id for c in uno.machine.view.containers()] == before
        assert both_run(world)()


@pytest.mark.parametrize(
    ("restart", "then"),
    [
        (Restart.ALWAYS, {"db": State.RUNNING, "app": State.RUNNING}),
        (Restart.ON_FAILURE, {"db": State.RUNNING, "app": State.RUNNING}),
        (Restart.NEVER, {"db": State.EXITED, "app": State.FAILED}),
    ],
)
def test_one_that_ended_while_its_node_was_away_ends_its_group_then(
    restart: Restart, then: dict[str, State]
) -> None:
    slave = attrs.evolve(DB, group_role=GroupRole.SLAVE, restart=restart)
    master = attrs.evolve(APP, group_role=GroupRole.MASTER)
    world = shop(slave, master, group_policy=ONE)
    uno = world["uno@uno"]
    world.run_until(both_run(world))
    uno.kill()
    name = of(world, "db").name
    held = uno.engine.containers[name]
    uno.engine.containers[name] = attrs.evolve(held, running=False, exit_code=3)
    uno.journal.clear()
    uno.boot(alone=True)
    world.run(20)
    assert states(world) == then
    why = f"stopping: {name} of its group ended: exit code 3"
    assert sum(entry.text.endswith(why) for entry in uno.journal) == 1


def test_where_all_have_ended_while_their_node_was_away_none_ends_again() -> None:
    world = shop(group_policy=ONE)
    uno = world["uno@uno"]
    uno.kill()
    uno.engine.containers = {
        name: attrs.evolve(held, running=False, exit_code=137)
        for name, held in uno.engine.containers.items()
    }
    uno.journal.clear()
    uno.boot(alone=True)
    world.run_until(both_run(world))
    assert told(uno, "stopping") == []


def test_an_instance_on_trial_that_ends_with_its_group_has_not_failed() -> None:
    world = shop(group_policy=MASTER)
    uno = world["uno@uno"]
    spec = uno.machine.view.spec("app")
    assert spec is not None
    new = attrs.evolve(spec, image="better")
    uno.ask(ev.UpdateAsked(operation="up", uid="app", service=new))

    def images() -> list[str]:
        return [c.image for c in uno.machine.view.instances("app") if c.is_ready]

    world.run_until(lambda: images() == ["better"])
    uno.exit(of(world, "db"), 3)
    world.run(30)
    assert images() == ["better"]
    update = uno.machine.view.service("app").update  # type: ignore[union-attr]
    assert update == UpdateStatus(state=UpdateState.COMPLETED)


def test_a_master_that_is_over_leaves_the_others_to_go_on() -> None:
    world = shop(attrs.evolve(DB, restart_count=1), APP)
    uno = world["uno@uno"]
    for _ in range(2):
        uno.exit(of(world, "db"), 3)
        world.run(1)
    for order in (ev.RestartAsked(operation="op", name=of(world, "app").name), None):
        uno.feed(order) if order else uno.exit(of(world, "app"), 1)
        world.run(5)
        assert states(world) == {"db": State.FAILED, "app": State.RUNNING}


def test_a_master_that_is_a_job_is_waited_for_until_it_has_done_it() -> None:
    world = shop(attrs.evolve(DB, restart=Restart.NEVER), APP)
    uno = world["uno@uno"]
    assert states(world) == {"db": State.RUNNING}
    uno.exit(of(world, "db"), 0)
    world.run_until(lambda: states(world).get("app") is State.RUNNING)


def test_what_an_operator_restarts_does_not_end_for_what_was_before() -> None:
    world = shop(attrs.evolve(DB, restart_count=1), group_policy=MASTER)
    uno = world["uno@uno"]
    uno.exit(of(world, "db"), 3)
    add(uno, APP, "app")
    world.run_until(both_run(world))
    uno.exit(of(world, "app"), 3)
    world.run_until(lambda: states(world)["app"] is State.STARTING)
    uno.exit(of(world, "db"), 3)
    uno.ask(ev.RestartAsked(operation="op", name=of(world, "db").name))
    world.run_until(both_run(world))
    world.run(5)
    assert both_run(world)()


# What an operator does


@pytest.mark.parametrize(
    ("policy", "asked", "all_of_them"),
    [
        (None, "db", False),
        (MASTER, "app", False),
        (MASTER, "db", True),
        (ONE, "app", True),
    ],
)
def test_a_restart_is_one_of_the_group_or_of_all_of_it(
    policy: GroupPolicy | None, asked: str, all_of_them: bool
) -> None:
    world = shop(group_policy=policy)
    uno = world["uno@uno"]
    uno.journal.clear()
    for _ in range(2):  # asked again it is not done again
        uno.ask(ev.RestartAsked(operation="op1", name=of(world, asked).name))
    world.run_until(both_run(world))
    begun = [e.service for e in uno.journal if e.kind in ("started", "restarted")]
    assert begun == (["db", "app"] if all_of_them else [asked])


def test_a_restart_of_all_begins_no_job_again() -> None:
    job = attrs.evolve(APP, name="job", restart=Restart.NEVER)
    once = attrs.evolve(APP, name="once", restart=Restart.ON_FAILURE)
    world = shop(DB, APP, job, once, group_policy=ONE)
    uno = world["uno@uno"]
    uno.exit(of(world, "once"), 0)
    before = {name: of(world, name) for name in ("job", "once")}
    uno.ask(ev.RestartAsked(operation="op1", name=of(world, "app").name))
    world.run(3)
    assert {name: of(world, name) for name in before} == before
    assert (of(world, "db").operation, of(world, "app").operation) == ("op1", "op1")


@pytest.mark.parametrize(
    ("policy", "left"), [(MASTER, set()), (None, {"app"})], ids=["all", "one"]
)
def test_to_stop_the_last_of_one_ends_its_group_if_that_is_its_policy(
    policy: GroupPolicy | None, left: set[str]
) -> None:
    world = shop(group_policy=policy)
    uno = world["uno@uno"]
    for _ in range(2):
        uno.ask(ev.StopAsked(operation="op", uid="db", slot=0, generation=1))
    world.run(3)
    assert set(states(world)) == left
    assert {r.uid for r in uno.machine.view.services()} == left


def test_what_is_removed_or_given_up_ends_nothing_else() -> None:
    world = shop(group_policy=ONE)
    uno = world["uno@uno"]
    uno.ask(ev.RemoveAsked(operation="r", uid="app"))
    world.run(3)
    assert states(world) == {"db": State.RUNNING}
    assert of(world, "db").restarts == 0


# Without a majority


@pytest.mark.parametrize(
    ("policy", "state"),
    [(None, State.RUNNING), (MASTER, State.BACKOFF), (ONE, State.BACKOFF)],
    ids=["apart", "master_kills_all", "one_kills_all"],
)
def test_a_master_that_is_stopped_without_a_majority_has_ended_for_its_group(
    policy: GroupPolicy | None, state: State
) -> None:
    world = World("uno@uno", "dos@dos", "tres@tres")
    careful = attrs.evolve(DB, on_partition=OnPartition.MAJORITY)
    for member in (careful, APP):
        spec = attrs.evolve(member, group_policy=policy)
        add(world["uno@uno"], spec, spec.name)
    world.run(10)
    slot = world["uno@uno"].machine.view.slot("db", 0)
    assert slot is not None
    assert slot.node is not None
    alone = world[slot.node]
    cut(world, slot.node)
    world.run(30)
    held = {c.service: c for c in alone.machine.view.containers(slot.node)}
    assert {name: c.state for name, c in held.items()} == {"app": state}
    if policy is not None:
        assert "of its group ended: no majority of the nodes" in held["app"].reason
    world.cut.clear()
    world.run(30)
    assert len(world.running("db")) == 1
    assert world.running("app") == world.running("db")


def test_a_job_that_failed_is_waited_for_after_its_node_was_away_too() -> None:
    world = shop(attrs.evolve(DB, restart=Restart.NEVER, auto_remove=True), APP)
    uno = world["uno@uno"]
    uno.exit(of(world, "db"), 1)
    world.run(3)
    del uno.engine.containers[of(world, "db").name]
    uno.kill()
    uno.boot(alone=True)
    world.run(20)
    assert states(world) == {"db": State.EXITED}
