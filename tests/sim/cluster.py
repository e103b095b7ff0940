"""A whole cluster inside one test: real cores, a fake network and engines, one clock.

Nothing here sleeps or is random: a test says what happens, in which order.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import Any

import attrs

from veo_shell.core import commands as cmd
from veo_shell.core import events as ev
from veo_shell.core.machine import Machine
from veo_shell.core.model import (
    Container,
    Cpu,
    Disk,
    Health,
    JournalEntry,
    Knock,
    Memory,
    NodeDocument,
    Observed,
    Record,
    Resources,
)
from veo_shell.core.timing import Timing
from veo_shell.core.wire import (
    PROTOCOL,
    Ack,
    Delta,
    Difference,
    Join,
    Keep,
    Me,
    Records,
    Refused,
    Welcome,
    Who,
    decode,
    encode,
)
from veo_shell.errors import VeoError

RESOURCES = Resources(
    cpu=Cpu(count=4.0),
    memory=Memory(total_bytes=8 << 30, available_bytes=8 << 30),
    disk=Disk(total_bytes=100 << 30, free_bytes=100 << 30),
)


@attrs.define
class SimEngine:
    """The containers of one host; survives the node, as a real engine does."""

    containers: dict[str, Observed] = attrs.field(factory=dict)
    broken: str = ""
    ports: Any = attrs.field(factory=lambda: itertools.count(49153))


@attrs.define
class SimDisk:
    """What a node saved."""

    id: str
    documents: dict[str, NodeDocument] = attrs.field(factory=dict)
    records: dict[str, Record] = attrs.field(factory=dict)
    full: str = ""


class SimNode:
    """One real core; performs its commands on the simulated world."""

    def __init__(self, world: World, name: str, number: int, alone: bool) -> None:
        self.world = world
        self.name = name
        self.address = f"10.0.0.{number}"
        self.boots = 0
        self.engine = SimEngine()
        self.disk = SimDisk(id=f"disk of {name}")
        self.up = self.is_powered = False
        self.stop_s = 0.1  # so long a container takes to end
        self.answers: dict[str, Any] = {}
        self.copies: dict[str, int] = {}
        self.journal: list[JournalEntry] = []
        self.reports: list[str] = []
        self.ended = ""
        self._asked: dict[str, Callable[[Any], None]] = {}
        self.published = 0  # deltas
        self.heard: set[str] = set()
        self.boot(alone)

    def boot(self, alone: bool = False, *, lists: bool = True) -> None:
        """Start the process: state from disk, containers as the engine `lists` them."""
        self.boots += 1
        self.up = self.is_powered = True
        self.heard = set()
        self._asked = {}
        document = NodeDocument(
            node=self.name,
            boot_id=f"{self.name}#{self.boots}",
            incarnation=1,
            version=1,
            address=self.address,
            mesh_port=8087,
            pub_port=8088,
            dns_port=53,
            resources=RESOURCES,
            role="master",
            disk_id=self.disk.id,
            protocol=PROTOCOL,
        )
        self.machine = Machine(document, "sim", Timing(), self.world.now, alone=alone)
        documents = list(self.disk.documents.values())
        records = list(self.disk.records.values())
        self._perform(self.machine.restore(documents, records, self.world.now))
        if lists:
            self.list_engine()
        self._every(0.5, lambda: ev.HeartbeatDue())
        self._every(0.25, lambda: ev.Ticked())

    def kill(self) -> None:
        """End the process without a word; its containers keep running."""
        self.up = False

    def lose_host(self) -> None:
        """Take the power off: the process ends, and nothing there answers at all."""
        self.up = self.is_powered = False

    def list_engine(self) -> None:
        """Tell the core what the engine holds."""
        self.feed(ev.EngineListed(containers=tuple(self.engine.containers.values())))

    def feed(self, event: ev.Event) -> None:
        """Give the core an event and perform what it orders."""
        if self.up:
            self._perform(self.machine.handle(event, self.world.now))

    def ask(self, event: Any) -> Any:
        """Give the core a verb; return its answer or raise its error."""
        self.answers.pop(event.operation, None)
        self.feed(event)
        self.world.run_until(lambda: event.operation in self.answers)
        answer = self.answers[event.operation]
        if isinstance(answer, VeoError):
            raise answer
        return answer

    def join(self, other: SimNode) -> None:
        """Ask another node to take this one in; return when it was answered."""
        answered: list[Any] = []
        order = cmd.Introduce(address=other.address, mesh_port=8087)
        self._introduce(order, answered.append)
        self.world.run_until(lambda: answered)

    def exit(self, container: Container, code: int) -> None:
        """End a container's process."""
        held = self.engine.containers[container.name]
        self.engine.containers[container.name] = attrs.evolve(
            held, running=False, exit_code=code
        )
        self.feed(ev.ContainerExited(container_id=held.id, exit_code=code))

    def lose_engine(self, reason: str = "connection refused") -> None:
        """Stop the engine, and with it what it runs."""
        self.engine.containers = {
            name: attrs.evolve(held, running=False)
            for name, held in self.engine.containers.items()
        }
        self.feed(ev.EngineLost(reason=reason))

    def set_health(self, container: Container, health: Health) -> None:
        """Let Docker's health check change its mind."""
        self.feed(ev.HealthChanged(container_id=container.id, health=health))

    def _every(self, period_s: float, make: Callable[[], ev.Event]) -> None:
        boot = self.boots

        def again() -> None:
            if self.up and boot == self.boots:
                self.feed(make())
                self.world.after(period_s, again)

        self.world.after(period_s, again)

    def _later(self, delay_s: float, make: Callable[[], ev.Event]) -> None:
        boot = self.boots

        def due() -> None:
            if boot == self.boots:
                self.feed(make())

        self.world.after(delay_s, due)

    def _perform(self, commands: list[cmd.Command]) -> None:
        for command in commands:
            getattr(self, f"_do_{type(command).__name__.lower()}")(command)

    def _do_createcontainer(self, order: cmd.CreateContainer) -> None:
        if self.engine.broken:
            failed = ev.EngineFailed(name=order.name, reason=self.engine.broken)
            self._later(0.01, lambda: failed)
            return
        made = Observed(
            id=f"id-{self.name}-{next(self.world.ids)}",
            name=order.name,
            identity=order.identity,
            image=order.service.image,
            running=False,
            ever_started=False,
            ports=order.service.ports,
            service=order.service,
        )
        self.engine.containers[order.name] = made
        created = ev.ContainerCreated(name=order.name, container_id=made.id)
        self._later(0.05, lambda: created)

    def _do_startcontainer(self, order: cmd.StartContainer) -> None:
        if self.engine.broken or order.name not in self.engine.containers:
            reason = self.engine.broken or "no such container"
            failed = ev.EngineFailed(name=order.name, reason=reason)
            self._later(0.01, lambda: failed)
            return
        held = self.engine.containers[order.name]
        ports = tuple(
            attrs.evolve(p, host_port=p.host_port or next(self.engine.ports))
            for p in held.ports
        )
        running = attrs.evolve(held, running=True, ever_started=True, ports=ports)
        self.engine.containers[order.name] = running
        answered = ev.StartAnswered(name=order.name, observed=running)
        self._later(0.1, lambda: answered)

    def _do_stopcontainer(self, order: cmd.StopContainer) -> None:
        def work() -> ev.Event:
            held = self.engine.containers.get(order.name)
            if held is not None:
                held = attrs.evolve(held, running=False, exit_code=0)
                self.engine.containers[order.name] = held
            return ev.StopAnswered(name=order.name, observed=held)

        self._later(self.stop_s, work)

    def _do_discardcontainer(self, order: cmd.DiscardContainer) -> None:
        def work() -> ev.Event:
            self.engine.containers.pop(order.name, None)
            return ev.ContainerDiscarded(name=order.name)

        self._later(self.stop_s, work)

    def _do_after(self, order: cmd.After) -> None:
        self._later(order.delay_s, lambda: ev.TimerDue(name=order.name))

    def _do_publish(self, order: cmd.Publish) -> None:
        frame = encode(order.message)
        self.published += isinstance(order.message, Delta)
        for other in self.world.nodes.values():
            if self.address in other.heard and self.world.linked(self, other):
                other._later(
                    self.world.delay_s,
                    lambda: ev.Heard(message=decode(frame)),  # type: ignore[arg-type]
                )

    def _do_save(self, order: cmd.Save) -> None:
        if self.disk.full:
            failed = ev.SaveFailed(reason=self.disk.full)
            self._later(0.001, lambda: failed)
            self._after(1.0, lambda: self._do_save(order))
            return
        for key in order.dropped:
            self.disk.documents.pop(key, None)
            self.disk.records.pop(key, None)
        self.disk.documents.update((d.node, d) for d in order.documents)
        self.disk.records.update((r.key, r) for r in order.records)
        self._later(0.001, lambda: ev.Saved(ticket=order.ticket))

    def _do_connect(self, order: cmd.Connect) -> None:
        self.heard.add(order.address)

    def _do_disconnect(self, order: cmd.Disconnect) -> None:
        self.heard.discard(order.address)

    def _do_introduce(self, order: cmd.Introduce) -> None:
        self._after(self.world.delay_s, lambda: self._introduce(order))

    def _do_askdifference(self, order: cmd.AskDifference) -> None:
        def told(reply: Any) -> None:
            answer = reply if isinstance(reply, Difference) else None
            self.feed(ev.DifferenceHeard(peer=order.peer, answer=answer))

        self._request_later(order.address, order.pull, told)

    def _do_askcopy(self, order: cmd.AskCopy) -> None:
        def told(reply: Any) -> None:
            kept = isinstance(reply, Ack)
            self.feed(
                ev.CopyAnswered(operation=order.operation, peer=order.peer, kept=kept)
            )

        own = self.machine.own
        records = Records.of(order.records)
        keep = Keep(node=own.node, boot_id=own.boot_id, records=records)
        self._request_later(order.address, keep, told)

    def _do_askwho(self, order: cmd.AskWho) -> None:
        def told(reply: Any) -> None:
            boot_id = reply.boot_id if isinstance(reply, Me) else ""
            self.feed(ev.Recognized(node=order.node, boot_id=boot_id))

        self._request_later(order.address, Who(), told)

    def _do_tryport(self, order: cmd.TryPort) -> None:
        knock = self.world.knock(self, order.address, order.port)
        tried = ev.Tried(node=order.node, container=order.container, knock=knock)
        self._later(self.world.delay_s, lambda: tried)

    def _do_answer(self, order: cmd.Answer) -> None:
        self.copies[order.operation] = order.copies
        if (told := self._asked.pop(order.operation, None)) is not None:
            told(order.value)
        else:
            self.answers[order.operation] = order.value

    def _do_refuse(self, order: cmd.Refuse) -> None:
        self.answers[order.operation] = order.error

    def _do_note(self, order: cmd.Note) -> None:
        self.journal.append(order.entry)
        self.reports.append(order.entry.text)

    def _do_end(self, order: cmd.End) -> None:
        self.ended = order.reason
        self.up = False

    def _after(self, delay_s: float, work: Callable[[], None]) -> None:
        """Do something later, if this process still runs then."""
        boot = self.boots

        def due() -> None:
            if self.up and boot == self.boots:
                work()

        self.world.after(delay_s, due)

    def _request_later(
        self, address: str, message: Any, told: Callable[[Any], None]
    ) -> None:
        self._after(self.world.delay_s, lambda: self.request(address, message, told))

    def request(self, address: str, message: Any, told: Callable[[Any], None]) -> None:
        """Ask the node at an address; it is told None where there is no way to it."""
        for other in self.world.nodes.values():
            if other.address == address and other.up and self.world.linked(self, other):
                operation = f"request-{next(self.world.ids)}"
                asked = decode(encode(message))
                other._asked[operation] = lambda reply: told(decode(encode(reply)))
                other.feed(ev.Asked(operation=operation, message=asked))  # type: ignore[arg-type]
                return
        told(None)

    def _introduce(
        self, order: cmd.Introduce, done: Callable[[Any], None] = lambda reply: None
    ) -> None:
        def told(reply: Any) -> None:
            if isinstance(reply, Welcome):
                self.feed(
                    ev.Welcomed(address=order.address, mesh_port=8087, answer=reply)
                )
            elif isinstance(reply, Refused):
                self.reports.append(f"refused: {reply.reason}")
            done(reply or "")

        join = Join(document=self.machine.own, cluster="sim")
        self.request(order.address, join, told)


