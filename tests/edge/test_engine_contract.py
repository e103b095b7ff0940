"""What holds for every engine: the one in memory and a real Docker, the same tests."""

from __future__ import annotations

import asyncio
import contextlib
import io
import socket
import tarfile
import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from functools import partial
from operator import eq
from pathlib import Path
from typing import Any

import attrs
import docker
import pytest
from docker.errors import NotFound
from docker.types import IPAMConfig, IPAMPool

from scripts.dockerd import connect
from tests.engines import BUSYBOX, POLITE, STUBBORN, Relay
from veo_shell import container_builder
from veo_shell.core.events import (
    ContainerExited,
    ContainerGone,
    ContainerStarted,
    EngineEvent,
    EngineHolds,
    EngineListed,
    EngineLost,
    HealthChanged,
    ProcessEnded,
)
from veo_shell.core.model import (
    File,
    Health,
    HealthCheck,
    HealthKind,
    Identity,
    Mount,
    MountKind,
    Observed,
    Port,
    Service,
    Transport,
)
from veo_shell.edge.docker_engine import DockerEngine
from veo_shell.edge.docker_networks import LAN_DRIVERS
from veo_shell.edge.fake_engine import FakeEngine, Program
from veo_shell.errors import (
    EngineError,
    EngineUnreachable,
    ImageError,
    UnknownContainer,
)

SHORT = ("sh", "-c", "exit 3")
FOREIGN = "busybox-by-hand"
MS = 1_000_000
ANSWER_S = 30.0


class Stage(ABC):
    """An engine with what a test does to it from outside."""

    engine: DockerEngine | FakeEngine
    node: str

    @abstractmethod
    def another_engine(self) -> DockerEngine | FakeEngine:
        """Return what a node finds that starts anew on the same engine."""

    @abstractmethod
    def exists(self, container_id: str) -> bool:
        """Tell whether the engine holds a container."""

    @abstractmethod
    def kill(self, container_id: str) -> None:
        """Kill a container's process."""

    @abstractmethod
    def by_hand(self, name: str, labels: dict[str, str]) -> str:
        """Run a container that VEO did not create; return its id."""

    @abstractmethod
    def remove(self, container_id: str) -> None:
        """Remove a container, as `docker rm -f` does."""

    @abstractmethod
    def set_health(self, container_id: str, health: Health) -> None:
        """Make the health check of a container come to that."""

    @abstractmethod
    def file(self, container_id: str, path: str) -> tuple[str, int]:
        """Return what stands in a file of a container, and its mode."""

    @abstractmethod
    def take_port(self) -> int:
        """Let another program listen on a port of 127.0.0.1; return its number."""

    @abstractmethod
    def add_image(self, name: str) -> None:
        """Have one more name for an image that the engine has."""

    @abstractmethod
    def remove_volume(self, name: str) -> None:
        """Remove a named volume."""

    @abstractmethod
    def lan(self) -> str:
        """Have a network of which containers get addresses of their own; name it.

        Of `10.213.8.0/24` and of `fd00:213:8::/64`.
        """

    @abstractmethod
    async def go_away(self) -> None:
        """Make the engine unreachable."""

    @abstractmethod
    async def come_back(self) -> None:
        """Make it reachable again."""


class FakeStage(Stage):
    def __init__(self) -> None:
        self.node = "uno@uno"
        programs = {SHORT: Program(exits=3), STUBBORN: Program(on_term=None)}
        self.engine: FakeEngine = FakeEngine(
            "test", self.node, programs=programs, images={BUSYBOX}
        )

    def another_engine(self) -> FakeEngine:
        return self.engine

    def exists(self, container_id: str) -> bool:
        return container_id in self.engine.containers

    def kill(self, container_id: str) -> None:
        self.engine.exit(container_id, 137)

    def by_hand(self, name: str, labels: dict[str, str]) -> str:
        return self.engine.add_by_hand(name, Labels=labels)

    def remove(self, container_id: str) -> None:
        self.engine.remove(container_id)

    def set_health(self, container_id: str, health: Health) -> None:
        said = "no answer\n" if health is Health.UNHEALTHY else ""
        self.engine.set_health(container_id, health, said)

    def file(self, container_id: str, path: str) -> tuple[str, int]:
        held = self.engine.containers[container_id].files[path]
        return held.content, held.mode

    def take_port(self) -> int:
        self.engine.take_port(500)
        return 500

    def add_image(self, name: str) -> None:
        self.engine.add_image(name)

    def remove_volume(self, name: str) -> None:
        self.engine.remove_volume(name)

    def lan(self) -> str:
        self.engine.add_lan("lan", ("10.213.8.2", "fd00:213:8::2"))
        return "lan"

    async def go_away(self) -> None:
        self.engine.go_away("the cable is cut")

    async def come_back(self) -> None:
        self.engine.come_back()


