"""Adding a service while something else is decided about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fake_cluster import WEB, fake_cluster
from veo_shell.coordinator import Coordinator
from veo_shell.core import events as ev
from veo_shell.core.verbs import write
from veo_shell.edge.fake_engine import FakeEngine
from veo_shell.errors import ServiceError
from veo_shell.node import Node


class MovesFirst(Coordinator):
    """One that moves a slot to dos before it gives it up."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self.node = node

    @write
    async def stop(
        self, operation: str, uid: str, slot: int, generation: int
    ) -> list[Any]:
        undrain = ev.DrainAsked(operation="u", node="dos@dos", drained=False)
        move = ev.MoveAsked(operation="m", uid=uid, slot=slot, node="dos@dos")
        self.node.feed(undrain)
        self.node.feed(move)
        view = self.node.machine.view

        def has_moved() -> bool | None:
            held = view.slot(uid, slot)
            return (held is not None and not held.handover) or None

        await self.node.until(has_moved)
        return await super().stop(operation, uid, slot, generation)


async def test_what_failed_and_was_moved_meanwhile_is_told_and_stays(
    tmp_path: Path,
) -> None:
    """It said only that it was replaced: not what had failed, nor that it stands."""
    engines = {"uno": FakeEngine("veo", "uno@uno", images=[])}
    async with fake_cluster(tmp_path, engines=engines) as cluster:
        uno = cluster["uno"]
        await uno.node_monitor.drain("dos")
        for name in ("uno", "dos"):
            words = cluster[name].peer_words
            words["coordinator"] = MovesFirst(cluster[name])
        with pytest.raises(ServiceError) as caught:
            await uno.container_sup.add_service(WEB)
        (container,) = await cluster.ready(1)
        assert str(caught.value) == (
            "web on uno@uno: nginx:latest: cannot be pulled: no such image. But it was "
            f"replaced: {container.name} fills slot 0 of web now"
        )
        assert container.node == "dos@dos"
