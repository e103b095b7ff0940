"""Taking nodes out where it does not go smoothly: each verb ends, and says why."""

from __future__ import annotations

import asyncio
from pathlib import Path

import attrs
import pytest

from tests.fake_cluster import (
    FAST,
    QUICK_TO_JUDGE,
    WEB,
    FakeCluster,
    bare,
    eventually,
    fake_cluster,
    statuses,
)
from veo_shell.core.model import (
    Container,
    Health,
    HealthCheck,
    HealthKind,
    NodeInfo,
    Restart,
    Status,
)
from veo_shell.edge.fake_engine import FakeEngine
from veo_shell.errors import ServiceError, UnknownNode

ON_DOS = attrs.evolve(WEB, hosts=("dos@dos",))
MS = 1_000_000
CHECK = HealthCheck(
    kind=HealthKind.SHELL, cmd=("true",), interval_ns=MS, timeout_ns=MS, retries=1
)
CHECKED = attrs.evolve(WEB, health_check=CHECK)
IMPATIENT = attrs.evolve(FAST, handover_s=0.5, begin_s=30.0, patience_s=1.0)
NO_IMAGE = "nginx:latest: cannot be pulled: no such image"


def row_of(cluster: FakeCluster, name: str, on: str = "uno") -> NodeInfo:
    """Return what a node tells of another."""
    rows = {row.node: row for row in cluster[on].node_monitor.nodes()}
    return rows[f"{name}@{name}"]


def bare_engines(*names: str) -> dict[str, FakeEngine]:
    """Return engines that hold no image and can have none."""
    return {name: FakeEngine("veo", f"{name}@{name}", images=[]) for name in names}


async def run_checked(cluster: FakeCluster) -> tuple[Container, str, str]:
    """Have a healthy container; return it, whose it is, and the other node.

    On the other it would not become healthy by itself.
    """
    container = bare(await cluster["uno"].container_sup.add_service(CHECKED))
    source = container.node.partition("@")[0]
    cluster.engines[source].set_health(container.id, Health.HEALTHY)
    (container,) = await cluster.ready(1)
    return container, source, "dos" if source == "uno" else "uno"


# What cannot start elsewhere


async def test_drain_tells_what_could_not_start_elsewhere_and_it_runs_on(
    tmp_path: Path,
) -> None:
    names, engines = ("uno", "dos", "tres"), bare_engines("uno", "tres")
    async with fake_cluster(
        tmp_path, *names, timing=IMPATIENT, engines=engines
    ) as cluster:
        monitor = cluster["uno"].node_monitor
        await cluster["uno"].node_monitor.drain("tres")
        await cluster["uno"].node_monitor.drain("uno")
        container = bare(await cluster["uno"].container_sup.add_service(WEB))
        await monitor.undrain("tres")
        await monitor.undrain("uno")
        drained = await monitor.drain("dos")
        assert drained.warning.startswith("web slot 0 stays on dos@dos: ")
        for other in ("uno@uno", "tres@tres"):
            assert f"{other} could not take it over: {NO_IMAGE}" in drained.warning
        assert drained.containers == (container,)
        assert await cluster.ready(1) == [container]
        row = row_of(cluster, "dos", "tres")
        assert (row.drained, row.stays) == (True, drained.warning)
        told = [entry.text for entry in await cluster["uno"].journal.history()]
        assert any(f"and is taken back: {container.name} stays" in t for t in told)
        with pytest.raises(ServiceError, match="dos@dos is drained but for this"):
            await monitor.remove_node("dos")
        assert await cluster.ready(1) == [container]


