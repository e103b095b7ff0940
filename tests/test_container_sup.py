"""`container_sup` on real nodes: what operators add, remove, stop and list."""

from __future__ import annotations

import asyncio
from pathlib import Path

import attrs
import pytest

from tests.fake_cluster import (
    MESH_PORT,
    PUB_PORT,
    QUICK_TO_JUDGE,
    WEB,
    FakeCluster,
    eventually,
    fake_cluster,
    states,
)
from veo_shell.core.model import Port, Restart, Service, State, Status
from veo_shell.edge.fake_engine import FakeEngine, Program
from veo_shell.errors import (
    EngineUnreachable,
    ImageError,
    NoSuitableNode,
    PeerUnreachable,
    ServiceError,
    StartFailed,
    UnknownContainer,
    UnknownService,
    UsageError,
)

ON_UNO = attrs.evolve(WEB, hosts=("uno@uno",))
ON_DOS = attrs.evolve(WEB, hosts=("dos@dos",))
EDGE = attrs.evolve(WEB, roles=("edge",))


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
        assert container.state is State.RUNNING
        assert (container.service, container.slot) == ("web", 0)
        assert container.node in ("uno@uno", "dos@dos")
        assert container.address == cluster.addresses[container.node[:3]]
        (port,) = container.ports
        assert (port.name, port.container_port) == ("website", 80)
        assert port.host_port >= 49153
        assert await cluster.ready(1) == [container]


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
        line = (cluster.addresses["dos"], MESH_PORT, PUB_PORT)
        uno.peers._mesh.disconnect(*line)  # requests pass, publications are lost
        services = [attrs.evolve(ON_DOS, name=f"web{n}") for n in range(10)]
        adding = asyncio.gather(*map(uno.container_sup.add_service, services))
        await eventually(lambda: len(dos.machine.answerable()) == 10)
        assert not adding.done()
        assert len(uno.container_sup.services()) < 10
        uno.peers._mesh.connect(*line)
        assert {c.state for c in await adding} == {State.RUNNING}


async def test_adding_what_stands_adds_one_instance_where_fewest_run(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path) as cluster:
        first = await cluster["uno"].container_sup.add_service(WEB)
        await cluster.ready(1)
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
        assert await cluster.saved("uno") == await cluster.saved("dos") == {}


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
        assert sup.cloud_containers() == [first]
        (record,) = cluster["uno"].machine.view.services()
        assert record.replicas == 1
        assert len(cluster.engines["uno"].containers) == 1


