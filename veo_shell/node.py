"""A node: the edges built, the seven words wired, the core's commands performed.

The core decides; everything here only carries its events in and its commands out.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import uuid
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakSet

import attrs

from veo_shell import acting
from veo_shell.applying import Applying
from veo_shell.container_monitor import ContainerMonitor
from veo_shell.container_storage import ContainerStorage
from veo_shell.container_sup import ContainerSup
from veo_shell.coordinator import Coordinator
from veo_shell.core import commands as cmd
from veo_shell.core.dns_config import DnsConfig
from veo_shell.core.events import Caused, Event
from veo_shell.core.machine import Machine
from veo_shell.core.model import NodeDocument, NodeRecord, Record, ServiceRecord
from veo_shell.core.patience import slow_s
from veo_shell.core.protocols import (
    Clock,
    Engine,
    Host,
    Mesh,
    Server,
    Stock,
    Store,
)
from veo_shell.core.protocols import Streams as EngineStreams
from veo_shell.core.timing import Timing
from veo_shell.core.wire import PROTOCOL
from veo_shell.deciders import Deciders
from veo_shell.departure import Departure
from veo_shell.dns_registry import DnsRegistry
from veo_shell.edge.control import Veo
from veo_shell.errors import Removed, StartError, VeoError, VerbFailed
from veo_shell.event_log import EventLog
from veo_shell.heartbeat import Heartbeat
from veo_shell.images import Images
from veo_shell.instances import Instances
from veo_shell.joining import Joining
from veo_shell.journal import Journal
from veo_shell.journals import Journals
from veo_shell.node_monitor import NodeMonitor
from veo_shell.own_settings import OwnSettings
from veo_shell.peers import Peers
from veo_shell.relay import Relay
from veo_shell.sessions import Sessions
from veo_shell.streams import Streams
from veo_shell.updating import Updating

logger = logging.getLogger(__name__)

T = TypeVar("T")
_Wait = tuple[Callable[[], Any], asyncio.Future[Any], asyncio.Task[Any] | None]

LISTING_S = 5.0
"""For so long a node that starts waits for its engine's listing before it joins."""
ANSWER_S = 10.0


