"""`update_service` and `rollback` on real nodes: by turns, and back if one fails."""

from __future__ import annotations

import asyncio
from pathlib import Path

import attrs
import pytest

from tests.fake_cluster import WEB, FakeCluster, eventually, fake_cluster, watching
from veo_shell.core.model import (
    Container,
    OnPartition,
    OnUpdateFailure,
    Service,
    UpdateConfig,
    UpdateOrder,
)
from veo_shell.edge.fake_engine import FakeEngine
from veo_shell.errors import ServiceError, UnknownService, UpdateFailed, UsageError

QUICK = UpdateConfig(monitor_ns=100_000_000)
OLD = attrs.evolve(WEB, replicas=3, update=QUICK)
NEW = attrs.evolve(OLD, image="nginx:2")
LAME = attrs.evolve(OLD, image="nginx:broken")


def engines(*names: str) -> dict[str, FakeEngine]:
    """Return engines that hold the images above but the broken one."""
    images = [OLD.image, NEW.image]
    return {n: FakeEngine("veo", f"{n}@{n}", images=images) for n in names}


def images(cluster: FakeCluster) -> list[str]:
    """Return what the containers of all engines were made of, sorted."""
    held = [c for e in cluster.engines.values() for c in e.containers.values()]
    return sorted(c.config["Image"] for c in held)


async def only(cluster: FakeCluster, image: str, number: int = 3) -> None:
    await eventually(lambda: images(cluster) == [image] * number)


async def test_a_new_spec_is_rolled_out_and_dns_never_lacks_an_instance(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path, engines=engines("uno", "dos")) as cluster:
        sup = cluster["uno"].container_sup
        await sup.add_service(OLD)
        before = {c.node for c in await cluster.ready(3)}
        with watching(cluster, "uno", "dos") as seen:
            done = await sup.update_service("web", NEW)
        assert (done.what, done.copies, done.warning) == ("web updated", 2, "")
        assert {c.image for c in done.containers if c.is_ready} == {"nginx:2"}
        assert sup.services() == [NEW]
        await only(cluster, "nginx:2")
        assert {c.node for c in await cluster.ready(3)} == before
        assert min(watch["web"] for watch in seen) >= 3


async def test_stop_first_leaves_the_others_answering(tmp_path: Path) -> None:
    first = attrs.evolve(QUICK, order=UpdateOrder.STOP_FIRST, parallelism=9)
    async with fake_cluster(tmp_path, engines=engines("uno", "dos")) as cluster:
        sup = cluster["dos"].container_sup
        await sup.add_service(OLD)
        await cluster.ready(3)
        with watching(cluster, "uno", "dos") as seen:
            await sup.update_service("web", attrs.evolve(NEW, update=first))
        await only(cluster, "nginx:2")
        assert 1 <= min(watch["web"] for watch in seen) < 3


async def test_an_update_that_fails_is_rolled_back_and_says_why(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, engines=engines("uno", "dos")) as cluster:
        sup = cluster["uno"].container_sup
        await sup.add_service(OLD)
        await cluster.ready(3)
        with (
            watching(cluster, "uno", "dos") as seen,
            pytest.raises(UpdateFailed) as caught,
        ):
            await sup.update_service("web", LAME)
        said = str(caught.value)
        assert said.startswith("web: the update failed, and all is rolled back: slot ")
        assert "nginx:broken" in said
        assert sup.services() == [OLD]
        await only(cluster, OLD.image)
        assert min(watch["web"] for watch in seen) >= 3
        told = [e.text for e in await cluster["uno"].journal.history(100)]
        assert any("the update is rolled back: slot" in text for text in told)


async def test_a_failed_update_can_be_paused_and_taken_up_again(tmp_path: Path) -> None:
    pause = attrs.evolve(QUICK, on_failure=OnUpdateFailure.PAUSE)
    async with fake_cluster(tmp_path, engines=engines("uno", "dos")) as cluster:
        sup = cluster["uno"].container_sup
        await sup.add_service(OLD)
        await cluster.ready(3)
        with pytest.raises(UpdateFailed, match="web: the update failed, and is paused"):
            await sup.update_service("web", attrs.evolve(LAME, update=pause))
        assert [s.image for s in sup.services()] == ["nginx:broken"]
        await only(cluster, OLD.image)
        done = await sup.update_service("web", NEW)
        assert done.what == "web updated"
        await only(cluster, "nginx:2")