class DockerStage(Stage):
    def __init__(self, client: docker.DockerClient, relay: Relay) -> None:
        self.node = f"uno{uuid.uuid4().hex[:8]}@uno"
        self.engine: DockerEngine = DockerEngine(relay.url, "test", self.node)
        self.engines = [self.engine]
        self._client = client
        self._relay = relay
        self._listener = socket.socket()
        self._images: list[str] = []
        self._networks: list[Any] = []

    def another_engine(self) -> DockerEngine:
        drivers = {"bridge"} if self._networks else LAN_DRIVERS
        engine = DockerEngine(self._relay.url, "test", self.node, drivers)
        self.engines.append(engine)
        return engine

    def exists(self, container_id: str) -> bool:
        try:
            self._client.containers.get(container_id)
        except NotFound:
            return False
        return True

    def kill(self, container_id: str) -> None:
        self._client.containers.get(container_id).kill()

    def by_hand(self, name: str, labels: dict[str, str]) -> str:
        labels = {**labels, "by-hand": self.node}
        ran = self._client.containers.run(
            BUSYBOX, list(POLITE), name=name, labels=labels, detach=True
        )
        return str(ran.id)

    def remove(self, container_id: str) -> None:
        self._client.containers.get(container_id).remove(force=True)

    def set_health(self, container_id: str, health: Health) -> None:
        make = ["rm", "/sick"] if health is Health.HEALTHY else ["touch", "/sick"]
        self._client.containers.get(container_id).exec_run(make)

    def file(self, container_id: str, path: str) -> tuple[str, int]:
        chunks, _ = self._client.containers.get(container_id).get_archive(path)
        with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
            [entry] = tar.getmembers()
            held = tar.extractfile(entry)
            assert held is not None
            return held.read().decode(), entry.mode & 0o777

    def take_port(self) -> int:
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        return int(self._listener.getsockname()[1])

    def add_image(self, name: str) -> None:
        self._client.images.get(BUSYBOX).tag(name)
        self._images.append(name)

    def remove_volume(self, name: str) -> None:
        self._client.volumes.get(name).remove()

    def lan(self) -> str:
        """Have a bridge for one: few kernels of tests have macvlan."""
        pools = [IPAMPool(subnet=f) for f in ("10.213.8.0/24", "fd00:213:8::/64")]
        self._networks.append(
            self._client.networks.create(
                self.node,
                driver="bridge",
                enable_ipv6=True,
                ipam=IPAMConfig(pool_configs=pools),
            )
        )
        self.engine = DockerEngine(self._relay.url, "test", self.node, {"bridge"})
        self.engines.append(self.engine)
        return self.node

    async def go_away(self) -> None:
        await self._relay.cut()

    async def come_back(self) -> None:
        await self._relay.mend()

    async def clean(self) -> None:
        for engine in self.engines:
            await engine.close()
        await self._relay.cut()
        self._listener.close()
        for name in self._images:
            self._client.images.remove(name)
        for label in (f"veo.node={self.node}", f"by-hand={self.node}"):
            for left in self._client.containers.list(
                all=True, filters={"label": label}, ignore_removed=True
            ):
                with contextlib.suppress(NotFound):  # it may remove itself
                    left.remove(force=True, v=True)
        for network in self._networks:
            network.remove()


@pytest.fixture(scope="module")
def docker_client(docker_url: str) -> Iterator[docker.DockerClient]:
    with connect(docker_url, timeout_s=60) as client:
        yield client


