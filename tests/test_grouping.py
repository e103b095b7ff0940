"""Groups of services on several nodes: one home, one fate."""

from __future__ import annotations

import asyncio
import inspect
import re
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.fake_cluster import WEB, FakeCluster, eventually, fake_cluster
from veo_shell import settings
from veo_shell.core.model import (
    Container,
    GroupPolicy,
    GroupRole,
    Health,
    HealthCheck,
    HealthKind,
    Restart,
    Service,
)
from veo_shell.core.progress import begins
from veo_shell.errors import ApplyFailed, EngineError, NoSuitableNode, StartFailed

DOCS = (Path(__file__).parents[1] / "docs" / "groups.md").read_text()
ASKED = re.compile(r"^\(uno@uno \d/\d\)(\d+)> (?:[\w, ]+ = )?(.*)$", re.MULTILINE)
POLICY = GroupPolicy.MASTER_KILLS_ALL
DB = attrs.evolve(
    WEB,
    name="db",
    restart=Restart.ALWAYS,
    group="shop",
    group_role=GroupRole.MASTER,
    group_policy=POLICY,
)
APP = attrs.evolve(DB, name="app", group_role=GroupRole.SLAVE)


def group(cluster: FakeCluster) -> list[Container]:
    return cluster["uno"].container_sup.get_container_group("shop")


async def asked(cluster: FakeCluster, step: int, **names: Any) -> Any:
    """Do what the page has an operator type there."""
    uno = cluster["uno"]
    words = {"container_sup": uno.container_sup, "node_monitor": uno.node_monitor}
    found = eval(dict(ASKED.findall(DOCS))[str(step)], {**words, **names})  # noqa: S307 - our own page
    return await found if inspect.isawaitable(found) else found


async def test_the_page_about_groups_is_true(tmp_path: Path) -> None:
    file = tmp_path / "shop.yml"
    file.write_text(DOCS.split("```yaml\n")[1].split("```")[0])
    db, web = settings.get_applications(file)
    async with fake_cluster(tmp_path / "nodes") as cluster:
        await asked(cluster, 2, db=db)
        await asked(cluster, 3, web=web)
        both = await asked(cluster, 4)
        assert [c.service for c in both] == ["db", "web"]
        ((home,),) = {(c.node,) for c in both}
        (other,) = {"uno@uno", "dos@dos"} - {home}
        ranked = await asked(cluster, 5, web=web)
        assert [(c.node, c.fits, c.reason) for c in ranked] == [
            (home, True, ""),
            (other, False, f"its group shop runs on {home}"),
        ]
        await asked(cluster, 6)
        await eventually(lambda: [c.is_ready for c in group(cluster)] == [True, True])
        assert len({c.operation for c in group(cluster)}) == 1
        drained = await asked(cluster, 7)
        assert not drained.warning
        assert {(c.service, c.node) for c in await asked(cluster, 8)} == {
            ("db", other),
            ("web", other),
        }
        done = await asked(cluster, 9)
        assert done.what.endswith("stopped, and with it web of its group")
        assert group(cluster) == []
        assert cluster["uno"].container_sup.services() == []


async def test_a_group_that_does_not_fit_is_refused_with_what_it_wants(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path) as cluster:
        sup = cluster["uno"].container_sup
        await sup.add_service(attrs.evolve(DB, memory_bytes=5 << 30))
        with pytest.raises(NoSuitableNode) as caught:
            await sup.add_service(attrs.evolve(APP, memory_bytes=5 << 30))
        home, other = (c.node for c in group(cluster)), {"uno@uno", "dos@dos"}
        told = dict(caught.value.refusals)
        (node,) = home
        assert "bytes of memory" in told[node]
        (away,) = other - {node}
        assert told[away].startswith("its whole group shop wants 10737418240 bytes")
        assert [s.name for s in sup.services()] == ["db"]


async def test_one_that_cannot_be_added_takes_nothing_of_its_group_with_it(
    tmp_path: Path,
) -> None:
    one = GroupPolicy.ONE_KILLS_ALL
    async with fake_cluster(tmp_path) as cluster:
        sup = cluster["uno"].container_sup
        await sup.add_service(attrs.evolve(DB, group_policy=one))
        for engine in cluster.engines.values():
            engine.fail_next("create", EngineError("no such image"))
        with pytest.raises(StartFailed, match="no such image"):
            await sup.add_service(attrs.evolve(APP, group_policy=one))
        assert [service.name for service in sup.services()] == ["db"]
        await cluster.ready(1)