async def test_rollback_goes_back_and_forth(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, engines=engines("uno", "dos")) as cluster:
        sup = cluster["uno"].container_sup
        await sup.add_service(OLD)
        with pytest.raises(ServiceError, match="web has had no spec before this one"):
            await sup.rollback("web")
        await sup.update_service("web", NEW)
        done = await cluster["dos"].container_sup.rollback("web")
        assert done.what == "web rolled back"
        await only(cluster, OLD.image)
        await sup.rollback(OLD)
        await only(cluster, "nginx:2")


async def test_what_no_container_is_made_of_changes_without_a_restart(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        sup = cluster["uno"].container_sup
        await sup.add_service(WEB)
        [before] = await cluster.ready(1)
        kept = attrs.evolve(WEB, on_partition=OnPartition.KEEP, replicas=2)
        done = await sup.update_service("web", kept)
        assert done.what == "web: no instance has to be replaced"
        assert sup.services() == [kept]
        assert before in await cluster.ready(2)
        again = await sup.update_service("web", kept)
        assert again.what == "web: no instance has to be replaced"


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        (
            attrs.evolve(WEB, name="other"),
            "web cannot be renamed to other: add that, and then remove the other",
        ),
        (attrs.evolve(WEB, image=""), "web.image: is empty"),
    ],
)
async def test_specs_that_cannot_be_are_refused(
    tmp_path: Path, spec: Service, told: str
) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        sup = cluster["uno"].container_sup
        await sup.add_service(WEB)
        with pytest.raises(UsageError) as caught:
            await sup.update_service("web", spec)
        assert str(caught.value) == told
        assert sup.services() == [WEB]


async def test_what_is_not_there_is_not_updated(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        sup = cluster["uno"].container_sup
        for work in (sup.update_service("web", WEB), sup.rollback("web")):
            with pytest.raises(UnknownService, match="no service is called 'web'"):
                await work


async def test_removed_while_it_is_updated(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, engines=engines("uno", "dos")) as cluster:
        sup = cluster["uno"].container_sup
        await sup.add_service(OLD)
        await cluster.ready(3)
        slow = attrs.evolve(NEW, update=UpdateConfig())

        async def remove() -> None:
            await eventually(lambda: "nginx:2" in images(cluster))
            await sup.remove_service("web")

        update, _ = await asyncio.gather(
            sup.update_service("web", slow), remove(), return_exceptions=True
        )
        assert isinstance(update, ServiceError)
        assert str(update) == "web was removed while it was updated"
        await eventually(lambda: images(cluster) == [])


async def test_changed_again_while_it_is_updated(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, engines=engines("uno", "dos")) as cluster:
        sup = cluster["uno"].container_sup
        await sup.add_service(OLD)
        await cluster.ready(3)

        async def change() -> object:
            await eventually(lambda: "nginx:2" in images(cluster))
            return await cluster["dos"].container_sup.update_service("web", OLD)

        one, other = await asyncio.gather(
            sup.update_service("web", NEW), change(), return_exceptions=True
        )
        assert str(one) == "web was changed again while it was updated"
        assert not isinstance(other, Exception)
        await only(cluster, OLD.image)


async def test_the_update_goes_on_as_its_coordinator_dies(tmp_path: Path) -> None:
    names = ("uno", "dos", "tres")
    async with fake_cluster(tmp_path, *names, engines=engines(*names)) as cluster:
        sup = cluster["uno"].container_sup
        added: Container = await sup.add_service(OLD)
        await cluster.ready(3)
        decider = cluster["uno"].machine.situation.coordinator(added.uid)
        other = next(name for name in names if f"{name}@{name}" != decider)

        async def kill() -> None:
            await eventually(lambda: "nginx:2" in images(cluster))
            await cluster.kill(decider.partition("@")[0])

        await asyncio.gather(
            cluster[other].container_sup.update_service("web", NEW), kill()
        )
        machine = cluster[other].machine
        await eventually(
            lambda: [c.image for c in machine.answerable()] == ["nginx:2"] * 3
        )
        assert decider not in {c.node for c in machine.answerable()}
