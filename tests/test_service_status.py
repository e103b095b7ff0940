"""`container_sup.service_status()`: how services stand, and acting on one of them."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from tests.fake_cluster import WEB, FakeCluster, eventually, fake_cluster
from veo_shell.core.model import (
    Health,
    HealthCheck,
    HealthKind,
    Mode,
    OnUnhealthy,
    StandingService,
)
from veo_shell.errors import AmbiguousService, UnknownService

CHECKED = attrs.evolve(
    WEB,
    health_check=HealthCheck(kind=HealthKind.CMD, cmd=("look",)),
    on_unhealthy=OnUnhealthy.LEAVE,
)
BLUE = attrs.evolve(WEB, variant="blue", hosts=("uno@uno",))
GREEN = attrs.evolve(WEB, variant="green", hosts=("dos@dos",))


def counts(cluster: FakeCluster, node: str = "uno") -> dict[str, tuple[int, int]]:
    """Return how many are ready, of how many, by name and variant."""
    return {
        " ".join(filter(None, [one.name, one.variant])): (one.ready, one.wanted)
        for one in cluster[node].container_sup.service_status()
    }


def one(cluster: FakeCluster, variant: str = "") -> StandingService:
    (found,) = (
        status
        for status in cluster["uno"].container_sup.service_status()
        if status.variant == variant
    )
    return found


async def test_the_instances_that_are_ready_are_told_of_those_that_should_be(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path) as cluster:
        sup = cluster["uno"].container_sup
        await sup.add_service(CHECKED)
        await sup.scale("web", 3)
        assert counts(cluster) == {"web": (0, 3)}
        held = [(e, c) for e in cluster.engines.values() for c in e.containers]
        assert len(held) == 3
        for engine, name in held[1:]:
            engine.set_health(name, Health.HEALTHY)
        await cluster.ready(2)
        for node in ("uno", "dos"):
            assert counts(cluster, node) == {"web": (2, 3)}
        # The specs are what they were: by them it is found what stands
        assert sup.services() == [CHECKED]
        assert [status.spec for status in sup.service_status()] == [CHECKED]
        engine, name = held[1]
        engine.set_health(name, Health.UNHEALTHY)
        await cluster.ready(1)
        assert counts(cluster) == {"web": (1, 3)}


async def test_what_waits_for_room_is_wanted_and_not_ready(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        sup = cluster["uno"].container_sup
        await sup.add_service(attrs.evolve(WEB, max_per_node=1))
        assert "1 waits" in (await sup.scale(one(cluster), 3)).warning
        await cluster.ready(2)
        assert counts(cluster) == {"web": (2, 3)}
        cluster.add("tres")
        await cluster.boot("tres", "uno")
        await cluster.ready(3)
        assert counts(cluster) == {"web": (3, 3)}


async def test_of_what_runs_everywhere_every_node_is_counted(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        sup = cluster["uno"].container_sup
        await sup.add_service(attrs.evolve(WEB, mode=Mode.GLOBAL))
        await cluster.ready(2)
        assert counts(cluster) == {"web": (2, 2)}
        cluster.engines["dos"].go_away("gone")
        await cluster.ready(1)
        assert counts(cluster) == {"web": (1, 2)}


async def test_just_the_variant_that_is_given_is_meant(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        node = cluster["uno"]
        sup = node.container_sup
        for spec in (BLUE, GREEN):
            await sup.add_service(spec)
        blue, green = one(cluster, "blue"), one(cluster, "green")
        assert (await sup.scale(green, 2)).what == "web (green): 2 instances"
        assert counts(cluster) == {"web blue": (1, 1), "web green": (2, 2)}
        for given, where, many in ((blue, "uno@uno", 1), (green, "dos@dos", 2)):
            found = node.streams.find(given)
            assert [c.node for c in found] == [where] * many
            assert len(await sup.health(given)) == many
            told = await node.journal.why(given)
            assert {e.uid for e in told if e.uid} == {given.uid}
            assert {e.uid for e in await sup.events(given)} == {given.uid}
        assert (await sup.restart(blue)).what.startswith("veo-uno-web-")
        fits = {c.node: c.fits for c in node.node_monitor.where(green)}
        assert fits == {"uno@uno": False, "dos@dos": True}
        assert (await sup.remove_service(blue)).what == "web (blue) removed"
        assert counts(cluster) == {"web green": (2, 2)}
        with pytest.raises(UnknownService, match="that 'web' is gone"):
            await sup.scale(blue, 1)


async def test_one_is_meant_after_its_spec_was_changed_too(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        sup = cluster["uno"].container_sup
        await sup.add_service(WEB)
        given = one(cluster)
        newer = attrs.evolve(given, image="nginx:2")
        assert (await sup.update_service(given, newer)).warning == ""
        spec = attrs.evolve(WEB, image="nginx:2")
        assert sup.services() == [spec]
        assert type(sup.services()[0]) is type(WEB)
        assert (await sup.scale(given, 2)).what == "web: 2 instances"
        now = one(cluster)
        assert now.update_status is not None
        assert now.update_status.state.value == "completed"
        assert attrs.evolve(now, update_status=None) == attrs.evolve(
            newer, ready=2, wanted=2
        )


async def test_one_is_added_and_planned_as_its_spec(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        sup = cluster["uno"].container_sup
        await sup.add_service(WEB)
        await sup.add_service(one(cluster))
        assert counts(cluster) == {"web": (2, 2)}
        await sup.add_service(attrs.evolve(one(cluster), variant="blue"))
        await eventually(lambda: counts(cluster)["web blue"] == (1, 1))
        assert counts(cluster) == {"web": (2, 2), "web blue": (1, 1)}
        plan = await sup.plan(list(sup.service_status()))
        assert {type(step.service) for step in plan.steps} == {type(WEB)}
        steps = {s.service.variant: [c.field for c in s.changes] for s in plan.steps}
        assert steps == {"": ["replicas"], "blue": []}
        await cluster.agreed()
        with pytest.raises(AmbiguousService):
            await sup.scale("web", 1)