class World:
    """The clock, the wires between the nodes, and what is still to happen."""

    def __init__(self, *names: str) -> None:
        self.now = 1000.0
        self.delay_s = 0.001
        self.ids = itertools.count(1)
        self.cut: set[frozenset[str]] = set()
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self.nodes: dict[str, SimNode] = {}
        for number, name in enumerate(names, 1):
            node = SimNode(self, name, number, alone=number == 1)
            self.nodes[name] = node
            if number > 1:
                node.join(self.nodes[names[0]])
        self.run(2.0)

    def __getitem__(self, name: str) -> SimNode:
        return self.nodes[name]

    def linked(self, one: SimNode, other: SimNode) -> bool:
        """Tell whether frames pass between two nodes."""
        return frozenset({one.name, other.name}) not in self.cut

    def knock(self, one: SimNode, address: str, port: int) -> Knock:
        """Tell what comes of a connection to a host's port."""
        for other in self.nodes.values():
            if other.address == address:
                if not other.is_powered or not self.linked(one, other):
                    return Knock.SILENT
                published = {
                    held.host_port
                    for container in other.engine.containers.values()
                    if container.running
                    for held in container.ports
                }
                is_open = other.up if port == 8087 else port in published
                return Knock.OPEN if is_open else Knock.REFUSED
        return Knock.SILENT

    def after(self, delay_s: float, work: Callable[[], None]) -> None:
        """Let something happen later."""
        heapq.heappush(self._queue, (self.now + delay_s, next(self.ids), work))

    def run(self, for_s: float) -> None:
        """Let time pass."""
        end = self.now + for_s
        while self._queue and self._queue[0][0] <= end:
            self.now, _, work = heapq.heappop(self._queue)
            work()
        self.now = end

    def run_until(self, holds: Callable[[], object], limit_s: float = 30.0) -> float:
        """Let time pass until something holds; return how long it took."""
        begin = self.now
        while not holds():
            assert self.now - begin < limit_s, "it did not come to hold"
            self.run(0.01)
        return self.now - begin

    def running(self, service: str) -> list[str]:
        """Return the nodes whose engines run a service, in order."""
        return sorted(
            node.name
            for node in self.nodes.values()
            for held in node.engine.containers.values()
            if held.running and held.identity.service == service
        )
