"""`container_monitor`: orders to the engine, what comes of them, adopting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.fake_cluster import (
    QUICK_TO_JUDGE,
    WEB,
    bare,
    eventually,
    fake_cluster,
    states,
    watching,
)
from veo_shell.core.commands import After
from veo_shell.core.events import EngineEvent, EngineListed
from veo_shell.core.model import (
    File,
    Health,
    HealthCheck,
    HealthKind,
    OnUnhealthy,
    Restart,
    State,
    Status,
)
from veo_shell.edge.fake_engine import FakeEngine, Program
from veo_shell.errors import (
    EngineError,
    EngineUnreachable,
    StartFailed,
    UnknownContainer,
)

ALWAYS = attrs.evolve(WEB, restart=Restart.ALWAYS)


async def test_state_is_that_of_now_by_record_name_and_id(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        container = await cluster.run(WEB)
        for name in ("uno", "dos"):
            monitor = cluster[name].container_monitor
            for what in (container, container.name, container.id):
                assert monitor.state(what) == container
        cluster.engines[container.node[:3]].exit(container.id, 1)
        state = cluster["uno"].container_monitor.state
        await eventually(lambda: state(container).restarts == 1)
        with pytest.raises(UnknownContainer, match="no container is called 'x'"):
            state("x")
        name = container.name
        before = f"{name[:-1]}{int(name[-1]) + 7}"
        with pytest.raises(UnknownContainer, match=f"{before}': {name} has its place"):
            state(before)


async def test_an_unhealthy_container_leaves_dns_and_comes_back(
    tmp_path: Path,
) -> None:
    check = HealthCheck(kind=HealthKind.SHELL, cmd=("true",))
    async with fake_cluster(tmp_path) as cluster:
        uno = cluster["uno"]
        service = attrs.evolve(
            WEB, hosts=("dos@dos",), health_check=check, on_unhealthy=OnUnhealthy.LEAVE
        )
        container = await uno.container_sup.add_service(service)
        assert container.health is Health.STARTING
        assert uno.machine.answerable() == []
        engine = cluster.engines["dos"]
        for health, count in ((Health.HEALTHY, 1), (Health.UNHEALTHY, 0)) * 2:
            engine.set_health(container.id, health)
            await cluster.ready(count)


async def test_an_engine_that_goes_away_and_comes_back(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        uno, engine = cluster["uno"], cluster.engines["uno"]
        add = uno.container_sup.add_service
        stays, ends, lost = [bare(await add(WEB)) for _ in range(3)]
        engine.go_away("restarting")
        engine.exit(ends.id, 137)  # nobody is told
        engine.remove(lost.id)
        assert len(uno.machine.answerable()) == 3
        engine.come_back()
        await eventually(
            lambda: engine.containers[ends.id].running and len(engine.containers) == 3
        )
        held = await cluster.ready(3)
        assert {c.restarts for c in held} == {0}  # it was the engine that ended them
        assert uno.container_monitor.state(stays.id) == stays
        assert uno.container_monitor.state(ends).id == ends.id
        assert uno.container_monitor.state(lost).id != lost.id
        assert len(engine.containers) == 3


async def test_what_may_run_once_is_not_run_again_by_a_new_engine(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        uno, engine = cluster["uno"], cluster.engines["uno"]
        once = attrs.evolve(WEB, restart=Restart.NEVER)
        container = await uno.container_sup.add_service(once)
        engine.go_away("restarting")
        engine.exit(container.id, 137)
        engine.come_back()
        await eventually(lambda: states(uno) == [State.EXITED])
        assert uno.container_monitor.state(container).exit_code == 137


async def test_what_the_engine_fails_to_remove_is_tried_again(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        uno, engine = cluster["uno"], cluster.engines["uno"]
        await uno.container_sup.add_service(WEB)
        engine.fail_next("discard", EngineError("the disk is busy", status=500))
        removing = asyncio.get_running_loop().create_task(
            uno.container_sup.remove_service("web")
        )
        await eventually(lambda: next(uno.machine.view.containers()).reason)
        (container,) = uno.container_sup.list_containers()
        assert (container.state, container.reason) == (
            State.STOPPING,
            "the disk is busy",
        )
        assert not removing.done()
        await removing
        assert engine.containers == {}


async def test_what_was_removed_by_hand_is_made_anew(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        uno, engine = cluster["uno"], cluster.engines["uno"]
        before = await uno.container_sup.add_service(ALWAYS)
        engine.remove(before.id)
        await eventually(lambda: uno.container_monitor.state(before).restarts == 1)
        (held,) = engine.containers.values()
        assert held.id == uno.container_monitor.state(before).id != before.id


async def test_what_removes_itself_is_made_anew(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        uno, engine = cluster["uno"], cluster.engines["uno"]
        before = await uno.container_sup.add_service(
            attrs.evolve(ALWAYS, auto_remove=True)
        )
        engine.exit(before.id, 0)
        await eventually(lambda: uno.container_monitor.state(before).restarts == 1)
        assert list(engine.containers) == [uno.container_monitor.state(before).id]


async def test_the_delays_of_a_crash_loop_grow(tmp_path: Path) -> None:
    engine = FakeEngine("veo", "uno@uno", programs={("bad",): Program(exits=3)})
    async with fake_cluster(tmp_path, "uno", engines={"uno": engine}) as cluster:
        loop, uno = asyncio.get_running_loop(), cluster["uno"]
        begin = loop.time()
        container = await uno.container_sup.add_service(
            attrs.evolve(WEB, args=("bad",))
        )
        await eventually(lambda: uno.container_monitor.state(container).restarts >= 3)
        assert loop.time() - begin >= 0.1 + 0.2 + 0.4
        assert uno.container_monitor.state(container).exit_code == 3


async def test_a_later_timer_replaces_an_earlier_one(tmp_path: Path) -> None:
    """What crashed would be started again after 0.1 s."""
    loop, began_s = asyncio.get_running_loop(), list[float]()
    async with fake_cluster(tmp_path, "uno") as cluster:
        monitor, container = cluster["uno"].container_monitor, await cluster.run(WEB)

        def replace_the_timer() -> None:
            if monitor.state(container).state is State.BACKOFF and not began_s:
                began_s.append(loop.time())
                monitor.after(After(name=container.name, delay_s=0.5))

        with cluster.whenever(replace_the_timer):
            cluster.engines["uno"].exit(container.id, 1)
            await eventually(lambda: monitor.state(container).restarts == 1)
        assert loop.time() - began_s[0] >= 0.5


class FaultyEngine(FakeEngine):
    """An engine whose adapter has bugs."""

    async def create(
        self, name: str, config: Mapping[str, Any], files: Sequence[File] = ()
    ) -> str:
        raise RuntimeError("a bug")

    async def watch(self) -> AsyncGenerator[EngineEvent, None]:
        self.watched += 1
        yield EngineListed(containers=())
        if self.watched == 1:
            raise RuntimeError("another bug")
        await asyncio.Event().wait()

    watched = 0


async def test_a_fault_in_the_engines_adapter_is_told_and_outlived(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        await cluster.stop("uno")
        engine = FaultyEngine("veo", "uno@uno")
        node = cluster.make("uno", engine=engine)
        await node.start()
        await eventually(lambda: engine.watched == 2)
        assert "the engine's events cannot be followed" in cluster.errors[0]
        await eventually(lambda: not node.machine.own.engine_lost)
        with pytest.raises(StartFailed, match="a fault of VEO's: RuntimeError"):
            await node.container_sup.add_service(WEB)
        assert "RuntimeError: a bug" in cluster.errors[1]
        cluster.errors.clear()


async def test_an_engine_that_ends_its_events_is_listened_to_again(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        uno, engine = cluster["uno"], cluster.engines["uno"]
        container = await uno.container_sup.add_service(WEB)
        (old,) = engine._inboxes
        await engine.close()
        engine.come_back()
        await eventually(lambda: engine._inboxes and engine._inboxes[0] is not old)
        engine.exit(container.id, 1)
        await eventually(lambda: uno.container_monitor.state(container).restarts == 1)


# Adopting


async def test_a_node_started_again_adopts_what_runs(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        service = attrs.evolve(WEB, hosts=("uno@uno",))
        before = await cluster.run(service)
        await cluster.stop("uno")
        assert cluster.engines["uno"].containers[before.id].running
        assert cluster["dos"].machine.answerable() == [before]  # it only pauses
        await cluster.boot("uno")  # it knows its peers from its disk
        await cluster.joined()
        assert await cluster.ready(1) == [before]
        assert list(cluster.engines["uno"].containers) == [before.id]


@pytest.mark.parametrize("how", ["stop", "crash"])
@pytest.mark.parametrize("joins", [["uno"], []], ids=["told", "from its disk"])
async def test_the_peers_of_a_node_started_again_answer_for_it_all_the_time(
    tmp_path: Path, how: str, joins: list[str]
) -> None:
    """With the same container under the same port."""
    names = ("uno", "dos", "tres")
    async with fake_cluster(tmp_path, *names) as cluster:
        service = attrs.evolve(WEB, hosts=("dos@dos",))
        before = await cluster.run(service)
        answers = await cluster["tres"].dns_registry.records()
        cluster.network.open_port(before.address, before.ports[0].host_port)
        with watching(cluster, "uno", "tres") as seen:
            await getattr(cluster, how)("dos")
            await cluster.boot("dos", *joins)
            await cluster.joined()
            await cluster.answered([before])
        assert seen == [{"web": 1}]
        assert list(cluster.engines["dos"].containers) == [before.id]
        assert await cluster["tres"].dns_registry.records() == answers


async def test_a_node_alone_that_is_killed_adopts_what_runs(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        before = bare(await cluster["uno"].container_sup.add_service(WEB))
        await cluster.kill("uno")
        await cluster.boot("uno")
        assert await cluster.ready(1) == [before]
        assert cluster["uno"].container_sup.services() == [WEB]


async def test_what_ended_meanwhile_is_started_again(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        engine = cluster.engines["uno"]
        before = await cluster["uno"].container_sup.add_service(WEB)
        await cluster.stop("uno")
        engine.exit(before.id, 137)
        await cluster.boot("uno")
        (after,) = await cluster.ready(1)
        assert after.id == before.id


@pytest.mark.parametrize("rebooted", [True, False])
@pytest.mark.parametrize("ends", ["before its node", "after its node"])
async def test_what_obeys_its_hosts_shutdown_has_not_done_its_job(
    tmp_path: Path, ends: str, rebooted: bool
) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        engine = cluster.engines["uno"]
        job = attrs.evolve(WEB, restart=Restart.ON_FAILURE)
        before = await cluster["uno"].container_sup.add_service(job)
        if ends == "before its node":
            engine.exit(before.id, 0)
            await eventually(lambda: states(cluster["uno"]) == [State.EXITED])
        await cluster.stop("uno")
        if ends == "after its node":
            engine.exit(before.id, 0)
        if rebooted:
            cluster.host_boot = "boot 2"
        await cluster.boot("uno")
        if rebooted:
            (after,) = await cluster.ready(1)
            assert after.id == before.id
        else:
            assert states(cluster["uno"]) == [State.EXITED]


async def test_what_was_removed_meanwhile_is_not_kept(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, timing=QUICK_TO_JUDGE) as cluster:
        uno = cluster["uno"]
        await uno.container_sup.add_service(attrs.evolve(WEB, hosts=("dos@dos",)))
        await cluster.kill("dos")
        await eventually(lambda: uno.machine.members.status("dos@dos") is Status.DEAD)
        await uno.container_sup.remove_service("web")
        assert len(cluster.engines["dos"].containers) == 1
        await cluster.boot("dos", "uno")
        await eventually(lambda: not cluster.engines["dos"].containers)
        await eventually(lambda: states(uno) == [])


async def test_a_node_does_not_start_without_an_engine(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        await cluster.stop("uno")
        node = cluster.make("uno")
        cluster.engines["uno"].go_away("connection refused")
        with pytest.raises(EngineUnreachable, match="no Docker Engine answers at"):
            await node.start()
