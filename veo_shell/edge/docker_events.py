"""What happens on a Docker Engine: its event stream, and what that tells the core."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import json
import socket
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import requests
from docker import APIClient

from veo_shell import container_builder
from veo_shell.core.docker_health import health_from, last_output
from veo_shell.core.events import (
    ContainerExited,
    ContainerGone,
    ContainerStarted,
    EngineEvent,
    EngineListed,
    HealthChanged,
    ProcessEnded,
)
from veo_shell.core.model import Observed
from veo_shell.edge.docker_client import DockerLine
from veo_shell.edge.docker_processes import Processes
from veo_shell.errors import EngineUnreachable

RELIST_S = 30.0
SUBSCRIBE_TIMEOUT_S = 10
PROCESS_ENDED = "process ended"  # the kernel tells it, not Docker
ACTIONS = ["start", "die", "destroy", "health_status", "oom"]


class EventStream:
    """One subscription to the engine's events, read by a thread of its own.

    `replay`: begin with those that the engine still keeps (the last 256 of all).
    """

    def __init__(
        self,
        line: DockerLine,
        filters: Mapping[str, list[str]],
        *,
        replay: bool = False,
    ) -> None:
        self._line = line
        self._params = {"filters": json.dumps(filters)}
        if replay:
            self._params["since"] = "0"
        self._loop = asyncio.get_running_loop()
        self._news: asyncio.Queue[dict[str, Any] | Exception] = asyncio.Queue()
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._closed = False
        self._ended: concurrent.futures.Future[None] = concurrent.futures.Future()

    async def open(self) -> None:
        """Subscribe; return when the engine has confirmed it."""
        threading.Thread(target=self._run, name="docker-events", daemon=True).start()
        await self.next()

    async def next_before(self, deadline_s: float) -> dict[str, Any] | None:
        """Return the next event; None if there is none until then (loop time)."""
        try:
            async with asyncio.timeout_at(deadline_s):
                return await self.next()
        except TimeoutError:
            return None

    def add(self, event: dict[str, Any]) -> None:
        """Have an event come next that another one than Docker tells."""
        self._news.put_nowait(event)

    async def next(self) -> dict[str, Any]:
        """Return the next event; raise `EngineUnreachable` when the stream breaks."""
        news = await self._news.get()
        if isinstance(news, Exception):
            raise news
        return news

    def close(self) -> None:
        """Break the stream, so that its thread ends."""
        with self._lock:
            self._closed = True
            if self._socket is not None:
                # The engine may have closed it first.
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)

    @property
    def ended(self) -> concurrent.futures.Future[None]:
        """Return what tells when its thread is done with the engine."""
        return self._ended

    def _run(self) -> None:
        try:
            with self._line.translated(), self._line.client() as client:
                self._read(client)
            error = EngineUnreachable(self._line.describe("it ended its event stream"))
            self._tell(error)
        except Exception as exc:  # whoever reads the events gets it
            self._tell(exc)
        finally:
            self._ended.set_result(None)

    def _read(self, client: APIClient) -> None:
        url = f"{client.base_url}/v{client.api_version}/events"
        with client.get(
            url, params=self._params, stream=True, timeout=SUBSCRIBE_TIMEOUT_S
        ) as response:
            response.raise_for_status()
            if not self._hold(response):
                return
            # The engine confirms a hair before it subscribes. What happens right
            # then is older than the listing that its reader asks for next.
            self._tell({})
            for line in response.iter_lines(chunk_size=None):
                self._tell(json.loads(line))

    def _hold(self, response: requests.Response) -> bool:
        """Keep the stream's socket for `close`; tell whether that did not come yet."""
        with self._lock:
            connection = response.raw.connection
            self._socket = connection.sock if connection else None
            if self._socket is not None:
                self._socket.settimeout(None)  # it may be silent for days
            return not self._closed

    def _tell(self, news: dict[str, Any] | Exception) -> None:
        # Nobody reads any more where the loop is closed.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._news.put_nowait, news)


class Session:
    """What one subscription tells the core: a listing first, and again at times.

    `list_all` and `find` ask the engine for its containers, as `GET /containers/json`
    has them, and for one of them, as `GET /containers/{id}/json` has it. `on_lan` tells
    of one whether it has an address that its host does not share.
    """

    def __init__(
        self,
        stream: EventStream,
        list_all: Callable[[], Awaitable[list[dict[str, Any]]]],
        find: Callable[[str], Awaitable[dict[str, Any] | None]],
        on_lan: Callable[[Mapping[str, Any]], Awaitable[bool]],
    ) -> None:
        self._stream = stream
        self._on_lan = on_lan
        self._list_all = list_all
        self._find = find
        self._processes = Processes(self._process_ended)
        self._relist_s = 0.0
        self._out_of_memory: set[str] = set()

    async def next(self) -> EngineEvent:
        """Return what happened next."""
        while raw := await self._stream.next_before(self._relist_s):
            event = await self._event(raw)
            if event is not None:
                return event
        self._relist_s = asyncio.get_running_loop().time() + RELIST_S
        return await self._listed()

    def close(self) -> None:
        """Follow no process any more."""
        self._processes.close()

    def _process_ended(self, container_id: str) -> None:
        self._stream.add({"Action": PROCESS_ENDED, "Actor": {"ID": container_id}})

    async def _listed(self) -> EngineListed:
        """List the containers; one that vanishes meanwhile is left out."""
        listed = await self._list_all()
        seen = await asyncio.gather(*(self._look(raw["Id"]) for raw in listed))
        return EngineListed(containers=tuple(one for one in seen if one is not None))

    async def _look(self, container_id: str) -> Observed | None:
        """Return what it is; None where it is gone, or its labels are not whole."""
        raw = await self._find(container_id)
        if raw is None:
            return None
        self._processes.follow(container_id, raw["State"]["Pid"])
        return container_builder.observe(raw, on_lan=await self._on_lan(raw))

    async def _event(self, raw: Mapping[str, Any]) -> EngineEvent | None:
        """Translate Docker's event; None where there is nothing to tell."""
        container_id = raw["Actor"]["ID"]
        action, _, detail = raw["Action"].partition(": ")
        if action == PROCESS_ENDED:
            # Unless it was started again meanwhile, and that is known already.
            is_over = not self._processes.follows(container_id)
            return ProcessEnded(container_id=container_id) if is_over else None
        match action:
            case "start":
                self._out_of_memory.discard(container_id)
                observed = await self._look(container_id)
                return ContainerStarted(observed=observed) if observed else None
            case "die":
                return self._exited(container_id, exit_code(raw))
            case "health_status":
                return await self._health_changed(container_id, detail)
            case "destroy":
                return ContainerGone(container_id=container_id)
            case "oom":
                self._out_of_memory.add(container_id)
        return None

    async def _health_changed(self, container_id: str, status: str) -> HealthChanged:
        """Return what the check said with it; Docker's event has its verdict alone."""
        raw = await self._find(container_id)
        return HealthChanged(
            container_id=container_id,
            health=health_from(status),
            output=last_output(raw or {}),
        )

    def _exited(self, container_id: str, code: int) -> ContainerExited:
        was_told = container_id in self._out_of_memory
        self._out_of_memory.discard(container_id)
        return ContainerExited(
            container_id=container_id, exit_code=code, oom_killed=was_told
        )


def exit_code(event: Mapping[str, Any]) -> int:
    """Return the exit code that Docker's event `die` tells."""
    return int(event["Actor"]["Attributes"].get("exitCode", 0))
