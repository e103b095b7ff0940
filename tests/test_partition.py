"""A cluster cut in two and healed, whole nodes of it: one test for each policy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest

from tests.fake_cluster import (
    QUICK_TO_JUDGE,
    WEB,
    FakeCluster,
    eventually,
    fake_cluster,
    states,
    statuses,
    watching,
)
from veo_shell.core.model import (
    Container,
    Health,
    HealthCheck,
    HealthKind,
    OnPartition,
    OnUnhealthy,
    Restart,
    Service,
    State,
    Status,
)

NAMES = ("uno", "dos", "tres")
AVAILABLE, MAJORITY, KEEP = [
    attrs.evolve(WEB, on_partition=policy)
    for policy in (OnPartition.AVAILABLE, OnPartition.MAJORITY, OnPartition.KEEP)
]


def short(container: Container) -> str:
    """Return the name under which the cluster knows a container's node."""
    return container.node.partition("@")[0]


def others(container: Container) -> list[str]:
    """Return the nodes that do not run it."""
    return [name for name in NAMES if name != short(container)]


def running(cluster: FakeCluster) -> list[str]:
    """Return the nodes whose engines run a container, once for each."""
    return [
        name
        for name, engine in cluster.engines.items()
        for container in engine.containers.values()
        if container.running
    ]


@asynccontextmanager
async def three(folder: Path) -> AsyncIterator[FakeCluster]:
    """Have three nodes that all count where a majority is asked for."""
    async with fake_cluster(folder, *NAMES, timing=QUICK_TO_JUDGE) as cluster:
        views = [cluster[name].machine.view for name in NAMES]
        await eventually(lambda: all(len(view.voters()) == 3 for view in views))
        yield cluster


async def part(cluster: FakeCluster, name: str) -> None:
    """Cut one node from the others; wait until both sides hold the other dead."""
    rest = [other for other in NAMES if other != name]
    for other in rest:
        cluster.network.cut(cluster.addresses[name], cluster.addresses[other])
    dead = {(name, other) for other in rest} | {(other, name) for other in rest}
    await eventually(
        lambda: all(
            statuses(cluster, on)[f"{of}@{of}"] is Status.DEAD for on, of in dead
        )
    )


def mend(cluster: FakeCluster) -> None:
    """Heal the network."""
    for a in cluster.addresses.values():
        for b in cluster.addresses.values():
            cluster.network.mend(a, b)


# Available


async def test_available_runs_on_both_sides_and_once_again_when_healed(
    tmp_path: Path,
) -> None:
    async with three(tmp_path) as cluster:
        first = await cluster.run(AVAILABLE)
        rest = others(first)
        await part(cluster, short(first))
        (second,) = await cluster.ready(1, *rest)
        assert second.generation == first.generation + 1
        assert await cluster.ready(1, short(first)) == [first]
        with watching(cluster, *NAMES) as seen:
            mend(cluster)
            await cluster.joined()
            await cluster.answered([first])
        assert all(count["web"] >= 1 for count in seen)
        await eventually(lambda: running(cluster) == [short(first)])
        assert list(cluster.engines[short(first)].containers) == [first.id]
        for name in NAMES:
            (entry,) = await cluster[name].container_sup.last_heal()
            assert (entry.kind, entry.service, entry.slot) == ("healed", "web", 0)
            assert entry.text == (
                f"web: slot 0 healed: {first.name} stays, {second.name} ends"
            )
            assert entry.cause


async def test_the_healthy_one_stays_when_healed(tmp_path: Path) -> None:
    check = HealthCheck(kind=HealthKind.SHELL, cmd=("true",))
    async with three(tmp_path) as cluster:
        first = await cluster["uno"].container_sup.add_service(
            attrs.evolve(AVAILABLE, health_check=check, on_unhealthy=OnUnhealthy.LEAVE)
        )
        engine = cluster.engines[short(first)]
        engine.set_health(first.id, Health.HEALTHY)
        await cluster.ready(1)
        rest = others(first)
        await part(cluster, short(first))
        await eventually(lambda: len(running(cluster)) == 2)
        there = next(name for name in running(cluster) if name in rest)
        (held,) = cluster.engines[there].containers
        cluster.engines[there].set_health(held, Health.HEALTHY)
        engine.set_health(first.id, Health.UNHEALTHY)
        await cluster.ready(1, *rest)
        mend(cluster)
        await cluster.joined()
        await eventually(lambda: running(cluster) == [there])
        (stays,) = await cluster.ready(1)
        assert stays.id == held


