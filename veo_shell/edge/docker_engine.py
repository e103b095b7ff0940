"""The Engine protocol over a real Docker Engine."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import re
from collections.abc import (
    AsyncGenerator,
    Callable,
    Collection,
    Iterator,
    Mapping,
    Sequence,
)
from typing import Any

import attrs

from veo_shell import container_builder
from veo_shell.core.docker_labels import LABEL_CLUSTER, LABEL_NODE, identity_of
from veo_shell.core.events import EngineEvent, EngineHolds, EngineLost
from veo_shell.core.model import File, Observed
from veo_shell.edge import docker_holdings
from veo_shell.edge.docker_client import DockerLine, wait_briefly
from veo_shell.edge.docker_events import ACTIONS, EventStream, Session, exit_code
from veo_shell.edge.docker_files import archive, put
from veo_shell.edge.docker_networks import LAN_DRIVERS, Lans
from veo_shell.edge.docker_pull import pull
from veo_shell.edge.docker_streams import DockerStreams
from veo_shell.errors import (
    EngineError,
    EngineUnreachable,
    ImageError,
    UnknownContainer,
)

logger = logging.getLogger(__name__)

RECONNECT_FIRST_S = 0.1
RECONNECT_MAX_S = 5.0
REMOVAL_TIMEOUT_S = 60
LAST_WORDS_S = 5.0

NOT_FOUND, CONFLICT = 404, 409


class DockerEngine:
    """The Docker Engine of a node, of which it touches its own containers only.

    Its own are those whose labels name this cluster and this node. `url` "" means
    DOCKER_HOST, else Docker's usual socket. `lan_drivers`: those of networks that give
    a container an address which its host does not share.
    """

    def __init__(
        self,
        url: str,
        cluster: str,
        node: str,
        lan_drivers: Collection[str] = LAN_DRIVERS,
    ) -> None:
        self._line = DockerLine(url)
        self._lans = Lans(self._line, lan_drivers)
        self.streams = DockerStreams(self._line)
        self._cluster = cluster
        self._node = node
        self._streams: set[EventStream] = set()
        self._closed = asyncio.Event()

    @property
    def url(self) -> str:
        """Return where the engine is."""
        return self._line.url

    async def check(self) -> None:
        """Raise `EngineUnreachable` unless an engine answers."""
        await self._line.call(lambda client: client.ping())

    async def version(self) -> str:
        """Return the engine's version."""
        answer = await self._line.call(lambda client: client.version())
        return str(answer["Version"])

    async def create(
        self, name: str, config: Mapping[str, Any], files: Sequence[File] = ()
    ) -> str:
        """Create a container with files in it, pulling its image if missing.

        Return its id.
        """
        try:
            made = await self._create(name, config)
        except EngineError as exc:
            if exc.status != NOT_FOUND or "No such image" not in str(exc):
                raise
            await self.pull(config["Image"], lambda progress: None)
            made = await self._create(name, config)
        if files:
            await self._put(name, made, archive(files))
        return made

    async def pull(self, image: str, tell: Callable[[str], None]) -> None:
        """Get an image from its registry; tell how far it is, in words, as it comes."""
        loop = asyncio.get_running_loop()

        def told(progress: str) -> None:
            with contextlib.suppress(RuntimeError):  # nobody is left to hear it
                loop.call_soon_threadsafe(tell, progress)

        try:
            refusal = await self._line.call_slow(lambda c: pull(c, image, told))
        except EngineUnreachable:
            raise
        except EngineError as exc:
            refusal = str(exc)
        if refusal:
            raise ImageError(f"{image}: cannot be pulled: {refusal}")

    async def start(self, container_id: str) -> Observed:
        """Start the container; return what it is then, with the ports it got."""
        created = await self._find(container_id)
        if created is None:
            raise EngineError(
                f"container {container_id} is gone from the engine at {self.url}",
                status=NOT_FOUND,
            )
        before = self._own(created)
        try:
            await self._line.call(lambda client: client.start(before.id))
        except EngineUnreachable:
            raise
        except EngineError as exc:
            raise _start_error(before, exc) from exc
        raw = await self._find(before.id)
        if raw is None:
            return await self._last_words(before)
        return self._own(raw, on_lan=await self._lans.has(raw))

    async def stop(self, container_id: str, timeout_s: float) -> Observed | None:
        """Stop the container; return what it is then, None if it is gone."""
        raw = await self._find(container_id)
        if raw is None:
            return None
        held = self._own(raw)
        with _gone_is_fine():
            await self._stop(held.id, timeout_s)
        raw = await self._find(held.id)
        return self._own(raw) if raw else None

    async def discard(self, container_id: str, timeout_s: float) -> None:
        """Stop and remove the container with its anonymous volumes; gone is fine.

        Raises:
            EngineError: it is not one of ours, and is left alone.
        """
        raw = await self._find(container_id)
        if raw is None:
            return
        held = self._own(raw)
        with _gone_is_fine():
            await self._stop(held.id, timeout_s)
            try:
                await self._line.call_slow(
                    lambda c: c.remove_container(held.id, v=True, force=True)
                )
            except EngineError as exc:
                # Docker removes it already: it was created with auto_remove.
                if exc.status != CONFLICT or "already in progress" not in str(exc):
                    raise
                await self._wait_removed(held.id)

    async def inspect(self, container_id: str) -> dict[str, Any]:
        """Return the raw document of `GET /containers/{id}/json`."""
        raw = await self._find(container_id)
        if raw is None:
            raise UnknownContainer(
                f"no container {container_id!r} on the engine at {self.url}"
            )
        return raw

    async def list_raw(self) -> list[dict[str, Any]]:
        """Return this node's containers as `GET /containers/json` has them."""
        labels = {"label": self._labels()}
        return await self._line.call(
            lambda client: list(client.containers(all=True, filters=labels))
        )

    async def watch(self) -> AsyncGenerator[EngineEvent, None]:
        """Yield what happens to this node's containers, until `close`."""
        is_lost, delay_s = False, RECONNECT_FIRST_S
        while not self._closed.is_set():
            stream = self._subscribe()
            session = Session(stream, self.list_raw, self._find, self._lans.has)
            try:
                await stream.open()
                while True:
                    event = await session.next()
                    is_lost, delay_s = False, RECONNECT_FIRST_S
                    yield event
            except EngineError as exc:
                lost = exc
            finally:
                session.close()
                stream.close()
            self._line.forget_version()
            if not is_lost and not self._closed.is_set():
                logger.warning("%s", lost)
                yield EngineLost(reason=str(lost))
            is_lost = True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await self._closed.wait()
            delay_s = min(2 * delay_s, RECONNECT_MAX_S)

    async def watch_holdings(self) -> AsyncGenerator[EngineHolds, None]:
        """Yield which images and volumes there are, and again when that changes."""
        while not self._closed.is_set():
            stream = self._open_stream(docker_holdings.CHANGES)
            try:
                await stream.open()
                while True:
                    yield await docker_holdings.held(self._line, self._lans.is_one)
                    await docker_holdings.changed(stream)
            except EngineError as exc:  # `watch` tells of it
                logger.debug("what the engine holds is not known: %s", exc)
            finally:
                stream.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RECONNECT_MAX_S):
                    await self._closed.wait()

    async def close(self) -> None:
        """End the threads, connections and watches; calls under way fail."""
        self._closed.set()
        for stream in self._streams:
            stream.close()
        await wait_briefly(stream.ended for stream in self._streams)
        await self._line.close()

    # Creating

    async def _create(self, name: str, config: Mapping[str, Any]) -> str:
        try:
            answer = await self._line.call(
                lambda client: _post_create(client, name, config)
            )
        except EngineUnreachable:
            raise
        except EngineError as exc:
            if exc.status == CONFLICT and "already in use" in str(exc):
                return await self._take_over(name, config)
            raise EngineError(f"{name}: {exc}", status=exc.status) from exc
        for warning in answer.get("Warnings") or ():
            logger.warning("%s: Docker warns: %s", name, warning)
        return str(answer["Id"])

    async def _put(self, name: str, container_id: str, packed: bytes) -> None:
        try:
            await self._line.call(lambda client: put(client, container_id, packed))
        except EngineUnreachable:
            raise
        except EngineError as exc:
            what = f"{name}: its files cannot be put into it: {exc}"
            raise EngineError(what, status=exc.status) from exc

    async def _take_over(self, name: str, config: Mapping[str, Any]) -> str:
        """Return the id of the container that has the name, if it is the same one.

        An answer of the engine may have been lost: then it was created before. What
        was created for another address of this host, and does not run, gives way.
        """
        holder = await self._find(name)
        if holder is None:
            return await self._create(name, config)
        wanted = identity_of(config.get("Labels") or {})
        found = identity_of(holder["Config"].get("Labels") or {})
        if wanted is None or found != wanted:
            raise EngineError(
                f"{name}: the name is taken by container {holder['Id'][:12]} "
                f"({holder['Config'].get('Image')}), which is not that one: remove "
                f"or rename it (docker rename {holder['Id'][:12]} NEW_NAME)",
                status=CONFLICT,
            )
        with _gone_is_fine():
            if _is_leaving(holder):
                await self._wait_removed(holder["Id"])
            elif _is_bound_elsewhere(holder, config):
                await self.discard(holder["Id"], 0)
            else:
                return str(holder["Id"])
        return await self._create(name, config)

    # Looking at containers

    async def _find(self, container_id: str) -> dict[str, Any] | None:
        """Return its document; None where there is no such container."""
        try:
            return await self._line.call(
                lambda client: dict(client.inspect_container(container_id))
            )
        except EngineError as exc:
            if exc.status != NOT_FOUND:
                raise
            return None

    def _own(self, raw: Mapping[str, Any], *, on_lan: bool = False) -> Observed:
        """Return what it is; raise `EngineError` for a container that is not ours."""
        observed = container_builder.observe(raw, on_lan=on_lan)
        if observed is None or not self._is_ours(observed):
            raise EngineError(
                f"container {raw['Name'].removeprefix('/')} ({raw['Id'][:12]}) does "
                f"not belong to {self._node} in cluster {self._cluster}: left alone"
            )
        return observed

    def _is_ours(self, observed: Observed) -> bool:
        whose = (observed.identity.cluster, observed.identity.node)
        return whose == (self._cluster, self._node)

    def _labels(self) -> list[str]:
        return [f"{LABEL_CLUSTER}={self._cluster}", f"{LABEL_NODE}={self._node}"]

    async def _stop(self, container_id: str, timeout_s: float) -> None:
        grace_s = math.ceil(timeout_s)
        await self._line.call_stop(lambda c: c.stop(container_id, timeout=grace_s))

    async def _wait_removed(self, container_id: str) -> None:
        await self._line.call_slow(
            lambda client: client.wait(
                container_id, timeout=REMOVAL_TIMEOUT_S, condition="removed"
            )
        )

    async def _last_words(self, before: Observed) -> Observed:
        """Return how a container ended that Docker removed before it was looked at.

        Its exit code is then only in the events that the engine keeps for a while.
        """
        filters = {"container": [before.id], "event": ["die"]}
        deadline_s = asyncio.get_running_loop().time() + LAST_WORDS_S
        stream = EventStream(self._line, filters, replay=True)
        try:
            await stream.open()
            event = await stream.next_before(deadline_s)
        finally:
            stream.close()
        if event is None:
            raise EngineError(f"{before.name}: it vanished when it was started")
        code = exit_code(event)
        return attrs.evolve(before, running=False, ever_started=True, exit_code=code)

    # Watching

    def _subscribe(self) -> EventStream:
        """Return the events of this node's containers."""
        labels = self._labels()
        return self._open_stream(
            {"type": ["container"], "label": labels, "event": ACTIONS}
        )

    def _open_stream(self, filters: Mapping[str, list[str]]) -> EventStream:
        stream = EventStream(self._line, filters)
        self._streams = {old for old in self._streams if not old.ended.done()}
        self._streams.add(stream)
        return stream


