"""Images, got by the nodes' own engines before they are needed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path

import attrs
import pytest

from tests.fake_cluster import FAST, FakeCluster, eventually, fake_cluster
from veo_shell.core.events import EngineHolds
from veo_shell.core.model import ImagePull, PullState, Status
from veo_shell.edge.fake_engine import FakeEngine
from veo_shell.errors import EngineUnreachable, UnknownNode, UsageError
from veo_shell.images import KEPT

NGINX = "nginx:latest"


def engines(**registries: set[str]) -> Mapping[str, FakeEngine]:
    """Return engines that hold nothing, and can pull what their registry has."""
    return {
        name: FakeEngine("veo", f"{name}@{name}", images=(), registry=registry)
        for name, registry in registries.items()
    }


def brief(pulls: list[ImagePull]) -> dict[str, tuple[PullState, str]]:
    return {pull.node: (pull.state, pull.reason or pull.progress) for pull in pulls}


PULLED = PullState.PULLED, "1 of 1 layers, 0 MB loaded"
NO_IMAGE = PullState.FAILED, f"{NGINX}: cannot be pulled: no such image"


async def knows_image(cluster: FakeCluster, node: str) -> None:
    """Wait until uno knows that a node has the image."""
    view = cluster["uno"].machine.view

    def known() -> bool:
        head = view.head(f"{node}@{node}")
        return head is not None and NGINX in head.images

    await eventually(known)


async def test_every_node_pulls_and_one_that_cannot_says_why(tmp_path: Path) -> None:
    held = engines(uno={NGINX}, dos=set(), tres={NGINX})
    async with fake_cluster(tmp_path, *held, engines=held) as cluster:
        sup = cluster["uno"].container_sup
        assert brief(await sup.pull(NGINX)) == {
            "uno@uno": PULLED,
            "dos@dos": NO_IMAGE,
            "tres@tres": PULLED,
        }
        assert brief(await sup.pull(NGINX, ["dos@dos"])) == {"dos@dos": NO_IMAGE}
        assert [p.node[:3] for p in sup.pulls()] == ["dos", "tre", "uno", "dos"]
        for name in ("uno", "tres"):
            await knows_image(cluster, name)


async def test_those_that_are_named_pull_by_any_node_s_word(tmp_path: Path) -> None:
    held = engines(uno={NGINX}, dos={NGINX})
    async with fake_cluster(tmp_path, engines=held) as cluster:
        sup = cluster["dos"].container_sup
        assert brief(await sup.pull(NGINX, "uno")) == {"uno@uno": PULLED}
        assert brief(await sup.pull(NGINX, ["uno", "dos", "uno@uno"])) == {
            "uno@uno": PULLED,
            "dos@dos": PULLED,
        }
        with pytest.raises(UnknownNode, match="no node is called 'tres'"):
            await sup.pull(NGINX, ["uno", "tres"])
        with pytest.raises(UsageError, match='pull: "a b" is not an image'):
            await sup.pull("a b")


async def test_how_far_a_pull_is_can_be_seen_and_is_waited_for(tmp_path: Path) -> None:
    held = engines(uno={NGINX}, dos={NGINX})
    async with fake_cluster(tmp_path, engines=held) as cluster:
        sup = cluster["uno"].container_sup
        held["dos"].hang()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(sup.pull(NGINX))
            begun = PullState.PULLING, "0 of 1 layers, 0 MB loaded"
            await eventually(
                lambda: brief(sup.pulls()) == {"uno@uno": PULLED, "dos@dos": begun}
            )
            assert not task.done()
            held["dos"].go_on()
        assert set(brief(task.result()).values()) == {PULLED}


async def test_what_does_not_go_on_is_told_and_goes_on_later(tmp_path: Path) -> None:
    held = engines(uno=set(), dos={NGINX})
    timing = attrs.evolve(FAST, patience_s=0.1)
    async with fake_cluster(tmp_path, engines=held, timing=timing) as cluster:
        sup = cluster["uno"].container_sup
        held["dos"].hang()
        (pull,) = await sup.pull(NGINX, "dos")
        assert pull.state is PullState.PULLING
        held["dos"].go_on()
        await eventually(lambda: brief(sup.pulls()) == {"dos@dos": PULLED})


async def test_nodes_that_cannot_be_asked_have_a_line_each(tmp_path: Path) -> None:
    held = engines(uno={NGINX}, dos={NGINX}, tres={NGINX})
    async with fake_cluster(tmp_path, *held, engines=held) as cluster:
        uno = cluster["uno"]
        held["dos"].fail_next("pull", EngineUnreachable("no Docker Engine answers"))
        await cluster.kill("tres")
        await eventually(lambda: uno.machine.members.status("tres@tres") is Status.DEAD)
        told = brief(await uno.container_sup.pull(NGINX))
        assert told["dos@dos"] == (PullState.FAILED, "no Docker Engine answers")
        assert told["tres@tres"] == (PullState.FAILED, "it is dead")


async def test_one_lost_message_fails_no_pull(tmp_path: Path) -> None:
    held = engines(uno={NGINX}, dos={NGINX})
    async with fake_cluster(tmp_path, engines=held) as cluster:
        sup = cluster["uno"].container_sup
        cluster.network.lose_next(2, b"images.pull")
        assert brief(await sup.pull(NGINX, "dos")) == {"dos@dos": PULLED}
        cluster.network.lose_next(3, b"images.pull")
        told = brief(await sup.pull(NGINX, "dos"))
        lost = "dos@dos: 127.0.0.2:8087 could not be reached"
        assert told["dos@dos"] == (PullState.FAILED, lost)


async def test_only_the_last_pulls_are_remembered(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        sup = cluster["uno"].container_sup
        await asyncio.gather(*(sup.pull(f"image:{n}") for n in range(KEPT + 20)))
        await sup.pull("another")
        assert len(sup.pulls()) <= KEPT + 1
        assert sup.pulls()[-1].image == "another"


class FaultyStock(FakeEngine):
    """One whose adapter has a bug, which shows once."""

    is_sound = False

    async def watch_holdings(self) -> AsyncGenerator[EngineHolds, None]:
        if not self.is_sound:
            self.is_sound = True
            raise RuntimeError("a bug")
        async for held in super().watch_holdings():
            yield held


async def test_a_fault_in_what_tells_of_the_holdings_is_told_and_outlived(
    tmp_path: Path,
) -> None:
    faulty = FaultyStock("veo", "uno@uno", images={NGINX})
    async with fake_cluster(tmp_path, "uno", engines={"uno": faulty}) as cluster:
        await knows_image(cluster, "uno")
        assert "images and volumes cannot be followed" in cluster.errors.pop()
