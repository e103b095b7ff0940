"""`node_monitor`: hears the other nodes, is heard by them, knows what they have."""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from typing import TYPE_CHECKING, Any

from veo_shell.core import reconcile
from veo_shell.core.commands import (
    AskDifference,
    Connect,
    Disconnect,
    Introduce,
    Publish,
)
from veo_shell.core.dispatch import dispatch
from veo_shell.core.events import (
    Asked,
    DifferenceHeard,
    Heard,
    HeartbeatDue,
    Ticked,
    Welcomed,
)
from veo_shell.core.membership import GONE
from veo_shell.core.model import (
    Candidate,
    NodeDocument,
    NodeInfo,
    NodeRoom,
    Resources,
    Room,
    Service,
    Status,
)
from veo_shell.core.protocols import Host
from veo_shell.core.verbs import (
    pack,
    pack_error,
    read,
    unpack,
    unpack_error,
    write,
)
from veo_shell.core.wire import (
    Call,
    Delta,
    Difference,
    Failed,
    Farewell,
    Heartbeat,
    Join,
    Message,
    Pull,
    Refused,
    Reply,
    Welcome,
    decode,
    encode,
)
from veo_shell.errors import (
    PeerError,
    PeerUnreachable,
    StartError,
    UsageError,
    VeoError,
    VerbFailed,
)

if TYPE_CHECKING:
    from veo_shell.node import Node

logger = logging.getLogger(__name__)

TICK_S = 0.25
REQUEST_S = 1.0
CALL_S = 3.0
NAME_TRIES = 8
"""A name is refused while its old process was heard lately: a restart waits for it."""