@contextlib.contextmanager
def _gone_is_fine() -> Iterator[None]:
    """Leave the block where the engine says that there is no such container."""
    try:
        yield
    except EngineError as exc:
        if exc.status != NOT_FOUND:
            raise


def _post_create(
    client: Any, name: str, config: Mapping[str, Any]
) -> dict[str, Any]:  # Any: the SDK's stubs leave the call untyped
    return dict(client.create_container_from_config(dict(config), name))


def _is_leaving(raw: Mapping[str, Any]) -> bool:
    """Tell whether Docker removes the container by itself, now or soon."""
    state = raw["State"]
    ended = not state["Running"] and not state["StartedAt"].startswith(
        container_builder.NEVER
    )
    auto_removed = ended and raw["HostConfig"]["AutoRemove"]
    return auto_removed or state["Status"] in ("removing", "dead")


def _is_bound_elsewhere(raw: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    """Tell whether the container does not run, and would with other addresses."""
    there, here = map(container_builder.addresses_of, (raw, config))
    return not raw["State"]["Running"] and there != here


# Docker 20 to 28: `Bind for IP:PORT failed: port is already allocated`, `listen tcp4
# IP:PORT: bind: address already in use`, `failed to bind host port [for] IP:PORT…`.
_TAKEN = re.compile(r"port is already allocated|address already in use")
_ADDRESS = re.compile(
    r"(?:Bind for|listen \w+|host port(?: for)?) (\[?[^\s\[\]]*\]?:\d+)"
)


def _start_error(held: Observed, failure: EngineError) -> EngineError:
    """Return the line for a container that the engine cannot start."""
    text = str(failure)
    if not _TAKEN.search(text):
        return EngineError(
            f"{held.name}: Docker cannot start it: {text}", status=failure.status
        )
    found = _ADDRESS.search(text)
    where = f" {found[1]}" if found else ""
    return EngineError(
        f"{held.name}: the host's port{where} is taken: free it, or give the service "
        f"{held.identity.service} another host_port (0: Docker chooses)",
        status=failure.status,
    )
