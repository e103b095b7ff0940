"""One run of a node: a real core, and its loop that performs what the core orders."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.sim.clock import Step, Steps
from tests.sim.disk import Writer
from tests.sim.engine import Stream
from tests.sim.watch_slots import OPERATIONS
from veo_shell.core import commands as cmd
from veo_shell.core import events as ev
from veo_shell.core.machine import Machine
from veo_shell.core.model import Knock, NodeDocument, NodeRecord
from veo_shell.core.wire import (
    ACCEPTED,
    Ack,
    Delta,
    Difference,
    Farewell,
    Join,
    Keep,
    Me,
    Message,
    Records,
    Refused,
    Welcome,
    Who,
    decode,
    encode,
)
from veo_shell.errors import VeoError

if TYPE_CHECKING:
    from tests.sim.host import Host

CLUSTER = "sim"
OLDEST = min(ACCEPTED)
MESH_PORT, PUB_PORT = 8087, 8088
TICK_S = 0.25
LISTING_S = 5.0
REQUEST_S = 1.0
CALL_S = 3.0
WHO_S = 0.5
KNOCK_S = 0.5
ANSWER_S = 10.0
NAME_TRIES = 8
MOST_QUEUED = 2000

Outcome = cmd.Answer | cmd.Refuse | None
"""What came of a verb; None: nobody answered in time."""


class Process:
    """A node's process: `arrive` and `timer` are the only ways into its loop.

    While it is frozen (SIGSTOP, a busy loop) what arrives queues up, and timers are
    late. Of a frozen host its clock stands still too: `behind_s` is by how much.
    """

    def __init__(self, host: Host, number: int) -> None:
        self.host = host
        self.world = host.world
        self.name = host.name
        self.boot_id = f"{number:08}{host.name}"
        self.is_running = True
        self.born_s = self.world.clock.now
        self.is_frozen = False
        self.behind_s = 0.0
        self._born_s = self.now
        self.said: Counter[str] = Counter()  # kinds of messages that it sent
        self.subscribed: dict[str, str] = {}  # peer -> its boot that is heard
        self.connected: dict[str, str] = {}  # peer -> its address
        self.dns_key: object = None
        self.is_leaving = False
        self.may_decide = not host.joins and not host.disk.documents
        self.unwell_s = self.born_s
        self.speaks_s = math.inf  # since when it beats
        self._handles: ev.Event = ev.Ticked()
        self._frozen_s = 0.0
        self._frozen_since_s = 0.0
        self._thaws_s = 0.0
        self._suspended = False
        self._arrived: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self._late: list[tuple[float, Callable[..., None], tuple[Any, ...]]] = []
        self._asked: dict[str, list[Callable[[cmd.Answer | cmd.Refuse], None]]] = {}
        self._timers: dict[str, int] = {}
        self._lag_s = 0.0
        self.writer = Writer(self, host.disk)
        self.machine = Machine(
            self._document(),
            CLUSTER,
            self.world.timing,
            self.now,
            alone=not host.joins,
        )
        self._performers = {
            getattr(cmd, name): getattr(self, f"_do_{name.lower()}") for name in _ORDERS
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
            pub_port=PUB_PORT,
            dns_port=53,
            resources=host.resources,
            role=host.role,
            disk_id=host.disk.id,
            protocol=host.protocol,
        )

    # Its loop

    @property
    def now(self) -> float:
        """Return what its clock shows."""
        return self.world.clock.now - self.behind_s

    @property
    def loop_s(self) -> float:
        """Return for how long its loop has run."""
        now = self.world.clock.now
        frozen_s = now - self._frozen_since_s if self.is_frozen else 0.0
        return now - self.born_s - self._frozen_s - frozen_s

    def arrive(self, work: Callable[..., None], *args: Any) -> None:
        """Have the loop do something about what came from outside."""
        if self.is_frozen:
            if len(self._arrived) < MOST_QUEUED:
                self._arrived.append((work, args))
        elif self.is_running:
            work(*args)

    def timer(self, delay_s: float, work: Callable[..., None], *args: Any) -> None:
        """Have the loop do something after a time of its clock."""
        self.world.clock.after(delay_s, self._due, self.behind_s, work, args)

    def sleep(self, delay_s: float) -> Step:
        """Return the step that waits by its clock, and for its loop."""
        return lambda resume: self.timer(delay_s, resume, None)

    def freeze(self, for_s: float, *, suspended: bool) -> None:
        """Let its loop stand still; `suspended`: its clock with it."""
        if self.is_frozen or not self.is_running:
            return
        self.is_frozen, self._suspended = True, suspended
        self._frozen_since_s = self.world.clock.now
        self._thaws_s = self.world.clock.now + for_s
        self.world.clock.after(for_s, self._thaw)

    def thaw(self) -> None:
        """Let a frozen loop go on now."""
        if self.is_frozen:
            self._thaw()

    def kill(self) -> None:
        """End it without a word; its containers keep running."""
        if self.is_running:
            self.is_running = self.is_frozen = False
            self.writer.crash()
            self._arrived, self._late = [], []
            if self.host.engine.stream is not None:
                self.host.engine.stream.close()
            self.host.process = None

    def feed(self, event: ev.Event) -> None:
        """Tell the core of an event and perform what it orders."""
        if not self.is_running:
            return
        world = self.world
        world.events += 1
        try:
            self._handles = event
            commands = self.machine.handle(event, self.now)
            for command in commands:
                self._performers[type(command)](command)
        except Exception as exc:
            world.crashed(self, event, exc)
        if self.is_running:
            world.watch.handled(self, event)

    def _due(
        self, behind_s: float, work: Callable[..., None], args: tuple[Any, ...]
    ) -> None:
        if not self.is_running:
            return
        if self.is_frozen:
            self._late.append((self.world.clock.now, work, args))
        elif self.behind_s > behind_s:
            rest_s = self.behind_s - behind_s
            self.world.clock.after(rest_s, self._due, self.behind_s, work, args)
        else:
            work(*args)

    def _thaw(self) -> None:
        if not self.is_frozen or not self.is_running:
            return
        self.is_frozen = False
        self.unwell_s = self.world.clock.now
        for_s = self.world.clock.now - self._frozen_since_s
        self._frozen_s += for_s
        arrived, self._arrived = self._arrived, []
        late, self._late = self._late, []
        if self._suspended:
            self.behind_s += for_s
            for due_s, *item in late:  # a clock that stood still rings none
                self.world.clock.at(due_s + for_s, self._due, self.behind_s, *item)
            late = []
        # A loop finds its sockets readable and its timers due at once, and may look at
        # these first, or before it has read those to the end.
        at = self.world.random.choice((0.0, self.world.random.random(), 1.0))
        before = round(at * len(arrived))
        timers = [(work, args) for _, work, args in late]
        for work, args in [*arrived[:before], *timers, *arrived[before:]]:
            self.arrive(work, *args)

    # Its life

    def start(self) -> None:
        """Load what its disk holds, hear of its engine, join, and speak."""
        disk = self.host.disk
        held = disk.records.get(f"node/{self.name}")
        if isinstance(held, NodeRecord) and held.removed == disk.id:
            self.host.begin_afresh(self)
            return
        documents, records = list(disk.documents.values()), list(disk.records.values())
        restored = self.machine.restore(documents, records, self.now)
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
            if not (yield from self._introduce(address)):
                self.world.clock.begin(self._rejoin(address))

    def pause(self) -> Steps:
        """Say that it pauses and end in order (SIGTERM, an upgrade)."""
        yield from self._say_farewell(left=False)
        self.writer.close()
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
                self.request(head.address, farewell, REQUEST_S, lambda reply: None)
        yield self.sleep(0.2)

    def _tick(self, due_s: float) -> None:
        self._lag_s = max(0.0, self.now - due_s)
        if self.now - self._born_s >= self.machine.members.timing.boot_grace_s:
            self.may_decide = True
        self.feed(ev.Ticked(lag_s=self._lag_s))
        self.timer(TICK_S, self._tick, self.now + TICK_S)

    def _beat(self) -> None:
        self.feed(ev.HeartbeatDue(lag_s=self._lag_s))
        spread = 0.9 + 0.2 * self.world.random.random()
        self.timer(self.machine.heartbeat_s * spread, self._beat)

    # What peers and operators ask

    def serve(self, message: Message, reply: Callable[[Message], None]) -> None:
        """Answer a peer's request: `Keep` when all ordered before is on disk."""

        def answered(order: cmd.Answer | cmd.Refuse) -> None:
            if isinstance(order, cmd.Refuse):
                return
            if isinstance(message, Keep):
                self.writer.when_flushed(lambda: reply(order.value))
            else:
                reply(order.value)

        operation = self.world.new_id("request")
        self._asked[operation] = [answered]
        self.feed(ev.Asked(operation=operation, message=message))  # type: ignore[arg-type]

    def decide(self, event: Any, told: Callable[[Outcome], None]) -> Steps:
        """Have an operator's write decided once this node has seen the others' view."""
        while not self.machine.is_settled:
            yield self.sleep(0.1)
        is_open = [True]

        def tell(outcome: Outcome) -> None:
            if is_open:
                is_open.clear()
                told(outcome)

        self._asked.setdefault(event.operation, []).append(tell)
        self.timer(ANSWER_S, tell, None)
        self.feed(event)

    def request(
        self,
        address: str,
        message: Message,
        timeout_s: float,
        told: Callable[[Message | None], None],
    ) -> None:
        """Ask the process at an address; it tells None where none answers in time."""
        world, is_open = self.world, [True]
        self.said[type(message).__name__] += 1

        def tell(reply: Message | None) -> None:
            if is_open:
                is_open.clear()
                told(reply)

        target = world.at(address)
        self.timer(timeout_s, tell, None)
        if target is None:
            return
        asked, there = decode(encode(message, OLDEST)), target

        def answer(reply: Message) -> None:
            frame = encode(reply, OLDEST)
            world.network.send(
                there.name, self.name, self.arrive, lambda: tell(decode(frame))
            )

        def ask() -> None:
            if there.process is not None:
                there.process.arrive(there.process.serve, asked, answer)

        world.network.send(self.name, there.name, ask)

    def call(self, node: str, event: Any, told: Callable[[Outcome], None]) -> None:
        """Have a node decide an operator's write, through another where need be."""
        if node == self.name:
            self.world.clock.begin(self.decide(event, told))
            return
        peer = self.machine.members.peer(node)
        through = peer.witness if peer is not None and peer.witness else node
        is_open = [True]

        def tell(outcome: Outcome) -> None:
            if is_open:
                is_open.clear()
                told(outcome)

        def back(hop: str) -> Callable[[Outcome], None]:
            def answer(outcome: Outcome) -> None:
                self.world.network.send(
                    hop, self.name, self.arrive, lambda: tell(outcome)
                )

            return answer

        def ask(host: Host) -> None:
            if (process := host.process) is not None:
                if process.name == node:
                    steps = process.decide(event, back(process.name))
                    process.arrive(self.world.clock.begin, steps)
                else:
                    process.arrive(process.call, node, event, back(process.name))

        self.said["Call"] += 1
        self.timer(CALL_S, tell, None)
        head = self.machine.view.head(through)
        target = self.world.at(head.address) if head is not None else None
        if target is not None:
            self.world.network.send(self.name, target.name, ask, target)

    # Coming in

    def _introduce(self, address: str) -> Steps:
        """Be taken in by the node at an address; return whether it answered."""
        machine = self.machine
        for _ in range(NAME_TRIES):
            join = Join(document=machine.own, cluster=CLUSTER)
            reply = yield self._ask(address, join)
            if isinstance(reply, Welcome):
                welcome = ev.Welcomed(
                    address=address, mesh_port=MESH_PORT, answer=reply
                )
                self.feed(welcome)
                return True
            if not isinstance(reply, Refused):
                return False
            if reply.removed:
                break
            yield self.sleep(machine.members.timing.name_retry_s)
        self.feed(ev.RefusedEntry(reason=reply.reason, removed=reply.removed))
        return True

    def _rejoin(self, address: str) -> Steps:
        answered = False
        while not answered:
            yield self.sleep(self.machine.members.timing.rejoin_s)
            answered = yield from self._introduce(address)

    def _ask(self, address: str, message: Message) -> Step:
        return lambda resume: self.request(address, message, REQUEST_S, resume)

    # What the core orders

    def _do_createcontainer(self, order: cmd.CreateContainer) -> None:
        self.host.engine.create(self, order)

    def _do_startcontainer(self, order: cmd.StartContainer) -> None:
        self.host.engine.start(self, order)

    def _do_discardcontainer(self, order: cmd.DiscardContainer) -> None:
        self.host.engine.discard(self, order)

    def _do_after(self, order: cmd.After) -> None:
        number = self._timers.get(order.name, 0) + 1
        self._timers[order.name] = number
        self.timer(order.delay_s, self._ring, order.name, number)

    def _ring(self, name: str, number: int) -> None:
        if self._timers.get(name) == number:
            self.feed(ev.TimerDue(name=name))

    def _do_publish(self, order: cmd.Publish) -> None:
        message = decode(encode(order.message, self.machine.protocol))
        self.said[type(order.message).__name__] += 1
        if isinstance(order.message, Delta):
            self.world.ledger.published(order.message)
            if isinstance(self._handles, OPERATIONS):
                self.world.ledger.wrote(self, self._handles, order.message.records)
            self.world.watch.told(self, order.message, self._handles)
        heard = ev.Heard(message=message)  # type: ignore[arg-type]
        send = self.world.network.send
        for other in self.world.processes():
            if other.subscribed.get(self.name) == self.boot_id:
                send(self.name, other.name, other.arrive, other.feed, heard)

    def _do_save(self, order: cmd.Save) -> None:
        self.writer.save(order)

    def _do_connect(self, order: cmd.Connect) -> None:
        self.connected[order.node] = order.address
        delay_s = 0.005 + 0.1 * self.world.random.random()
        self.world.clock.after(delay_s, self.subscribe, order.node)

    def _do_disconnect(self, order: cmd.Disconnect) -> None:
        self.connected.pop(order.node, None)
        self.subscribed.pop(order.node, None)

    def subscribe(self, node: str) -> None:
        """Connect to what a peer publishes, if it can be reached now."""
        host = self.world.at(self.connected.get(node, ""))
        if not self.is_running or host is None or host.process is None:
            return
        if self.world.network.joins(self.name, host.name):
            self.subscribed[node] = host.process.boot_id

    def unheard(self) -> list[str]:
        """Return the peers that are to be heard and are not, though they run."""
        hosts = {node: self.world.at(a) for node, a in self.connected.items()}
        return [
            node
            for node, host in hosts.items()
            if host is not None
            and host.process is not None
            and self.subscribed.get(node) != host.process.boot_id
        ]

    def _do_introduce(self, order: cmd.Introduce) -> None:
        self.world.clock.begin(self._introduce(order.address))

    def _do_askdifference(self, order: cmd.AskDifference) -> None:
        def told(reply: Message | None) -> None:
            answer = reply if isinstance(reply, Difference) else None
            if answer is not None and not answer.more:
                self.may_decide = True
            self.feed(ev.DifferenceHeard(peer=order.peer, answer=answer))

        self.request(order.address, order.pull, REQUEST_S, told)

    def _do_askcopy(self, order: cmd.AskCopy) -> None:
        def told(reply: Message | None) -> None:
            self.feed(
                ev.CopyAnswered(
                    operation=order.operation,
                    peer=order.peer,
                    kept=isinstance(reply, Ack),
                )
            )

        self.world.ledger.asked(self, order.operation, order.records)
        records = Records.of(order.records)
        keep = Keep(node=self.name, boot_id=self.boot_id, records=records)
        self.request(order.address, keep, REQUEST_S, told)

    def _do_askwho(self, order: cmd.AskWho) -> None:
        def told(reply: Message | None) -> None:
            boot_id = reply.boot_id if isinstance(reply, Me) else ""
            self.feed(ev.Recognized(node=order.node, boot_id=boot_id))

        self.request(order.address, Who(), WHO_S, told)

    def _do_tryport(self, order: cmd.TryPort) -> None:
        knock = self.world.knock(self.name, order.address, order.port)
        delay_s = KNOCK_S if knock is Knock.SILENT else 0.002
        tried = ev.Tried(node=order.node, container=order.container, knock=knock)
        self.timer(delay_s, self.feed, tried)

    def _do_answer(self, order: cmd.Answer) -> None:
        self.world.ledger.answered(self, order)
        for told in self._asked.pop(order.operation, ()):
            told(order)

    def _do_refuse(self, order: cmd.Refuse) -> None:
        assert isinstance(order.error, VeoError)
        for told in self._asked.pop(order.operation, ()):
            told(order)

    def _do_note(self, order: cmd.Note) -> None:
        self.world.noted(order.entry)

    def _do_end(self, order: cmd.End) -> None:
        self.host.ended(self, order)


_ORDERS = (
    "CreateContainer", "StartContainer", "DiscardContainer", "After", "Publish",
    "Save", "Connect", "Disconnect", "Introduce", "AskDifference", "AskCopy", "AskWho",
    "TryPort", "Answer", "Refuse", "Note", "End",
)  # fmt: skip
