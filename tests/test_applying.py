"""`container_sup.plan` and `apply` on real nodes: a file as the truth."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from tests.fake_cluster import FAST, WEB, FakeCluster, fake_cluster
from veo_shell.core.dispatch import dispatch
from veo_shell.core.model import (
    OnUpdateFailure,
    Service,
    State,
    UpdateConfig,
)
from veo_shell.core.plan import ELSEWHERE, HALTED
from veo_shell.core.planned import Action, Plan
from veo_shell.core.verbs import pack, unpack
from veo_shell.edge.fake_engine import FakeEngine, Program
from veo_shell.errors import ApplyFailed, ConfigError, EngineError, ImageError

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


# apply


async def apply(
    cluster: FakeCluster, wanted: list[Service], prune: bool = False
) -> list[str]:
    """Have uno apply a file; return what was done."""
    applied = await cluster["uno"].container_sup.apply(wanted, prune)
    await cluster.agreed()
    assert applied.warning == ""
    return list(applied.done)


async def failures(
    cluster: FakeCluster, wanted: list[Service], prune: bool = False
) -> tuple[list[str], list[str]]:
    """Have uno apply a file in vain; return what was done, and what was not."""
    with pytest.raises(ApplyFailed) as caught:
        await cluster["uno"].container_sup.apply(wanted, prune)
    await cluster.agreed()
    assert str(caught.value).splitlines() == caught.value.failed
    return caught.value.done, caught.value.failed


def placed(cluster: FakeCluster) -> dict[str, list[str]]:
    """Return the nodes of what runs, by the services' names."""
    found: dict[str, list[str]] = {}
    for container in cluster["uno"].container_sup.cloud_containers():
        assert container.state is State.RUNNING
        found.setdefault(container.service, []).append(container.node)
    return found


async def test_what_is_added_runs_where_the_plan_said(tmp_path: Path) -> None:
    wanted = [attrs.evolve(DB, name=f"db{n}", replicas=n % 3 + 1) for n in range(8)]
    async with fake_cluster(tmp_path) as cluster:
        sup = cluster["uno"].container_sup
        plan = await sup.plan(wanted)
        applied = await sup.apply(plan)
        assert applied.done == tuple(f"db{n} added" for n in range(8))
        said = {s.service.name: sorted(map(str, s.nodes)) for s in plan.steps}
        assert {n: sorted(nodes) for n, nodes in placed(cluster).items()} == said
        uids = {record.uid for record in cluster["uno"].machine.view.services()}
        assert uids == {step.uid for step in plan.steps}
        await cluster.agreed()
        assert (await cluster["dos"].container_sup.plan(wanted)).changing == ()


async def test_applied_again_nothing_is_done(tmp_path: Path) -> None:
    wanted = [WEB, attrs.evolve(WEB, variant="host", network_mode="host"), DB]
    async with fake_cluster(tmp_path) as cluster:
        assert await apply(cluster, wanted) == [
            "web added", "web (host) added", "db added",
        ]  # fmt: skip
        before = cluster["uno"].machine.view.revision
        assert await apply(cluster, wanted) == []
        assert cluster["uno"].machine.view.revision == before