@pytest.fixture(params=["fake", pytest.param("docker", marks=pytest.mark.docker)])
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    if request.param == "fake":
        yield FakeStage()
        return
    # Asked for by name: the tests of the engine in memory need no Docker.
    url = request.getfixturevalue("docker_url")
    client = request.getfixturevalue("docker_client")
    relay = Relay(url, tmp_path)
    await relay.mend()
    made = DockerStage(client, relay)
    yield made
    await made.clean()


WEB = Service(name="web", image=BUSYBOX, args=POLITE)


def identity(stage: Stage, slot: int = 0, **changes: Any) -> Identity:
    whole = Identity(
        cluster="test",
        node=stage.node,
        service="web",
        uid="4d2f7a91",
        slot=slot,
        generation=1,
    )
    return attrs.evolve(whole, **changes)


async def create(
    stage: Stage, service: Service, slot: int = 0, address: str = "127.0.0.1"
) -> str:
    whose = identity(stage, slot)
    config = container_builder.build(service, identity=whose, address=address)
    return await stage.engine.create(whose.container_name, config)


async def run(stage: Stage, service: Service = WEB, slot: int = 0) -> Observed:
    return await stage.engine.start(await create(stage, service, slot))


# What it holds


async def held(
    watch: AsyncGenerator[EngineHolds, None], is_it: Callable[[EngineHolds], bool]
) -> EngineHolds:
    """Return the first that is told of what the engine holds and is as wanted."""
    async with asyncio.timeout(ANSWER_S):
        async for holds in watch:
            if is_it(holds):
                return holds
    raise AssertionError("it ended")


async def test_the_images_and_volumes_it_has_are_told_as_they_change(
    stage: Stage,
) -> None:
    volume = f"veo-test-{uuid.uuid4().hex[:8]}"
    data = Mount(kind=MountKind.VOLUME, source=volume, target="/data")
    unnamed = Mount(kind=MountKind.VOLUME, target="/unnamed")
    async with contextlib.aclosing(stage.engine.watch_holdings()) as watch:
        first = await held(watch, lambda holds: True)
        assert BUSYBOX in first.images
        assert volume not in first.volumes
        stage.add_image(f"{volume}:1")
        await held(watch, lambda holds: f"{volume}:1" in holds.images)
        service = attrs.evolve(WEB, mounts=(data, unnamed))
        container = await run(stage, service)
        await held(watch, lambda holds: volume in holds.volumes)
        await stage.engine.discard(container.id, 0)  # the volume stays
        await stage.go_away()
        await stage.come_back()
        await held(watch, lambda holds: volume in holds.volumes)
        stage.remove_volume(volume)
        await held(watch, lambda holds: volume not in holds.volumes)


async def test_what_it_holds_is_told_no_more_once_it_is_closed(stage: Stage) -> None:
    async with contextlib.aclosing(stage.engine.watch_holdings()) as watch:
        await held(watch, lambda holds: True)
        await stage.engine.close()
        async with asyncio.timeout(ANSWER_S):
            assert [holds async for holds in watch] == []


Watch = AsyncGenerator[EngineEvent, None]


@contextlib.asynccontextmanager
async def watching(stage: Stage) -> AsyncIterator[Watch]:
    """Have a watch that has told what stands."""
    async with contextlib.aclosing(stage.engine.watch()) as watch:
        assert isinstance(await told(watch), EngineListed)
        yield watch


async def told(watch: Watch) -> EngineEvent:
    """Return what the engine tells next; what the kernel does is passed over."""
    async with asyncio.timeout(ANSWER_S):
        while isinstance(event := await anext(watch), ProcessEnded):
            pass
        return event


async def told_until(
    watch: Watch, is_it: Callable[[EngineEvent], object]
) -> list[EngineEvent]:
    """Return what was told up to the first event that is it."""
    events = [await told(watch)]
    while not is_it(events[-1]):
        events.append(await told(watch))
    return events


async def test_it_answers_and_tells_its_version(stage: Stage) -> None:
    await stage.engine.check()
    assert await stage.engine.version()


