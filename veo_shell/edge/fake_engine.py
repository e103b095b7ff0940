"""A Docker Engine in memory: no threads, no clock, the same every time.

It fits the Engine protocol and passes the contract tests of the real one. Its methods
never suspend, but for `watch`, and while it hangs. A test ends containers, changes
their health, takes the engine away and lets it come back.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import re
from collections.abc import (
    AsyncGenerator,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from typing import Any

import attrs

from veo_shell import container_builder
from veo_shell.core.docker_health import last_output
from veo_shell.core.docker_labels import identity_of
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
from veo_shell.core.model import File, Health, Observed
from veo_shell.edge.fake_streams import FakeStreams
from veo_shell.errors import (
    EngineError,
    EngineUnreachable,
    ImageError,
    UnknownContainer,
)

FIRST_RANDOM_PORT = 49153
KILLED = 137
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]+")


@attrs.frozen(kw_only=True)
class Program:
    """What a command does: `exits` at once with that code, or runs until told.

    `on_term`: its exit code after SIGTERM; None ignores that and is killed.
    `says`: what it says first, as (output, text).
    """

    exits: int | None = None
    on_term: int | None = 0
    says: tuple[tuple[str, str], ...] = ()


@attrs.define(kw_only=True)
class FakeContainer:
    """A container as the fake engine holds it."""

    id: str
    name: str
    config: dict[str, Any]
    running: bool = False
    ever_started: bool = False
    exit_code: int = 0
    oom_killed: bool = False
    health: Health = Health.NONE
    checks: list[dict[str, Any]] = attrs.field(factory=list)
    ports: dict[str, list[dict[str, str]]] = attrs.field(factory=dict)
    networks: dict[str, dict[str, str]] = attrs.field(factory=dict)
    files: dict[str, File] = attrs.field(factory=dict)

    @property
    def host(self) -> dict[str, Any]:
        """Return what it was created with to do with the host."""
        return self.config.get("HostConfig") or {}

    @property
    def has_health_check(self) -> bool:
        """Tell whether its health is looked at."""
        test = (self.config.get("Healthcheck") or {}).get("Test")
        return bool(test) and test != ["NONE"]

    def raw(self) -> dict[str, Any]:
        """Return it in the form of `GET /containers/{id}/json`."""
        config = {k: v for k, v in self.config.items() if k != "HostConfig"}
        failing = len(self.checks) if self.health is Health.UNHEALTHY else 0
        health = {
            "Health": {
                "Status": self.health.value,
                "FailingStreak": failing,
                "Log": self.checks,
            }
        }
        ended = "exited" if self.ever_started else "created"
        return {
            "Id": self.id,
            "Name": f"/{self.name}",
            "Config": {"Labels": {}, **config},
            "HostConfig": {"NetworkMode": "default", "AutoRemove": False, **self.host},
            "State": {
                "Status": "running" if self.running else ended,
                "Running": self.running,
                "StartedAt": "2000" if self.ever_started else container_builder.NEVER,
                "ExitCode": self.exit_code,
                "OOMKilled": self.oom_killed,
                **(health if self.has_health_check else {}),
            },
            "NetworkSettings": {
                "Ports": self.ports if self.running else {},
                "Networks": self.networks if self.running else {},
            },
        }


class FakeEngine:
    """The Docker Engine of a node, in memory.

    `programs`: what commands do; any other runs until told and heeds SIGTERM.
    `images`: those it holds; None = every one. `registry`: those it can pull.
    """

    def __init__(
        self,
        cluster: str,
        node: str,
        *,
        programs: Mapping[tuple[str, ...], Program] | None = None,
        images: Iterable[str] | None = None,
        registry: Iterable[str] = (),
    ) -> None:
        self.url = f"fake://{node}"
        self.containers: dict[str, FakeContainer] = {}
        self._whose = (cluster, node)
        self._programs = dict(programs or {})
        self.streams = FakeStreams(self._talking, self._programs)
        self._images = None if images is None else set(images)
        self._registry = set(registry)
        self._failures: dict[str, list[Exception]] = {}
        self._taken: set[int] = set()
        self._away = ""
        self._goes_on = asyncio.Event()
        self._goes_on.set()
        self._inboxes: list[asyncio.Queue[EngineEvent | None]] = []
        self.networks: tuple[tuple[str, str], ...] = ()
        self._lans: dict[str, list[tuple[str, str]]] = {}
        self._holdings: list[asyncio.Queue[EngineHolds | None]] = []
        self._named = set(self._images or ())
        self._volumes: set[str] = set()
        self._numbers = itertools.count(1)
        self._random_ports: dict[str, Iterator[int]] = {}

    # The protocol

    async def check(self) -> None:
        """Raise `EngineUnreachable` while it is away."""
        self._act("check")

    async def version(self) -> str:
        """Return its version."""
        self._act("version")
        return "fake"

    async def create(
        self, name: str, config: Mapping[str, Any], files: Sequence[File] = ()
    ) -> str:
        """Create a container with files in it, pulling its image if missing.

        Return its id.
        """
        await self._goes_on.wait()
        self._act("create")
        if not NAME.fullmatch(name):
            raise EngineError(f"{name}: Invalid container name ({name})", status=400)
        if not (self._images is None or config["Image"] in self._images):
            self._pull(config["Image"])
        if holder := self._by_name(name):
            self._check_same(holder, config)
            if holder.running or not self._is_bound_elsewhere(holder, config):
                return self._put(holder, files)
            self.remove(holder.id)
        return self._put(self._add(name, config), files)

    async def pull(self, image: str, tell: Callable[[str], None]) -> None:
        """Get an image from its registry; tell how far it is."""
        self._act("pull")
        tell("0 of 1 layers, 0 MB loaded")
        await self._goes_on.wait()
        if self._images is not None:
            self._pull(image)
        tell("1 of 1 layers, 0 MB loaded")

    async def start(self, container_id: str) -> Observed:
        """Start the container; return what it is then, with the ports it got."""
        self._act("start")
        container = self._own(container_id)
        if not container.running:
            self._start(container)
        return self._seen(container)

    async def stop(self, container_id: str, timeout_s: float) -> Observed | None:
        """Stop the container; return what it is then, None if it is gone."""
        await self._goes_on.wait()
        self._act("stop")
        if container_id not in self.containers:
            return None
        container = self._own(container_id)
        self._stop(container)
        return self._seen(container) if container_id in self.containers else None

    async def discard(self, container_id: str, timeout_s: float) -> None:
        """Stop and remove the container; gone already is fine."""
        await self._goes_on.wait()
        self._act("discard")
        if container_id not in self.containers:
            return
        self._stop(self._own(container_id))
        if container_id in self.containers:
            self.remove(container_id)

    async def inspect(self, container_id: str) -> dict[str, Any]:
        """Return the document of `GET /containers/{id}/json`."""
        self._act("inspect")
        if container_id not in self.containers:
            raise UnknownContainer(
                f"no container {container_id!r} on the engine at {self.url}"
            )
        return self.containers[container_id].raw()

    async def list_raw(self) -> list[dict[str, Any]]:
        """Return this node's containers as `GET /containers/json` has them."""
        self._act("list")
        return [
            {
                "Id": container.id,
                "Names": [f"/{container.name}"],
                "Image": container.config["Image"],
                "Labels": container.config.get("Labels") or {},
                "State": container.raw()["State"]["Status"],
            }
            for container in self.containers.values()
            if self._is_ours(container)
        ]

    async def watch(self) -> AsyncGenerator[EngineEvent, None]:
        """Yield what happens to this node's containers, until `close`."""
        await self._goes_on.wait()
        inbox: asyncio.Queue[EngineEvent | None] = asyncio.Queue()
        self._inboxes.append(inbox)
        inbox.put_nowait(self._lost() if self._away else self._all())
        try:
            while (event := await inbox.get()) is not None:
                yield event
        finally:
            self._inboxes.remove(inbox)

    async def watch_holdings(self) -> AsyncGenerator[EngineHolds, None]:
        """Yield which images and volumes there are, and again when that changes."""
        inbox: asyncio.Queue[EngineHolds | None] = asyncio.Queue()
        self._holdings.append(inbox)
        self._tell_holdings()
        try:
            while (event := await inbox.get()) is not None:
                yield event
        finally:
            self._holdings.remove(inbox)

    async def close(self) -> None:
        """End the watches; calls fail from now on."""
        self._away = "this node is stopping"
        for inbox in self._inboxes:
            inbox.put_nowait(None)
        for holdings in self._holdings:
            holdings.put_nowait(None)

    # What a test does to it

    def fail_next(self, action: str, error: Exception) -> None:
        """Let the next `create`, `start`, `pull`, … raise that."""
        self._failures.setdefault(action, []).append(error)

    def add_by_hand(self, name: str, **config: Any) -> str:
        """Run a container that VEO did not create; return its id."""
        container = self._add(name, {"Image": "by-hand", **config})
        container.running = container.ever_started = True
        return container.id

    def exit(self, container_id: str, code: int, *, oom_killed: bool = False) -> None:
        """End the container's process."""
        container = self.containers[container_id]
        container.running = False
        container.exit_code, container.oom_killed = code, oom_killed
        self.streams.ended(container_id)
        self._tell(container, ProcessEnded(container_id=container_id))
        event = ContainerExited(
            container_id=container_id, exit_code=code, oom_killed=oom_killed
        )
        self._tell(container, event)
        if container.host.get("AutoRemove"):
            self.remove(container_id)

    def remove(self, container_id: str) -> None:
        """Take the container away, as `docker rm -f` does."""
        if self.containers[container_id].running:
            self.exit(container_id, KILLED)
        # With auto_remove its end has taken it away.
        if container := self.containers.pop(container_id, None):
            self._tell(container, ContainerGone(container_id=container_id))

    def set_health(self, container_id: str, health: Health, output: str = "") -> None:
        """Let the health check of the container change its mind, and say something."""
        container = self.containers[container_id]
        container.health = health
        container.checks.append({"ExitCode": 0, "Output": output})
        event = HealthChanged(
            container_id=container_id,
            health=health,
            output=last_output(container.raw()),
        )
        self._tell(container, event)

    def add_image(self, name: str) -> None:
        """Have an image, as `docker pull` does."""
        self._named.add(name)
        if self._images is not None:
            self._images.add(name)
        self._tell_holdings()

    def add_lan(self, name: str, *addresses: tuple[str, str]) -> None:
        """Make a macvlan network with these addresses to give out, in that order.

        Each is one of IPv4 and one of IPv6, "" for none.
        """
        self._lans[name] = list(addresses)
        self._tell_holdings()

    def add_volume(self, name: str) -> None:
        """Make a named volume, as `docker volume create` does."""
        self._volumes.add(name)
        self._tell_holdings()

    def remove_volume(self, name: str) -> None:
        """Remove a named volume, with what is in it."""
        self._volumes.remove(name)
        self._tell_holdings()

    def take_port(self, number: int) -> None:
        """Let another program of the host listen on a port."""
        self._taken.add(number)

    def draw(self, address: str) -> int:
        """Return the next free random port of an address; each has its own, as ever."""
        first = itertools.count(FIRST_RANDOM_PORT)
        numbers = self._random_ports.setdefault(address, first)
        return next(n for n in numbers if not self._is_taken(address, n))

    def hang(self) -> None:
        """Let what is ordered, and a new `watch`, wait until `go_on`."""
        self._goes_on.clear()

    def go_on(self) -> None:
        """Answer what waited."""
        self._goes_on.set()

    def go_away(self, reason: str) -> None:
        """Stop answering; containers keep running."""
        self._away = reason
        self.streams.cut()
        for inbox in self._inboxes:
            inbox.put_nowait(self._lost())

    def come_back(self) -> None:
        """Answer again."""
        self._away = ""
        for inbox in self._inboxes:
            inbox.put_nowait(self._all())
        self._tell_holdings()

    # How it works

    def _act(self, action: str) -> None:
        if self._away:
            raise EngineUnreachable(self._lost().reason)
        if failures := self._failures.get(action):
            raise failures.pop(0)

    def _pull(self, image: str) -> None:
        if image not in self._registry:
            raise ImageError(f"{image}: cannot be pulled: no such image")
        self.add_image(image)

    def _add(self, name: str, config: Mapping[str, Any]) -> FakeContainer:
        text = f"{self.url}/{next(self._numbers)}"
        container_id = hashlib.sha256(text.encode()).hexdigest()
        container = FakeContainer(id=container_id, name=name, config=dict(config))
        self.containers[container_id] = container
        mounts = container.host.get("Mounts") or ()
        named = {m.get("Source", "") for m in mounts if m["Type"] == "volume"}
        if new := named - self._volumes - {""}:
            self._volumes |= new
            self._tell_holdings()
        return container

    def _put(self, container: FakeContainer, files: Sequence[File]) -> str:
        container.files = {file.target: file for file in files}
        return container.id

    def _is_bound_elsewhere(
        self, holder: FakeContainer, config: Mapping[str, Any]
    ) -> bool:
        there, here = map(container_builder.addresses_of, (holder.raw(), config))
        return there != here

    def _check_same(self, holder: FakeContainer, config: Mapping[str, Any]) -> None:
        wanted = identity_of(config.get("Labels") or {})
        found = container_builder.observe(holder.raw())
        if wanted is None or found is None or found.identity != wanted:
            raise EngineError(
                f"{holder.name}: the name is taken by container {holder.id[:12]} "
                f"({holder.config['Image']}), which is not that one: remove or rename "
                f"it (docker rename {holder.id[:12]} NEW_NAME)",
                status=409,
            )

    def _start(self, container: FakeContainer) -> None:
        container.networks = self._connect(container)
        container.ports = {} if container.networks else self._publish(container)
        container.running = container.ever_started = True
        container.exit_code, container.oom_killed = 0, False
        if container.has_health_check:
            container.health, container.checks = Health.STARTING, []
        self._tell(container, ContainerStarted(observed=self._seen(container)))
        for output, text in self._program(container).says:
            self.streams.say(container.id, text, output)
        code = self._program(container).exits
        if code is not None:
            self.exit(container.id, code)

    def _connect(self, container: FakeContainer) -> dict[str, dict[str, str]]:
        name = container.host.get("NetworkMode") or ""
        if name not in self._lans:
            return {}
        if not self._lans[name]:
            raise EngineError(
                f"{container.name}: Docker cannot start it: no available IPv4 "
                "addresses on this network's address pools",
                status=500,
            )
        four, six = self._lans[name].pop(0)
        network = {
            "NetworkID": f"id of {name}",
            "IPAddress": four,
            "GlobalIPv6Address": six,
        }
        return {name: network}

    def _stop(self, container: FakeContainer) -> None:
        if container.running:
            code = self._program(container).on_term
            self.exit(container.id, KILLED if code is None else code)

    def _publish(self, container: FakeContainer) -> dict[str, list[dict[str, str]]]:
        """Return the ports it gets; raise `EngineError` if one is taken."""
        bindings = container.host.get("PortBindings") or {}
        return {
            key: [
                {**binding, "HostPort": str(self._port(container, binding))}
                for binding in listed
            ]
            for key, listed in bindings.items()
        }

    def _port(self, container: FakeContainer, binding: Mapping[str, str]) -> int:
        address, number = binding["HostIp"], int(binding["HostPort"] or 0)
        if number == 0:
            return self.draw(address)
        if self._is_taken(address, number):
            raise EngineError(
                f"{container.name}: the host's port {address}:{number} is taken: free "
                f"it, or give the service another host_port (0: Docker chooses)",
                status=500,
            )
        return number

    def _is_taken(self, address: str, number: int) -> bool:
        return number in self._taken or any(
            binding["HostPort"] == str(number)
            and (binding["HostIp"] == address or _any(binding["HostIp"], address))
            for other in self.containers.values()
            if other.running
            for listed in other.ports.values()
            for binding in listed
        )

    def _program(self, container: FakeContainer) -> Program:
        return self._programs.get(tuple(container.config.get("Cmd", ())), Program())

    def _by_name(self, name: str) -> FakeContainer | None:
        return next((c for c in self.containers.values() if c.name == name), None)

    def _talking(self, container_id: str) -> FakeContainer:
        """Return a container to talk with; raise what the engine answers else."""
        self._act("talk")
        if container_id not in self.containers:
            raise EngineError(f"No such container: {container_id}", status=404)
        return self.containers[container_id]

    def _own(self, container_id: str) -> FakeContainer:
        container = self.containers.get(container_id)
        if container is None:
            raise EngineError(
                f"container {container_id} is gone from the engine at {self.url}",
                status=404,
            )
        if not self._is_ours(container):
            cluster, node = self._whose
            raise EngineError(
                f"container {container.name} ({container.id[:12]}) does not belong to "
                f"{node} in cluster {cluster}: left alone"
            )
        return container

    def _is_ours(self, container: FakeContainer) -> bool:
        seen = container_builder.observe(container.raw())
        if seen is None:
            return False
        return (seen.identity.cluster, seen.identity.node) == self._whose

    def _seen(self, container: FakeContainer) -> Observed:
        has_own = bool(container.networks)
        seen = container_builder.observe(container.raw(), on_lan=has_own)
        assert seen is not None
        return seen

    def _lost(self) -> EngineLost:
        reason = f"no Docker Engine answers at {self.url} ({self._away})"
        return EngineLost(reason=reason)

    def _all(self) -> EngineListed:
        ours = [c for c in self.containers.values() if self._is_ours(c)]
        return EngineListed(containers=tuple(self._seen(c) for c in ours))

    def _tell_holdings(self) -> None:
        if self._away:
            return
        images, volumes = sorted(self._named), sorted(self._volumes)
        for inbox in self._holdings:
            event = EngineHolds(
                images=tuple(images),
                volumes=tuple(volumes),
                networks=self.networks,
                lan_networks=tuple(self._lans),
            )
            inbox.put_nowait(event)

    def _tell(self, container: FakeContainer, event: EngineEvent) -> None:
        if self._is_ours(container) and not self._away:
            for inbox in self._inboxes:
                inbox.put_nowait(event)


def _any(*addresses: str) -> bool:
    return any(address in container_builder.ANY_ADDRESS for address in addresses)
