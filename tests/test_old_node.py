"""A rolling upgrade: two nodes of this version and one of the version before."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import pytest

from tests.fake_cluster import (
    QUICK_TO_JUDGE,
    WEB,
    FakeCluster,
    eventually,
    fake_cluster,
    watching,
)
from tests.old_node import OldMesh
from veo_shell.core.model import Status
from veo_shell.core.protocols import Mesh
from veo_shell.core.wire import PROTOCOL
from veo_shell.node import Node

THREE = attrs.evolve(WEB, replicas=3)


async def start_old(cluster: FakeCluster, name: str, *joins: str) -> Node:
    """Start a node that speaks the protocol before this one."""

    def old(mesh: Mesh) -> Mesh:
        return OldMesh(mesh, lambda: cluster[name].machine.view)

    node = cluster.make(name, *joins, over=old)
    await node.start()
    return node


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[FakeCluster]:
    async with fake_cluster(tmp_path, timing=QUICK_TO_JUDGE) as cluster:
        cluster.add("viejo")
        await start_old(cluster, "viejo", "uno")
        await cluster.joined()
        yield cluster


async def test_it_works_in_the_cluster_like_any(cluster: FakeCluster) -> None:
    head = cluster["uno"].machine.view.head("viejo@viejo")
    assert head is not None
    assert head.protocol == PROTOCOL - 1
    uid, call = cluster.uid_for("uno"), cluster["uno"].peers.call
    _, copies = await call("uno@uno", "coordinator.add", uid, uid, THREE, False)
    assert copies == 2  # uno and dos have it
    ready = await cluster.ready(3)
    assert {c.node for c in ready} == {"uno@uno", "dos@dos", "viejo@viejo"}


async def test_what_an_operator_does_there_is_done_everywhere(
    cluster: FakeCluster,
) -> None:
    await cluster["viejo"].container_sup.add_service(WEB)
    await cluster.ready(1)
    await cluster["viejo"].container_sup.remove_service("web")
    await cluster.ready(0)
    await cluster.agreed()


async def test_it_is_lost_and_comes_back_like_any(cluster: FakeCluster) -> None:
    await cluster["uno"].container_sup.add_service(THREE)
    await cluster.ready(3)
    await cluster.kill("viejo")
    members = cluster["uno"].machine.members
    await eventually(lambda: members.status("viejo@viejo") is Status.DEAD)
    await cluster.ready(3)
    for other in ("uno", "dos"):
        cluster.network.mend(cluster.addresses["viejo"], cluster.addresses[other])
    await start_old(cluster, "viejo", "uno")
    await cluster.joined()
    assert len(await cluster.ready(3)) == 3


async def test_it_answers_what_has_an_address_of_its_own_there(
    cluster: FakeCluster,
) -> None:
    """Of several it knows the first alone."""
    cluster.engines["uno"].add_lan("lan", ("10.213.8.2", "fd00:213:8::2"))
    on_lan = attrs.evolve(WEB, network_mode="lan", hosts=("uno@uno",))
    await cluster["uno"].container_sup.add_service(on_lan)
    await cluster.ready(1, "uno", "dos")
    lookup = cluster["viejo"].dns_registry.lookup
    await eventually(lambda: [r.data for r in lookup("web")] == ["10.213.8.2"])
    (port,) = lookup("_website._tcp.web", "SRV")
    assert port.data == "0 100 80 website.web.veo."
    (container,) = cluster["viejo"].machine.answerable()
    assert container.own_addresses == ()


async def test_alone_with_an_old_one_a_write_has_one_copy(
    cluster: FakeCluster,
) -> None:
    await cluster.kill("dos")
    members = cluster["uno"].machine.members
    await eventually(lambda: members.status("dos@dos") is Status.DEAD)
    added = await cluster["uno"].container_sup.add_service(WEB)
    assert added.copies == 1
    assert "one disk only" in added.warning


async def test_it_is_drained_by_those_that_know_what_that_is(
    cluster: FakeCluster,
) -> None:
    """As it knows no hand-over it ends its own at once, where another decides."""
    await cluster.add_coordinated_by("uno", THREE)
    await cluster.ready(3)
    with watching(cluster, "uno", "dos") as seen:
        await cluster["uno"].node_monitor.drain("viejo")
        ready = await cluster.ready(3)
    assert {c.node for c in ready} == {"uno@uno", "dos@dos"}
    assert min(count["web"] for count in seen) >= 2


async def test_all_are_replaced_in_turn_while_a_service_is_answered(
    tmp_path: Path,
) -> None:
    """Nothing is moved or started again, and DNS names all of it throughout."""
    names = ("uno", "dos", "tres")
    async with fake_cluster(tmp_path, "uno", timing=QUICK_TO_JUDGE) as cluster:
        await cluster.stop("uno")
        await start_old(cluster, "uno")
        for name in names[1:]:
            cluster.add(name)
            await start_old(cluster, name, "uno")
        await cluster.joined()
        await cluster["uno"].container_sup.add_service(THREE)
        before = await cluster.ready(3)
        for container in before:  # a paused node's are answered as long as they accept
            cluster.network.open_port(container.address, container.ports[0].host_port)
        for name in names:
            others = [other for other in names if other != name]
            with watching(cluster, *others) as seen:
                await cluster.stop(name)
                await cluster.boot(name, *others)
                await cluster.joined()
                after = await cluster.ready(3)
            assert seen == [{"web": 3}]
            assert {c.id for c in after} == {c.id for c in before}
            assert [c.restarts for c in after] == [0, 0, 0]
        await eventually(lambda: {cluster[n].machine.protocol for n in names} == {2})