async def test_an_engine_that_is_away_is_told(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        sup, engine = cluster["uno"].container_sup, cluster.engines["uno"]
        kept = await sup.add_service(WEB)
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
        uno, engine = cluster["uno"], SlowEngine("veo", "uno@uno")
        uno.container_monitor._engine = engine
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
        engine.go_on.set()
        await removing
        assert left(cluster, "uno") == []
        assert engine.containers == {}


async def test_stopped_while_it_was_being_added(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        uno, engine = cluster["uno"], SlowEngine("veo", "uno@uno")
        kept = await uno.container_sup.add_service(WEB)
        uno.container_monitor._engine = engine
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
        engine.go_on.set()
        await stopping
        assert uno.container_sup.cloud_containers() == [kept]


async def test_one_whose_node_is_lost_while_it_is_being_added_waits(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path, timing=QUICK_TO_JUDGE) as cluster:
        uno = cluster["uno"]
        cluster["dos"].container_monitor._engine = SlowEngine("veo", "dos@dos")
        adding = asyncio.get_running_loop().create_task(
            uno.container_sup.add_service(ON_DOS)
        )
        await eventually(lambda: states(uno) == [State.CREATING])
        await cluster.kill("dos")
        pending = await adding
        assert (pending.state, pending.reason) == (State.PENDING, "no node fits yet")
        assert uno.container_sup.services() == [ON_DOS]


class SlowEngine(FakeEngine):
    """Creates nothing until told to go on."""

    def __init__(self, cluster: str, node: str) -> None:
        super().__init__(cluster, node)
        self.go_on = asyncio.Event()

    async def create(self, name: str, config: object) -> str:
        await self.go_on.wait()
        return await super().create(name, config)  # type: ignore[arg-type]


async def test_a_queued_service_waits_and_starts_when_a_node_fits(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path) as cluster:
        uno = cluster["uno"]
        pending = await uno.container_sup.add_service(EDGE, queue=True)
        assert (pending.state, pending.node) == (State.PENDING, "")
        assert pending.reason == "no node fits yet"
        assert uno.container_sup.cloud_containers() == []
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
        other = await sup.add_service(WEB)
        first = await sup.add_service(EDGE, queue=True)
        second = await sup.add_service(EDGE, queue=True)
        await sup.stop(second)
        assert len(sup.services()) == 2
        await sup.stop(first)
        assert sup.services() == [WEB]
        assert sup.cloud_containers() == [other]


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


async def test_a_coordinator_that_only_this_node_cannot_reach_is_told(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path, "uno", "dos", "tres") as cluster:
        await cluster.add_coordinated_by("dos", ON_DOS)
        await cluster.ready(1)
        cluster.network.cut("127.0.0.1", "127.0.0.2")
        with pytest.raises(PeerUnreachable) as caught:
            await cluster["uno"].container_sup.add_service(ON_DOS)
        assert str(caught.value) == "127.0.0.2:8087 could not be reached"
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


async def test_remove_by_name_removes_every_variant_on_every_node(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path) as cluster:
        sup = cluster["uno"].container_sup
        added = [await sup.add_service(s) for s in (ON_UNO, ON_DOS, ON_DOS)]
        await cluster.ready(3)
        removed = await cluster["dos"].container_sup.remove_service("web")
        assert sorted(c.name for c in removed) == sorted(c.name for c in added)
        await nothing_left(cluster)


async def test_remove_by_service_removes_that_one_only(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        sup = cluster["uno"].container_sup
        kept = await sup.add_service(ON_UNO)
        await sup.add_service(ON_DOS)
        await cluster.ready(2)
        await sup.remove_service(ON_DOS)
        assert sup.services() == [ON_UNO]
        assert await cluster.ready(1) == [kept]
        with pytest.raises(UnknownService) as caught:
            await sup.remove_service(ON_DOS)
        assert str(caught.value) == (
            "the service 'web' stands with another spec; "
            "remove_service('web') removes every one of that name"
        )


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
        await cluster["uno"].container_sup.add_service(ON_DOS)
        await cluster.ready(1)
        await cluster.stop("dos")
        assert cluster["uno"].machine.members.status("dos@dos") is Status.PAUSED
        await cluster["uno"].container_sup.remove_service("web")
        assert len(cluster.engines["dos"].containers) == 1
        await cluster.boot("dos", "uno")
        await nothing_left(cluster)


# stop


async def test_stop_by_record_by_name_and_by_id(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        uno, dos = cluster["uno"].container_sup, cluster["dos"].container_sup
        first, second, third = [await uno.add_service(WEB) for _ in range(3)]
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


async def test_stop_of_what_is_not_there(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        sup = cluster["uno"].container_sup
        container = await sup.add_service(WEB)
        for name in ("", "nothing", container.name[:-1]):
            with pytest.raises(UnknownContainer) as caught:
                await sup.stop(name)
            assert str(caught.value) == f"no container is called {name!r}"
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
        a, b = await uno.add_service(ON_UNO), await uno.add_service(shop)
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
        container = await sup.add_service(never)
        await cluster.stop("dos")
        assert sup.cloud_containers() == [
            attrs.evolve(container, reason="its node is paused")
        ]
        await eventually(lambda: sup.cloud_containers() == [])  # dead


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
        uno, dos = cluster["uno"], cluster["dos"]
        before = await uno.container_sup.add_service(ON_DOS)
        seen: list[State] = []
        for restarts in (1, 2):
            cluster.engines["dos"].exit(before.id, 137, oom_killed=True)
            await eventually(lambda: State.BACKOFF in states(uno))
            (waiting,) = dos.container_sup.list_containers()
            seen.append(waiting.state)
            (after,) = await cluster.ready(1)
            assert (after.id, after.restarts) == (before.id, restarts)
            assert after.ports != before.ports
        assert seen == [State.BACKOFF, State.BACKOFF]


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