async def test_start_answers_with_the_ports_and_is_told(stage: Stage) -> None:
    ports = (
        Port(name="website", container_port=80),
        Port(name="talk", container_port=90, protocol=Transport.UDP),
    )
    async with watching(stage) as watch:
        seen = await run(stage, attrs.evolve(WEB, ports=ports))
        [started] = await told_until(watch, lambda _: True)
    assert isinstance(started, ContainerStarted)
    assert started.observed == seen
    assert seen.running
    assert seen.identity == identity(stage)
    assert [p.host_port > 0 for p in seen.ports] == [True, True]
    assert seen.address == "127.0.0.1"
    assert tuple(attrs.evolve(p, host_port=0) for p in seen.ports) == ports


async def test_a_fixed_port_is_the_one_that_was_asked_for(stage: Stage) -> None:
    number = free_port()
    ports = (Port(name="website", container_port=80, host_port=number),)
    assert (await run(stage, attrs.evolve(WEB, ports=ports))).ports == ports


async def test_in_host_mode_the_container_port_is_the_host_port(stage: Stage) -> None:
    service = attrs.evolve(
        WEB, network_mode="host", ports=(Port(name="website", container_port=80),)
    )
    seen = await run(stage, service)
    assert seen.ports == (Port(name="website", container_port=80, host_port=80),)
    assert seen.address == ""


async def test_networks_that_give_addresses_of_their_own_are_told(
    stage: Stage,
) -> None:
    lan = stage.lan()
    async with contextlib.aclosing(stage.engine.watch_holdings()) as watch:
        holds = await held(watch, lambda holds: True)
    assert lan in holds.lan_networks


async def test_on_a_lan_it_has_addresses_of_its_own_while_it_runs(
    stage: Stage,
) -> None:
    http = Port(name="website", container_port=80)
    service = attrs.evolve(WEB, network_mode=stage.lan(), ports=(http,))
    async with watching(stage) as watch:
        seen = await run(stage, service)
        [started] = await told_until(watch, lambda _: True)
    assert isinstance(started, ContainerStarted)
    assert started.observed == seen
    four, six = seen.own_addresses
    assert four.startswith("10.213.8.")
    assert six.startswith("fd00:213:8::")
    assert seen.ports == (attrs.evolve(http, host_port=80),)
    assert seen.address == ""
    async with contextlib.aclosing(stage.another_engine().watch()) as watch:
        listed = await told(watch)
    assert isinstance(listed, EngineListed)
    assert [c.own_addresses for c in listed.containers] == [(four, six)]
    stopped = await stage.engine.stop(seen.id, 5.0)
    assert stopped is not None
    assert stopped.own_addresses == ()
    beside = await run(stage, attrs.evolve(WEB, ports=(http,)), slot=1)
    assert (beside.own_addresses, beside.address) == ((), "127.0.0.1")


async def test_what_stands_is_listed_first_to_be_adopted(stage: Stage) -> None:
    ports = (Port(name="website", container_port=80),)
    running = await run(stage, attrs.evolve(WEB, ports=ports), slot=0)
    ended = await run(stage, attrs.evolve(WEB, args=SHORT), slot=1)
    created = await create(stage, WEB, slot=2)
    stage.by_hand(f"{FOREIGN}-{stage.node[:11]}", {})
    async with contextlib.aclosing(stage.another_engine().watch()) as watch:
        listed = await told(watch)
    assert isinstance(listed, EngineListed)
    seen = {one.id: one for one in listed.containers}
    assert set(seen) == {running.id, ended.id, created}
    assert seen[running.id] == running
    assert (seen[created].running, seen[created].ever_started) == (False, False)
    assert seen[ended.id].identity == identity(stage, 1)


async def test_the_end_of_a_process_is_told_with_its_code(stage: Stage) -> None:
    async with watching(stage) as watch:
        seen = await run(stage)
        await told_until(watch, lambda e: isinstance(e, ContainerStarted))
        stage.kill(seen.id)
        assert await told(watch) == ContainerExited(container_id=seen.id, exit_code=137)
        again = await stage.engine.start(seen.id)
        assert await told(watch) == ContainerStarted(observed=again)
        assert again.running