async def test_the_end_of_the_master_is_that_of_all_on_its_node(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        sup = cluster["uno"].container_sup
        await sup.add_service(DB)
        await sup.add_service(attrs.evolve(APP, replicas=2))
        await cluster.ready(3)
        node = group(cluster)[0].node.partition("@")[0]
        (db,) = [c for c in group(cluster) if c.service == "db"]
        cluster.engines[node].exit(db.id, 1)
        await eventually(
            lambda: (
                {(c.service, c.restarts) for c in group(cluster) if c.is_ready}
                == {("db", 1), ("app", 0)}
            )
        )
        why = f"stopping: {db.name} of its group ended: exit code 1"
        history = [e.text for e in await cluster["uno"].journal.history(100)]
        assert sum(text.endswith(why) for text in history) == 2
        told = [entry.text for entry in await cluster["dos"].journal.why("app")]
        assert any(text == f"{db.name}: backoff: exit code 1" for text in told)


async def test_what_waits_for_its_master_says_so(tmp_path: Path) -> None:
    check = HealthCheck(kind=HealthKind.SHELL, cmd=("true",))
    async with fake_cluster(tmp_path) as cluster:
        sup, machine = cluster["uno"].container_sup, cluster["uno"].machine
        await sup.add_service(attrs.evolve(DB, health_check=check))

        def told() -> str:
            named = machine.view.named("app")
            slots = [s for r in named for s in machine.view.slots(r.uid)]
            return begins(machine.situation, slots[0], APP) if slots else ""

        async def heal() -> None:
            why = "(once db is ready, a master of its group)"
            await eventually(lambda: told().endswith(why))
            (db,) = group(cluster)
            engine = cluster.engines[db.node.partition("@")[0]]
            engine.set_health(db.id, Health.HEALTHY)

        added, _ = await asyncio.gather(sup.add_service(APP), heal())
        assert added.node == group(cluster)[0].node


async def test_a_plan_tells_that_a_group_comes_to_one_node(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        sup = cluster["uno"].container_sup
        plan = await sup.plan([DB, attrs.evolve(APP, replicas=3)])
        assert len({node for step in plan.steps for node in step.nodes}) == 1
        await sup.apply(plan)
        held = await cluster.ready(4)
        assert {c.node for c in held} == {plan.steps[0].nodes[0]}
        again = await sup.plan([DB, attrs.evolve(APP, replicas=3)])
        assert {step.action.value for step in again.steps} == {"keep"}


async def test_a_file_whose_group_fits_no_node_begins_nothing_of_it(
    tmp_path: Path,
) -> None:
    both = [attrs.evolve(service, memory_bytes=5 << 30) for service in (DB, APP)]
    told = "its whole group shop wants 10737418240 bytes of memory"
    async with fake_cluster(tmp_path) as cluster:
        sup = cluster["uno"].container_sup
        plan = await sup.plan([*both, attrs.evolve(WEB, name="apart")])
        refused = {step.name: step.refused for step in plan.steps}
        assert all(told in refused[name] for name in ("db", "app"))
        with pytest.raises(ApplyFailed) as caught:
            await sup.apply(plan)
        failed = dict(line.split(":", 1) for line in caught.value.failed)
        assert failed.keys() == {"db", "app"}
        assert all("not added" in why and told in why for why in failed.values())
        assert [service.name for service in sup.services()] == ["apart"]
        assert group(cluster) == []


def large(service: Service, gib: int, **changes: Any) -> Service:
    return attrs.evolve(service, memory_bytes=gib << 30, **changes)


OUT = attrs.evolve(APP, group=None, group_role=None, group_policy=None)


@pytest.mark.parametrize(
    ("stands", "brings"),
    [
        ([large(DB, 1)], [large(DB, 1), large(APP, 2), large(APP, 6, name="web")]),
        ([large(APP, 1)], [large(DB, 5), large(APP, 5)]),
        ([large(OUT, 5)], [large(DB, 5), large(APP, 5)]),
        (
            [attrs.evolve(DB, hosts=("uno@uno",))],
            [
                attrs.evolve(DB, hosts=("uno@uno",)),
                attrs.evolve(APP, hosts=("dos@dos",)),
                attrs.evolve(APP, name="web"),
            ],
        ),
    ],
    ids=["too much comes", "one grows", "one comes from outside", "pinned elsewhere"],
)
async def test_what_a_file_adds_to_a_group_is_added_only_if_all_of_it_fits(
    tmp_path: Path, stands: list[Service], brings: list[Service]
) -> None:
    async with fake_cluster(tmp_path) as cluster:
        sup = cluster["uno"].container_sup
        for service in stands:
            await sup.add_service(service)
        plan = await sup.plan(brings)
        with pytest.raises(ApplyFailed):
            await sup.apply(plan)
        assert [s.name for s in sup.services()] == [s.name for s in stands]
