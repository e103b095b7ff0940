"""One process's dealings with others: publications, requests, operators' calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.sim.clock import Step, Steps
from veo_shell.core import commands as cmd
from veo_shell.core import events as ev
from veo_shell.core.model import Knock
from veo_shell.core.wire import (
    ACCEPTED,
    Ack,
    Difference,
    Join,
    Keep,
    Me,
    Message,
    Published,
    Records,
    Refused,
    Welcome,
    Who,
    decode,
    encode,
)

if TYPE_CHECKING:
    from tests.sim.host import Host
    from tests.sim.process import Process

CLUSTER = "sim"
OLDEST = min(ACCEPTED)
MESH_PORT = 8087
REQUEST_S, CALL_S, WHO_S, KNOCK_S, ANSWER_S = 1.0, 3.0, 0.5, 0.5, 10.0
NAME_TRIES = 8

Outcome = cmd.Answer | cmd.Refuse | None
"""What came of a verb; None: nobody answered in time."""


class Mesh:
    """What `peers.py`, `joining.py` and the sockets below them are in a real node.

    `heard` are the addresses, with the boot that this one has connected to, and since
    when. `said` counts what was sent, by kind.
    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self._world = process.world
        self._name = process.name
        self._lines: dict[str, None] = {}
        self._asked: dict[str, list[Callable[[cmd.Answer | cmd.Refuse], None]]] = {}
        self.heard: dict[str, tuple[str, float]] = {}
        self.said: Counter[str] = Counter()

    # Publications

    def connect(self, order: cmd.Connect) -> None:
        """Hear who is at an address, soon."""
        self._lines[order.address] = None
        delay_s = 0.005 + 0.1 * self._world.random.random()
        self._world.clock.after(delay_s, self.subscribe, order.address)

    def disconnect(self, order: cmd.Disconnect) -> None:
        """Hear who is at an address no more."""
        self._lines.pop(order.address, None)
        self.heard.pop(order.address, None)

    def subscribe(self, address: str) -> None:
        """Connect to what is published at an address, if it can be reached now."""
        host = self._world.at(address)
        is_needed = self._process.is_running and address in self._lines
        if not is_needed or host is None or host.process is None:
            return
        if self._world.network.joins(self._name, host.name):
            self.heard[address] = host.process.boot_id, self._world.clock.now

    def hears(self, process: Process) -> bool:
        """Tell whether what a process publishes comes here."""
        return self.heard.get(process.host.address, ("",))[0] == process.boot_id

    def unheard(self) -> list[str]:
        """Return the addresses of those that are to be heard and are not."""
        hosts = [self._world.at(address) for address in self._lines]
        processes = [
            h.process for h in hosts if h is not None and h.process is not None
        ]
        return [p.host.address for p in processes if not self.hears(p)]

    def has_line(self, host: Host) -> bool:
        """Tell whether it is to hear the node of a host, under its present address."""
        return host.address in self._lines

    def publish(self, message: Published) -> None:
        """Send a message to all who hear this process."""
        process = self._process
        self.said[type(message).__name__] += 1
        told = decode(encode(message, process.machine.protocol))
        heard = ev.Heard(message=told)  # type: ignore[arg-type]
        send = self._world.network.send
        for other in self._world.processes():
            if other.mesh.hears(process):
                send(self._name, other.name, other.arrive, other.feed, heard)

    # Requests

    def request(
        self,
        address: str,
        message: Message,
        told: Callable[[Message | None], None],
        timeout_s: float = REQUEST_S,
    ) -> None:
        """Ask the process at an address; it tells None where none answers in time."""
        process, network = self._process, self._world.network
        self.said[type(message).__name__] += 1
        tell = _once(told)
        process.timer(timeout_s, tell, None)
        host = self._world.at(address)
        if host is None:
            return
        asked, there = decode(encode(message, OLDEST)), host

        def answer(reply: Message) -> None:
            frame = encode(reply, OLDEST)
            network.send(
                there.name, self._name, process.arrive, lambda: tell(decode(frame))
            )

        def ask() -> None:
            if (other := there.process) is not None:
                other.arrive(other.mesh.serve, asked, answer)

        network.send(self._name, there.name, ask)

    def serve(self, message: Message, reply: Callable[[Message], None]) -> None:
        """Answer a peer's request: `Keep` when all ordered before is on disk."""

        def answered(order: cmd.Answer | cmd.Refuse) -> None:
            if isinstance(order, cmd.Refuse):
                return
            if isinstance(message, Keep):
                self._process.writer.when_flushed(lambda: reply(order.value))
            else:
                reply(order.value)

        operation = self._world.new_id("request")
        self._asked[operation] = [answered]
        asked = ev.Asked(operation=operation, message=message)  # type: ignore[arg-type]
        self._process.feed(asked)

    def answered(self, order: cmd.Answer | cmd.Refuse) -> None:
        """Tell whoever asked."""
        for told in self._asked.pop(order.operation, ()):
            told(order)

    # Operators' calls

    def call(self, node: str, event: Any, told: Callable[[Outcome], None]) -> None:
        """Have a node decide an operator's write, through another where need be."""
        if node == self._name:
            self._world.clock.begin(self.decide(event, told))
            return
        machine = self._process.machine
        peer = machine.members.peer(node)
        through = peer.witness if peer is not None and peer.witness else node
        self.said["Call"] += 1
        tell = _once(told)
        self._process.timer(CALL_S, tell, None)
        head = machine.view.head(through)
        host = self._world.at(head.address) if head is not None else None
        if host is not None:
            send = self._world.network.send
            send(self._name, host.name, self._pass, host, node, event, tell)

    def _pass(
        self, host: Host, node: str, event: Any, tell: Callable[[Outcome], None]
    ) -> None:
        """Have a call arrive, for the node there or to be passed on."""
        other = host.process
        if other is None:
            return

        def back(outcome: Outcome) -> None:
            self._world.network.send(
                host.name, self._name, self._process.arrive, lambda: tell(outcome)
            )

        if other.name == node:
            other.arrive(self._world.clock.begin, other.mesh.decide(event, back))
        else:
            other.arrive(other.mesh.call, node, event, back)

    def decide(self, event: Any, told: Callable[[Outcome], None]) -> Steps:
        """Have an operator's write decided once this node has seen the others' view."""
        process = self._process
        while not process.machine.is_settled:
            yield process.sleep(0.1)
        tell = _once(told)
        self._asked.setdefault(event.operation, []).append(tell)
        process.timer(ANSWER_S, tell, None)
        process.feed(event)

    # Coming in

    def introduce(self, address: str) -> Steps:
        """Be taken in by the node at an address; return whether it answered."""
        process = self._process
        for _ in range(NAME_TRIES):
            join = Join(document=process.machine.own, cluster=CLUSTER)
            reply = yield self._ask(address, join)
            if isinstance(reply, Welcome):
                welcome = ev.Welcomed(
                    address=address, mesh_port=MESH_PORT, answer=reply
                )
                process.feed(welcome)
                return True
            if not isinstance(reply, Refused):
                return False
            if reply.removed:
                break
            yield process.sleep(self._world.timing.name_retry_s)
        process.feed(ev.RefusedEntry(reason=reply.reason, removed=reply.removed))
        return True

    def rejoin(self, address: str) -> Steps:
        """Ask to be taken in again and again, until answered."""
        answered = False
        while not answered:
            yield self._process.sleep(self._world.timing.rejoin_s)
            answered = yield from self.introduce(address)

    def _ask(self, address: str, message: Message) -> Step:
        return lambda resume: self.request(address, message, resume)

    # What the core orders to ask

    def ask_in(self, order: cmd.Introduce) -> None:
        """Introduce this node to another."""
        self._world.clock.begin(self.introduce(order.address))

    def ask_difference(self, order: cmd.AskDifference) -> None:
        """Pull what a peer knows more."""

        def told(reply: Message | None) -> None:
            answer = reply if isinstance(reply, Difference) else None
            if answer is not None and not answer.more:
                self._process.may_decide = True
            self._process.feed(ev.DifferenceHeard(peer=order.peer, answer=answer))

        self.request(order.address, order.pull, told)

    def ask_copy(self, order: cmd.AskCopy) -> None:
        """Have a peer put records on its disk."""
        process, operation = self._process, order.operation

        def told(reply: Message | None) -> None:
            kept = isinstance(reply, Ack)
            process.feed(
                ev.CopyAnswered(operation=operation, peer=order.peer, kept=kept)
            )

        self._world.ledger.asked(process, operation, order.records)
        records = Records.of(order.records)
        keep = Keep(node=self._name, boot_id=process.boot_id, records=records)
        self.request(order.address, keep, told)

    def ask_who(self, order: cmd.AskWho) -> None:
        """Ask which process is at an address."""

        def told(reply: Message | None) -> None:
            boot_id = reply.boot_id if isinstance(reply, Me) else ""
            self._process.feed(ev.Recognized(node=order.node, boot_id=boot_id))

        self.request(order.address, Who(), told, WHO_S)

    def try_port(self, order: cmd.TryPort) -> None:
        """Try whether a port takes connections."""
        knock = self._world.knock(self._name, order.address, order.port)
        delay_s = KNOCK_S if knock is Knock.SILENT else 0.002
        tried = ev.Tried(node=order.node, container=order.container, knock=knock)
        self._process.timer(delay_s, self._process.feed, tried)


def _once(told: Callable[[Any], None]) -> Callable[[Any], None]:
    """Return what tells the first that comes, and nothing after that."""
    is_open = [True]

    def tell(outcome: Any) -> None:
        if is_open:
            is_open.clear()
            told(outcome)

    return tell