class NodeMonitor:
    """The mesh's user: turns frames into events and commands into frames."""

    def __init__(self, node: Node, host: Host) -> None:
        self._node = node
        self._host = host
        self._timing = node.config.timing
        self._lag_s = 0.0

    # Verbs

    @read
    def nodes(self) -> list[NodeInfo]:
        """Return every node as this one sees it.

        >>> node_monitor.nodes()
        """
        return [self._info(head) for head in self._heads()]

    @read
    def get_resources(self) -> Resources:
        """Return what this node has and what is free of it, now.

        >>> node_monitor.get_resources()
        """
        return self._host.resources()

    @read
    def available(self) -> list[NodeRoom]:
        """Return what each node that lives has in all for containers.

        >>> node_monitor.available()
        """
        return [self._room(head, Room()) for head in self._living()]

    @read
    def free(self) -> list[NodeRoom]:
        """Return what each node that lives has left of what services can reserve.

        >>> node_monitor.free()
        """
        view = self._node.machine.view
        return [
            self._room(head, reconcile.reserved(view, head.node))
            for head in self._living()
        ]

    @read
    def where(self, service: Service) -> list[Candidate]:
        """Return the nodes that a service fits, best first, and why others do not.

        >>> node_monitor.where(t)
        """
        machine = self._node.machine
        return reconcile.candidates(machine.view, machine.members, service, "")

    @write
    async def assign_role(self, node: str, role: str) -> None:
        """Give a node a role, over the one in its own file, for all of the cluster.

        >>> node_monitor.assign_role("dos@dos", "master")
        """
        if not role or role.split() != [role]:
            raise UsageError(f"{role!r} is not a role: give one word")
        operation = uuid.uuid4().hex
        await self.call(
            self._node.machine.me, "coordinator.assign_role", operation, node, role
        )

    # Life

    async def start(self) -> None:
        """Bind the mesh and take part in it."""
        await self._node.mesh.start(self._hear, self._answer)

    def run(self) -> None:
        """Begin to tell the others that this node lives, and to judge them."""
        self._node.spawn(self._beat(), "heartbeat")
        self._node.spawn(self._tick(), "tick")

    async def join(self) -> None:
        """Be taken in by the nodes to join; those not there yet are asked again later.

        Raises:
            StartError: one refuses this node, as when its name is taken.
        """
        for address, port in self._node.config.joins:
            if not await self._introduce(address, port):
                logger.warning(
                    "%s:%d does not answer: asked again every %g s",
                    address,
                    port,
                    self._timing.rejoin_s,
                )
                self._node.spawn(self._rejoin(address, port), f"join {address}")

    async def say_farewell(self) -> None:
        """Tell the peers that this node pauses: its containers keep running."""
        config = self._node.config
        message = Farewell(
            node=config.name,
            boot_id=self._node.boot_id,
            left=False,
            for_s=self._timing.pause_s,
        )
        living = [p for p in self._node.machine.members if p.status is Status.ALIVE]
        heads = [self._node.machine.view.head(peer.node) for peer in living]
        await asyncio.gather(
            *(
                self._request(head.address, head.mesh_port, message, REQUEST_S)
                for head in heads
                if head is not None
            ),
            return_exceptions=True,
        )

    async def close(self) -> None:
        """Leave the mesh."""
        await self._node.mesh.stop()

    # Commands

    def publish(self, order: Publish) -> None:
        """Send a message to every peer."""
        self._node.mesh.publish(encode(order.message))

    def connect(self, order: Connect) -> None:
        """Hear a peer from now on."""
        self._node.mesh.connect(order.address, order.mesh_port, order.pub_port)

    def disconnect(self, order: Disconnect) -> None:
        """Stop hearing a peer."""
        self._node.mesh.disconnect(order.address, order.mesh_port, order.pub_port)

    def introduce(self, order: Introduce) -> None:
        """Tell a node of this one."""
        self._node.spawn(
            self._introduce_or_fail(order.address, order.mesh_port), "introduction"
        )

    def ask_difference(self, order: AskDifference) -> None:
        """Pull what a peer knows more."""
        self._node.spawn(self._pull(order), f"pull from {order.peer}")

    # Calls

    async def call(self, node: str, verb: str, *args: Any) -> Any:
        """Run a verb on a node, this one or another; return or raise what it gives.

        Raises:
            PeerUnreachable: it does not answer.
        """
        packed = [pack(arg) for arg in args]
        if node == self._node.machine.me:
            value = await dispatch(self._node.peer_words, verb, packed, {})
            return unpack(value)
        head = self._node.machine.view.head(node)
        if head is None:
            raise PeerUnreachable(f"no node is called {node}")
        message = Call(operation=args[0], verb=verb, args=packed, kwargs={})
        reply = await self._request(head.address, head.mesh_port, message, CALL_S)
        if isinstance(reply, Failed):
            raise unpack_error([reply.error, reply.message, reply.fields])
        if not isinstance(reply, Reply):
            raise PeerError(f"{node} answered a call with {type(reply).__name__}")
        return unpack(reply.value)

    # Frames

    def _hear(self, frame: bytes) -> None:
        message = decode(frame)
        if not isinstance(message, Heartbeat | Delta):
            raise PeerError(f"a {type(message).__name__} is not to be published")
        self._node.feed(Heard(message=message))

    async def _answer(self, frame: bytes) -> bytes | None:
        message = decode(frame)
        if isinstance(message, Call):
            return await self._serve(message)
        if not isinstance(message, Join | Pull | Farewell):
            raise PeerError(f"a {type(message).__name__} is not to be asked")
        operation = uuid.uuid4().hex
        asked = Asked(operation=operation, message=message)
        reply: Message = await self._node.ask(asked, operation)
        return encode(reply)

    async def _serve(self, call: Call) -> bytes:
        words = self._node.peer_words
        try:
            value = await dispatch(words, call.verb, call.args, call.kwargs)
            return encode(Reply(value=value))
        except VeoError as exc:
            if isinstance(exc, VerbFailed):
                logger.exception("a peer's call of %s failed", call.verb)
            error, message, fields = pack_error(exc)
        except ValueError as exc:  # larger than a frame
            error, message, fields = pack_error(VeoError(f"{call.verb}: {exc}"))
        return encode(Failed(error=error, message=message, fields=fields))

    async def _request(
        self, address: str, mesh_port: int, message: Message, timeout_s: float
    ) -> Message:
        frame = await self._node.mesh.request(
            address, mesh_port, encode(message), timeout_s
        )
        return decode(frame)

    async def _pull(self, order: AskDifference) -> None:
        answer: Difference | None = None
        try:
            reply = await self._request(
                order.address,
                order.mesh_port,
                self._node.machine.view.pull(),
                REQUEST_S,
            )
            answer = reply if isinstance(reply, Difference) else None
        except PeerError as exc:
            logger.debug("no difference from %s: %s", order.peer, exc)
        self._node.feed(DifferenceHeard(peer=order.peer, answer=answer))

    async def _introduce(self, address: str, mesh_port: int) -> bool:
        """Send a `Join`; tell whether it was answered, raise if it was refused."""
        reply = await self._ask_in(address, mesh_port)
        tries = 1
        while isinstance(reply, Refused) and tries < NAME_TRIES:
            tries += 1
            await asyncio.sleep(self._timing.name_retry_s)
            reply = await self._ask_in(address, mesh_port)
        if isinstance(reply, Welcome):
            welcomed = Welcomed(address=address, mesh_port=mesh_port, answer=reply)
            self._node.feed(welcomed)
            return True
        if reply is None:
            return False
        reason = reply.reason if isinstance(reply, Refused) else "not understood"
        me = self._node.machine.me
        raise StartError(f"{address}:{mesh_port} refuses {me}: {reason}")

    async def _ask_in(self, address: str, mesh_port: int) -> Message | None:
        machine = self._node.machine
        document = machine.view.head(machine.me)
        assert document is not None
        join = Join(document=document, cluster=machine.cluster)
        try:
            return await self._request(address, mesh_port, join, REQUEST_S)
        except PeerError:
            return None

    async def _introduce_or_fail(self, address: str, mesh_port: int) -> None:
        try:
            await self._introduce(address, mesh_port)
        except StartError as exc:
            self._node.fail(exc)

    async def _rejoin(self, address: str, mesh_port: int) -> None:
        while True:
            await asyncio.sleep(self._timing.rejoin_s)
            try:
                if await self._introduce(address, mesh_port):
                    return
            except StartError as exc:
                self._node.fail(exc)
                return

    # Time

    async def _beat(self) -> None:
        period_s = self._timing.heartbeat_s
        while True:
            self._node.feed(HeartbeatDue(lag_s=self._lag_s))
            # Spread, so that nodes started together do not speak together.
            await asyncio.sleep(period_s * random.uniform(0.9, 1.1))  # noqa: S311

    async def _tick(self) -> None:
        clock = self._node.clock
        while True:
            due_s = clock.now() + TICK_S
            await asyncio.sleep(TICK_S)
            self._lag_s = max(0.0, clock.now() - due_s)
            self._node.feed(Ticked(lag_s=self._lag_s))

    # Rows

    def _heads(self) -> list[NodeDocument]:
        return sorted(self._node.machine.view.nodes, key=lambda head: head.node)

    def _living(self) -> list[NodeDocument]:
        members = self._node.machine.members
        return [h for h in self._heads() if members.status(h.node) not in GONE]

    def _info(self, head: NodeDocument) -> NodeInfo:
        machine = self._node.machine
        peer = machine.members.peer(head.node)
        return NodeInfo(
            node=head.node,
            status=machine.members.status(head.node),
            address=head.address,
            role=machine.view.role(head.node),
            containers=len(list(machine.view.containers(head.node))),
            cpus=head.resources.cpu.count,
            memory_bytes=head.resources.memory.total_bytes,
            disk_bytes=head.resources.disk.total_bytes,
            evidence=peer.evidence if peer else "this node",
        )

    def _room(self, head: NodeDocument, held: Room) -> NodeRoom:
        has = head.resources
        return NodeRoom(
            node=head.node,
            role=self._node.machine.view.role(head.node),
            cpus=has.cpu.count - held.cpus,
            memory_bytes=has.memory.total_bytes - held.memory_bytes,
            disk_bytes=has.disk.total_bytes - held.disk_bytes,
        )
