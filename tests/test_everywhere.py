"""`mode: global` on whole nodes: one instance on every node that fits."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from tests.fake_cluster import WEB, FakeCluster, eventually, fake_cluster
from veo_shell.console import render
from veo_shell.core.model import Mode, Port, Restart, State, UpdateConfig
from veo_shell.edge.fake_engine import FakeEngine
from veo_shell.errors import NoSuitableNode, ServiceError, StartFailed

AGENT = attrs.evolve(WEB, name="agent", mode=Mode.GLOBAL, restart=Restart.ALWAYS)
BOTH = ["dos@dos", "uno@uno"]


def agents(cluster: FakeCluster) -> list[str]:
    """Return the nodes that run it, as often as each does."""
    return sorted(
        container.node
        for node in cluster.running()
        for container in node.container_sup.list_containers()
        if container.service == "agent" and container.is_up
    )


async def runs_on(cluster: FakeCluster, *nodes: str) -> None:
    """Wait until it runs on these nodes, once on each, and nowhere else."""
    await eventually(lambda: agents(cluster) == sorted(nodes))


async def test_one_runs_on_each_node_those_too_that_come_later(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        sup = cluster["dos"].container_sup
        added = await sup.add_service(AGENT)
        assert (added.state, added.warning, added.copies) == (State.RUNNING, "", 2)
        await runs_on(cluster, *BOTH)
        cluster.add("tres")
        await cluster.boot("tres", "uno")
        await runs_on(cluster, *BOTH, "tres@tres")
        where = cluster["uno"].node_monitor.where(AGENT)
        assert {c.reason for c in where} == {"it has its own (mode: global)"}
        assert "global" in render.text(sup.services())
        await sup.remove_service("agent")
        assert agents(cluster) == []


async def test_a_drained_node_loses_it_and_no_other_gets_two(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        await cluster["uno"].container_sup.add_service(AGENT)
        drained = await cluster["uno"].node_monitor.drain("dos")
        assert (drained.warning, drained.containers) == ("", ())
        assert agents(cluster) == ["uno@uno"]
        await cluster["uno"].node_monitor.undrain("dos")
        await runs_on(cluster, *BOTH)
        assert (await cluster["dos"].node_monitor.rebalance()).what == "nothing to move"


async def test_it_is_not_scaled_stopped_or_added_again(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        sup = cluster["uno"].container_sup
        await sup.add_service(AGENT)
        once = r"^agent runs once on every node that fits \(mode: global\)"
        with pytest.raises(ServiceError, match=f"{once}: `hosts`, "):
            await sup.scale("agent", 3)
        with pytest.raises(ServiceError, match=f"{once}: it would be back. Restart it"):
            await sup.stop(sup.cloud_containers()[0])
        with pytest.raises(ServiceError, match=f"{once}: there is none to add"):
            await sup.add_service(AGENT)
        assert agents(cluster) == BOTH
        assert "restarted" in (await sup.restart("agent")).what


async def test_where_it_fits_nowhere_it_waits_if_it_is_to(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        sup = cluster["uno"].container_sup
        spec = attrs.evolve(AGENT, roles=("edge",))
        with pytest.raises(NoSuitableNode, match="its role is master, not edge"):
            await sup.add_service(spec)
        assert sup.services() == []
        added = await sup.add_service(spec, queue=True)
        assert (added.state, "its role is" in added.reason) == (State.PENDING, True)
        await cluster["uno"].node_monitor.assign_role("dos", "edge")
        await runs_on(cluster, "dos@dos")
        one = [State.RUNNING]
        await eventually(lambda: [c.state for c in sup.cloud_containers()] == one)
        await cluster["uno"].node_monitor.assign_role("dos", "core")
        await runs_on(cluster)


async def test_what_waited_is_told_by_what_runs_once_it_fits(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        sup = cluster["uno"].container_sup
        spec = attrs.evolve(AGENT, roles=("edge",))
        accepted = await sup.accepted(spec, queue=True)
        await cluster["uno"].node_monitor.assign_role("dos", "edge")
        await runs_on(cluster, "dos@dos")
        added = await sup.begun(spec, *accepted)
        assert (added.state, added.node, added.warning) == (State.RUNNING, BOTH[0], "")


async def test_what_starts_nowhere_is_withdrawn_everywhere(tmp_path: Path) -> None:
    engines = {n: FakeEngine("veo", f"{n}@{n}", images=[]) for n in ("uno", "dos")}
    async with fake_cluster(tmp_path, engines=engines) as cluster:
        sup = cluster["uno"].container_sup
        with pytest.raises(
            StartFailed, match=r"agent on .*: cannot be pulled: no such image"
        ):
            await sup.add_service(AGENT)
        assert (sup.services(), sup.cloud_containers()) == ([], [])


async def test_an_update_goes_through_all_and_a_rollback_back(tmp_path: Path) -> None:
    quick = UpdateConfig(monitor_ns=10**8)
    async with fake_cluster(tmp_path) as cluster:
        sup = cluster["uno"].container_sup
        await sup.add_service(AGENT)
        newer = attrs.evolve(AGENT, image="nginx:2", update=quick)
        written = await sup.update_service("agent", newer)
        assert [c.image for c in written.containers] == ["nginx:2"] * 2
        assert agents(cluster) == BOTH
        back = await sup.rollback("agent")
        assert {c.image for c in back.containers} == {"nginx:latest"}
        only = attrs.evolve(newer, hosts=("uno@uno",))
        await sup.update_service("agent", only)
        await runs_on(cluster, "uno@uno")


async def test_a_file_has_it_run_everywhere_and_nothing_is_left_to_do(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path) as cluster:
        sup = cluster["uno"].container_sup
        plan = await sup.plan([AGENT])
        assert plan.steps[0].nodes == ("dos@dos", "uno@uno")
        assert (await sup.apply([AGENT])).done == ("agent added",)
        cluster.add("tres")
        await cluster.boot("tres", "uno")
        await runs_on(cluster, *BOTH, "tres@tres")
        assert (await sup.plan([AGENT])).changing == ()
        two = attrs.evolve(AGENT, mode=Mode.REPLICATED, replicas=2)
        assert (await sup.apply([two])).done == ("agent changed",)
        assert len(agents(cluster)) == 2
        assert (await sup.apply([AGENT])).done == ("agent changed",)
        await runs_on(cluster, *BOTH, "tres@tres")
        assert (await sup.apply([AGENT])).done == ()


async def test_a_node_that_is_lost_keeps_its_own_and_nobody_waits_for_it(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path, "uno", "dos", "tres") as cluster:
        sup = cluster["uno"].container_sup
        await sup.add_service(AGENT)
        (loss,) = sup.if_lost("dos").moves
        assert loss.reason == "it is not moved (mode: global, each node has its own)"
        await cluster.kill("dos")
        await eventually(lambda: len(sup.cloud_containers()) == 2)
        assert (await sup.apply([AGENT])).done == ()
        removed = await cluster["uno"].node_monitor.remove_node("dos")
        assert removed.warning == ""
        uid, view = sup.cloud_containers()[0].uid, cluster["uno"].machine.view
        await eventually(
            lambda: [slot.wanted for slot in view.slots(uid)].count(True) == 2
        )


async def test_one_that_is_full_gets_its_own_when_there_is_room(tmp_path: Path) -> None:
    port = Port(name="http", container_port=80, host_port=8080)
    taker = attrs.evolve(WEB, name="taker", ports=(port,))
    async with fake_cluster(tmp_path) as cluster:
        sup = cluster["uno"].container_sup
        first = await sup.add_service(taker)
        await sup.add_service(attrs.evolve(AGENT, ports=(port,)))
        (other,) = set(BOTH) - {first.node}
        assert agents(cluster) == [other]
        await sup.remove_service("taker")
        await runs_on(cluster, *BOTH)
