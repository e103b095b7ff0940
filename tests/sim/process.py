"""One run of a node: a real core, and what performs the core's orders."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.sim.clock import Steps
from tests.sim.disk import Writer
from tests.sim.engine_stream import Stream
from tests.sim.loop import Loop
from tests.sim.mesh import CLUSTER, MESH_PORT, Mesh
from tests.sim.watch_slots import OPERATIONS
from veo_shell.core import commands as cmd
from veo_shell.core import events as ev
from veo_shell.core.machine import Machine
from veo_shell.core.model import NodeDocument, NodeRecord
from veo_shell.core.wire import PROTOCOL, Delta, Farewell

if TYPE_CHECKING:
    from tests.sim.host import Host

TICK_S = 0.25
LISTING_S = 5.0


class Process(Loop):
    """What `node.py` is in a real node.

    `may_decide`: it has seen another's view, or waited for one long enough. `speaks_s`
    is since when it beats.
    """

    def __init__(self, host: Host, number: int) -> None:
        super().__init__(host.world)
        self.host = host
        self.name = host.name
        self.boot_id = f"{number:08}{host.name}"
        self.dns_key: object = None
        self.is_leaving = self.has_paused = False
        others = host.disk.documents.keys() - {host.name}
        self.may_decide = not host.joins and not others
        self.speaks_s = math.inf
        self._began_s = self.now
        self._handles: ev.Event = ev.Ticked()
        self._timers: dict[str, int] = {}
        self._lag_s = 0.0
        self.writer = Writer(self, host.disk)
        self.mesh = Mesh(self)
        self.machine = Machine(
            self._document(),
            CLUSTER,
            self.world.timing,
            self.now,
            alone=not host.joins,
        )
        self._performers = self._table()

    def _table(self) -> dict[type, Callable[[Any], None]]:
        engine, mesh = self.host.engine, self.mesh
        return {
            cmd.CreateContainer: self._create,
            cmd.StartContainer: self._start_container,
            cmd.StopContainer: lambda order: engine.stop_box(self, order),
            cmd.DiscardContainer: lambda order: engine.discard(self, order),
            cmd.After: self._after,
            cmd.Publish: self._publish,
            cmd.Save: self.writer.save,
            cmd.Connect: mesh.connect,
            cmd.Disconnect: mesh.disconnect,
            cmd.Introduce: mesh.ask_in,
            cmd.AskDifference: mesh.ask_difference,
            cmd.AskCopy: mesh.ask_copy,
            cmd.AskWho: mesh.ask_who,
            cmd.TryPort: mesh.try_port,
            cmd.Answer: self._answer,
            cmd.Refuse: mesh.answered,
            cmd.Note: lambda order: self.world.noted(order.entry),
            cmd.End: lambda order: self.host.ended(self, order),
        }

    def _document(self) -> NodeDocument:
        host = self.host
        return NodeDocument(
            node=host.name,
            boot_id=self.boot_id,
            incarnation=1,
            version=1,
            address=host.address,
            mesh_port=MESH_PORT,
            pub_port=MESH_PORT + 1,
            dns_port=53,
            resources=host.resources,
            role=host.role,
            disk_id=host.disk.id,
            host_boot=str(host.engine.powered),
            protocol=PROTOCOL,
        )

    def feed(self, event: ev.Event) -> None:
        """Tell the core of an event and perform what it orders."""
        if not self.is_running:
            return
        world = self.world
        world.events += 1
        try:
            self._handles = event
            for command in self.machine.handle(event, self.now):
                self._performers[type(command)](command)
        except Exception as exc:
            world.crashed(self, event, exc)
        if self.is_running:
            world.watch.handled(self, event)

    def kill(self) -> None:
        """End it without a word; its containers keep running."""
        if self.is_running:
            self.end()
            self.writer.crash()
            if self.host.engine.stream is not None:
                self.host.engine.stream.close()
            self.host.process = None

    # Its life

    def start(self) -> None:
        """Load what its disk holds, hear of its engine, join, and speak."""
        disk = self.host.disk
        held = disk.records.get(f"node/{self.name}")
        if isinstance(held, NodeRecord) and held.bars(disk.id):
            self.host.begin_afresh(self)
            return
        documents, records = list(disk.documents.values()), list(disk.records.values())
        restored = self.machine.restore(documents, records, self.now)
        if self.host.removed:
            self.machine.begin_afresh(self.host.removed)
            self.host.removed = ""
        Stream(self.host.engine, self)
        self.world.clock.begin(self._start(restored))

    def _start(self, restored: list[cmd.Command]) -> Steps:
        limit_s = self.now + LISTING_S
        while not self.machine.knows_its_own and self.now < limit_s:
            yield self.sleep(0.02)
        for command in restored:
            self._performers[type(command)](command)
        self._tick(self.now)
        self._beat()
        self.speaks_s = self.world.clock.now
        for address in self.host.joins:
            if not (yield from self.mesh.introduce(address)):
                self.world.clock.begin(self.mesh.rejoin(address))

    def pause(self) -> Steps:
        """Say that it pauses and end in order (SIGTERM, an upgrade)."""
        yield from self._say_farewell(left=False)
        for command in self.machine.pause(self.now):
            self._performers[type(command)](command)
        self.has_paused = self.writer.close()
        if not self.has_paused:
            self.host.forget_shutdown()
        self.kill()

    def leave(self) -> Steps:
        """Say that it leaves and end once nothing of it runs any more."""
        self.is_leaving = True
        self.feed(ev.Leaving())
        yield from self._say_farewell(left=True)

    def _say_farewell(self, *, left: bool) -> Steps:
        machine = self.machine
        farewell = Farewell(
            node=self.name,
            boot_id=self.boot_id,
            left=left,
            for_s=machine.members.timing.pause_s,
        )
        for node in machine.members.alive():
            head = machine.view.head(node)
            if node != self.name and head is not None:
                self.mesh.request(head.address, farewell, lambda reply: None)
        yield self.sleep(0.2)

    def _tick(self, due_s: float) -> None:
        self._lag_s = max(0.0, self.now - due_s)
        if self.now - self._began_s >= self.machine.members.timing.boot_grace_s:
            self.may_decide = True
        self.feed(ev.Ticked(lag_s=self._lag_s))
        self.timer(TICK_S, self._tick, self.now + TICK_S)

    def _beat(self) -> None:
        self.feed(ev.HeartbeatDue(lag_s=self._lag_s))
        spread = 0.9 + 0.2 * self.world.random.random()
        self.timer(self.machine.heartbeat_s * spread, self._beat)

    # What the core orders

    def _create(self, order: cmd.CreateContainer) -> None:
        self.world.watch.ordered(self, order.name)
        self.host.engine.create(self, order)

    def _start_container(self, order: cmd.StartContainer) -> None:
        self.world.watch.ordered(self, order.name)
        self.host.engine.start(self, order)

    def _after(self, order: cmd.After) -> None:
        number = self._timers.get(order.name, 0) + 1
        self._timers[order.name] = number
        self.timer(order.delay_s, self._ring, order.name, number)

    def _ring(self, name: str, number: int) -> None:
        if self._timers.get(name) == number:
            self.feed(ev.TimerDue(name=name))

    def _publish(self, order: cmd.Publish) -> None:
        if isinstance(order.message, Delta):
            self.world.ledger.published(order.message)
            if isinstance(self._handles, OPERATIONS):
                self.world.ledger.wrote(self, self._handles, order.message.records)
            self.world.watch.told(self, order.message, self._handles)
        self.mesh.publish(order.message)

    def _answer(self, order: cmd.Answer) -> None:
        self.world.ledger.answered(self, order)
        self.mesh.answered(order)