async def test_the_end_of_a_process_is_told_before_how_it_ended(stage: Stage) -> None:
    async with watching(stage) as watch, asyncio.timeout(ANSWER_S):
        seen = await run(stage)
        await told_until(watch, lambda e: isinstance(e, ContainerStarted))
        stage.kill(seen.id)
        assert await anext(watch) == ProcessEnded(container_id=seen.id)
        assert await anext(watch) == ContainerExited(
            container_id=seen.id, exit_code=137
        )


async def test_one_that_ends_at_once_is_told_in_order(stage: Stage) -> None:
    async with watching(stage) as watch:
        seen = await run(stage, attrs.evolve(WEB, args=SHORT))
        events = await told_until(watch, lambda e: isinstance(e, ContainerExited))
    assert [type(event) for event in events] == [ContainerStarted, ContainerExited]
    assert events[-1] == ContainerExited(container_id=seen.id, exit_code=3)
    document = await stage.engine.inspect(seen.id)
    assert document["State"]["ExitCode"] == 3


async def test_one_that_removes_itself_still_tells_its_code(stage: Stage) -> None:
    service = attrs.evolve(WEB, args=SHORT, auto_remove=True)
    container_id = await create(stage, service)
    async with watching(stage) as watch:
        seen = await stage.engine.start(container_id)
        events = await told_until(watch, lambda e: isinstance(e, ContainerGone))
    assert seen.running or seen.exit_code == 3
    assert events[-2:] == [
        ContainerExited(container_id=container_id, exit_code=3),
        ContainerGone(container_id=container_id),
    ]


async def test_one_that_removes_itself_makes_room_for_the_next(stage: Stage) -> None:
    service = attrs.evolve(WEB, args=SHORT, auto_remove=True)
    async with watching(stage) as watch:
        for _ in range(5):
            first = (await run(stage, service)).id
            ended = ContainerExited(container_id=first, exit_code=3)
            await told_until(watch, partial(eq, ended))
            # Docker may still be at removing it: its name is taken until then.
            second = await create(stage, WEB)
            assert second != first
            assert (await stage.engine.start(second)).running
            await stage.engine.discard(second, 5.0)


async def test_discard_stops_and_removes(stage: Stage) -> None:
    async with watching(stage) as watch:
        seen = await run(stage)
        await stage.engine.discard(seen.id, 10.0)
        events = await told_until(watch, lambda e: isinstance(e, ContainerGone))
    assert events[-2:] == [
        ContainerExited(container_id=seen.id, exit_code=0),
        ContainerGone(container_id=seen.id),
    ]
    assert not stage.exists(seen.id)


async def test_discard_kills_what_ignores_sigterm(stage: Stage) -> None:
    async with watching(stage) as watch:
        seen = await run(stage, attrs.evolve(WEB, args=STUBBORN))
        await stage.engine.discard(seen.id, 1.0)
        events = await told_until(watch, lambda e: isinstance(e, ContainerGone))
    assert events[-2] == ContainerExited(container_id=seen.id, exit_code=137)


@pytest.mark.parametrize(
    ("args", "code"), [(POLITE, 0), (STUBBORN, 137)], ids=["heeds", "ignores"]
)
async def test_stop_ends_it_and_it_can_be_started_again(
    stage: Stage, args: tuple[str, ...], code: int
) -> None:
    async with watching(stage) as watch:
        seen = await run(stage, attrs.evolve(WEB, args=args))
        stopped = await stage.engine.stop(seen.id, 1.0)
        assert stopped is not None
        assert (stopped.running, stopped.exit_code) == (False, code)
        assert await stage.engine.stop(seen.id, 1.0) == stopped
        events = await told_until(watch, lambda e: isinstance(e, ContainerExited))
        assert events[-1] == ContainerExited(container_id=seen.id, exit_code=code)
        assert (await stage.engine.start(seen.id)).running