@attrs.frozen(kw_only=True)
class NodeConfig:
    """What an operator says of a node when starting it.

    `joins` are hosts and ports to join. So are `listed`, by the file that serves for
    all nodes: it is as it should be that they are not there, or not yet.
    `recover`: it may have lost what it knew, and lets the others tell before it acts.
    `dns_optional`: it runs without DNS while the port cannot be had.
    `removed`: the id of the state that it was removed with, and begins without.
    `address6`: a second address, of IPv6, for DNS and for containers.
    """

    name: str
    address: str
    address6: str = ""
    cluster: str = "veo"
    dns: DnsConfig = attrs.field(factory=DnsConfig)
    mesh_port: int = 8087
    pub_port: int = 8088
    dns_port: int = 53
    role: str = ""
    labels: tuple[str, ...] = ()
    config_file: Path | None = None
    joins: tuple[tuple[str, int], ...] = ()
    listed: tuple[tuple[str, int], ...] = ()
    recover: bool = False
    dns_optional: bool = False
    removed: str = ""
    timing: Timing = attrs.field(factory=Timing)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Return its own, the one that its peers use first."""
        return tuple(filter(None, (self.address, self.address6)))


class Node:
    """One node: `start`, then `stop`; `failed` ends when it cannot go on.

    Invariant: only the loop's thread touches the core, and `feed` is the only way in.
    """

    def __init__(
        self,
        config: NodeConfig,
        *,
        engine: Engine,
        streams: EngineStreams,
        stock: Stock,
        mesh: Mesh,
        store: Store,
        host: Host,
        server: Server,
        clock: Clock,
    ) -> None:
        self.config = config
        self.clock = clock
        self.boot_id = uuid.uuid4().hex
        self._host = host
        self.machine = self._new_machine("", alone=False)
        self._is_ending = False
        self._answering = 0
        self._has_left = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._asked: dict[str, list[asyncio.Future[cmd.Answer | cmd.Refuse]]] = {}
        self._waiting: list[_Wait] = []
        self._abandoned: WeakSet[asyncio.Task[Any]] = WeakSet()
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.container_monitor = ContainerMonitor(self, engine, host)
        self.container_storage = ContainerStorage(self, store)
        self.dns_registry = DnsRegistry(self, server, host)
        self.node_monitor = NodeMonitor(self, host)
        self.peers = Peers(self, mesh)
        self.deciders = Deciders(self)
        self.instances = Instances(self, engine)
        self.joining = Joining(self)
        self.departure = Departure(self)
        self.updating = Updating(self)
        self.heartbeat = Heartbeat(self)
        self.journals = Journals(self)
        self.journal = Journal(self, store)
        self.settings = OwnSettings(config.config_file)
        self.applying = Applying(self)
        self.event_log = EventLog(self, store)
        self.images = Images(self, stock)
        self.container_sup = ContainerSup(self, engine)
        self.streams = Streams(self, streams)
        self.sessions = Sessions(self)
        self.words: Mapping[str, object] = {
            "settings": self.settings,
            "container_sup": self.container_sup,
            "container_monitor": self.container_monitor,
            "container_storage": self.container_storage,
            "dns_registry": self.dns_registry,
            "node_monitor": self.node_monitor,
            "journal": self.journal,
            "streams": self.streams,
            "event_log": self.event_log,
            "sessions": self.sessions,
            "relay": Relay(self),
        }
        about = {"node": config.name, "cluster": config.cluster}
        self.console_words = {**self.words, "veo": Veo(self.words, about)}
        self.peer_words = {
            **self.words,
            "coordinator": Coordinator(self),
            "images": self.images,
        }
        self._performers: dict[type, Callable[[Any], None]] = {
            cmd.CreateContainer: self.container_monitor.create,
            cmd.StartContainer: self.container_monitor.start,
            cmd.StopContainer: self.container_monitor.stop,
            cmd.DiscardContainer: self.container_monitor.discard,
            cmd.After: self.container_monitor.after,
            cmd.Save: self.container_storage.save,
            cmd.Publish: self._publish,
            cmd.Connect: self.peers.connect,
            cmd.Disconnect: self.peers.disconnect,
            cmd.Introduce: self.joining.introduce,
            cmd.AskDifference: self.peers.ask_difference,
            cmd.AskCopy: self.peers.ask_copy,
            cmd.AskWho: self.peers.ask_who,
            cmd.TryPort: self.peers.try_port,
            cmd.Answer: self._answer,
            cmd.Refuse: self._answer,
            cmd.Note: self.journal.note,
            cmd.End: self._end,
        }

    def _new_machine(self, disk_id: str, *, alone: bool) -> Machine:
        config = self.config
        document = NodeDocument(
            node=config.name,
            boot_id=self.boot_id,
            incarnation=1,
            version=1,
            address=config.address,
            address6=config.address6,
            mesh_port=config.mesh_port,
            pub_port=config.pub_port,
            dns_port=config.dns_port,
            resources=self._host.resources(),
            role=config.role,
            labels=config.labels,
            disk_id=disk_id,
            host_boot=self._host.boot_id(),
            protocol=PROTOCOL,
        )
        return Machine(
            document,
            config.cluster,
            config.timing,
            self.clock.now(),
            alone=alone,
        )

    async def start(self) -> None:
        """Load, join and run; raise `VeoError` if it cannot."""
        held = self.container_storage.load()
        alone = not self.config.recover and await self.joining.is_alone()
        self.machine = self._new_machine(held.disk_id, alone=alone)
        if any(self._is_removed(record, held.disk_id) for record in held.records):
            raise Removed(
                f"{self.config.name} left the cluster, or was removed",
                disk_id=held.disk_id,
            )
        await self.container_monitor.check()
        await self.peers.start()
        await self.dns_registry.start()  # first: who cannot have the port joins nobody
        restored = self.machine.restore(held.documents, held.records, self.clock.now())
        self.dns_registry.go_on()
        if self.config.removed:
            self.machine.begin_afresh(self.config.removed)
        self.container_monitor.watch()
        self.images.watch()
        # First: the peers still hold what ran here for running, and are told at once
        # what does.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LISTING_S):
                await self.until(lambda: self.machine.knows_its_own or None)
        self._perform(restored)
        self.heartbeat.begin()
        await self.joining.join()
        logger.info("%s: up at %s", self.config.name, self.config.address)

    def _is_removed(self, record: Record, disk_id: str) -> bool:
        """Tell whether a record says that this node left, with this state, for good."""
        if not isinstance(record, NodeRecord) or record.node != self.config.name:
            return False
        return record.bars(disk_id)

    async def stop(self) -> None:
        """Pause: say so to the peers and end; the containers keep running."""
        # Once more by one that leaves: what it published last has gone out by then.
        await self.peers.say_farewell(left=self.machine.is_leaving)
        self._perform(self.machine.pause(self.clock.now()))
        self._is_ending = True
        self.streams.stop()
        await self.peers.close()
        for task in list(self._tasks):
            task.cancel()
        self._give_up_waiting()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.container_monitor.close()
        await self.dns_registry.close()
        await self.journal.close()
        await self.container_storage.close()
        logger.info("%s: stopped", self.config.name)

    def feed(self, event: Event) -> bool:
        """Tell the core of an event and perform what it orders; nothing at the end.

        Return whether it could.
        """
        if self._is_ending:
            return False
        try:
            self._perform(self.machine.handle(event, self.clock.now()))
            return True
        except Exception:
            # Only the kind: an event may hold a service's environment.
            logger.exception(
                "%s: cannot handle %s", self.config.name, type(event).__name__
            )
            return False

    async def ask(self, event: Event, operation: str) -> cmd.Answer:
        """Feed an event that carries an operation; return the core's answer to it.

        Raises:
            VeoError: the core refuses it, or does not answer.
        """
        future: asyncio.Future[cmd.Answer | cmd.Refuse]
        future = asyncio.get_running_loop().create_future()
        if isinstance(event, Caused) and (cause := acting.CAUSE.get()):
            event = attrs.evolve(event, cause=cause)
        waiting = self._asked.setdefault(operation, [])
        waiting.append(future)
        try:
            if not self.feed(event):
                raise VerbFailed(f"{self.config.name} could not handle it; see its log")
            async with asyncio.timeout(ANSWER_S):
                answer = await future
        except TimeoutError as exc:
            raise VerbFailed(
                f"{self.config.name} gave no answer in time: it may be done, or not"
            ) from exc
        finally:
            waiting.remove(future)
            if not waiting:
                self._asked.pop(operation, None)
        if isinstance(answer, cmd.Refuse):
            raise answer.error
        return answer

    async def until(self, happened: Callable[[], T | None]) -> T:
        """Wait until something is seen in the view; return it.

        Whoever works for a console that went away does not wait any more.
        """
        seen = happened()
        if seen is not None:
            return seen
        waiter = asyncio.current_task()
        if waiter in self._abandoned:
            raise asyncio.CancelledError("its console went away")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        entry = (happened, future, waiter)
        self._waiting.append(entry)
        try:
            return await future
        finally:
            if entry in self._waiting:
                self._waiting.remove(entry)

    def abandon(self, task: asyncio.Task[Any]) -> None:
        """Have a task end that works for nobody, once it only waits."""
        self._abandoned.add(task)
        for _, future, waiter in self._waiting:
            if waiter is task:
                future.cancel()

    async def quiet(
        self,
        pending: Callable[[], tuple[str, ...]],
        records: Iterable[ServiceRecord | None] = (),
    ) -> tuple[str, ...]:
        """Wait until nothing is pending; return what is once nothing happens to it.

        `records` are of the services that it is about: their specs may have it take
        longer, and nothing be seen meanwhile.
        """
        loop, patience_s = asyncio.get_running_loop(), self.config.timing.patience_s
        about = tuple(records)
        while left := pending():
            seen_s = loop.time()
            while not loop.time() >= (
                until_s := seen_s + patience_s + slow_s(self.machine.situation, about)
            ):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(until_s):
                        await self.until(functools.partial(_other_than, left, pending))
                    break
            else:
                break
        return left

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Let this node end only after what it is asked here, which may end it."""
        self._answering += 1
        try:
            yield
        finally:
            self._answering -= 1
            if self._has_left:  # the verb's answer goes out first
                asyncio.get_running_loop().call_soon(self._finish)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run a task for as long as the node runs; an error in it is logged."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def fail(self, error: VeoError) -> None:
        """End the node's run: it cannot go on."""
        if not self.failed.done():
            self.failed.set_exception(error)

    def _give_up_waiting(self) -> None:
        """End what waits in this process for what will not happen any more."""
        asked = [future for futures in self._asked.values() for future in futures]
        for future in [*asked, *(future for _, future, _ in self._waiting)]:
            future.cancel()
        if self.failed.done() and not self.failed.cancelled():
            self.failed.exception()  # `start` may have raised another reason

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s ended", task.get_name(), exc_info=error)

    def _perform(self, commands: list[cmd.Command]) -> None:
        for command in sorted(commands, key=_is_no_note):
            try:
                self._performers[type(command)](command)
            except Exception:  # the orders after it are not to be lost with it
                logger.exception(
                    "%s: cannot perform %s", self.config.name, type(command).__name__
                )
        self.dns_registry.refresh()
        for happened, future, _ in list(self._waiting):
            self._look(happened, future)

    def _publish(self, order: cmd.Publish) -> None:
        """Tell the peers; first why: who hears that this node left listens no more."""
        self.journal.publish()
        self.peers.publish(order)

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
        for future in self._asked.get(command.operation, ()):
            if not future.done():
                future.set_result(command)

    def _end(self, command: cmd.End) -> None:
        if command.clean and not self.failed.done():
            logger.info("%s", command.reason)
            self._has_left = True
            self._finish()
        else:
            self.fail(
                Removed(command.reason, disk_id=self.machine.own.disk_id)
                if command.afresh
                else StartError(command.reason)
            )

    def _finish(self) -> None:
        """End the run of this node, which has left, unless a verb is to be answered."""
        if not self._answering and not self.failed.done():
            self.failed.set_result(None)


def _is_no_note(command: cmd.Command) -> bool:
    return not isinstance(command, cmd.Note)


def _other_than(
    left: tuple[str, ...], now: Callable[[], tuple[str, ...]]
) -> bool | None:
    return now() != left or None
