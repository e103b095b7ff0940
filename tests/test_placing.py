"""Where services run, as an operator asks for it in a spec."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from tests.fake_cluster import WEB, eventually, fake_cluster
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