async def test_stop_of_what_is_gone_or_removes_itself_finds_nothing(
    stage: Stage,
) -> None:
    seen = await run(stage)
    stage.remove(seen.id)
    assert await stage.engine.stop(seen.id, 5.0) is None
    async with watching(stage) as watch:
        seen = await run(stage, attrs.evolve(WEB, auto_remove=True))
        stopped = await stage.engine.stop(seen.id, 5.0)
        assert stopped is None or not stopped.running  # Docker removes it by and by
        await told_until(watch, lambda e: isinstance(e, ContainerGone))


async def test_discard_removes_what_never_ran_or_ended(stage: Stage) -> None:
    created = await create(stage, WEB, slot=0)
    ended = await run(stage, attrs.evolve(WEB, args=SHORT), slot=1)
    for container_id in (created, ended.id):
        await stage.engine.discard(container_id, 5.0)
        assert not stage.exists(container_id)


async def test_discard_of_one_that_removes_itself(stage: Stage) -> None:
    seen = await run(stage, attrs.evolve(WEB, auto_remove=True))
    await stage.engine.discard(seen.id, 10.0)
    assert not stage.exists(seen.id)


async def test_what_is_gone_is_gone(stage: Stage) -> None:
    seen = await run(stage)
    stage.remove(seen.id)
    await stage.engine.discard(seen.id, 5.0)
    with pytest.raises(UnknownContainer, match=seen.id):
        await stage.engine.inspect(seen.id)
    with pytest.raises(EngineError, match=f"{seen.id} is gone"):
        await stage.engine.start(seen.id)


async def test_a_port_is_published_at_two_addresses(stage: Stage) -> None:
    """With one number as a rule. One that is fixed is the same in any case."""
    number = free_port()
    fixed = Port(name="fixed", container_port=81, host_port=number)
    service = attrs.evolve(WEB, ports=(Port(name="any", container_port=80), fixed))
    config = container_builder.build(
        service, identity=identity(stage), address="127.0.0.1", address6="::1"
    )
    made = await stage.engine.create(identity(stage).container_name, config)
    seen = await stage.engine.start(made)
    assert (seen.address, seen.address6) == ("127.0.0.1", "::1")
    ports = (await stage.engine.inspect(made))["NetworkSettings"]["Ports"]
    numbers = {int(binding["HostPort"]) for binding in ports["80/tcp"]}
    assert len(ports["80/tcp"]) == 2
    assert seen.same_numbers is (len(numbers) == 1)
    assert seen.ports[0].host_port in numbers
    assert seen.ports[1] == fixed
    assert [b["HostPort"] for b in ports["81/tcp"]] == [str(number)] * 2


async def test_a_number_that_is_another_at_the_second_address_is_told(
    stage: Stage,
) -> None:
    """Docker draws for each, as long as nothing has drawn at one of them alone."""
    drawing = attrs.evolve(WEB, ports=(Port(name="any", container_port=80),))
    for slot in range(2):
        await stage.engine.start(await create(stage, drawing, slot, "::1"))
    config = container_builder.build(
        drawing, identity=identity(stage, 2), address="127.0.0.1", address6="::1"
    )
    made = await stage.engine.create(identity(stage, 2).container_name, config)
    seen = await stage.engine.start(made)
    ports = (await stage.engine.inspect(made))["NetworkSettings"]["Ports"]
    found = {b["HostIp"]: int(b["HostPort"]) for b in ports["80/tcp"]}
    assert seen.ports[0].host_port == found["127.0.0.1"]
    assert seen.same_numbers is (found["127.0.0.1"] == found["::1"])


async def test_what_was_created_before_is_taken_as_created(stage: Stage) -> None:
    assert await create(stage, WEB) == await create(stage, WEB)
    assert len(await stage.engine.list_raw()) == 1


async def test_files_are_there_before_it_starts(stage: Stage) -> None:
    whose = identity(stage)
    config = container_builder.build(WEB, identity=whose)
    files = (
        File(target="/etc/deep/x.conf", content="a = ä\n", mode=0o400),
        File(target="/run.sh", content="", mode=0o755),
    )
    for _ in range(2):  # also of one that was created before
        made = await stage.engine.create(whose.container_name, config, files)
    assert [stage.file(made, f.target) for f in files] == [
        (f.content, f.mode) for f in files
    ]
    assert (await stage.engine.start(made)).running


