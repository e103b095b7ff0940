"""What is asked of, and done to, single containers, whichever node runs them."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import attrs
import pytest

from tests.fake_cluster import (
    FAST,
    WEB,
    FakeCluster,
    eventually,
    fake_cluster,
    watching,
)
from veo_shell.container_builder import get_config
from veo_shell.core.model import (
    Container,
    File,
    Health,
    HealthCheck,
    HealthKind,
    OnUnhealthy,
    Restart,
    Service,
    State,
    UpdateConfig,
)
from veo_shell.edge.fake_engine import FakeEngine, Program
from veo_shell.errors import EngineError, ServiceError, UnknownService, VeoError

MS, SECOND = 1_000_000, 1_000_000_000
CHECK = HealthCheck(
    kind=HealthKind.SHELL, cmd=("true",), interval_ns=MS, timeout_ns=MS, retries=1
)
CHECKED = attrs.evolve(WEB, health_check=CHECK, hosts=("dos@dos",))
TWO = attrs.evolve(WEB, replicas=2)
NO_ANSWER = "connection refused\n"


async def sick(cluster: FakeCluster, service: Service) -> Container:
    """Have a service's instance on dos be healthy, and then not; return it."""
    container = await cluster["uno"].container_sup.add_service(service)
    engine = cluster.engines["dos"]
    engine.set_health(container.id, Health.HEALTHY)
    await cluster.ready(1)
    engine.set_health(container.id, Health.UNHEALTHY, NO_ANSWER)
    return container


def one(cluster: FakeCluster) -> Container:
    [container] = cluster["uno"].container_sup.cloud_containers()
    return container


# Health


async def test_what_is_unhealthy_is_started_again_and_answered_once_healthy(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path) as cluster:
        container = await sick(cluster, CHECKED)
        await eventually(lambda: one(cluster).restarts == 1)
        await cluster.ready(0)
        assert one(cluster).health is Health.STARTING
        cluster.engines["dos"].set_health(container.id, Health.HEALTHY)
        assert [c.restarts for c in await cluster.ready(1)] == [1]
        told = [entry.text for entry in await cluster["uno"].journal.history()]
        assert f"{container.name}: unhealthy: connection refused" in told
        assert f"{container.name}: stopping: unhealthy: connection refused" in told


async def test_what_is_to_be_killed_when_unhealthy_has_failed_and_says_why(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path) as cluster:
        await sick(cluster, attrs.evolve(CHECKED, on_unhealthy=OnUnhealthy.KILL))
        await eventually(lambda: one(cluster).state is State.FAILED)
        reason = "unhealthy: connection refused (on_unhealthy: kill)"
        assert one(cluster).reason == reason
        assert not cluster.engines["dos"].containers[one(cluster).id].running


async def test_what_is_to_be_left_alone_says_what_its_check_said(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path) as cluster:
        await sick(cluster, attrs.evolve(CHECKED, on_unhealthy=OnUnhealthy.LEAVE))
        await eventually(lambda: one(cluster).state is State.UNHEALTHY)
        assert one(cluster).reason == "connection refused"
        await cluster.ready(0)


