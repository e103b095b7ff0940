"""Health, restarts and stops as a real Docker Engine tells and does them."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import attrs
import docker
import pytest

from scripts.dockerd import connect
from tests.engines import BUSYBOX, POLITE, STUBBORN
from tests.fake_cluster import FakeCluster, eventually, fake_cluster
from veo_shell import settings
from veo_shell.core.model import (
    Container,
    Health,
    HealthCheck,
    HealthKind,
    OnUnhealthy,
    Restart,
    Service,
    State,
)
from veo_shell.edge.docker_engine import DockerEngine

pytestmark = [pytest.mark.docker, pytest.mark.timeout(180)]

LIMIT_S = 60.0
NODE = "real@real"
CHECK = HealthCheck(
    kind=HealthKind.SHELL,
    cmd=("test -e /ok || { echo there is no /ok; exit 1; }",),
    interval_ns=200_000_000,
    timeout_ns=10_000_000_000,
    retries=2,
)
WEB = Service(
    name="web",
    image=BUSYBOX,
    args=POLITE,
    hosts=(NODE,),
    restart=Restart.ON_FAILURE,
)


@pytest.fixture(scope="module")
def client(docker_url: str) -> Iterator[docker.DockerClient]:
    with connect(docker_url, timeout_s=60) as client:
        yield client


@contextlib.asynccontextmanager
async def on_docker(
    folder: Path, url: str, client: docker.DockerClient
) -> AsyncIterator[FakeCluster]:
    """Have uno, which is asked, and beside it a node with a real engine."""
    async with fake_cluster(folder, "uno") as cluster:
        cluster.add("real")
        engine = DockerEngine(url, "veo", NODE)
        await cluster.make("real", "uno", engine=engine).start()
        await cluster.joined()
        try:
            yield cluster
        finally:
            for left in client.containers.list(
                all=True, filters={"label": f"veo.node={NODE}"}
            ):
                left.remove(force=True, v=True)


def seen(cluster: FakeCluster, name: str = "web") -> Container:
    """Return the one instance of a service, as uno knows it."""
    listed = cluster["uno"].container_sup.cloud_containers()
    [found] = [c for c in listed if c.service == name]
    return found


def is_answered(cluster: FakeCluster, name: str = "web") -> bool:
    return name in {c.service for c in cluster["uno"].machine.answerable()}


async def done(client: docker.DockerClient, container: Container, *cmd: str) -> None:
    """Have a command run in a container."""
    held = await asyncio.to_thread(client.containers.get, container.id)
    await asyncio.to_thread(held.exec_run, list(cmd))


async def until(holds: Any) -> None:
    await eventually(holds, LIMIT_S)


async def test_dns_and_restarts_follow_the_health_check(
    tmp_path: Path, docker_url: str, client: docker.DockerClient
) -> None:
    async with on_docker(tmp_path, docker_url, client) as cluster:
        sup = cluster["uno"].container_sup
        check = attrs.evolve(CHECK, start_period_ns=30_000_000_000)
        container = await sup.add_service(attrs.evolve(WEB, health_check=check))
        assert container.health is Health.STARTING
        assert not is_answered(cluster)
        await done(client, container, "touch", "/ok")
        await until(lambda: is_answered(cluster))
        await done(client, container, "rm", "/ok")
        await until(lambda: seen(cluster).restarts == 1)
        assert not is_answered(cluster)
        assert seen(cluster).id == container.id
        texts = [entry.text for entry in await cluster["uno"].journal.history()]
        assert f"{container.name}: unhealthy: there is no /ok" in texts
        await done(client, container, "touch", "/ok")
        await until(lambda: is_answered(cluster))
        [row] = await sup.health("web")
        assert (row.health, row.failing) == (Health.HEALTHY, 0)


async def test_one_that_is_left_alone_comes_back_by_itself(
    tmp_path: Path, docker_url: str, client: docker.DockerClient
) -> None:
    spec = attrs.evolve(WEB, health_check=CHECK, on_unhealthy=OnUnhealthy.LEAVE)
    async with on_docker(tmp_path, docker_url, client) as cluster:
        container = await cluster["uno"].container_sup.add_service(spec)
        await until(lambda: seen(cluster).state is State.UNHEALTHY)
        assert seen(cluster).reason == "there is no /ok"
        [row] = await cluster["uno"].container_sup.health(container)
        assert row.failing >= 2
        assert row.outputs[-1] == "there is no /ok"
        await done(client, container, "touch", "/ok")
        await until(lambda: is_answered(cluster))
        assert seen(cluster).restarts == 0


async def test_one_that_is_killed_for_its_health_has_failed(
    tmp_path: Path, docker_url: str, client: docker.DockerClient
) -> None:
    spec = attrs.evolve(
        WEB, args=STUBBORN, health_check=CHECK, on_unhealthy=OnUnhealthy.KILL
    )
    async with on_docker(tmp_path, docker_url, client) as cluster:
        await cluster["uno"].container_sup.add_service(spec)
        await until(lambda: seen(cluster).state is State.FAILED)
        reason = "unhealthy: there is no /ok (on_unhealthy: kill)"
        assert (seen(cluster).reason, seen(cluster).exit_code) == (reason, 137)


async def test_an_end_by_lack_of_memory_is_told(
    tmp_path: Path, docker_url: str, client: docker.DockerClient
) -> None:
    greedy = ("busybox", "tail", "/dev/zero")
    spec = attrs.evolve(WEB, args=greedy, memory_bytes=16 << 20, restart=Restart.NEVER)
    async with on_docker(tmp_path, docker_url, client) as cluster:
        await cluster["uno"].container_sup.add_service(spec)
        await until(lambda: seen(cluster).state is State.EXITED)
        ended = seen(cluster)
        assert (ended.oom_killed, ended.exit_code) == (True, 137)
        assert ended.reason == "killed: out of memory"


async def test_one_that_ignores_sigterm_is_killed_and_holds_up_nothing(
    tmp_path: Path, docker_url: str, client: docker.DockerClient
) -> None:
    stubborn = attrs.evolve(WEB, name="stubborn", args=STUBBORN, stop_timeout_s=5)
    async with on_docker(tmp_path, docker_url, client) as cluster:
        sup = cluster["uno"].container_sup
        await sup.add_service(stubborn)
        async with asyncio.TaskGroup() as group:
            removing = group.create_task(sup.remove_service("stubborn"))
            await until(lambda: seen(cluster, "stubborn").state is State.STOPPING)
            for number in range(3):
                name = f"web{number}"
                added = await sup.add_service(attrs.evolve(WEB, name=name))
                assert added.state is State.RUNNING
                await sup.remove_service(name)
            assert not removing.done()
        assert removing.result().warning == ""
        assert sup.cloud_containers() == []


async def test_a_restart_asks_it_to_end_and_starts_the_same_container(
    tmp_path: Path, docker_url: str, client: docker.DockerClient
) -> None:
    async with on_docker(tmp_path, docker_url, client) as cluster:
        sup = cluster["uno"].container_sup
        container = await sup.add_service(WEB)
        before = (await sup.inspect(container))["State"]
        [now] = (await sup.restart("web")).containers
        after = (await sup.inspect(now))["State"]
        assert (now.id, now.restarts, now.is_ready) == (container.id, 0, True)
        assert after["StartedAt"] > before["StartedAt"]
        assert not before["FinishedAt"].startswith("2")
        assert after["ExitCode"] == 0


DOCS = (Path(__file__).parents[1] / "docs" / "health.md").read_text()
ASKED = re.compile(r"^\(uno@uno \d/\d\)\d+> (.*)$", re.MULTILINE)


async def asked(cluster: FakeCluster, step: int, **names: Any) -> Any:
    """Do what the page has an operator type there."""
    uno = cluster["uno"]
    words = {"container_sup": uno.container_sup, "why": uno.journal.why, **names}
    found = eval(ASKED.findall(DOCS)[step - 1], words)  # noqa: S307 - our own page
    return await found if inspect.isawaitable(found) else found


async def test_the_page_about_health_is_true(
    tmp_path: Path, docker_url: str, client: docker.DockerClient
) -> None:
    file = tmp_path / "health.yml"
    file.write_text(DOCS.split("```yaml\n")[1].split("```")[0])
    [said] = settings.get_applications(file)
    spec = attrs.evolve(said, image=BUSYBOX, hosts=(NODE,))
    async with on_docker(tmp_path / "nodes", docker_url, client) as cluster:
        container = await asked(cluster, 2, t=spec)
        held = await asyncio.to_thread(client.containers.get, container.id)
        _, motto = await asyncio.to_thread(held.exec_run, ["cat", "/etc/motto"])
        assert motto == b"be well\n"
        await until(lambda: is_answered(cluster))
        assert [r.health for r in await asked(cluster, 3)] == [Health.HEALTHY]
        await done(client, container, "touch", "/sick")
        await until(lambda: seen(cluster).restarts >= 2)
        assert not is_answered(cluster)
        told = [entry.text for entry in await asked(cluster, 5)]
        assert any("unhealthy: there is a /sick" in text for text in told)
        async with asyncio.timeout(LIMIT_S):
            while not is_answered(cluster):
                with contextlib.suppress(docker.errors.APIError):  # it is down just now
                    await done(client, container, "rm", "-f", "/sick")
        [now] = (await asked(cluster, 6)).containers
        assert (now.id, now.restarts, now.is_ready) == (container.id, 0, True)
        document = await cluster["uno"].container_sup.inspect(now)
        assert document["State"]["StartedAt"]