async def test_what_was_created_for_another_address_gives_way_unless_it_runs(
    stage: Stage,
) -> None:
    """Started again it would be bound where its node was."""
    service = attrs.evolve(WEB, ports=(Port(name="website", container_port=80),))
    old = await create(stage, service, address="127.0.0.9")
    assert (await stage.engine.start(old)).address == "127.0.0.9"
    assert await create(stage, service) == old
    async with watching(stage) as watch:
        stage.kill(old)
        await told_until(watch, lambda e: isinstance(e, ContainerExited))
    new = await create(stage, service)
    assert new != old
    assert not stage.exists(old)
    assert (await stage.engine.start(new)).address == "127.0.0.1"


@pytest.mark.parametrize("labels", [{}, {"veo.cluster": "test"}], ids=["none", "few"])
async def test_a_name_that_another_has_is_an_error(
    stage: Stage, labels: dict[str, str]
) -> None:
    name = identity(stage).container_name
    other = stage.by_hand(name, labels)
    with pytest.raises(EngineError, match=f"{name}: the name is taken.*{other[:12]}"):
        await create(stage, WEB)
    assert stage.exists(other)


async def test_a_name_of_another_generation_is_an_error(stage: Stage) -> None:
    await create(stage, WEB)
    config = container_builder.build(WEB, identity=identity(stage, generation=2))
    with pytest.raises(EngineError, match="the name is taken"):
        await stage.engine.create(identity(stage).container_name, config)


async def test_a_name_that_docker_refuses_is_an_error(stage: Stage) -> None:
    config = container_builder.build(WEB, identity=identity(stage))
    with pytest.raises(EngineError, match=r"^x: Invalid container name"):
        await stage.engine.create("x", config)


async def test_an_image_that_cannot_be_had_leaves_nothing(stage: Stage) -> None:
    image = "localhost:1/missing:1"
    with pytest.raises(ImageError, match=f"^{image}: cannot be pulled: .+") as raised:
        await create(stage, attrs.evolve(WEB, image=image))
    assert "\n" not in str(raised.value)
    assert await stage.engine.list_raw() == []
    with pytest.raises(ImageError, match=f"^{image}: cannot be pulled: .+"):
        await stage.engine.pull(image, lambda progress: None)


async def test_a_port_of_another_program_is_an_error(stage: Stage) -> None:
    number = stage.take_port()
    ports = (Port(name="website", container_port=80, host_port=number),)
    container_id = await create(stage, attrs.evolve(WEB, ports=ports))
    with pytest.raises(EngineError, match=f"port 127.0.0.1:{number} is taken"):
        await stage.engine.start(container_id)
    await stage.engine.discard(container_id, 5.0)
    assert not stage.exists(container_id)


async def test_a_port_of_another_container_is_an_error(stage: Stage) -> None:
    number = free_port()
    ports = (Port(name="website", container_port=80, host_port=number),)
    await run(stage, attrs.evolve(WEB, ports=ports), slot=0)
    with pytest.raises(EngineError, match=f"port 127.0.0.1:{number} is taken"):
        await run(stage, attrs.evolve(WEB, ports=ports), slot=1)


async def test_starting_what_runs_changes_nothing(stage: Stage) -> None:
    seen = await run(stage)
    assert await stage.engine.start(seen.id) == seen


async def test_what_is_not_ours_is_never_touched(stage: Stage) -> None:
    stranger = stage.by_hand(f"{FOREIGN}-{stage.node[:11]}", {})
    labels = container_builder.build(WEB, identity=identity(stage, node="dos@dos"))[
        "Labels"
    ]
    neighbour = stage.by_hand(f"neighbour-{stage.node[:11]}", labels)
    async with watching(stage) as watch:
        for container_id in (stranger, neighbour):
            with pytest.raises(EngineError, match="does not belong to uno"):
                await stage.engine.discard(container_id, 1.0)
            with pytest.raises(EngineError, match="does not belong to uno"):
                await stage.engine.stop(container_id, 1.0)
            with pytest.raises(EngineError, match="left alone"):
                await stage.engine.start(container_id)
            stage.kill(container_id)
        ours = await run(stage)
        # Of the ends of the others nothing was told: this is the first event.
        assert await told(watch) == ContainerStarted(observed=ours)
        assert [raw["Id"] for raw in await stage.engine.list_raw()] == [ours.id]
    assert stage.exists(stranger)
    assert stage.exists(neighbour)