async def test_a_drain_goes_on_with_the_next_node(tmp_path: Path) -> None:
    names, engines = ("uno", "dos", "tres"), bare_engines("tres")
    async with fake_cluster(
        tmp_path, *names, timing=IMPATIENT, engines=engines
    ) as cluster:
        monitor = cluster["uno"].node_monitor
        full = attrs.evolve(WEB, name="full", cpus=1.0, hosts=("uno@uno",))
        await cluster["uno"].container_sup.add_service(full)  # tres is first
        await monitor.drain("tres")
        two = attrs.evolve(WEB, hosts=("dos@dos", "tres@tres"))
        await cluster["uno"].container_sup.add_service(two)
        anywhere = attrs.evolve(WEB, name="any", cpus=1.0)
        moving = await cluster["uno"].container_sup.add_service(anywhere)
        assert moving.node == "dos@dos"
        await monitor.undrain("tres")
        drained = await monitor.drain("dos")
        assert [c.service for c in drained.containers] == ["web"]
        assert {(c.service, c.node) for c in await cluster.ready(3)} == {
            ("full", "uno@uno"),
            ("any", "uno@uno"),
            ("web", "dos@dos"),
        }


async def test_rebalance_tells_what_could_not_move(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno", timing=IMPATIENT) as cluster:
        uno = cluster["uno"]
        await uno.container_sup.add_service(attrs.evolve(WEB, replicas=4))
        before = await cluster.ready(4)
        cluster.add("dos", bare_engines("dos")["dos"])
        await cluster.boot("dos", "uno")
        await cluster.joined()
        moved = await uno.node_monitor.rebalance()
        assert (moved.what, moved.copies) == ("1 begun, 0 moved", 2)
        assert moved.warning == f"dos@dos: {NO_IMAGE}"
        assert await cluster.ready(4) == before


async def test_rebalance_tells_what_it_began(tmp_path: Path) -> None:
    """It said that there was nothing to move, on no disk."""
    async with fake_cluster(tmp_path, timing=IMPATIENT) as cluster:
        uno, slow = cluster["uno"], cluster.engines["dos"]
        await uno.node_monitor.drain("dos")
        for name in ("a", "b"):
            await uno.container_sup.add_service(
                attrs.evolve(WEB, name=name, replicas=4)
            )
        await cluster.ready(8)
        await uno.node_monitor.undrain("dos")
        slow.hang()
        moved = await uno.node_monitor.rebalance()
        assert (moved.what, moved.copies) == ("2 begun, 0 moved", 2)
        assert moved.warning.count("begins on dos@dos (creating)") == 2
        slow.go_on()


async def test_rebalance_passes_over_what_has_changed_meanwhile(
    tmp_path: Path,
) -> None:
    """It ended there, and said that there was nothing to move."""
    ends = attrs.evolve(WEB, replicas=4, restart=Restart.ON_FAILURE)
    async with fake_cluster(tmp_path) as cluster:
        uno, dos = cluster["uno"], cluster["dos"]
        await uno.node_monitor.drain("uno")
        await cluster.add_coordinated_by("dos", ends)
        last = (await cluster.ready(4))[-1]
        await uno.node_monitor.undrain("uno")
        cluster.network.mute("127.0.0.2")
        cluster.engines["dos"].exit(last.id, 0)
        await eventually(lambda: len(dos.machine.answerable()) == 3)
        assert len(uno.machine.answerable()) == 4

        async def hear_again() -> None:
            await eventually(lambda: cluster.engines["uno"].containers)
            cluster.network.unmute("127.0.0.2")

        moved, _ = await asyncio.gather(uno.node_monitor.rebalance(), hear_again())
        assert moved.what == "2 moved"
        assert moved.warning == "slot 3 on dos@dos has changed meanwhile"


# What takes long


async def test_verbs_return_when_nothing_happens_any_more(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, timing=IMPATIENT) as cluster:
        uno = cluster["uno"]
        container, source, other = await run_checked(cluster)
        drained = await uno.node_monitor.drain(source)
        pending = f"still under way: web slot 0 begins on {other}@{other} (running"
        pending += ", its health check has not succeeded yet)"
        assert drained.warning == pending
        with pytest.raises(ServiceError, match="web slot 0 begins on"):
            await uno.node_monitor.remove_node(source)
        await uno.node_monitor.undrain(source)
        assert await cluster.ready(1) == [container]


async def test_scale_tells_what_is_still_under_way(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, timing=IMPATIENT) as cluster:
        uno, slow = cluster["uno"], cluster.engines["dos"]
        await cluster.run(ON_DOS)
        slow.hang()
        scaled = await uno.container_sup.scale("web", 2)
        assert scaled.warning == (
            "still under way: web slot 1 begins on dos@dos (creating)"
        )
        slow.go_on()
        await cluster.ready(2)


# Undrain


async def test_undrain_takes_back_what_has_not_moved_and_ends_the_drain(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path) as cluster:
        uno = cluster["uno"]
        container, source, other = await run_checked(cluster)
        ends: list[str] = []

        async def drain() -> None:
            with pytest.raises(ServiceError) as caught:
                await uno.node_monitor.drain(source)
            ends.append(str(caught.value))

        uno.spawn(drain(), "an operator")
        await eventually(lambda: cluster.engines[other].containers)
        await uno.node_monitor.undrain(source)
        await eventually(lambda: ends)
        assert ends == [
            f"{source}@{source} was undrained: what had not moved yet stays"
        ]
        await eventually(lambda: not cluster.engines[other].containers)
        assert await cluster.ready(1) == [container]


# Nodes that are away


async def test_a_node_that_is_away_is_not_waited_for(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        monitor = cluster["uno"].node_monitor
        await cluster.run(ON_DOS)
        await cluster.stop("dos")
        with pytest.raises(ServiceError) as caught:
            await monitor.remove_node("dos")
        assert str(caught.value) == (
            "dos@dos is paused, and its containers may run on: start it, or wait until "
            "it is dead; remove_node('dos@dos', force=True) has its work started "
            "elsewhere now, whatever still runs there"
        )
        assert not row_of(cluster, "dos").drained
        drained = await monitor.drain("dos")
        assert drained.warning.endswith(
            "; dos@dos is paused: its work moves when it is back, or is dead"
        )
        removed = await monitor.remove_node("dos", force=True)
        assert removed.what == "dos@dos is removed"
        assert list(statuses(cluster, "uno")) == ["uno@uno"]


async def test_one_that_falls_silent_is_removed_once_it_is_dead(
    tmp_path: Path,
) -> None:
    timing = attrs.evolve(QUICK_TO_JUDGE, dead_s=3.0)
    async with fake_cluster(tmp_path, timing=timing) as cluster:
        monitor = cluster["uno"].node_monitor
        await cluster.run(ON_DOS)
        await cluster.kill("dos")
        await eventually(lambda: statuses(cluster, "uno")["dos@dos"] is Status.SUSPECT)
        assert (await monitor.remove_node("dos")).what == "dos@dos is removed"
        with pytest.raises(UnknownNode):
            await monitor.drain("dos")


# Oneself, and the last one


async def test_a_node_answers_before_it_ends(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        dos = cluster["dos"]
        removed = await dos.node_monitor.remove_node("dos")
        assert removed.what == "dos@dos is removed"
        assert not dos.failed.done()
        await dos.failed


async def test_the_last_node_does_not_leave_its_services(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        uno = cluster["uno"]
        container = bare(await uno.container_sup.add_service(WEB))
        told = (
            "uno@uno is the last node that lives: nothing could take over web. `veo "
            "stop` ends the node and leaves its containers running; "
            "container_sup.remove_service ends a service"
        )
        for leaving in (
            uno.node_monitor.leave(),
            uno.node_monitor.remove_node("uno"),
            uno.node_monitor.remove_node("uno", force=True),
        ):
            with pytest.raises(ServiceError) as caught:
                await leaving
            assert str(caught.value) == told
        assert await cluster.ready(1) == [container]
        await uno.container_sup.remove_service("web")
        assert (await uno.node_monitor.leave()).what == "uno@uno leaves"
        await uno.failed
