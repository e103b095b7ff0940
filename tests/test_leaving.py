"""Nodes told to leave at the same time: somebody stays who knows the services."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.fake_cluster import (
    FAST,
    QUICK_TO_JUDGE,
    WEB,
    FakeCluster,
    eventually,
    fake_cluster,
)
from veo_shell.core.model import OnPartition, Status, Written
from veo_shell.core.timing import Timing
from veo_shell.edge.fake_engine import FakeEngine
from veo_shell.errors import Removed, ServiceError, VeoError
from veo_shell.node import Node


async def at_once(*verbs: Coroutine[Any, Any, Any]) -> list[str]:
    """Let several operators act at the same time; return what each is told."""
    told = await asyncio.gather(*verbs, return_exceptions=True)
    assert all(isinstance(t, VeoError) or hasattr(t, "what") for t in told), told
    return [str(getattr(one, "what", one)) for one in told]


def staying(cluster: FakeCluster, *names: str) -> list[str]:
    """Return which nodes neither ended nor are about to."""
    nodes = {name: cluster[name] for name in names}
    return [
        name
        for name, node in nodes.items()
        if not (node.failed.done() or node.machine.is_leaving)
    ]


async def knows_the_service(cluster: FakeCluster, *names: str) -> list[str]:
    """Wait until a service runs once on those that stay; return their names."""
    left = staying(cluster, *names)
    assert left
    await cluster.ready(1, *left)
    assert staying(cluster, *names) == left
    for name in left:
        assert [r.service for r in cluster[name].machine.view.services()] == [WEB]
    return left


async def test_two_nodes_told_to_leave_at_once_do_not_both(tmp_path: Path) -> None:
    """Both ended, and set aside what was known of the services."""
    async with fake_cluster(tmp_path) as cluster:
        uno, dos = cluster["uno"], cluster["dos"]
        await uno.container_sup.add_service(WEB)
        await cluster.ready(1)
        told = await at_once(uno.node_monitor.leave(), dos.node_monitor.leave())
        assert await knows_the_service(cluster, "uno", "dos")
        refused = [text for text in told if "nothing could take over web" in text]
        assert refused
        if len(refused) == 2:  # neither was sure of the other: one at a time, then
            await dos.node_monitor.leave()
        assert len(await knows_the_service(cluster, "uno", "dos")) == 1


async def test_two_nodes_removed_at_once_are_not_both(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        uno, dos = cluster["uno"], cluster["dos"]
        await uno.container_sup.add_service(WEB)
        await cluster.ready(1)
        told = await at_once(
            uno.node_monitor.remove_node("dos", force=True),
            dos.node_monitor.remove_node("uno", force=True),
        )
        assert any("nothing could take over web" in text for text in told), told
        for name in staying(cluster, "uno", "dos"):
            assert any(f"{name}@{name} is drained: undrain it" in t for t in told)
            await cluster[name].node_monitor.undrain(name)
        assert await knows_the_service(cluster, "uno", "dos")


async def test_of_three_told_to_leave_at_once_one_takes_over(tmp_path: Path) -> None:
    names = ("uno", "dos", "tres")
    async with fake_cluster(tmp_path, *names) as cluster:
        uno, dos, tres = (cluster[name] for name in names)
        await uno.container_sup.add_service(WEB)
        await cluster.ready(1)
        told = await at_once(
            uno.node_monitor.leave(),
            dos.node_monitor.remove_node("tres", force=True),
        )
        assert told == ["uno@uno leaves", "tres@tres is removed"]
        await eventually(lambda: uno.failed.done() and tres.failed.done())
        assert await knows_the_service(cluster, *names) == ["dos"]


class SlowToStop(FakeEngine):
    """One that stops containers while its gate is open."""

    def __init__(self, cluster: str, node: str) -> None:
        super().__init__(cluster, node)
        self.gate = asyncio.Event()

    async def discard(self, container_id: str, timeout_s: float) -> None:
        await self.gate.wait()
        await super().discard(container_id, timeout_s)


THREE = ("uno", "dos", "tres")


@contextlib.asynccontextmanager
async def majority_service_on_tres(
    tmp_path: Path, slow: SlowToStop, timing: Timing = FAST
) -> AsyncIterator[tuple[FakeCluster, list[int]]]:
    """Have a service that only tres runs; note of how many containers there were."""
    most = attrs.evolve(WEB, on_partition=OnPartition.MAJORITY)
    timing = attrs.evolve(timing, patience_s=0.5)
    async with fake_cluster(
        tmp_path, *THREE, timing=timing, engines={"tres": slow}
    ) as cluster:
        uno, dos = cluster["uno"], cluster["dos"]
        await at_once(uno.node_monitor.drain("uno"), uno.node_monitor.drain("dos"))
        await uno.container_sup.add_service(most)
        assert (await cluster.ready(1))[0].node == "tres@tres"
        await at_once(uno.node_monitor.undrain("uno"), dos.node_monitor.undrain("dos"))
        counts: list[int] = []

        def look() -> None:
            held = [c for name in THREE for c in cluster.engines[name].containers]
            counts.append(len(held))

        with cluster.whenever(look):
            yield cluster, counts


async def heartbeats_later(cluster: FakeCluster, number: int) -> None:
    """Let some time pass in which all may act."""
    peer = cluster["uno"].machine.members.peer("dos@dos")
    assert peer is not None
    heard = peer.count
    await eventually(lambda: peer.count > heard + number)


async def test_a_majority_service_is_not_started_beside_what_a_removed_node_stops(
    tmp_path: Path,
) -> None:
    """It was: what was known of the node went before what ran there."""
    slow = SlowToStop("veo", "tres@tres")
    async with majority_service_on_tres(tmp_path, slow) as (cluster, counts):
        uno, dos, tres = (cluster[name] for name in THREE)

        async def stop_late() -> None:
            await eventually(lambda: tres.machine.is_leaving)
            await heartbeats_later(cluster, 10)
            slow.gate.set()

        removed, _ = await asyncio.gather(
            dos.node_monitor.remove_node("tres", force=True), stop_late()
        )
        assert removed.what == "tres@tres is removed"
        await cluster.ready(1, "uno", "dos")
        assert max(counts) == 1
        await tres.failed
        told = [e.text for e in await uno.journal.why("tres")]
        assert "tres@tres removed from the cluster by an operator" in told


@pytest.mark.parametrize("removed_before", [True, False])
async def test_nor_where_a_node_that_leaves_is_removed_besides(
    tmp_path: Path, removed_before: bool
) -> None:
    slow = SlowToStop("veo", "tres@tres")
    async with majority_service_on_tres(tmp_path, slow) as (cluster, counts):
        uno, dos, tres = (cluster[name] for name in THREE)

        async def stop_late() -> None:
            await heartbeats_later(cluster, 10)
            assert max(counts) == 1
            slow.gate.set()

        async def remove() -> Written:
            await eventually(partial(has_for, uno, "tres@tres", Status.LEFT))
            removed, _ = await asyncio.gather(
                uno.node_monitor.remove_node("tres", force=True), stop_late()
            )
            return removed

        first = (
            dos.node_monitor.remove_node("tres", force=True)
            if removed_before
            else tres.node_monitor.leave()
        )
        _, removed = await asyncio.gather(first, remove())
        assert removed.what == "tres@tres is removed"
        await cluster.ready(1, "uno", "dos")
        assert max(counts) == 1


async def test_nor_before_one_that_died_has_noticed_that_it_is_alone(
    tmp_path: Path,
) -> None:
    slow = SlowToStop("veo", "tres@tres")
    async with majority_service_on_tres(tmp_path, slow, QUICK_TO_JUDGE) as (cluster, _):
        uno = cluster["uno"]
        begun_s: list[float] = []

        def look() -> None:
            if any(cluster.engines[name].containers for name in ("uno", "dos")):
                begun_s.append(uno.clock.now())

        with cluster.whenever(look):
            for address in ("127.0.0.1", "127.0.0.2"):
                cluster.network.cut(address, "127.0.0.3")
            await eventually(partial(has_for, uno, "tres@tres", Status.DEAD))
            peer = uno.machine.members.peer("tres@tres")
            assert peer is not None
            dead_s = peer.since_s
            await uno.departure.remove("tres@tres")
            await cluster.ready(1, "uno", "dos")
        assert begun_s[0] - dead_s >= QUICK_TO_JUDGE.majority_s
        slow.gate.set()


async def test_a_removal_goes_on_without_its_console(tmp_path: Path) -> None:
    slow = SlowToStop("veo", "tres@tres")
    async with majority_service_on_tres(tmp_path, slow) as (cluster, _):
        uno, tres = cluster["uno"], cluster["tres"]
        removals: list[asyncio.Task[Any]] = []

        async def remove() -> Written:
            task = asyncio.current_task()
            assert task is not None
            removals.append(task)
            return await uno.node_monitor.remove_node("tres", force=True)

        async def hang_up() -> None:
            await eventually(partial(has_for, uno, "tres@tres", Status.LEFT))
            uno.abandon(*removals)
            await heartbeats_later(cluster, 10)
            slow.gate.set()

        removed, _ = await asyncio.gather(remove(), hang_up())
        assert removed.what == "tres@tres is removed"
        await tres.failed


async def test_who_is_told_late_that_a_node_does_not_leave_does_not_remove_it(
    tmp_path: Path,
) -> None:
    """A third one that hangs held up the refusals, and both were removed."""
    async with fake_cluster(tmp_path, *THREE) as cluster:
        uno, dos = cluster["uno"], cluster["dos"]
        await uno.container_sup.add_service(WEB)
        await cluster.ready(1)
        cluster.network.hang("127.0.0.3")
        told = await asyncio.gather(
            uno.departure.remove("dos@dos"),
            dos.departure.remove("uno@uno"),
            return_exceptions=True,
        )
        for error in told:
            assert isinstance(error, ServiceError)
            assert "says that it stays" in str(error)
        assert staying(cluster, "uno", "dos") == ["uno", "dos"]


async def test_who_does_not_hear_that_it_is_to_leave_is_not_removed(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path, *THREE, timing=QUICK_TO_JUDGE) as cluster:
        node = cluster["uno"].machine.situation.coordinator("node/uno@uno")
        assert node != "uno@uno"  # another would write that it is removed
        cluster.network.hang("127.0.0.1")
        with pytest.raises(ServiceError, match="does not hear that it is to leave"):
            await cluster["dos"].departure.remove("uno@uno")
        assert staying(cluster, *THREE) == list(THREE)


async def test_who_is_not_heard_takes_over_nothing(tmp_path: Path) -> None:
    """It said that it stays, with a view from before it was cut off."""
    async with fake_cluster(tmp_path, timing=QUICK_TO_JUDGE) as cluster:
        uno = cluster["uno"]
        cluster.network.cut("127.0.0.1", "127.0.0.2")
        await eventually(partial(has_for, uno, "dos@dos", Status.DEAD))
        await uno.container_sup.add_service(WEB)
        cluster.network.mute("127.0.0.1", "127.0.0.2")
        cluster.network.mend("127.0.0.1", "127.0.0.2")
        with pytest.raises(ServiceError, match="uno@uno is the last node that lives"):
            await uno.node_monitor.leave()


async def test_a_node_that_joined_afresh_is_no_outcast(tmp_path: Path) -> None:
    """One that was off while it was removed took who told it so for removed itself."""
    timing = attrs.evolve(QUICK_TO_JUDGE, left_s=1.0)
    async with fake_cluster(tmp_path, *THREE, timing=timing) as cluster:
        uno, dos, tres = (cluster[name] for name in THREE)
        await uno.node_monitor.remove_node("dos")
        await dos.failed
        await cluster.stop("dos")
        await cluster.kill("uno")
        await eventually(partial(has_for, tres, "uno@uno", Status.DEAD))
        cluster.lose_disk("dos")
        dos = await cluster.boot("dos", "tres")
        await tres.node_monitor.remove_node("uno")
        await eventually(lambda: dos.machine.view.head("uno@uno") is None)
        with pytest.raises(Removed):
            await cluster.boot("uno", "dos")


async def test_a_node_of_the_version_before_takes_over(tmp_path: Path) -> None:
    """It does not know the question."""
    async with fake_cluster(tmp_path, "uno") as cluster:
        cluster.add("dos")
        dos = cluster.make("dos", "uno")
        del dos.peer_words["coordinator"]
        await dos.start()
        await cluster.joined()
        await cluster["uno"].node_monitor.leave()
        await cluster["uno"].failed


async def test_why_leads_from_what_is_started_elsewhere_to_who_left(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path) as cluster:
        uno, dos = cluster["uno"], cluster["dos"]
        await uno.node_monitor.drain("dos")
        await uno.container_sup.add_service(WEB)
        await uno.node_monitor.undrain("dos")
        await uno.node_monitor.leave()
        await uno.failed
        await cluster.ready(1, "dos")
        told = [entry.text for entry in await dos.journal.why("web")]
        assert told[1:4] == [
            "uno@uno leaves the cluster",
            "uno@uno: left, it said that it leaves",
            "web: slot 0 placed on dos@dos",
        ]


async def test_where_all_are_drained_the_drain_says_who_still_has_the_work(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path) as cluster:
        uno, dos = cluster["uno"], cluster["dos"]
        await uno.container_sup.add_service(WEB)
        await cluster.ready(1)
        await at_once(uno.node_monitor.drain("uno"), dos.node_monitor.drain("dos"))
        (container,) = await cluster.ready(1)
        drained = await dos.node_monitor.drain(container.node)
        one = f"no other node takes work: 1 instance stays on {container.node}"
        assert drained.warning == one


def has_for(node: Node, other: str, status: Status) -> bool:
    return node.machine.members.status(other) is status


async def test_two_that_removed_each_other_apart_both_keep_the_services(
    tmp_path: Path,
) -> None:
    """Each was told by the other that it was removed, and set its state aside."""
    async with fake_cluster(tmp_path, timing=QUICK_TO_JUDGE) as cluster:
        uno, dos = cluster["uno"], cluster["dos"]
        await uno.container_sup.add_service(WEB)
        await cluster.ready(1)
        cluster.network.cut("127.0.0.1", "127.0.0.2")
        for name, other in (("uno", "dos@dos"), ("dos", "uno@uno")):
            await eventually(partial(has_for, cluster[name], other, Status.DEAD))
            await cluster[name].node_monitor.remove_node(other)
            await eventually(partial(has_for, cluster[name], other, Status.UNKNOWN))
        await cluster.stop("uno")
        await cluster.stop("dos")
        cluster.network.mend("127.0.0.1", "127.0.0.2")
        uno, dos = cluster.make("uno", "dos"), cluster.make("dos", "uno")
        await asyncio.gather(uno.start(), dos.start())
        await cluster.ready(1, "uno")
        await cluster.ready(1, "dos")
