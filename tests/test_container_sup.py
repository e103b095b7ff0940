"""`container_sup` on real nodes: what operators add, remove, stop and list."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.fake_cluster import (
    FAST,
    QUICK_TO_JUDGE,
    WEB,
    FakeCluster,
    bare,
    eventually,
    fake_cluster,
    states,
    statuses,
)
from veo_shell.core.model import OnPartition, Port, Restart, Service, State, Status
from veo_shell.edge.fake_engine import FakeEngine, Program
from veo_shell.errors import (
    AmbiguousService,
    EngineError,
    EngineUnreachable,
    ImageError,
    NoSuitableNode,
    PeerUnreachable,
    ServiceError,
    StartFailed,
    UnknownContainer,
    UnknownNode,
    UnknownService,
    UsageError,
)

ON_UNO = attrs.evolve(WEB, hosts=("uno@uno",))
ON_DOS = attrs.evolve(WEB, hosts=("dos@dos",))
EDGE = attrs.evolve(WEB, roles=("edge",))
NAMES = ("dos@dos", "uno@uno")


def left(cluster: FakeCluster, *names: str) -> list[object]:
    """Return all that is left of services: in the tables and on the engines."""
    found: list[object] = []
    for name in names:
        view = cluster[name].machine.view
        found += [*view.services(), *view.containers()]
        found += cluster.engines[name].containers.values()
    return found


async def nothing_left(cluster: FakeCluster, *names: str) -> None:
    await eventually(lambda: not left(cluster, *(names or ("uno", "dos"))))


def engine_of(programs: dict[tuple[str, ...], Program]) -> FakeEngine:
    """Return an engine for uno whose commands do that."""
    return FakeEngine("veo", "uno@uno", programs=programs)


# add_service


async def test_add_service_returns_the_running_container_with_its_ports(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path) as cluster:
        container = await cluster["uno"].container_sup.add_service(WEB)
        assert (container.copies, container.warning) == (2, "")
        assert container.state is State.RUNNING
        assert (container.service, container.slot) == ("web", 0)
        assert container.node in ("uno@uno", "dos@dos")
        assert container.address == cluster.addresses[container.node[:3]]
        (port,) = container.ports
        assert (port.name, port.container_port) == ("website", 80)
        assert port.host_port >= 49153
        assert await cluster.ready(1) == [bare(container)]


@pytest.mark.parametrize("on", [ON_UNO, ON_DOS], ids=["here", "there"])
@pytest.mark.parametrize("coordinator", ["uno", "dos"])
async def test_whoever_decides_and_whoever_runs_it(
    tmp_path: Path, coordinator: str, on: Service
) -> None:
    async with fake_cluster(tmp_path) as cluster:
        uid = await cluster.add_coordinated_by(coordinator, on)
        await cluster.ready(1)
        second = await cluster["uno"].container_sup.add_service(on)
        assert (second.uid, second.slot, second.node) == (uid, 1, on.hosts[0])
        await cluster.ready(2)


async def test_the_answer_may_overtake_the_news_of_the_service(tmp_path: Path) -> None:
    """Several, so that dos is certain to decide about some."""
    async with fake_cluster(tmp_path) as cluster:
        uno, dos = cluster["uno"], cluster["dos"]
        cluster.network.mute("127.0.0.2")
        services = [attrs.evolve(ON_DOS, name=f"web{n}") for n in range(10)]
        adding = asyncio.gather(*map(uno.container_sup.add_service, services))
        await eventually(lambda: len(dos.machine.answerable()) == 10)
        assert not adding.done()
        assert not list(uno.machine.view.containers("dos@dos"))
        cluster.network.unmute("127.0.0.2")
        assert {c.state for c in await adding} == {State.RUNNING}


async def test_adding_what_stands_adds_one_instance_where_fewest_run(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path) as cluster:
        first = await cluster.run(WEB)
        second = await cluster["dos"].container_sup.add_service(WEB)
        assert first.uid == second.uid
        assert {first.node, second.node} == {"uno@uno", "dos@dos"}
        assert cluster["uno"].container_sup.services() == [WEB]


async def test_no_suitable_node_names_a_reason_per_node_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path) as cluster:
        wants = attrs.evolve(WEB, cpus=64.0)
        for name in ("uno", "dos"):
            with pytest.raises(NoSuitableNode) as caught:
                await cluster[name].container_sup.add_service(wants)
            assert [(n, r) for n, r in caught.value.refusals] == [
                ("dos@dos", "wants 64 cpus, 4 left of 4"),
                ("uno@uno", "wants 64 cpus, 4 left of 4"),
            ]
            assert str(caught.value).splitlines()[0] == "no node fits web"
        assert left(cluster, "uno", "dos") == []
        for name in ("uno", "dos"):
            assert not [key for key in await cluster.saved(name) if key[:4] != "node"]


async def test_an_image_that_cannot_be_had_is_told_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    engines = {n: FakeEngine("veo", f"{n}@{n}", images=[]) for n in ("uno", "dos")}
    async with fake_cluster(tmp_path, engines=engines) as cluster:
        with pytest.raises(StartFailed) as caught:
            await cluster["uno"].container_sup.add_service(ON_DOS)
        assert str(caught.value) == (
            "web on dos@dos: nginx:latest: cannot be pulled: no such image"
        )
        await nothing_left(cluster)


async def test_a_taken_port_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        cluster.engines["dos"].take_port(500)
        port = Port(name="p", container_port=90, host_port=500)
        with pytest.raises(StartFailed, match=r"127\.0\.0\.2:500 is taken"):
            await cluster["uno"].container_sup.add_service(
                attrs.evolve(ON_DOS, ports=(port,))
            )
        await nothing_left(cluster)


async def test_a_failed_instance_leaves_the_others_alone(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        sup = cluster["uno"].container_sup
        first = await sup.add_service(ON_UNO)
        cluster.engines["uno"].fail_next("create", ImageError("nginx: gone"))
        with pytest.raises(StartFailed, match="web on uno@uno: nginx: gone"):
            await sup.add_service(ON_UNO)
        assert sup.cloud_containers() == [bare(first)]
        (record,) = cluster["uno"].machine.view.services()
        assert record.replicas == 1
        assert len(cluster.engines["uno"].containers) == 1


async def test_an_engine_that_is_away_is_told(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        sup, engine = cluster["uno"].container_sup, cluster.engines["uno"]
        kept = bare(await sup.add_service(WEB))
        engine.go_away("connection refused")
        with pytest.raises(StartFailed, match="no Docker Engine answers at fake://uno"):
            await sup.add_service(WEB)
        (listed,) = sup.cloud_containers()
        assert listed == attrs.evolve(kept, reason="its engine is away")
        with pytest.raises(NoSuitableNode, match="uno@uno: its engine is away: no "):
            await sup.add_service(WEB)
        with pytest.raises(EngineUnreachable):
            await sup.get_containers()
        engine.come_back()
        await eventually(lambda: sup.cloud_containers() == [kept])
        assert len(await sup.get_containers()) == 1


async def test_a_container_that_ends_at_once_is_returned_as_it_is(
    tmp_path: Path,
) -> None:
    engine = engine_of({("ok",): Program(exits=0), ("bad",): Program(exits=3)})
    async with fake_cluster(tmp_path, "uno", engines={"uno": engine}) as cluster:
        sup = cluster["uno"].container_sup
        done = await sup.add_service(attrs.evolve(WEB, args=("ok",)))
        assert (done.state, done.exit_code) == (State.EXITED, 0)
        crashing = await sup.add_service(attrs.evolve(WEB, args=("bad",)))
        assert (crashing.state, crashing.exit_code) == (State.BACKOFF, 3)


async def test_removed_while_it_was_being_added(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        uno, engine = cluster["uno"], cluster.engines["uno"]
        engine.hang()
        adding = asyncio.get_running_loop().create_task(
            uno.container_sup.add_service(WEB)
        )
        await eventually(lambda: states(uno) == [State.CREATING])
        assert not adding.done()
        removing = asyncio.get_running_loop().create_task(
            uno.container_sup.remove_service("web")
        )
        with pytest.raises(ServiceError, match="removed while it was being added"):
            await adding
        engine.go_on()
        await removing
        assert left(cluster, "uno") == []
        assert engine.containers == {}


async def test_stopped_while_it_was_being_added(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        uno, engine = cluster["uno"], cluster.engines["uno"]
        kept = bare(await uno.container_sup.add_service(WEB))
        engine.hang()
        adding = asyncio.get_running_loop().create_task(
            uno.container_sup.add_service(WEB)
        )
        await eventually(lambda: State.CREATING in states(uno))
        second = next(c for c in uno.container_sup.list_containers() if c != kept)
        stopping = asyncio.get_running_loop().create_task(
            uno.container_sup.stop(second)
        )
        with pytest.raises(ServiceError, match="web was stopped while it was being"):
            await adding
        engine.go_on()
        await stopping
        assert uno.container_sup.cloud_containers() == [kept]


async def test_one_whose_node_is_lost_while_it_is_being_added_waits(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path, timing=QUICK_TO_JUDGE) as cluster:
        uno = cluster["uno"]
        cluster.engines["dos"].hang()
        adding = asyncio.get_running_loop().create_task(
            uno.container_sup.add_service(ON_DOS)
        )
        await eventually(lambda: states(uno) == [State.CREATING])
        await cluster.kill("dos")
        pending = await adding
        assert pending.state is State.PENDING
        assert pending.reason.endswith("; uno@uno: not one of the hosts dos@dos")
        assert uno.container_sup.services() == [ON_DOS]


@pytest.mark.parametrize(
    "kept",
    [
        pytest.param({"restart": Restart.NEVER}, id="restart: never"),
        pytest.param({"on_partition": OnPartition.KEEP}, id="on_partition: keep"),
    ],
)
async def test_what_stays_on_a_node_that_is_lost_while_it_is_being_added_waits(
    tmp_path: Path, kept: dict[str, Any]
) -> None:
    """It is started nowhere else: its adding waited for ever."""
    async with fake_cluster(tmp_path, timing=QUICK_TO_JUDGE) as cluster:
        uno, (told,) = cluster["uno"], [f"{k}: {v.value}" for k, v in kept.items()]
        cluster.engines["dos"].hang()
        adding = asyncio.get_running_loop().create_task(
            uno.container_sup.add_service(attrs.evolve(ON_DOS, **kept))
        )
        await eventually(lambda: states(uno) == [State.CREATING])
        await cluster.kill("dos")
        async with asyncio.timeout(30):
            pending = await adding
        assert pending.state is State.PENDING
        assert pending.reason == f"dos@dos is lost, {told}"
        assert uno.container_sup.cloud_containers() == [bare(pending)]


async def test_what_is_still_under_way_is_told_and_not_waited_for(
    tmp_path: Path,
) -> None:
    """As an engine that hangs, or pulls a large image."""
    timing = attrs.evolve(FAST, patience_s=1.0)
    async with fake_cluster(tmp_path, timing=timing) as cluster:
        sup, slow = cluster["uno"].container_sup, cluster.engines["dos"]
        slow.hang()
        async with asyncio.timeout(30):
            added = await sup.add_service(ON_DOS)
            assert added.state is State.CREATING
            assert added.warning == (
                "still under way: web slot 0 begins on dos@dos (creating)"
            )
            two = await sup.add_service(attrs.evolve(WEB, name="two", replicas=2))
        assert (two.node, two.state) == ("uno@uno", State.RUNNING)
        assert two.warning.startswith("still under way: two slot ")
        slow.go_on()
        await cluster.ready(3)  # it went on


async def test_what_is_not_heard_of_is_told_and_not_waited_for(tmp_path: Path) -> None:
    timing = attrs.evolve(FAST, patience_s=1.0)
    async with fake_cluster(tmp_path, timing=timing) as cluster:
        await cluster.add_coordinated_by("dos", ON_DOS)
        await cluster.ready(1)
        cluster.network.mute("127.0.0.2")
        added = await cluster["uno"].container_sup.add_service(ON_DOS)
        assert added.state is State.PENDING
        told = "web slot 1 begins on dos@dos"
        assert (added.reason, added.warning) == (told, f"still under way: {told}")
        cluster.network.unmute("127.0.0.2")
        await cluster.ready(2)


async def test_a_queued_service_waits_and_starts_when_a_node_fits(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path) as cluster:
        uno = cluster["uno"]
        pending = await uno.container_sup.add_service(EDGE, queue=True)
        assert (pending.state, pending.node) == (State.PENDING, "")
        refusals = "; ".join(f"{n}: its role is master, not edge" for n in NAMES)
        assert pending.reason == refusals
        assert uno.container_sup.cloud_containers() == [bare(pending)]
        await uno.node_monitor.assign_role("dos@dos", "edge")
        (running,) = await cluster.ready(1)
        assert (running.node, running.slot) == ("dos@dos", pending.slot)
        assert uno.container_monitor.state(pending) == running
        await uno.container_sup.stop(pending)
        await nothing_left(cluster)
        with pytest.raises(UnknownContainer, match="web: slot 0 was given up"):
            await uno.container_sup.stop(pending)


async def test_what_still_waits_can_be_given_up(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        sup = cluster["uno"].container_sup
        other = bare(await sup.add_service(WEB))
        first = await sup.add_service(EDGE, queue=True)
        second = await sup.add_service(EDGE, queue=True)
        await sup.stop(second)
        assert len(sup.services()) == 2
        await sup.stop(first)
        assert sup.services() == [WEB]
        assert sup.cloud_containers() == [other]


async def test_what_waits_beside_one_that_runs_can_be_given_up(tmp_path: Path) -> None:
    """It has no name, and all of the service was waited for."""
    two = attrs.evolve(WEB, replicas=2, cpus=3.0)
    async with fake_cluster(tmp_path, "uno") as cluster:
        sup = cluster["uno"].container_sup
        running = bare(await sup.add_service(two))
        (waits,) = [c for c in sup.cloud_containers() if c.state is State.PENDING]
        async with asyncio.timeout(30):
            stopped = await sup.stop(waits)
        assert stopped.what == "web stopped"
        assert sup.cloud_containers() == [running]


async def test_queue_places_at_once_where_a_node_fits(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        sup = cluster["uno"].container_sup
        assert (await sup.add_service(WEB, queue=True)).state is State.RUNNING


async def test_add_service_takes_services_only(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        with pytest.raises(UsageError, match=r"takes a Service, not str"):
            await cluster["uno"].container_sup.add_service("web")  # type: ignore[arg-type]
        large = attrs.evolve(WEB, environment=("A=" + "x" * (1 << 20),))
        with pytest.raises(UsageError, match=r"web: its spec takes 10\d+ bytes"):
            await cluster["uno"].container_sup.add_service(large)
        assert left(cluster, "uno") == []


# A coordinator out of reach


async def test_the_work_of_a_lost_coordinator_is_done_by_the_next(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path, timing=QUICK_TO_JUDGE) as cluster:
        await cluster.add_coordinated_by("dos", ON_DOS)
        await cluster.ready(1)
        cluster.network.cut("127.0.0.1", "127.0.0.2")
        with pytest.raises(NoSuitableNode, match=r"dos@dos: it is (suspect|dead)"):
            await cluster["uno"].container_sup.add_service(ON_DOS)


async def test_a_coordinator_that_only_another_node_reaches_is_asked_through_that(
    tmp_path: Path,
) -> None:
    names = ("uno", "dos", "tres")
    async with fake_cluster(tmp_path, *names, timing=QUICK_TO_JUDGE) as cluster:
        uno = cluster["uno"]
        await cluster.add_coordinated_by("dos", ON_DOS)
        await cluster.ready(1)
        cluster.network.cut("127.0.0.1", "127.0.0.2")
        added = await uno.container_sup.add_service(ON_DOS)
        assert (added.slot, added.state) == (1, State.RUNNING)
        await cluster.ready(2)
        assert uno.machine.members.status("dos@dos") is Status.ALIVE


async def test_a_coordinator_that_was_just_let_in_is_asked_once_it_is_known(
    tmp_path: Path,
) -> None:
    """It lives from its first word on; its document is pulled after that."""
    async with fake_cluster(tmp_path) as cluster:
        uno = cluster["uno"]
        await cluster.add_coordinated_by("dos", ON_DOS)
        await cluster.ready(1)
        uno.machine.view.forget_node("dos@dos")
        assert uno.machine.members.status("dos@dos") is Status.ALIVE
        await uno.container_sup.remove_service("web")
        assert uno.machine.view.head("dos@dos") is not None
        assert left(cluster, "dos") == []


async def test_a_coordinator_that_cannot_be_reached_at_all_is_told(
    tmp_path: Path,
) -> None:
    """It is heard: so nobody else may decide."""
    timing = attrs.evolve(QUICK_TO_JUDGE, suspect_s=0.3, dead_s=0.3)
    async with fake_cluster(tmp_path, timing=timing) as cluster:
        await cluster.add_coordinated_by("dos", ON_DOS)
        await cluster.ready(1)
        cluster.network.cut("127.0.0.1", "127.0.0.2", one_way=True)
        with pytest.raises(PeerUnreachable) as caught:
            await cluster["uno"].container_sup.add_service(ON_DOS)
        assert str(caught.value) == "dos@dos: 127.0.0.2:8087 could not be reached"
        cluster.network.mend("127.0.0.1", "127.0.0.2")
        await cluster["uno"].container_sup.add_service(ON_DOS)


async def test_a_lost_request_or_reply_is_repeated_and_done_once(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path) as cluster:
        await cluster.add_coordinated_by("dos", ON_DOS)
        await cluster.ready(1)
        cluster.network.lose_next(1)
        again = await cluster["uno"].container_sup.add_service(ON_DOS)
        assert again.slot == 1
        (record,) = cluster["dos"].machine.view.services()
        assert record.replicas == 2


# remove_service


async def test_remove_by_name_removes_it_on_every_node(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        sup = cluster["uno"].container_sup
        added = [await sup.add_service(WEB) for _ in range(3)]
        await cluster.ready(3)
        removed = await cluster["dos"].container_sup.remove_service("web")
        assert sorted(c.name for c in removed.containers) == sorted(
            c.name for c in added
        )
        assert {c.reason for c in removed.containers} == {"removed"}
        assert (removed.what, removed.copies) == ("web removed", 2)
        await nothing_left(cluster)


async def test_remove_by_service_removes_that_one_only(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        sup = cluster["uno"].container_sup
        kept = bare(await sup.add_service(ON_UNO))
        await sup.add_service(ON_DOS)
        await cluster.ready(2)
        await sup.remove_service(ON_DOS)
        assert sup.services() == [ON_UNO]
        assert await cluster.ready(1) == [kept]
        with pytest.raises(UnknownService):
            await sup.remove_service(ON_DOS)


async def test_a_name_that_is_that_of_two_is_refused_until_the_variant_is_said(
    tmp_path: Path,
) -> None:
    """All of the name were removed."""
    async with fake_cluster(tmp_path) as cluster:
        uno, dos = (cluster[n].container_sup for n in ("uno", "dos"))
        blue = attrs.evolve(ON_UNO, variant="blue", replicas=2)
        added = [await uno.add_service(service) for service in (blue, ON_DOS)]
        await cluster.ready(3)
        for verb in (dos.remove_service("web"), dos.scale("web", 3)):
            with pytest.raises(AmbiguousService) as caught:
                await verb
            rows = {row["uid"]: row for row in caught.value.candidates}
            assert rows.keys() == {c.uid for c in added}
            assert rows[added[0].uid]["variant"] == "blue"
        await cluster.ready(3)
        scaled = await dos.scale("web", 1, variant="blue")
        assert scaled.what == "web (blue): 1 instance"
        await dos.remove_service("web", variant=added[1].uid[:4])
        assert [c.uid for c in await cluster.ready(1)] == [added[0].uid]
        assert (await dos.remove_service("web")).what == "web (blue) removed"
        await nothing_left(cluster)


async def test_unknown_names_are_told_with_what_is_near(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        sup = cluster["uno"].container_sup
        with pytest.raises(UnknownService) as caught:
            await sup.remove_service("web")
        assert str(caught.value) == "no service is called 'web'"
        await sup.add_service(WEB)
        with pytest.raises(UnknownService) as caught:
            await sup.remove_service("wed")
        assert str(caught.value) == ("no service is called 'wed'; did you mean 'web'?")
        with pytest.raises(UnknownService):
            await sup.remove_service(attrs.evolve(WEB, name="other"))
        assert len(sup.cloud_containers()) == 1


async def test_removing_does_not_wait_for_a_node_that_pauses(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        await cluster.run(ON_DOS)
        await cluster.stop("dos")
        assert cluster["uno"].machine.members.status("dos@dos") is Status.PAUSED
        await cluster["uno"].container_sup.remove_service("web")
        assert len(cluster.engines["dos"].containers) == 1
        await cluster.boot("dos", "uno")
        await nothing_left(cluster)


@pytest.mark.parametrize("verb", ["stop", "remove_service"])
async def test_what_cannot_be_removed_is_told_and_not_waited_for(
    tmp_path: Path, verb: str
) -> None:
    timing = attrs.evolve(FAST, patience_s=1.0)
    async with fake_cluster(tmp_path, timing=timing) as cluster:
        sup, engine = cluster["uno"].container_sup, cluster.engines["dos"]
        added = await cluster.run(attrs.evolve(ON_DOS, stop_timeout_s=0))
        for _ in range(60):  # longer than it is waited for
            engine.fail_next("discard", EngineError("the disk is busy", status=500))
        told = f"still there, and tried again: {added.name} (the disk is busy)"
        what = added if verb == "stop" else "web"
        assert (await getattr(sup, verb)(what)).warning == told


async def test_what_takes_long_to_stop_is_waited_for_as_its_spec_allows(
    tmp_path: Path,
) -> None:
    timing = attrs.evolve(FAST, patience_s=0.2)
    async with fake_cluster(tmp_path, timing=timing) as cluster:
        sup, slow = cluster["uno"].container_sup, cluster.engines["dos"]
        container = await cluster.run(attrs.evolve(ON_DOS, stop_timeout_s=60))
        slow.hang()
        stopping = asyncio.gather(sup.stop(container))
        begun_s = time.monotonic()
        await eventually(lambda: time.monotonic() - begun_s > 1)  # many a quiet time
        assert not stopping.done()
        slow.go_on()
        [stopped] = await stopping
        assert stopped.warning == ""


# stop


async def test_stop_by_record_by_name_and_by_id(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        uno, dos = cluster["uno"].container_sup, cluster["dos"].container_sup
        added = [await uno.add_service(WEB) for _ in range(3)]
        first, second, third = map(bare, added)
        await cluster.ready(3)
        await uno.stop(first)
        assert first not in uno.cloud_containers()
        await cluster.ready(2)
        await dos.stop(second.name)
        assert await cluster.ready(1) == [third]
        assert uno.services() == [WEB]
        await dos.stop(third.id)
        await nothing_left(cluster)


async def test_stop_of_an_old_record_stops_what_it_became(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        uno, engine = cluster["uno"], cluster.engines["uno"]
        old = await uno.container_sup.add_service(WEB)
        engine.exit(old.id, 1)
        await eventually(lambda: uno.container_monitor.state(old).restarts == 1)
        await uno.container_sup.stop(old)
        assert left(cluster, "uno") == []


async def test_what_is_on_the_move_is_stopped_on_both_nodes(tmp_path: Path) -> None:
    """Nothing was written, and it was waited for without end."""
    async with fake_cluster(tmp_path) as cluster:
        uno, dos = cluster["uno"], cluster["dos"]
        await uno.node_monitor.drain("uno")
        old = await uno.container_sup.add_service(WEB)
        await uno.node_monitor.undrain("uno")
        slow = cluster.engines["uno"]
        slow.hang()
        loop = asyncio.get_running_loop()
        draining = loop.create_task(dos.node_monitor.drain("dos"))
        await eventually(lambda: State.CREATING in states(dos))
        stopping = loop.create_task(dos.container_sup.stop(old))
        await eventually(lambda: states(dos) == [State.CREATING])  # its end waits
        slow.go_on()
        async with asyncio.timeout(30):
            assert (await stopping).warning == ""
            await draining
        await nothing_left(cluster)
        assert slow.containers == {}


async def test_stop_of_what_is_not_there(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        sup = cluster["uno"].container_sup
        container = await sup.add_service(WEB)
        for name in ("", "nothing", container.name[:-1]):
            with pytest.raises(UnknownContainer) as caught:
                await sup.stop(name)
            assert str(caught.value) == f"no container is called {name!r}"
        with pytest.raises(UnknownContainer) as caught:
            await sup.stop("web")
        assert str(caught.value) == (
            "no container is called 'web': that is a service: give one of its "
            f"containers, {container.name}"
        )
        await sup.stop(container)
        with pytest.raises(UnknownContainer):
            await sup.stop(container)


async def test_stop_on_a_node_that_died_does_not_wait_for_it(tmp_path: Path) -> None:
    never = attrs.evolve(ON_DOS, restart=Restart.NEVER)  # not moved either
    async with fake_cluster(tmp_path, timing=QUICK_TO_JUDGE) as cluster:
        uno = cluster["uno"]
        container = await uno.container_sup.add_service(never)
        await cluster.kill("dos")
        await eventually(lambda: uno.machine.members.status("dos@dos") is Status.DEAD)
        await uno.container_sup.stop(container)
        assert uno.container_sup.services() == []
        await cluster.boot("dos", "uno")
        await nothing_left(cluster)


async def test_a_container_that_ignores_sigterm_goes_too(tmp_path: Path) -> None:
    engine = engine_of({("deaf",): Program(on_term=None)})
    async with fake_cluster(tmp_path, "uno", engines={"uno": engine}) as cluster:
        sup = cluster["uno"].container_sup
        await sup.stop(await sup.add_service(attrs.evolve(WEB, args=("deaf",))))
        assert left(cluster, "uno") == []


# Lists


async def test_the_lists(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        uno, dos = cluster["uno"].container_sup, cluster["dos"].container_sup
        assert (uno.count(), uno.list_containers(), uno.services()) == (0, [], [])
        shop = attrs.evolve(ON_DOS, name="till", group="shop")
        a, b = [bare(await uno.add_service(s)) for s in (ON_UNO, shop)]
        await cluster.ready(2)
        assert (uno.count(), dos.count()) == (1, 1)
        assert (uno.list_containers(), dos.list_containers()) == ([a], [b])
        assert uno.cloud_containers() == dos.cloud_containers() == [b, a]
        assert uno.get_container_group("shop") == dos.get_container_group("shop") == [b]
        assert uno.get_container_group("other") == []
        assert sorted(s.name for s in dos.services()) == ["till", "web"]


async def test_what_a_node_that_is_not_heard_runs_is_listed_as_such(
    tmp_path: Path,
) -> None:
    never = attrs.evolve(ON_DOS, restart=Restart.NEVER)
    timing = attrs.evolve(QUICK_TO_JUDGE, pause_s=0.5)
    async with fake_cluster(tmp_path, timing=timing) as cluster:
        sup = cluster["uno"].container_sup
        container = bare(await sup.add_service(never))
        await cluster.stop("dos")
        assert sup.cloud_containers() == [
            attrs.evolve(container, reason="its node is paused")
        ]
        await eventually(lambda: states(cluster["uno"]) == [State.PENDING])
        (lost,) = sup.cloud_containers()
        assert (lost.slot, lost.reason) == (0, "dos@dos is lost, restart: never")


async def test_what_is_about_to_be_placed_anew_is_listed_as_such(
    tmp_path: Path,
) -> None:
    """Its policy, `available`, is no reason to wait."""
    async with fake_cluster(tmp_path, timing=QUICK_TO_JUDGE) as cluster:
        sup = cluster["uno"].container_sup
        container = await sup.add_service(ON_DOS)
        slot = cluster["uno"].machine.view.slot(container.uid, 0)
        assert slot is not None
        await cluster.kill("dos")
        await eventually(lambda: statuses(cluster, "uno")["dos@dos"] is Status.DEAD)
        said = cluster["uno"].machine.listed.why_waiting(ON_DOS, slot)
        assert said == "dos@dos is lost: about to be placed anew"


async def test_get_containers_is_what_docker_says(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        sup = cluster["uno"].container_sup
        container = await sup.add_service(ON_UNO)
        (raw,) = await sup.get_containers()
        assert raw["Id"] == container.id
        assert raw["Names"] == [f"/{container.name}"]
        assert raw["Labels"]["veo.node"] == "uno@uno"
        assert await cluster["dos"].container_sup.get_containers() == []


async def test_a_container_of_nobody_survives_everything(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, timing=QUICK_TO_JUDGE) as cluster:
        uno, engine = cluster["uno"], cluster.engines["uno"]
        plain = engine.add_by_hand("stranger")
        foreign = engine.add_by_hand(
            "foreign", Labels={"veo.cluster": "other", "veo.node": "uno@uno"}
        )
        container = await uno.container_sup.add_service(ON_UNO)
        (listed,) = await uno.container_sup.get_containers()
        assert listed["Id"] == container.id
        for name in ("stranger", plain, foreign):
            with pytest.raises(UnknownContainer):
                await uno.container_sup.stop(name)
        engine.exit(container.id, 1)
        await cluster.ready(1)
        await uno.container_sup.stop(container)
        await uno.container_sup.add_service(ON_UNO)
        engine.go_away("restarting")
        engine.come_back()
        await cluster.stop("uno")
        uno = await cluster.boot("uno", "dos")
        await cluster.joined()
        await uno.container_sup.remove_service("web")
        assert {c.id for c in engine.containers.values()} == {plain, foreign}
        assert all(c.running for c in engine.containers.values())


# Restart by policy


async def test_a_container_that_dies_restarts_and_is_counted(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        dos, before = cluster["dos"], await cluster.run(ON_DOS)
        seen: set[State] = set()
        for restarts in (1, 2):
            seen.clear()
            with cluster.whenever(lambda: seen.update(states(dos))):
                cluster.engines["dos"].exit(before.id, 137, oom_killed=True)
                await eventually(lambda: State.BACKOFF in seen)
                (after,) = await cluster.ready(1)
            assert (after.id, after.restarts) == (before.id, restarts)
            assert after.ports != before.ports


async def test_a_container_that_may_not_restart_stays_ended(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        uno, engine = cluster["uno"], cluster.engines["uno"]
        container = await uno.container_sup.add_service(WEB)
        engine.exit(container.id, 0)
        await eventually(lambda: states(uno) == [State.EXITED])
        ended = uno.container_monitor.state(container)
        assert (ended.exit_code, ended.reason) == (0, "exit code 0")
        limited = attrs.evolve(WEB, restart=Restart.ALWAYS, restart_count=1)
        second = await uno.container_sup.add_service(limited)
        engine.exit(second.id, 0)
        await eventually(lambda: uno.container_monitor.state(second).restarts == 1)
        engine.exit(second.id, 0)
        await eventually(lambda: states(uno).count(State.FAILED) == 1)
        assert uno.container_monitor.state(second).reason == (
            "exit code 0, restarted 1 times"
        )


async def test_a_service_made_by_hand_is_held_to_the_rules_of_the_file(
    tmp_path: Path,
) -> None:
    """All problems at once, before anything is written."""
    async with fake_cluster(tmp_path) as cluster:
        sup = cluster["uno"].container_sup
        bad = attrs.evolve(WEB, name="a b", restart_count=-1, cpus=float("nan"))
        with pytest.raises(UsageError) as caught:
            await sup.add_service(bad)
        assert len(str(caught.value).splitlines()) == 3
        assert sup.services() == []


# Copies


async def test_a_node_that_is_alone_answers_with_one_copy_and_says_so(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        sup = cluster["uno"].container_sup
        added = await sup.add_service(WEB)
        one_copy = (
            "on one disk only: no other node confirmed it; it gets its second copy as "
            "soon as there is one"
        )
        assert (added.copies, added.warning) == (1, one_copy)
        for written in (
            await sup.scale("web", 2),
            await sup.stop(added),
            await sup.remove_service("web"),
            await cluster["uno"].node_monitor.assign_role("uno", "edge"),
        ):
            assert (written.copies, written.warning) == (1, one_copy)


async def test_what_was_written_alone_gets_its_second_copy_when_there_is_a_peer(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        await cluster["uno"].container_sup.add_service(WEB)
        (record,) = cluster["uno"].machine.view.services()
        cluster.add("dos")
        dos = await cluster.boot("dos", "uno")
        await cluster.joined()
        await dos.container_storage.flushed()
        assert (await cluster.saved("dos"))[record.key] == record


async def test_a_peer_that_confirms_nothing_is_not_waited_for_long(
    tmp_path: Path,
) -> None:
    timing = attrs.evolve(FAST, copy_s=0.3)
    async with fake_cluster(tmp_path, timing=timing) as cluster:
        await cluster.add_coordinated_by("uno", ON_UNO)
        await cluster.ready(1)
        cluster.network.hang("127.0.0.2")
        added = await cluster["uno"].container_sup.add_service(ON_UNO)
        assert (added.copies, added.state) == (1, State.RUNNING)
        assert added.warning.startswith("on one disk only: ")


# Replicas


async def test_replicas_are_spread_over_the_nodes(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno", "dos", "tres") as cluster:
        sup = cluster["uno"].container_sup
        added = await sup.add_service(attrs.evolve(WEB, replicas=3))
        assert (added.slot, added.copies) == (0, 2)
        held = await cluster.ready(3)
        assert {c.node for c in held} == {"uno@uno", "dos@dos", "tres@tres"}
        assert sorted(c.slot for c in held) == [0, 1, 2]
        again = await sup.add_service(attrs.evolve(WEB, replicas=3))
        assert (again.slot, len(await cluster.ready(4))) == (3, 4)  # one more


async def test_replicas_of_which_some_find_no_room_or_cannot_start(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path) as cluster:
        sup = cluster["uno"].container_sup
        large = attrs.evolve(WEB, replicas=4, cpus=3.0)
        added = await sup.add_service(large)
        assert added.state is State.RUNNING
        assert added.warning == "2 wait for a node that fits"
        await sup.remove_service("web")
        cluster.engines["dos"].fail_next("create", ImageError("nginx: gone"))
        added = await sup.add_service(attrs.evolve(WEB, replicas=2))
        assert added.node == "uno@uno"
        assert added.warning.startswith("veo-dos-web-")
        assert added.warning.endswith(": nginx: gone")
        await cluster.ready(2)  # it is tried again


async def test_replicas_none_of_which_can_start_leave_nothing(tmp_path: Path) -> None:
    engines = {n: FakeEngine("veo", f"{n}@{n}", images=[]) for n in ("uno", "dos")}
    async with fake_cluster(tmp_path, engines=engines) as cluster:
        with pytest.raises(StartFailed, match="nginx:latest: cannot be pulled"):
            await cluster["uno"].container_sup.add_service(
                attrs.evolve(WEB, replicas=3)
            )
        await nothing_left(cluster)


async def test_scale_up_and_down(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        sup = cluster["dos"].container_sup
        first = bare(await sup.add_service(WEB))
        up = await sup.scale("web", 4)
        assert (up.what, up.copies, up.warning) == ("web: 4 instances", 2, "")
        assert len(up.containers) == 4
        assert {c.state for c in up.containers} == {State.RUNNING}
        held = await cluster.ready(4)
        assert sorted(c.node for c in held) == ["dos@dos"] * 2 + ["uno@uno"] * 2
        down = await sup.scale(WEB, 1)
        assert (down.what, down.containers) == ("web: 1 instance", (first,))
        assert await cluster.ready(1) == [first]
        none = await sup.scale("web", 0)
        assert (none.what, none.containers) == ("web: 0 instances", ())
        assert sup.services() == [WEB]
        await cluster.ready(0)
        back = await sup.scale("web", 1)
        assert back.containers == tuple(await cluster.ready(1))


async def test_what_finds_no_room_when_scaled_waits_and_is_told(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path) as cluster:
        sup = cluster["uno"].container_sup
        large = attrs.evolve(WEB, cpus=3.0)
        await sup.add_service(large)
        up = await sup.scale("web", 3)
        assert up.what == "web: 3 instances"
        assert up.warning == "1 waits for a node that fits"
        assert len(up.containers) == 2
        (pending,) = [c for c in sup.cloud_containers() if c.state is State.PENDING]
        assert pending.slot == 2
        assert pending.reason == (
            "dos@dos: wants 3 cpus, 1 left of 4; uno@uno: wants 3 cpus, 1 left of 4"
        )
        cluster.add("tres")
        await cluster.boot("tres", "uno")
        held = await cluster.ready(3)  # it starts by itself
        assert {c.node for c in held} == {"uno@uno", "dos@dos", "tres@tres"}


async def test_scaling_what_cannot_be(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        sup = cluster["uno"].container_sup
        for number in (-1, 1001):
            with pytest.raises(UsageError) as caught:
                await sup.scale("web", number)
            assert str(caught.value) == f"replicas: {number} is not from 0 to 1000"
        with pytest.raises(UnknownService, match="no service is called 'web'"):
            await sup.scale("web", 1)


async def test_removed_while_it_was_being_scaled(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        uno, engine = cluster["uno"], cluster.engines["uno"]
        await uno.container_sup.add_service(WEB)
        engine.hang()
        scaling = asyncio.get_running_loop().create_task(
            uno.container_sup.scale("web", 2)
        )
        await eventually(lambda: State.CREATING in states(uno))
        removing = asyncio.get_running_loop().create_task(
            uno.container_sup.remove_service("web")
        )
        with pytest.raises(ServiceError, match="removed while it was being scaled"):
            await scaling
        engine.go_on()
        await removing


# What if


async def test_if_lost_tells_what_would_become_of_a_nodes_work(tmp_path: Path) -> None:
    job = attrs.evolve(WEB, name="job", hosts=("dos@dos",), restart=Restart.NEVER)
    pinned = attrs.evolve(ON_DOS, name="pinned")
    names = ("uno", "dos", "tres")
    async with fake_cluster(tmp_path, *names) as cluster:
        sup = cluster["uno"].container_sup
        for service in (attrs.evolve(WEB, replicas=3), job, pinned):
            await sup.add_service(service)
        held = await cluster.ready(5)
        views = {name: cluster[name].machine.view.digest for name in names}
        loss = cluster["tres"].container_sup.if_lost("dos")
        assert views == {name: cluster[name].machine.view.digest for name in names}
        assert await cluster.ready(5) == held
        assert loss.node == "dos@dos"
        fates = {move.service: (move.target, move.reason) for move in loss.moves}
        target, reason = fates.pop("web")
        assert target in ("uno@uno", "tres@tres")
        assert reason == ""
        assert fates == {
            "job": (None, "it is not moved (restart: never)"),
            "pinned": (
                None,
                "dos@dos: it is dead; tres@tres: not one of the hosts dos@dos; "
                "uno@uno: not one of the hosts dos@dos",
            ),
        }
        changes = {(c.name, c.type): (c.before, c.after) for c in loss.dns}
        assert changes["job.veo.", "A"] == (("127.0.0.2",), ())
        assert changes["dos.node.veo.", "A"] == (("127.0.0.2",), ())
        three = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
        assert changes["web.veo.", "A"] == (three, ("127.0.0.1", "127.0.0.3"))
        srv = changes["_website._tcp.web.veo.", "SRV"][1]
        assert any(" ? " in record for record in srv)  # Docker chooses it then
        with pytest.raises(UnknownNode, match="no node is called 'seis'"):
            sup.if_lost("seis")


async def test_if_lost_tells_what_stops_for_want_of_a_majority(tmp_path: Path) -> None:
    both = attrs.evolve(WEB, replicas=2, on_partition=OnPartition.MAJORITY)
    async with fake_cluster(tmp_path) as cluster:
        uno, dos = cluster["uno"], cluster["dos"]
        await eventually(lambda: len(uno.machine.view.voters()) == 2)
        await uno.container_sup.add_service(both)
        await cluster.ready(2)
        await cluster.agreed()
        for asked in (uno, dos):  # also the one that it is about
            loss = asked.container_sup.if_lost("dos")
            fates = {move.source: (move.target, move.reason) for move in loss.moves}
            assert fates == {
                "dos@dos": (None, "it is not moved (on_partition: majority)"),
                "uno@uno": (None, "it stops: no majority of the nodes would be seen"),
            }
            changes = {(c.name, c.type): c.after for c in loss.dns}
            assert changes["web.veo.", "A"] == ()


async def test_what_if_lost_foresees_comes_true(tmp_path: Path) -> None:
    names = ("uno", "dos", "tres")
    async with fake_cluster(tmp_path, *names, timing=QUICK_TO_JUDGE) as cluster:
        sup = cluster["uno"].container_sup
        await sup.add_service(attrs.evolve(WEB, replicas=6))
        before = {(c.uid, c.slot): c.node for c in await cluster.ready(6)}
        loss = sup.if_lost("dos")
        assert len(loss.moves) == 2
        await cluster.kill("dos")
        foreseen = before | {(m.uid, m.slot): str(m.target) for m in loss.moves}
        await eventually(
            lambda: (
                {(c.uid, c.slot): c.node for c in cluster["uno"].machine.answerable()}
                == foreseen
            )
        )