async def test_what_was_removed_on_one_side_is_gone_from_both(tmp_path: Path) -> None:
    async with three(tmp_path) as cluster:
        first = await cluster.run(AVAILABLE)
        rest = others(first)
        await part(cluster, short(first))
        await cluster.ready(1, *rest)
        removed = await cluster[rest[0]].container_sup.remove_service("web")
        assert removed.copies == 2
        assert running(cluster) == [short(first)]
        mend(cluster)
        await eventually(lambda: running(cluster) == [])
        await cluster.joined()
        assert all(not cluster[name].container_sup.services() for name in NAMES)


async def test_what_each_side_was_told_stands_when_healed(tmp_path: Path) -> None:
    async with three(tmp_path) as cluster:
        await part(cluster, "uno")
        one = attrs.evolve(WEB, name="one")
        two = attrs.evolve(WEB, name="two")
        assert (await cluster["uno"].container_sup.add_service(one)).copies == 1
        assert (await cluster["dos"].container_sup.add_service(two)).copies == 2
        mend(cluster)
        await cluster.joined()
        held = await cluster.ready(2)
        assert sorted(c.service for c in held) == ["one", "two"]


# Majority


async def test_majority_moves_to_the_larger_side_and_never_runs_twice(
    tmp_path: Path,
) -> None:
    async with three(tmp_path) as cluster:
        first = await cluster.run(MAJORITY)
        most: set[int] = set()
        with cluster.whenever(lambda: most.add(len(running(cluster)))):
            await part(cluster, short(first))
            (second,) = await cluster.ready(1, *others(first))
            mend(cluster)
            await cluster.joined()
            await cluster.answered([second])
        assert most == {0, 1}
        assert running(cluster) == [short(second)]
        assert await cluster["uno"].container_sup.last_heal() == []


async def test_the_smaller_side_takes_no_majority_service(tmp_path: Path) -> None:
    async with three(tmp_path) as cluster:
        await part(cluster, "uno")
        sup = cluster["uno"].container_sup
        pending = await sup.add_service(MAJORITY, queue=True)
        assert pending.state is State.PENDING
        assert pending.reason.startswith(
            "dos@dos: no majority of the nodes is seen (on_partition: majority); "
        )
        mend(cluster)
        await cluster.joined()
        await cluster.ready(1)


async def test_a_majority_of_two_is_two(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, timing=QUICK_TO_JUDGE) as cluster:
        uno = cluster["uno"]
        await eventually(lambda: len(uno.machine.view.voters()) == 2)
        await uno.container_sup.add_service(
            attrs.evolve(MAJORITY, restart=Restart.ALWAYS, hosts=("uno@uno",))
        )
        await cluster.ready(1)
        await cluster.kill("dos")
        await eventually(lambda: running(cluster) == [])
        assert uno.machine.answerable() == []
        why = "no majority of the nodes is seen (on_partition: majority)"
        listed = uno.container_sup.cloud_containers
        await eventually(lambda: [c.reason for c in listed()] == [why])
        await cluster.boot("dos")
        await cluster.joined()
        await cluster.ready(1)


# Keep


async def test_keep_stays_where_it_is(tmp_path: Path) -> None:
    async with three(tmp_path) as cluster:
        first = await cluster.run(KEEP)
        rest = others(first)
        await part(cluster, short(first))
        (lost,) = cluster[rest[0]].container_sup.cloud_containers()
        assert (lost.state, lost.reason) == (
            State.PENDING,
            f"{first.node} is lost, on_partition: keep",
        )
        await cluster.ready(0, *rest)
        assert await cluster.ready(1, short(first)) == [first]
        mend(cluster)
        await cluster.joined()
        await cluster.answered([first])
        assert running(cluster) == [short(first)]


async def test_keep_is_moved_by_an_operator(tmp_path: Path) -> None:
    async with three(tmp_path) as cluster:
        first = await cluster.run(KEEP)
        rest = others(first)
        await cluster.kill(short(first))
        monitor = cluster[rest[0]].node_monitor
        lost = first.node
        await eventually(lambda: statuses(cluster, rest[0])[lost] is Status.DEAD)
        await monitor.remove_node(lost)
        (second,) = await cluster.ready(1, *rest)
        assert short(second) in rest


@pytest.mark.parametrize(
    "service", [AVAILABLE, MAJORITY, KEEP], ids=["available", "majority", "keep"]
)
async def test_a_job_is_run_once_whatever_the_policy(
    tmp_path: Path, service: Service
) -> None:
    job = attrs.evolve(service, restart=Restart.NEVER)
    async with three(tmp_path) as cluster:
        first = await cluster.run(job)
        rest = others(first)
        await cluster.kill(short(first))
        await eventually(lambda: statuses(cluster, rest[0])[first.node] is Status.DEAD)
        await eventually(lambda: states(cluster[rest[0]]) == [State.PENDING])
        (lost,) = cluster[rest[0]].container_sup.cloud_containers()
        assert lost.reason == f"{first.node} is lost, restart: never"
        assert running(cluster) == [short(first)]