async def test_the_health_check_is_told(stage: Stage) -> None:
    check = HealthCheck(
        kind=HealthKind.SHELL,
        cmd=("test ! -e /sick || { echo no answer; exit 1; }",),
        interval_ns=100 * MS,
        timeout_ns=5000 * MS,
        retries=1,
    )
    async with watching(stage) as watch:
        seen = await run(stage, attrs.evolve(WEB, health_check=check))
        assert seen.health in (Health.STARTING, Health.HEALTHY)
        await told_until(watch, lambda e: isinstance(e, ContainerStarted))
        for health in (Health.HEALTHY, Health.UNHEALTHY, Health.HEALTHY):
            stage.set_health(seen.id, health)
            said = "no answer" if health is Health.UNHEALTHY else ""
            changed = HealthChanged(container_id=seen.id, health=health, output=said)
            assert await told(watch) == changed
    document = await stage.engine.inspect(seen.id)
    observed = container_builder.observe(document)
    assert observed is not None
    assert observed.health is Health.HEALTHY


async def test_removal_by_hand_is_told(stage: Stage) -> None:
    async with watching(stage) as watch:
        container_id = await create(stage, WEB)
        stage.remove(container_id)
        assert await told(watch) == ContainerGone(container_id=container_id)
        running = (await run(stage)).id
        stage.remove(running)
        events = await told_until(watch, lambda e: isinstance(e, ContainerGone))
    # Docker tells the end of one that is removed while it runs sooner or later.
    assert events[-1] == ContainerGone(container_id=running)


async def test_an_engine_that_goes_away_is_lost_once_and_listed_again(
    stage: Stage,
) -> None:
    seen = await run(stage)
    async with watching(stage) as watch:
        await stage.go_away()
        lost = await told(watch)
        assert isinstance(lost, EngineLost)
        assert stage.engine.url in lost.reason
        for call in (stage.engine.check(), stage.engine.inspect(seen.id)):
            with pytest.raises(EngineUnreachable, match="no Docker Engine answers"):
                await call
        stage.kill(seen.id)
        await stage.come_back()
        back = await told(watch)
        assert isinstance(back, EngineListed)
        [one] = back.containers
        assert (one.id, one.running, one.exit_code) == (seen.id, False, 137)
        await stage.engine.start(seen.id)
        assert isinstance(await told(watch), ContainerStarted)


async def test_close_ends_the_watch(stage: Stage) -> None:
    async with watching(stage) as watch:
        await stage.engine.close()
        assert [event async for event in watch] == []
    with pytest.raises(EngineUnreachable, match="stopping"):
        await stage.engine.check()


async def test_the_fake_fails_as_scripted_and_once() -> None:
    stage = FakeStage()
    stage.engine.fail_next("start", EngineError("Docker cannot start it"))
    container_id = await create(stage, WEB)
    with pytest.raises(EngineError, match="cannot start it"):
        await stage.engine.start(container_id)
    assert (await stage.engine.start(container_id)).running


async def test_the_fake_that_hangs_does_nothing_until_it_goes_on() -> None:
    stage = FakeStage()
    engine, held = stage.engine, await create(stage, WEB)
    engine.hang()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(create(stage, attrs.evolve(WEB, name="other")), 0.01)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(engine.discard(held, 1.0), 0.01)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(engine.watch()), 0.01)
    assert list(engine.containers) == [held]
    engine.go_on()
    await engine.discard(held, 1.0)
    assert engine.containers == {}


async def test_the_fake_pulls_what_its_registry_has() -> None:
    engine = FakeEngine("test", "uno@uno", images=(), registry={"nginx:latest"})
    config = container_builder.build(attrs.evolve(WEB, image="nginx:latest"))
    assert await engine.create("web", config)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
