"""What only a real Docker Engine shows: pulls, lost lines, threads, its own words."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import http.server
import json
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import docker
import pytest
import requests
from docker.errors import APIError
from docker.types import IPAMConfig, IPAMPool

from scripts.dockerd import connect
from tests.engines import BUSYBOX, POLITE, STUBBORN, Relay
from veo_shell import container_builder
from veo_shell.core.events import (
    ContainerExited,
    ContainerGone,
    ContainerStarted,
    EngineListed,
    EngineLost,
    ProcessEnded,
)
from veo_shell.core.model import File, Identity, Mount, MountKind, Observed, Service
from veo_shell.edge import docker_engine, docker_events
from veo_shell.edge.docker_client import DEFAULT_URL, SLOW_THREADS, DockerLine
from veo_shell.edge.docker_engine import DockerEngine
from veo_shell.errors import EngineError, EngineUnreachable, ImageError, UsageError

WEB = Service(name="web", image=BUSYBOX, args=POLITE)


class Ours:
    """An engine over a line that can be cut, and the containers of one test on it."""

    def __init__(self, relay: Relay, client: docker.DockerClient) -> None:
        self.relay = relay
        self.client = client
        self.node = f"uno{uuid.uuid4().hex[:8]}@uno"
        self.engine = DockerEngine(relay.url, "test", self.node)

    async def create(self, service: Service = WEB, slot: int = 0) -> str:
        identity = Identity(
            cluster="test",
            node=self.node,
            service=service.name,
            uid="4d2f7a91",
            slot=slot,
            generation=1,
        )
        config = container_builder.build(service, identity=identity)
        return await self.engine.create(identity.container_name, config)

    async def run(self, service: Service = WEB, slot: int = 0) -> Observed:
        return await self.engine.start(await self.create(service, slot))

    async def clean(self) -> None:
        await self.engine.close()
        await self.relay.cut()
        for left in self.client.containers.list(
            all=True, filters={"label": f"veo.node={self.node}"}
        ):
            left.remove(force=True, v=True)


@pytest.fixture(scope="module")
def client(docker_url: str) -> Iterator[docker.DockerClient]:
    with connect(docker_url, timeout_s=60) as client:
        yield client


@pytest.fixture
async def ours(
    docker_url: str, client: docker.DockerClient, tmp_path: Path
) -> AsyncIterator[Ours]:
    relay = Relay(docker_url, tmp_path)
    await relay.mend()
    made = Ours(relay, client)
    yield made
    await made.clean()


async def until(condition: Callable[[], object]) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - it comes to hold in other threads
            await asyncio.sleep(0.01)


# Calls


async def test_stubborn_containers_do_not_hold_up_a_start_or_a_stop(
    ours: Ours,
) -> None:
    many = SLOW_THREADS + 2
    stubborn = attrs.evolve(WEB, args=STUBBORN)
    held = [(await ours.run(stubborn, slot)).id for slot in range(many)]
    async with asyncio.TaskGroup() as group:
        discards = [group.create_task(ours.engine.discard(i, 30.0)) for i in held]
        await until(lambda: ours.relay.asked("/stop") == many)
        polite = await ours.run(slot=many)
        assert polite.running
        await ours.engine.discard(polite.id, 30.0)
        assert not any(task.done() for task in discards)
        for container_id in held:
            ours.client.containers.get(container_id).kill()


async def test_one_that_ignores_sigterm_is_killed_when_its_time_is_over(
    ours: Ours,
) -> None:
    """Whatever is started, and stops in order, meanwhile."""
    stubborn = (await ours.run(attrs.evolve(WEB, args=STUBBORN))).id
    async with contextlib.aclosing(ours.engine.watch()) as watch:
        assert isinstance(await anext(watch), EngineListed)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(ours.engine.discard(stubborn, 3.0))
            await until(lambda: ours.relay.asked("/stop"))
            for slot in range(1, 4):
                polite = await ours.run(slot=slot)
                await ours.engine.discard(polite.id, 3.0)
            assert not task.done()
        async with asyncio.timeout(30):
            ends = [e async for e in _ends(watch, 4)]
    codes = {e.container_id: e.exit_code for e in ends}
    assert codes.pop(stubborn) == 137
    assert set(codes.values()) == {0}


async def _ends(watch: Any, count: int) -> AsyncIterator[ContainerExited]:
    async for event in watch:
        if isinstance(event, ContainerExited):
            yield event
            count -= 1
        if not count:
            return


async def test_a_file_does_not_replace_a_folder_of_the_image(ours: Ours) -> None:
    files = (File(target="/bin", content="x"),)
    config = container_builder.build(WEB)
    with pytest.raises(EngineError, match="its files cannot be put into it"):
        await ours.engine.create(f"web-{ours.node[:11]}", config, files)
    ours.client.containers.get(f"web-{ours.node[:11]}").remove()


def threads(prefix: str) -> list[str]:
    """Return the names of the threads that begin so."""
    return [t.name for t in threading.enumerate() if t.name.startswith(prefix)]


async def test_a_line_cut_while_the_engine_works_is_an_error(ours: Ours) -> None:
    held = await ours.run(attrs.evolve(WEB, args=STUBBORN))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(failure_of(ours.engine.discard(held.id, 30.0)))
        await until(lambda: ours.relay.asked("/stop"))
        await ours.relay.cut()
        error = await task
    assert isinstance(error, EngineUnreachable)
    assert ours.relay.url in str(error)
    assert "--docker" in str(error)
    await ours.relay.mend()
    await ours.engine.discard(held.id, 1.0)


async def failure_of(call: Any) -> BaseException | None:
    """Return what the call raises."""
    try:
        await call
    except EngineError as exc:
        return exc
    return None


async def test_close_ends_threads_and_calls_at_once(ours: Ours) -> None:
    held = await ours.run(attrs.evolve(WEB, args=STUBBORN))
    async with contextlib.aclosing(ours.engine.watch()) as watch:
        assert isinstance(await anext(watch), EngineListed)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(failure_of(ours.engine.discard(held.id, 600.0)))
            await until(lambda: ours.relay.asked("/stop"))
            await ours.engine.close()
            error = await task
    assert isinstance(error, EngineUnreachable)
    assert ours.client.containers.get(held.id).status == "running"  # not waited for
    # The thread that the engine keeps waiting ends with the engine's answer.
    ours.client.containers.get(held.id).kill()
    await until(lambda: not threads("docker"))


async def test_one_that_vanished_when_it_started_has_its_exit_code(ours: Ours) -> None:
    service = attrs.evolve(WEB, args=("sh", "-c", "exit 3"), auto_remove=True)
    container_id = await ours.create(service)
    ours.relay.hold("/start")
    async with asyncio.TaskGroup() as group:
        task = group.create_task(ours.engine.start(container_id))
        await until(lambda: not exists(ours, container_id))
        ours.relay.release()
        seen = await task
    assert (seen.running, seen.ever_started, seen.exit_code) == (False, True, 3)


def exists(ours: Ours, container_id: str) -> bool:
    """Tell whether the engine holds a container."""
    try:
        ours.client.api.inspect_container(container_id)
    except docker.errors.NotFound:
        return False
    return True


async def test_a_name_that_becomes_free_meanwhile_is_taken(ours: Ours) -> None:
    held = await ours.create()
    ours.relay.hold("/create")
    async with asyncio.TaskGroup() as group:
        task = group.create_task(ours.create())
        await until(lambda: ours.relay.is_holding)  # Docker has refused it
        ours.client.containers.get(held).remove()
        ours.relay.release()
        assert exists(ours, await task)


# It takes Docker a while to remove so many files; until then the name is taken.
FILES = "mkdir /x; i=0; while [ $i -lt 5000 ]; do : >/x/$i; i=$((i+1)); done"
SLOW_TO_GO = attrs.evolve(WEB, args=("sh", "-c", FILES), auto_remove=True)


@contextlib.asynccontextmanager
async def one_that_is_going(ours: Ours) -> AsyncIterator[str]:
    """Have a container that Docker removes just now."""
    async with contextlib.aclosing(ours.engine.watch()) as watch:
        assert isinstance(await anext(watch), EngineListed)
        going = (await ours.run(SLOW_TO_GO)).id
        await first(watch, ContainerExited)
        yield going
        assert (await first(watch, ContainerGone)).container_id == going


async def test_a_new_one_waits_until_the_old_one_is_removed(ours: Ours) -> None:
    async with one_that_is_going(ours) as going:
        new = await ours.create()
        assert new != going
        assert not exists(ours, going)
    assert (await ours.engine.start(new)).running


async def test_discard_waits_for_a_removal_under_way(ours: Ours) -> None:
    async with one_that_is_going(ours) as going:
        await ours.engine.discard(going, 5.0)
        assert not exists(ours, going)


async def test_a_line_cut_while_an_image_is_pulled_is_no_image_error(
    ours: Ours,
) -> None:
    ours.relay.hold("/images/create")
    service = attrs.evolve(WEB, image="localhost:1/x")
    async with asyncio.TaskGroup() as group:
        task = group.create_task(failure_of(ours.create(service)))
        await until(lambda: ours.relay.asked("/images/create"))
        async with asyncio.TaskGroup() as cutting:
            cutting.create_task(ours.relay.cut())
            ours.relay.release()
        error = await task
    assert isinstance(error, EngineUnreachable)
    await ours.relay.mend()


async def test_what_docker_warns_of_is_logged(
    ours: Ours, caplog: pytest.LogCaptureFixture
) -> None:
    port = {"80/tcp": [{"HostIp": "", "HostPort": "80"}]}
    host = {"NetworkMode": "host", "PortBindings": port}
    labels = {"veo.node": ours.node}
    config = {"Image": BUSYBOX, "Cmd": ["true"], "Labels": labels, "HostConfig": host}
    await ours.engine.create(ours.node[:11], config)
    [record] = caplog.records
    assert f"{ours.node[:11]}: Docker warns: Published ports" in record.getMessage()


async def test_close_ends_a_watch_that_waits_for_the_engine(
    ours: Ours, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker_engine, "RECONNECT_FIRST_S", 3600.0)
    async with contextlib.aclosing(ours.engine.watch()) as watch:
        assert isinstance(await anext(watch), EngineListed)
        await ours.relay.cut()
        assert isinstance(await anext(watch), EngineLost)
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            rest = group.create_task(rest_of(watch))
            await asyncio.sleep(0)
            await ours.engine.close()
            assert await rest == []


async def rest_of(watch: AsyncIterator[Any]) -> list[Any]:
    return [event async for event in watch]


async def test_a_refusal_is_docker_s_own_words_in_one_line(ours: Ours) -> None:
    lost = Mount(kind=MountKind.BIND, source="/not/there", target="/x")
    with pytest.raises(
        EngineError, match=r"veo-.*: .*does not exist: /not/there"
    ) as got:
        await ours.create(attrs.evolve(WEB, mounts=(lost,)))
    assert got.value.status == 400
    with pytest.raises(EngineError, match=r"cannot start it: .*nothere") as got:
        await ours.run(attrs.evolve(WEB, args=("nothere",)), slot=1)
    assert "\n" not in str(got.value)
    with pytest.raises(EngineError, match="network nonet not found"):
        await ours.run(attrs.evolve(WEB, network_mode="nonet"), slot=2)


async def test_anonymous_volumes_go_with_their_container(ours: Ours) -> None:
    data = Mount(kind=MountKind.VOLUME, target="/data")
    seen = await ours.run(attrs.evolve(WEB, mounts=(data,)))
    [mounted] = (await ours.engine.inspect(seen.id))["Mounts"]
    await ours.engine.discard(seen.id, 5.0)
    with pytest.raises(docker.errors.NotFound):
        ours.client.volumes.get(mounted["Name"])


async def test_the_networks_of_its_bridges_are_told_as_they_change(ours: Ours) -> None:
    told = (ours.node, "10.213.7.0/24")
    pool = IPAMConfig(pool_configs=[IPAMPool(subnet="10.213.7.0/24")])
    async with (
        asyncio.timeout(30),
        contextlib.aclosing(ours.engine.watch_holdings()) as watch,
    ):
        assert told not in (await anext(watch)).networks
        network = ours.client.networks.create(ours.node, driver="bridge", ipam=pool)
        async for holds in watch:
            if told in holds.networks:
                break
        network.remove()
        async for holds in watch:
            if told not in holds.networks:
                break


@contextlib.contextmanager
def network(ours: Ours, **options: Any) -> Iterator[str]:
    made = ours.client.networks.create(ours.node, driver="bridge", **options)
    try:
        yield ours.node
    finally:
        for container in ours.client.containers.list(
            all=True, filters={"label": f"veo.node={ours.node}"}
        ):
            container.remove(force=True)
        made.remove()


async def test_a_network_is_looked_at_once(ours: Ours) -> None:
    engine = DockerEngine(ours.relay.url, "test", ours.node, {"bridge"})
    with network(ours) as name:
        on_lan = attrs.evolve(WEB, network_mode=name)
        for slot in (0, 1):
            seen = await engine.start(await ours.create(on_lan, slot))
            assert len(seen.own_addresses) == 1
        assert ours.relay.asked("/networks/") == 1
    await engine.close()


async def test_from_an_internal_network_nobody_has_an_address_for_others(
    ours: Ours,
) -> None:
    engine = DockerEngine(ours.relay.url, "test", ours.node, {"bridge"})
    with network(ours, internal=True) as name:
        service = attrs.evolve(WEB, network_mode=name)
        seen = await engine.start(await ours.create(service))
        assert seen.own_addresses == ()
        async with contextlib.aclosing(engine.watch_holdings()) as watch:
            assert name not in (await anext(watch)).lan_networks
    await engine.close()


async def test_running_out_of_memory_is_told(ours: Ours) -> None:
    double = ("sh", "-c", "x=xxxxxxxx; while :; do x=$x$x; done")
    greedy = attrs.evolve(WEB, args=double, memory_bytes=16 << 20)
    async with contextlib.aclosing(ours.engine.watch()) as watch:
        assert isinstance(await anext(watch), EngineListed)
        seen = await ours.run(greedy)
        exited = await first(watch, ContainerExited)
    assert (exited.container_id, exited.oom_killed) == (seen.id, True)
    assert exited.exit_code != 0


async def test_the_end_of_a_process_is_not_told_of_the_next_one(ours: Ours) -> None:
    """Our loop was busy while it was started again, and learns of all that at once."""
    async with contextlib.aclosing(ours.engine.watch()) as watch:
        assert isinstance(await anext(watch), EngineListed)
        held = ours.client.containers.get((await ours.run()).id)
        await first(watch, ContainerStarted)
        held.kill()
        held.wait()
        held.start()
        await first(watch, ContainerStarted)
        held.kill()
        assert isinstance(await anext(watch), ProcessEnded)
        assert isinstance(await anext(watch), ContainerExited)


async def test_one_that_runs_when_the_node_starts_is_followed_too(ours: Ours) -> None:
    seen = await ours.run()
    async with contextlib.aclosing(ours.engine.watch()) as watch:
        assert isinstance(await anext(watch), EngineListed)
        ours.client.containers.get(seen.id).kill()
        assert await anext(watch) == ProcessEnded(container_id=seen.id)


async def first(watch: AsyncIterator[Any], kind: Any) -> Any:
    """Return the next event of that kind."""
    async with asyncio.timeout(30):
        async for event in watch:
            if isinstance(event, kind):
                return event
    raise AssertionError("the watch ended")


# Pulling


class Registry(http.server.ThreadingHTTPServer):
    """A registry that holds one image, for who knows the password."""

    def __init__(self) -> None:
        layer = b"\0" * 10240  # an empty tar
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["/nothing"]},
            "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
        }
        blobs = [json.dumps(config).encode(), layer]
        docker_v2 = "application/vnd.docker"
        kinds = ["container.image.v1+json", "image.rootfs.diff.tar"]
        parts = [
            {
                "mediaType": f"{docker_v2}.{kind}",
                "size": len(blob),
                "digest": digest(blob),
            }
            for kind, blob in zip(kinds, blobs, strict=True)
        ]
        self.manifest_type = f"{docker_v2}.distribution.manifest.v2+json"
        self.manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": self.manifest_type,
                "config": parts[0],
                "layers": parts[1:],
            }
        ).encode()
        self.blobs = {digest(blob): blob for blob in blobs}
        super().__init__(("127.0.0.1", 0), RegistryAnswers)

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class RegistryAnswers(http.server.BaseHTTPRequestHandler):
    server: Registry
    protocol_version = "HTTP/1.1"
    wanted = "Basic " + base64.b64encode(b"operator:secret").decode()

    def do_GET(self) -> None:
        if self.headers.get("Authorization") != self.wanted:
            self.answer(401, b"{}")
        elif "/manifests/" in self.path:
            self.answer(200, self.server.manifest, self.server.manifest_type)
        elif "/blobs/" in self.path:
            self.answer(200, self.server.blobs[self.path.rpartition("/")[2]])
        else:
            self.answer(200, b"{}")

    def do_HEAD(self) -> None:
        self.do_GET()

    def answer(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Docker-Content-Digest", digest(body))
        self.send_header("WWW-Authenticate", 'Basic realm="test"')
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - inherited
        """Say nothing."""


def digest(blob: bytes) -> str:
    return "sha256:" + hashlib.sha256(blob).hexdigest()


@pytest.fixture
def registry(client: docker.DockerClient) -> Iterator[Registry]:
    with Registry() as registry:
        thread = threading.Thread(target=registry.serve_forever)
        thread.start()
        yield registry
        registry.shutdown()
        thread.join()
    with contextlib.suppress(docker.errors.ImageNotFound):  # it may not have come
        client.images.remove(f"{registry.name}/web:1", force=True)


@pytest.mark.parametrize("password", ["secret", "wrong"])
async def test_an_image_is_pulled_with_the_operators_credentials(
    ours: Ours,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    password: str,
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    service = attrs.evolve(WEB, image=f"{registry.name}/web:1", args=())
    with pytest.raises(ImageError, match=f"^{service.image}: cannot be pulled: .+"):
        await ours.create(service)
    # `docker login` while the node runs:
    auth = base64.b64encode(f"operator:{password}".encode()).decode()
    login = {"auths": {registry.name: {"auth": auth}}}
    (tmp_path / "config.json").write_text(json.dumps(login))
    if password == "wrong":  # noqa: S105 - not one of anybody
        with pytest.raises(ImageError, match="cannot be pulled"):
            await ours.create(service)
        with pytest.raises(ImageError, match="cannot be pulled"):
            await ours.engine.pull(service.image, lambda progress: None)
        assert await ours.engine.list_raw() == []
        return
    told: list[str] = []
    await ours.engine.pull(service.image, told.append)
    assert told[-1].startswith("1 of 1 layers, ")
    await ours.create(service)
    [raw] = await ours.engine.list_raw()
    assert raw["Image"] == service.image


@pytest.mark.filterwarnings("ignore:docker-credential-not-installed")
async def test_a_broken_credentials_helper_is_an_image_error(
    ours: Ours, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text('{"credsStore": "not-installed"}')
    with pytest.raises(ImageError, match=r"^localhost:1/x: .*not-installed"):
        await ours.create(attrs.evolve(WEB, image="localhost:1/x"))


# Watching


async def test_all_is_listed_again_at_times(
    ours: Ours, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker_events, "RELIST_S", 0.05)
    seen = await ours.run()
    async with contextlib.aclosing(ours.engine.watch()) as watch:
        for _ in range(3):
            assert await anext(watch) == EngineListed(containers=(seen,))


Answers = Callable[[bytes], bytes | None]


class Impostor:
    """What answers in an engine's place: by the request's first line, or not at all."""

    def __init__(self, path: Path, answers: Answers | None = None) -> None:
        self.url = f"unix://{path}"
        self.connections = 0
        self._path = path
        self._answers = answers

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        server = await asyncio.start_unix_server(self._serve, self._path)
        yield
        server.close()
        await server.wait_closed()
        self._path.unlink()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.connections += 1
        # Without answers it hangs up; who asked may do so at any time.
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while self._answers:
                request = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._answers(request.partition(b"\r\n")[0]) or b"")
        writer.close()


def page(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


async def test_an_engine_that_is_not_there_is_lost_once(
    ours: Ours, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(docker_engine, "RECONNECT_FIRST_S", 0.001)
    await ours.relay.cut()
    impostor = Impostor(Path(ours.relay.url.removeprefix("unix://")))
    async with (
        contextlib.aclosing(ours.engine.watch()) as watch,
        asyncio.TaskGroup() as group,
    ):
        async with impostor.listening():
            lost = await anext(watch)
            coming = group.create_task(first(watch, EngineListed | EngineLost))
            await until(lambda: impostor.connections > 4)
            assert not coming.done()
        await ours.relay.mend()
        assert isinstance(await coming, EngineListed)
    assert isinstance(lost, EngineLost)
    assert ours.relay.url in lost.reason
    assert len(caplog.records) == 1


async def test_an_engine_that_hangs_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker_events, "SUBSCRIBE_TIMEOUT_S", 0.1)

    def answers(request: bytes) -> bytes | None:
        return page(b'{"ApiVersion": "1.41"}') if b"/version" in request else None

    impostor = Impostor(tmp_path / "engine.sock", answers)
    async with impostor.listening():
        engine = DockerEngine(impostor.url, "test", "uno@uno")
        async with contextlib.aclosing(engine.watch()) as watch:
            lost = await anext(watch)
        await engine.close()
    assert isinstance(lost, EngineLost)
    assert "it does not answer in time" in lost.reason


@pytest.mark.parametrize("body", [b"hi", b"[]", b'{"ApiVersion": null}'])
async def test_what_is_no_docker_is_said_so(tmp_path: Path, body: bytes) -> None:
    impostor = Impostor(tmp_path / "engine.sock", lambda request: page(body))
    async with impostor.listening():
        engine = DockerEngine(impostor.url, "test", "uno@uno")
        with pytest.raises(EngineUnreachable, match="what answers there is not Docker"):
            await engine.check()
        await engine.close()


REFUSALS = {
    "without a word": (b"404 Not Found", b"", "HTTP status 404"),
    "as a proxy": (b"502 Bad Gateway", b"<html>", "HTTP status 502"),
    "as another program": (b"400 Bad Request", b"{}", "is not Docker"),
}


@pytest.mark.parametrize("kind", REFUSALS)
async def test_what_refuses_to_tell_its_version_is_no_engine(
    tmp_path: Path, kind: str
) -> None:
    """A proxy that the environment names, most likely: it gave no reason."""
    status, body, said = REFUSALS[kind]
    head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\n" % status
    reply = head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    impostor = Impostor(tmp_path / "engine.sock", lambda request: reply)
    async with impostor.listening():
        engine = DockerEngine(impostor.url, "test", "uno@uno")
        with pytest.raises(EngineUnreachable) as caught:
            await engine.check()
        await engine.close()
    assert str(caught.value).startswith(f"no Docker Engine answers at {impostor.url} (")
    assert said in str(caught.value)
    assert str(caught.value).endswith("name another with --docker or DOCKER_HOST")


@pytest.mark.parametrize(
    ("explanation", "said"),
    [
        ("", "the engine at unix:///x.sock answers with HTTP status 500 alone"),
        ("no  such\n\x1b[2Jimage", r"no such \x1b[2Jimage"),
        ("x" * 2000, "x" * 999 + "…"),
    ],
)
def test_a_refusal_is_one_line(explanation: str, said: str) -> None:
    response = requests.Response()
    response.status_code = 500
    line = DockerLine("unix:///x.sock")
    with pytest.raises(EngineError) as caught, line.translated():
        raise APIError("no", response=response, explanation=explanation)
    assert (str(caught.value), caught.value.status) == (said, 500)


# Where the engine is


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("unix:///not/there.sock", "No such file or directory"),
        ("tcp://127.0.0.1:1", "Connection refused"),
    ],
)
async def test_no_engine_is_one_line_with_what_to_do(url: str, reason: str) -> None:
    engine = DockerEngine(url, "test", "uno@uno")
    with pytest.raises(EngineUnreachable) as raised:
        await engine.check()
    await engine.close()
    assert str(raised.value) == (
        f"no Docker Engine answers at {url} ({reason}): "
        f"start it, or name another with --docker or DOCKER_HOST"
    )


def test_a_socket_that_may_not_be_opened_says_who_may() -> None:
    refused = requests.ConnectionError("Connection aborted.")
    refused.__context__ = PermissionError(13, "Permission denied")
    assert DockerLine("unix:///x.sock").describe(refused) == (
        "no Docker Engine answers at unix:///x.sock (Permission denied): "
        "run veo as root or as a member of the group docker"
    )


@pytest.mark.parametrize(
    "url", ["ssh://host", "npipe:////./pipe/docker", "fd://", "tcp://", "http//x"]
)
def test_a_url_that_cannot_be_used_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match=f"^--docker: {url}: "):
        DockerEngine(url, "test", "uno@uno")


def test_missing_certificates_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"--docker: tcp://10.0.0.1:2376: .*cert"):
        DockerEngine("tcp://10.0.0.1:2376", "test", "uno@uno")


def test_docker_host_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:2375")
    assert DockerEngine("", "test", "uno@uno").url == "tcp://127.0.0.1:2375"
    monkeypatch.delenv("DOCKER_HOST")
    assert DockerEngine("", "test", "uno@uno").url == DEFAULT_URL
