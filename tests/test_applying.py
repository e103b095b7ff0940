"""`container_sup.plan` and `apply` on real nodes: a file as the truth."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from tests.fake_cluster import WEB, fake_cluster
from veo_shell.core.dispatch import dispatch
from veo_shell.core.model import Service
from veo_shell.core.planned import Action, Plan
from veo_shell.core.verbs import pack, unpack
from veo_shell.errors import ConfigError

EXAMPLE = Path(__file__).parents[1] / "examples" / "cluster.yml"
DB = Service(name="db", image="redis:7")
HUGE = Service(name="huge", image="huge", cpus=64.0)


def actions(plan: Plan) -> list[tuple[str, str]]:
    return [(step.action.value, step.service.name) for step in plan.steps]


# plan


async def test_a_plan_says_what_would_be_done_and_does_nothing(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        await cluster.run(WEB)
        await cluster.run(DB)
        wanted = [attrs.evolve(WEB, image="nginx:2", replicas=2), HUGE]
        for name in ("uno", "dos"):
            plan = await cluster[name].container_sup.plan(wanted)
            assert actions(plan) == [
                ("add", "huge"), ("change", "web"), ("leave", "db"),
            ]  # fmt: skip
            huge, web, _ = plan.steps
            assert huge.nodes == (None,)
            assert huge.refused.startswith("dos@dos: wants 64 cpus, 4 left of 4; uno")
            assert [c.field for c in web.changes] == ["image", "replicas"]
            assert len(web.nodes) == 1
            pruned = await cluster[name].container_sup.plan(wanted, prune=True)
            assert actions(pruned)[-1] == ("remove", "db")
        services = cluster["uno"].container_sup.services()
        assert sorted(service.name for service in services) == ["db", "web"]
        assert len(cluster["uno"].container_sup.cloud_containers()) == 2


async def test_the_nodes_own_file_is_planned_without_another(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        with pytest.raises(ConfigError, match=r"started without a cluster\.yml"):
            await cluster["uno"].container_sup.plan()
        await cluster.stop("uno")
        node = cluster.make("uno", config_file=EXAMPLE)
        await node.start()
        packed = await dispatch(node.words, "container_sup.plan", [], {})
        plan = unpack(packed)
        assert actions(plan) == [("add", "nginx"), ("add", "nginx")]
        assert {step.nodes for step in plan.steps} == {("uno@uno",)}
        given = [pack([HUGE]), pack(True)]
        plan = unpack(await dispatch(node.words, "container_sup.plan", given, {}))
        assert actions(plan) == [("add", "huge")]


async def test_a_node_that_has_just_started_knows_first_what_stands(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path) as cluster:
        await cluster.run(WEB)
        await cluster.stop("dos")
        cluster.lose_disk("dos")
        node = await cluster.boot("dos", "uno")
        plan = await node.container_sup.plan([WEB])
        assert [step.action for step in plan.steps] == [Action.KEEP]
