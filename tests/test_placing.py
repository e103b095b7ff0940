"""Where services run, as an operator asks for it in a spec."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import attrs
import pytest

from tests.fake_cluster import WEB, eventually, fake_cluster
from veo_shell.core.model import Placement, Port
from veo_shell.core.scalars import constraint
from veo_shell.errors import NoSuitableNode

ON_SSD = attrs.evolve(WEB, constraints=(constraint("disk == ssd"),))


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
        full = "1 of it are there (max_per_node: 1)"
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
