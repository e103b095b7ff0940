"""Where services run, as an operator asks for it in a spec."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import attrs
import pytest

from tests.fake_cluster import (
    WEB,
    FakeCluster,
    eventually,
    fake_cluster,
    statuses,
)
from veo_shell.core.model import Mount, MountKind, Placement, Port, State, Status
from veo_shell.core.scalars import constraint
from veo_shell.errors import NoSuitableNode, ServiceError

ON_SSD = attrs.evolve(WEB, constraints=(constraint("disk == ssd"),))


def lans(cluster: FakeCluster, name: str) -> dict[str, tuple[str, ...]]:
    """Return the networks that a node knows to give addresses of their own."""
    heads = cluster[name].machine.view.nodes
    return {head.node: head.lan_networks for head in heads if head.lan_networks}


async def test_labels_are_shown_on_every_node_and_constraints_look_at_them(
    tmp_path: Path,
) -> None:
    labels = {"uno": "disk=hdd", "dos": "disk=ssd rack=3"}
    async with fake_cluster(tmp_path, labels=labels) as cluster:
        for name in ("uno", "dos"):
            dos, uno = cluster[name].node_monitor.nodes()
            assert (uno.labels, dos.labels) == (("disk=hdd",), ("disk=ssd", "rack=3"))
        container = await cluster["uno"].container_sup.add_service(ON_SSD)
        assert container.node == "dos@dos"
        either = (constraint("disk != hdd"), constraint("rack != 3"))
        with pytest.raises(NoSuitableNode) as refused:
            await cluster["uno"].container_sup.add_service(
                attrs.evolve(WEB, name="none", constraints=either)
            )
        assert dict(refused.value.refusals) == {
            "uno@uno": "its disk is hdd (disk != hdd)",
            "dos@dos": "its rack is 3 (rack != 3)",
        }


async def test_all_have_one_port_where_each_has_an_address_of_its_own(
    tmp_path: Path,
) -> None:
    """Where there is no such network, or none is known of, it is the host's port."""
    fixed = Port(name="website", container_port=80, host_port=8080)
    other = attrs.evolve(WEB, name="other", hosts=("dos@dos",), ports=(fixed,))
    spec = attrs.evolve(other, name="web", network_mode="lan", replicas=3)
    async with fake_cluster(tmp_path) as cluster:
        await cluster.run(other)
        with pytest.raises(NoSuitableNode, match="port 8080/tcp is taken by other"):
            await cluster["uno"].container_sup.add_service(spec)
        addresses = [f"10.9.0.{number}" for number in (1, 2, 3)]
        cluster.engines["dos"].add_lan("lan", *[(each, "") for each in addresses])
        await eventually(lambda: lans(cluster, "uno") == {"dos@dos": ("lan",)})
        await cluster["uno"].container_sup.add_service(spec)
        ready = await cluster.ready(4)
        webs = [each for each in ready if each.service == "web"]
        assert sorted(each.address for each in webs) == addresses
        assert {each.ports for each in webs} == {(attrs.evolve(fixed, host_port=80),)}
        assert {each.node for each in ready} == {"dos@dos"}


async def test_what_a_node_is_no_more_moves_nothing_but_takes_nothing_new(
    tmp_path: Path,
) -> None:
    """As with roles: who wants it elsewhere drains the node."""
    labels = {"uno": "disk=ssd"}
    async with fake_cluster(tmp_path, labels=labels) as cluster:
        await cluster.run(ON_SSD)
        await cluster.stop("uno")
        cluster.labels["uno"] = ("disk=hdd",)
        await cluster.boot("uno", "dos")
        await eventually(
            lambda: cluster["dos"].node_monitor.nodes()[1].labels == ("disk=hdd",)
        )
        (container,) = await cluster.ready(1)
        assert container.node == "uno@uno"
        with pytest.raises(NoSuitableNode, match="its disk is hdd, not ssd"):
            await cluster["uno"].container_sup.add_service(ON_SSD)


async def test_what_is_packed_fills_one_node_before_the_next(tmp_path: Path) -> None:
    packed = attrs.evolve(WEB, placement=Placement.BINPACK, cpus=1.5, replicas=3)
    async with fake_cluster(tmp_path) as cluster:
        await cluster["uno"].container_sup.add_service(packed)
        nodes = [c.node for c in await cluster.ready(3)]
        assert sorted(Counter(nodes).values()) == [1, 2]
        step = await cluster["dos"].node_monitor.rebalance()
        assert step.what == "nothing to move"


async def test_no_more_than_asked_for_run_on_one_node(tmp_path: Path) -> None:
    few = attrs.evolve(WEB, max_per_node=1, replicas=3)
    async with fake_cluster(tmp_path) as cluster:
        added = await cluster["uno"].container_sup.add_service(few)
        assert added.warning == "1 waits for a node that fits"
        nodes = [c.node for c in await cluster.ready(2)]
        assert sorted(nodes) == ["dos@dos", "uno@uno"]
        full = "it has 1 already (max_per_node: 1)"
        reasons = [c.reason for c in cluster["dos"].container_sup.cloud_containers()]
        assert f"dos@dos: {full}; uno@uno: {full}" in reasons
        cluster.add("tres")
        await cluster.boot("tres", "uno")
        assert len(await cluster.ready(3)) == 3


