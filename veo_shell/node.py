"""A node: the edges built, the seven words wired, the core's commands performed.

The core decides; everything here only carries its events in and its commands out.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs

from veo_shell.container_monitor import ContainerMonitor
from veo_shell.container_storage import ContainerStorage
from veo_shell.container_sup import ContainerSup
from veo_shell.coordinator import Coordinator
from veo_shell.core import commands as cmd
from veo_shell.core.events import Event
from veo_shell.core.machine import Machine
from veo_shell.core.membership import Timing
from veo_shell.core.model import NodeDocument
from veo_shell.core.protocols import Clock, Engine, Host, Mesh, Server, Store
from veo_shell.dns_registry import DnsRegistry
from veo_shell.errors import VeoError, VerbFailed
from veo_shell.node_monitor import NodeMonitor
from veo_shell.own_settings import OwnSettings
from veo_shell.peers import Peers

logger = logging.getLogger(__name__)

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class NodeConfig:
    """What an operator says of a node when starting it."""

    name: str
    address: str
    cluster: str = "veo"
    zone: str = "veo."
    mesh_port: int = 8087
    pub_port: int = 8088
    dns_port: int = 53
    role: str = ""
    config_file: Path | None = None
    joins: tuple[tuple[str, int], ...] = ()
    timing: Timing = attrs.field(factory=Timing)


class Node:
    """One node: `start`, then `stop`; `failed` ends when it cannot go on.

    Invariant: only the loop's thread touches the core, and `feed` is the only way in.
    """

    def __init__(
        self,
        config: NodeConfig,
        *,
        engine: Engine,
        mesh: Mesh,
        store: Store,
        host: Host,
        server: Server,
        clock: Clock,
    ) -> None:
        self.config = config
        self.clock = clock
        document = NodeDocument(
            node=config.name,
            boot_id=uuid.uuid4().hex,
            incarnation=1,
            version=1,
            address=config.address,
            mesh_port=config.mesh_port,
            pub_port=config.pub_port,
            dns_port=config.dns_port,
            resources=host.resources(),
            role=config.role,
        )
        self.machine = Machine(
            document,
            config.cluster,
            config.timing,
            clock.now(),
            alone=all(j == (config.address, config.mesh_port) for j in config.joins),
        )
        self.boot_id = document.boot_id
        self._is_ending = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._answers: dict[str, cmd.Answer | cmd.Refuse] = {}
        self._waiting: list[tuple[Callable[[], Any], asyncio.Future[Any]]] = []
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.container_monitor = ContainerMonitor(self, engine)
        self.container_storage = ContainerStorage(self, store)
        self.dns_registry = DnsRegistry(self, server)
        self.node_monitor = NodeMonitor(self, host)
        self.peers = Peers(self, mesh)
        self.container_sup = ContainerSup(self, engine)
        self.words: Mapping[str, object] = {
            "settings": OwnSettings(config.config_file),
            "container_sup": self.container_sup,
            "container_monitor": self.container_monitor,
            "container_storage": self.container_storage,
            "dns_registry": self.dns_registry,
            "node_monitor": self.node_monitor,
        }
        self.peer_words = {**self.words, "coordinator": Coordinator(self)}
        self._performers: dict[type, Callable[[Any], None]] = {
            cmd.CreateContainer: self.container_monitor.create,
            cmd.StartContainer: self.container_monitor.start,
            cmd.DiscardContainer: self.container_monitor.discard,
            cmd.After: self.container_monitor.after,
            cmd.Save: self.container_storage.save,
            cmd.Publish: self.peers.publish,
            cmd.Connect: self.peers.connect,
            cmd.Disconnect: self.peers.disconnect,
            cmd.Introduce: self.peers.introduce,
            cmd.AskDifference: self.peers.ask_difference,
            cmd.Answer: self._answer,
            cmd.Refuse: self._answer,
            cmd.Report: self._report,
        }

    async def start(self) -> None:
        """Load, join and run; raise `VeoError` if it cannot."""
        restored = self.container_storage.load()
        await self.container_monitor.check()
        await self.peers.start()
        await self.dns_registry.start()  # first: who cannot have the port joins nobody
        self._perform(self.machine.restore(*restored, self.clock.now()))
        await self.peers.join()
        self.container_monitor.watch()
        self.node_monitor.run()
        logger.info("%s: up at %s", self.config.name, self.config.address)

    async def stop(self) -> None:
        """Pause: say so to the peers and end; the containers keep running."""
        await self.peers.say_farewell()
        self._is_ending = True
        await self.peers.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.container_monitor.close()
        await self.dns_registry.close()
        await self.container_storage.close()
        logger.info("%s: stopped", self.config.name)

    def feed(self, event: Event) -> None:
        """Tell the core of an event and perform what it orders; nothing at the end."""
        if self._is_ending:
            return
        try:
            self._perform(self.machine.handle(event, self.clock.now()))
        except Exception:
            # Only the kind: an event may hold a service's environment.
            logger.exception(
                "%s: cannot handle %s", self.config.name, type(event).__name__
            )

    async def ask(self, event: Event, operation: str) -> Any:
        """Feed an event that carries an operation; return the core's answer to it.

        The answer is given when the write that it stands for is on disk.
        """
        self.feed(event)  # the core answers at once, or not at all
        answer = self._answers.pop(operation, None)
        if answer is None:
            raise VerbFailed(f"{self.config.name} could not handle it; see its log")
        if isinstance(answer, cmd.Refuse):
            raise answer.error
        await self.container_storage.flushed()
        return answer.value

    async def until(self, happened: Callable[[], T | None]) -> T:
        """Wait until something is seen in the view; return it."""
        seen = happened()
        if seen is not None:
            return seen
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        entry = (happened, future)
        self._waiting.append(entry)
        try:
            return await future
        finally:
            if entry in self._waiting:
                self._waiting.remove(entry)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run a task for as long as the node runs; an error in it is logged."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def fail(self, error: VeoError) -> None:
        """End the node's run: it cannot go on."""
        if not self.failed.done():
            self.failed.set_exception(error)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s ended", task.get_name(), exc_info=error)

    def _perform(self, commands: list[cmd.Command]) -> None:
        for command in commands:
            try:
                self._performers[type(command)](command)
            except Exception:  # the orders after it are not to be lost with it
                logger.exception(
                    "%s: cannot perform %s", self.config.name, type(command).__name__
                )
        self.dns_registry.refresh()
        for entry in list(self._waiting):
            self._look(*entry)

    def _look(self, happened: Callable[[], Any], future: asyncio.Future[Any]) -> None:
        if future.done():
            return
        try:
            seen = happened()
        except VeoError as exc:
            future.set_exception(exc)
            return
        if seen is not None:
            future.set_result(seen)

    def _answer(self, command: cmd.Answer | cmd.Refuse) -> None:
        self._answers[command.operation] = command

    def _report(self, command: cmd.Report) -> None:
        logger.info("%s: %s", self.config.name, command.text)