async def test_one_whose_stop_fails_is_stopped_all_the_same(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        engine = cluster.engines["dos"]
        engine.fail_next("stop", EngineError("internal error"))
        await sick(cluster, CHECKED)
        await eventually(lambda: one(cluster).restarts == 1)


async def test_the_health_of_each_instance_is_told_by_its_node(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        spec = attrs.evolve(TWO, health_check=CHECK, on_unhealthy=OnUnhealthy.LEAVE)
        sup = cluster["uno"].container_sup
        await sup.add_service(spec)
        await eventually(lambda: all(c.id for c in sup.cloud_containers()))
        first, second = sup.cloud_containers()
        for said in ("one\n", "two\n"):
            cluster.engines[first.node[:3]].set_health(first.id, Health.UNHEALTHY, said)
        rows = {row.name: row for row in await sup.health("web")}
        bad, good = rows[first.name], rows[second.name]
        assert (bad.health, bad.failing, bad.outputs) == (
            Health.UNHEALTHY,
            2,
            ("one", "two"),
        )
        assert bad.since_s >= 0
        assert (good.node, good.health, good.failing) == (
            second.node,
            Health.STARTING,
            0,
        )
        assert [r.name for r in await sup.health(second)] == [second.name]


async def test_of_a_node_that_does_not_answer_the_health_is_the_last_known(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path) as cluster:
        await cluster["uno"].container_sup.add_service(CHECKED)
        cluster.engines["dos"].fail_next("inspect", EngineError("it has a bad day"))
        [row] = await cluster["uno"].container_sup.health("web")
        assert (row.health, row.reason) == (Health.STARTING, "it has a bad day")


@pytest.mark.parametrize("verb", ["health", "inspect"])
async def test_a_node_of_an_older_version_is_not_asked(
    tmp_path: Path, verb: str
) -> None:
    async with fake_cluster(tmp_path) as cluster:
        sup = cluster["uno"].container_sup
        container = await cluster.run(attrs.evolve(WEB, hosts=("dos@dos",)))
        view = cluster["uno"].machine.view
        held = view.document("dos@dos")
        old = attrs.evolve(held, protocol=1, version=held.version + 9)
        view.merge_document(old)
        said = f"dos@dos runs an older VEO, which has no {verb}: upgrade it"
        if verb == "health":
            [row] = await sup.health("web")
            assert row.reason == said
        else:
            with pytest.raises(ServiceError, match=said):
                await sup.inspect(container)


# Restarting


async def test_instances_are_restarted_one_after_the_other(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        sup = cluster["uno"].container_sup
        await sup.add_service(TWO)
        before = await cluster.ready(2)
        with watching(cluster, "uno", "dos") as seen:
            answer = await sup.restart("web")
        assert [dict(count) for count in seen] == [{"web": 2}, {"web": 1}]
        assert {c.name for c in answer.containers} == {c.name for c in before}
        assert all(c.is_ready and c.operation for c in answer.containers)
        assert (answer.warning, {c.restarts for c in answer.containers}) == ("", {0})


async def test_one_that_does_not_come_back_stops_the_rest(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        sup = cluster["uno"].container_sup
        await sup.add_service(TWO)
        first, second = sorted(await cluster.ready(2), key=lambda c: c.slot)
        engine = cluster.engines[first.node[:3]]
        engine.fail_next("start", EngineError("no space left on device"))
        why = (
            f"{first.name} does not come back .*no space.*not restarted: {second.name}"
        )
        with pytest.raises(ServiceError, match=why):
            await sup.restart("web")
        [there] = [c for c in sup.cloud_containers() if c.name == second.name]
        assert there.operation == ""


async def test_a_job_that_has_ended_is_run_again(tmp_path: Path) -> None:
    job = attrs.evolve(WEB, restart=Restart.NEVER, args=("job",), hosts=("uno@uno",))
    engine = FakeEngine("veo", "uno@uno", programs={("job",): Program(exits=3)})
    async with fake_cluster(tmp_path, engines={"uno": engine}) as cluster:
        sup = cluster["dos"].container_sup
        container = await sup.add_service(job)
        await eventually(lambda: one(cluster).state is State.EXITED)
        answer = await sup.restart(container.name)
        [ended] = answer.containers
        assert (ended.state, ended.exit_code) == (State.EXITED, 3)
        assert ended.operation


async def test_a_slow_health_check_is_waited_for_and_then_told(tmp_path: Path) -> None:
    timing = attrs.evolve(FAST, patience_s=0.3)
    async with fake_cluster(tmp_path, timing=timing) as cluster:
        sup = cluster["uno"].container_sup
        container = await sup.add_service(CHECKED)
        cluster.engines["dos"].set_health(container.id, Health.HEALTHY)
        await cluster.ready(1)
        answer = await sup.restart(CHECKED)
        assert "its health check has not succeeded yet" in answer.warning


async def test_a_start_period_is_waited_for(tmp_path: Path) -> None:
    timing = attrs.evolve(FAST, patience_s=0.2)
    check = attrs.evolve(CHECK, start_period_ns=60 * SECOND)
    async with fake_cluster(tmp_path, timing=timing) as cluster:
        sup, engine = cluster["uno"].container_sup, cluster.engines["dos"]
        service = attrs.evolve(CHECKED, health_check=check)
        container = await sup.add_service(service)
        engine.set_health(container.id, Health.HEALTHY)
        await cluster.ready(1)
        restarting = asyncio.gather(sup.restart(service))
        begun_s = time.monotonic()
        await eventually(lambda: time.monotonic() - begun_s > 1)  # many a quiet time
        assert not restarting.done()
        engine.set_health(container.id, Health.HEALTHY)
        [restarted] = await restarting
        assert restarted.warning == ""


async def test_what_goes_while_it_is_restarted_is_told(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        sup = cluster["uno"].container_sup
        container = await sup.add_service(attrs.evolve(WEB, hosts=("dos@dos",)))
        engine = cluster.engines["dos"]
        engine.hang()
        restarting = asyncio.gather(sup.restart(container), return_exceptions=True)
        await eventually(lambda: one(cluster).state is State.STOPPING)
        removing = asyncio.gather(sup.remove_service("web"))
        await eventually(lambda: not list(cluster["dos"].machine.view.services()))
        engine.go_on()
        [error] = await restarting
        assert isinstance(error, ServiceError)
        assert "was moved or stopped while it was restarted" in str(error)
        await removing


async def test_what_is_not_there_cannot_be_restarted(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        sup = cluster["uno"].container_sup
        with pytest.raises(UnknownService, match="no service is called 'wbe'"):
            await sup.restart("wbe")
        await sup.add_service(attrs.evolve(WEB, roles=("edge",)), queue=True)
        with pytest.raises(ServiceError, match="nothing of it runs"):
            await sup.restart("web")


# Files

CONF = File(target="/etc/x.conf", content="a = 1\n")


async def test_files_are_put_into_whatever_is_made(tmp_path: Path) -> None:
    spec = attrs.evolve(WEB, files=(CONF,), hosts=("dos@dos",))
    async with fake_cluster(tmp_path) as cluster:
        first = await cluster.run(spec)
        engine = cluster.engines["dos"]
        assert engine.containers[first.id].files == {CONF.target: CONF}
        engine.remove(first.id)
        await eventually(lambda: one(cluster).restarts == 1)
        second = one(cluster)
        assert second.id != first.id
        assert engine.containers[second.id].files == {CONF.target: CONF}


async def test_an_update_brings_other_files(tmp_path: Path) -> None:
    spec = attrs.evolve(WEB, files=(CONF,), update=UpdateConfig(monitor_ns=100_000_000))
    other = attrs.evolve(CONF, content="a = 2\n")
    async with fake_cluster(tmp_path, "uno") as cluster:
        await cluster.run(spec)
        sup = cluster["uno"].container_sup
        await sup.update_service("web", attrs.evolve(spec, files=(other,)))
        await eventually(lambda: len(cluster.engines["uno"].containers) == 1)
        [held] = cluster.engines["uno"].containers.values()
        assert held.files == {CONF.target: other}


# Docker's own document


async def test_the_raw_document_comes_from_whichever_node(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        container = await cluster.run(attrs.evolve(WEB, hosts=("dos@dos",)))
        for name in ("uno", "dos"):
            raw = await cluster[name].container_sup.inspect(container)
            assert raw["Id"] == container.id
        made = get_config(raw)
        assert raw["HostConfig"] == raw["HostConfig"] | made.pop("HostConfig")
        assert raw["Config"] == made
        held = cluster.engines["dos"].containers[container.id]
        held.config["Env"] = ["X=" + "x" * 2**20]
        with pytest.raises(VeoError, match="does not fit a frame"):
            await cluster["uno"].container_sup.inspect(container)


async def test_one_that_is_not_made_yet_has_no_document(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        cluster.engines["uno"].hang()
        sup = cluster["uno"].container_sup
        adding = asyncio.gather(sup.add_service(WEB))
        await eventually(lambda: cluster["uno"].container_sup.count())
        with pytest.raises(ServiceError, match="is not, or not yet, on uno@uno"):
            await sup.inspect(one(cluster))
        cluster.engines["uno"].go_on()
        await adding