async def test_a_plan_applied_twice_adds_nothing_twice(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        sup = cluster["uno"].container_sup
        plan = await sup.plan([WEB])
        await sup.apply(plan)
        assert (await sup.apply(plan)).done == ("web stands already",)
        assert len(sup.cloud_containers()) == 1
        await sup.remove_service("web")
        with pytest.raises(ApplyFailed, match="web: not added: web was removed while"):
            await sup.apply(plan)


async def test_replicas_that_alone_change_are_scaled(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        await apply(cluster, [WEB])
        (before,) = cluster["uno"].container_sup.cloud_containers()
        assert await apply(cluster, [attrs.evolve(WEB, replicas=3)]) == ["web changed"]
        assert len(placed(cluster)["web"]) == 3
        await cluster["uno"].container_sup.scale("web", 2)
        assert await apply(cluster, [WEB]) == ["web changed"]
        assert cluster["uno"].container_sup.cloud_containers() == [before]


async def test_only_prune_removes_what_is_not_in_the_file(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        await cluster.run(DB)
        await apply(cluster, [WEB])
        assert await apply(cluster, []) == []
        assert sorted(placed(cluster)) == ["db", "web"]
        assert sorted(await apply(cluster, [], prune=True)) == [
            "db removed", "web removed",
        ]  # fmt: skip
        assert placed(cluster) == {}


async def test_one_failure_does_not_stop_the_others(tmp_path: Path) -> None:
    engines = {n: FakeEngine("veo", f"{n}@{n}") for n in ("uno", "dos")}
    async with fake_cluster(tmp_path, engines=engines) as cluster:
        on_uno = attrs.evolve(DB, name="gone", hosts=("uno@uno",))
        cluster.engines["uno"].fail_next("create", ImageError("gone: no such image"))
        done, failed = await failures(cluster, [on_uno, HUGE, WEB])
        assert done == ["web added"]
        assert failed == [
            "huge: not added: no node fits huge; dos@dos: wants 64 cpus, 4 left of 4; "
            "uno@uno: wants 64 cpus, 4 left of 4",
            "gone: not added: gone on uno@uno: gone: no such image",
        ]
        assert list(placed(cluster)) == ["web"]


async def test_what_is_replaced_goes_only_once_the_others_stand(tmp_path: Path) -> None:
    """Two of one name that both changed: nobody can tell which became which."""
    one = attrs.evolve(WEB, replicas=1)
    two = attrs.evolve(DB, name="web")
    async with fake_cluster(tmp_path) as cluster:
        await apply(cluster, [one, two])
        new = [attrs.evolve(one, image="nginx:2"), attrs.evolve(two, cpus=64.0)]
        done, failed = await failures(cluster, new)
        assert done == ["web added"]
        assert [line.split(":")[1].strip() for line in failed] == [
            "not added", "not removed", "not removed",
        ]  # fmt: skip
        assert failed[-1] == "web: not removed: what replaces it could not be added"
        new = [new[0], two]
        assert await apply(cluster, new) == []
        newer = [attrs.evolve(s, image="nginx:3") for s in new]
        assert await apply(cluster, newer) == [
            "web added", "web added", "web removed", "web removed", "web removed",
        ]  # fmt: skip
        stands = cluster["uno"].container_sup.services()
        assert sorted(stands, key=str) == sorted(newer, key=str)


async def test_what_does_not_run_is_told_each_time(tmp_path: Path) -> None:
    programs: dict[tuple[str, ...], Program] = {
        ("bad",): Program(exits=3),
        ("ok",): Program(exits=0),
    }
    engine = FakeEngine("veo", "uno@uno", programs=programs)
    async with fake_cluster(tmp_path, "uno", engines={"uno": engine}) as cluster:
        bad = attrs.evolve(DB, name="bad", args=("bad",))
        job = attrs.evolve(DB, name="job", args=("ok",))
        done, failed = await failures(cluster, [bad, job])
        assert done == ["bad added", "job added"]
        (told,) = failed
        assert told.startswith("veo-uno-bad-")
        assert told.endswith(": exited, exit code 3")
        done, failed = await failures(cluster, [bad, job])
        assert (done, failed) == ([], [told])


async def test_what_waits_for_room_is_told(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        done, failed = await failures(cluster, [attrs.evolve(DB, cpus=3.0, replicas=2)])
        assert done == ["db added"]
        assert failed == ["db: pending, uno@uno: wants 3 cpus, 1 left of 4"]


QUICK = UpdateConfig(monitor_ns=200_000_000)


async def test_another_spec_is_an_update_of_the_same_service(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        web = attrs.evolve(WEB, replicas=2, update=QUICK)
        await apply(cluster, [web, DB])
        (record,) = cluster["uno"].machine.view.named("web")
        newer = attrs.evolve(web, image="nginx:2", replicas=3)
        assert await apply(cluster, [newer, DB]) == ["web changed"]
        (after,) = cluster["uno"].machine.view.named("web")
        assert (after.uid, after.service, after.replicas) == (record.uid, newer, 3)
        assert after.service is not None
        assert after.service.from_file
        images = [
            c.image
            for c in cluster["uno"].container_sup.cloud_containers()
            if c.service == "web"
        ]
        assert images == ["nginx:2"] * 3
        assert await apply(cluster, [newer, DB]) == []


async def test_a_change_of_what_was_scaled_by_hand_has_the_files_replicas(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path) as cluster:
        web = attrs.evolve(WEB, update=QUICK)
        await cluster.run(web)
        await cluster["uno"].container_sup.scale("web", 3)
        newer = attrs.evolve(web, image="nginx:2")
        assert await apply(cluster, [newer]) == ["web changed"]
        assert len(placed(cluster)["web"]) == 1
        assert cluster["dos"].container_sup.services() == [newer]


async def test_variants_that_changed_are_each_updated(tmp_path: Path) -> None:
    blue = attrs.evolve(WEB, variant="blue", update=QUICK)
    green = attrs.evolve(blue, variant="green", ports=())
    async with fake_cluster(tmp_path) as cluster:
        await apply(cluster, [blue, green])
        newer = [attrs.evolve(s, image="nginx:2") for s in (blue, green)]
        assert await apply(cluster, newer) == [
            "web (blue) changed", "web (green) changed",
        ]  # fmt: skip
        stands = cluster["uno"].container_sup.services()
        assert sorted(s.variant for s in stands) == ["blue", "green"]
        assert {s.image for s in stands} == {"nginx:2"}


async def test_what_still_stops_is_no_trouble(tmp_path: Path) -> None:
    impatient = attrs.evolve(FAST, patience_s=1.0)
    async with fake_cluster(tmp_path, "uno", timing=impatient) as cluster:
        old = attrs.evolve(WEB, update=QUICK, stop_timeout_s=0)
        sup = cluster["uno"].container_sup
        await sup.apply([old])
        for _ in range(60):  # longer than it is waited for
            failure = EngineError("the disk is busy", status=500)
            cluster.engines["uno"].fail_next("discard", failure)
        newer = attrs.evolve(old, image="nginx:2")
        assert (await sup.apply([newer])).done == ("web changed",)
        states = {c.state for c in sup.cloud_containers()}
        assert states == {State.RUNNING, State.STOPPING}


async def test_an_update_that_was_paused_is_begun_anew(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        paused = attrs.evolve(QUICK, on_failure=OnUpdateFailure.PAUSE)
        web = attrs.evolve(WEB, update=paused)
        await cluster.run(web)
        cluster.engines["uno"].fail_next("create", ImageError("nginx: gone"))
        newer = attrs.evolve(web, image="nginx:2")
        _, failed = await failures(cluster, [newer])
        assert "is paused" in failed[0]
        sup = cluster["uno"].container_sup
        (step,) = (await sup.plan([newer])).changing
        assert (step.changes, step.note) == ((), HALTED)
        assert (await sup.apply([newer])).done == ("web changed",)
        assert [c.image for c in sup.cloud_containers()] == ["nginx:2"]
        assert (await sup.plan([newer])).changing == ()


async def test_an_update_that_fails_is_told_with_its_reason(tmp_path: Path) -> None:
    programs: dict[tuple[str, ...], Program] = {("bad",): Program(exits=3)}
    engines = {
        n: FakeEngine("veo", f"{n}@{n}", programs=programs) for n in ("uno", "dos")
    }
    async with fake_cluster(tmp_path, engines=engines) as cluster:
        web = attrs.evolve(WEB, update=QUICK)
        await apply(cluster, [web])
        broken = attrs.evolve(web, args=("bad",))
        done, failed = await failures(cluster, [broken, DB])
        assert done == ["db added"]
        (told,) = failed
        assert told.startswith("web: not changed: web: the update failed, and all is")
        assert cluster["uno"].container_sup.services() in ([web, DB], [DB, web])


async def test_what_a_file_brought_is_its_own_after_a_change_by_hand(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path) as cluster:
        web = attrs.evolve(WEB, update=QUICK)
        await apply(cluster, [web])
        sup = cluster["uno"].container_sup
        await sup.update_service("web", attrs.evolve(web, image="nginx:2"))
        (service,) = sup.services()
        assert (service.image, service.from_file) == ("nginx:2", True)
        await sup.rollback("web")
        (service,) = sup.services()
        assert (service.image, service.from_file) == (web.image, True)
        (step,) = (await sup.plan([])).steps
        assert (step.action, step.note) == (Action.LEAVE, ELSEWHERE)