async def test_two_that_want_one_port_of_the_host_run_on_two_nodes(
    tmp_path: Path,
) -> None:
    """The second was sent where it could not start, while another node was free."""
    port = Port(name="http", container_port=80, host_port=8080)
    published = attrs.evolve(WEB, name="one", ports=(port,))
    on_host = attrs.evolve(
        WEB,
        name="two",
        network_mode="host",
        ports=(attrs.evolve(port, container_port=8080, host_port=0),),
    )
    async with fake_cluster(tmp_path) as cluster:
        sup = cluster["uno"].container_sup
        one, two = await sup.add_service(published), await sup.add_service(on_host)
        assert {one.node, two.node} == {"uno@uno", "dos@dos"}
        with pytest.raises(NoSuitableNode) as refused:
            await sup.add_service(attrs.evolve(published, name="three"))
        assert dict(refused.value.refusals) == {
            one.node: "port 8080/tcp is taken by one",
            two.node: "port 8080/tcp is taken by two",
        }
        await sup.remove_service("one")
        three = await sup.add_service(attrs.evolve(published, name="three"))
        assert three.node == one.node


# What engines hold


@pytest.mark.parametrize("name", ["uno", "dos"])
async def test_of_equal_nodes_the_one_that_has_the_image_is_taken(
    tmp_path: Path, name: str
) -> None:
    async with fake_cluster(tmp_path) as cluster:
        where = cluster["uno"].node_monitor.where
        cluster.engines[name].add_image("nginx:latest")
        await eventually(lambda: any(c.has_image for c in where(WEB)))
        first, second = where(WEB)
        assert (first.node, first.has_image) == (f"{name}@{name}", True)
        assert (second.fits, second.has_image) == (True, False)
        added = await cluster["uno"].container_sup.add_service(WEB)
        assert added.node == f"{name}@{name}"


async def test_the_whole_ranking_is_shown_for_one_more_of_what_stands(
    tmp_path: Path,
) -> None:
    few = attrs.evolve(WEB, max_per_node=1, cpus=1)
    async with fake_cluster(tmp_path) as cluster:
        added = await cluster.run(few)
        best, other = cluster["uno"].node_monitor.where(few)
        assert (best.fits, best.instances, best.share) == (True, 0, 0.25)
        assert other.node == added.node
        assert (other.fits, other.instances, other.share) == (False, 1, 0.5)
        assert other.reason == "it has 1 already (max_per_node: 1)"


DATA = Mount(kind=MountKind.VOLUME, source="data", target="/data")
BOUND = attrs.evolve(WEB, mounts=(DATA,))


async def knows_volume(cluster: FakeCluster, of: str) -> None:
    """Wait until all nodes know that a node has the volume."""

    def known() -> bool:
        heads = [n.machine.view.head(f"{of}@{of}") for n in cluster.running()]
        return all(head is not None and "data" in head.volumes for head in heads)

    await eventually(known)


async def test_a_service_waits_for_the_lost_node_that_has_its_volume(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path, "uno", "dos", "tres") as cluster:
        await cluster["uno"].node_monitor.drain("uno")
        added = await cluster.run(BOUND)
        home = added.node.partition("@")[0]
        await knows_volume(cluster, home)
        other = next(n for n in ("dos", "tres") if n != home)
        monitor, sup = cluster["uno"].node_monitor, cluster["uno"].container_sup
        drained = await monitor.drain(home)
        stays = f"web slot 0 stays on {added.node}: its volume data is there"
        assert drained.warning == stays
        await monitor.undrain(home)
        with pytest.raises(ServiceError, match="has its volume data there"):
            await cluster[home].node_monitor.leave()
        await cluster.kill(home)
        await eventually(
            lambda: (
                statuses(cluster, "uno")[added.node] is Status.DEAD
                and statuses(cluster, other)[added.node] is Status.DEAD
            )
        )
        (waits,) = sup.cloud_containers()
        assert (waits.state, waits.reason) == (
            State.PENDING,
            f"{added.node} is lost, and has its volume data",
        )
        with pytest.raises(ServiceError, match="is dead, and has data: web slot 0"):
            await monitor.remove_node(home)
        await cluster.boot(home, "uno")
        (back,) = await cluster.ready(1)
        assert back.id == added.id


async def test_data_that_is_forgone_holds_nothing(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno", "dos") as cluster:
        added = await cluster.run(attrs.evolve(BOUND, sticky=False))
        home, other = ("uno", "dos") if added.node == "uno@uno" else ("dos", "uno")
        await knows_volume(cluster, home)
        await cluster[other].node_monitor.drain(home)
        (moved,) = await cluster.ready(1)
        assert moved.node == f"{other}@{other}"


async def test_a_service_that_is_added_again_finds_its_volume(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        cluster.engines["dos"].add_volume("data")
        await knows_volume(cluster, "dos")
        for _ in range(2):
            added = await cluster["uno"].container_sup.add_service(BOUND)
            assert added.node == "dos@dos"
            await cluster["uno"].container_sup.remove_service(BOUND)
        await cluster["uno"].node_monitor.drain("dos")
        with pytest.raises(NoSuitableNode) as refused:
            await cluster["uno"].container_sup.add_service(BOUND)
        assert dict(refused.value.refusals) == {
            "dos@dos": "it is drained",
            "uno@uno": "its volume data is on dos@dos",
        }


async def test_what_is_removed_by_force_begins_anew_without_its_data(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path, "uno", "dos") as cluster:
        added = await cluster.run(BOUND)
        home, other = ("uno", "dos") if added.node == "uno@uno" else ("dos", "uno")
        await knows_volume(cluster, home)
        monitor = cluster[other].node_monitor
        with pytest.raises(ServiceError, match="its volume data is there"):
            await monitor.remove_node(home)
        await monitor.remove_node(home, force=True)
        (anew,) = await cluster.ready(1, other)
        assert anew.node == f"{other}@{other}"
