"""This node's dealings with its peers: frames into events, commands into frames."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from veo_shell import acting
from veo_shell.core.commands import (
    AskCopy,
    AskDifference,
    AskWho,
    Connect,
    Disconnect,
    Publish,
    TryPort,
)
from veo_shell.core.dispatch import dispatch
from veo_shell.core.events import (
    Asked,
    CopyAnswered,
    DifferenceHeard,
    Heard,
    Recognized,
    Tried,
)
from veo_shell.core.model import JournalEntry, Knock, Status
from veo_shell.core.protocols import Mesh
from veo_shell.core.sessions import NOBODY
from veo_shell.core.verbs import pack, pack_error, unpack, unpack_error
from veo_shell.core.wire import (
    OLDEST,
    Ack,
    Call,
    Delta,
    Difference,
    Failed,
    Farewell,
    Forget,
    Heartbeat,
    Join,
    Keep,
    Me,
    Message,
    Noted,
    Published,
    Pull,
    Records,
    Reply,
    Who,
    decode,
    encode,
)
from veo_shell.errors import PeerError, PeerUnreachable, VeoError, VerbFailed

if TYPE_CHECKING:
    from veo_shell.node import Node

logger = logging.getLogger(__name__)

REQUEST_S = 1.0
CALL_S = 3.0
WHO_S = 0.5
KNOCK_S = 0.5
FOR_SESSIONS = frozenset({"relay.begin", "streams.exec"})
"""Verbs by which another node is told whose session it works for."""


class Peers:
    """The mesh's only user."""

    def __init__(self, node: Node, mesh: Mesh) -> None:
        self._node = node
        self._mesh = mesh
        self._timing = node.config.timing

    async def start(self) -> None:
        """Bind the mesh and take part in it."""
        await self._mesh.start(self._hear, self._answer)

    async def say_farewell(self, *, left: bool) -> None:
        """Tell the peers that this node pauses, its containers running, or leaves."""
        config = self._node.config
        message = Farewell(
            node=config.name,
            boot_id=self._node.boot_id,
            left=left,
            for_s=self._timing.pause_s,
            cause=self._node.machine.leaves,
        )
        living = [p for p in self._node.machine.members if p.status is Status.ALIVE]
        heads = [self._node.machine.view.head(peer.node) for peer in living]
        await asyncio.gather(
            *(
                self.request(head.address, head.mesh_port, message, REQUEST_S)
                for head in heads
                if head is not None
            ),
            return_exceptions=True,
        )

    async def close(self) -> None:
        """Leave the mesh."""
        await self._mesh.stop()

    def tallies(self) -> Mapping[str, tuple[int, int]]:
        """Return by address how many handshakes failed and messages were dropped."""
        return self._mesh.tallies()

    def publish(self, order: Publish) -> None:
        """Send a message to every peer."""
        self._publish(order.message)

    def publish_entries(self, entries: tuple[JournalEntry, ...]) -> None:
        """Send entries of this node's journal to every peer."""
        name, boot_id = self._node.config.name, self._node.boot_id
        self._publish(Noted(node=name, boot_id=boot_id, entries=entries))

    def connect(self, order: Connect) -> None:
        """Hear a peer from now on."""
        self._mesh.connect(order.address, order.mesh_port, order.pub_port)

    def disconnect(self, order: Disconnect) -> None:
        """Stop hearing a peer."""
        self._mesh.disconnect(order.address, order.mesh_port, order.pub_port)

    def ask_difference(self, order: AskDifference) -> None:
        """Pull what a peer knows more."""
        self._node.spawn(self._pull(order), f"pull from {order.peer}")

    def ask_copy(self, order: AskCopy) -> None:
        """Have a peer put records on its disk."""
        self._node.spawn(self._copy(order), f"copy to {order.peer}")

    def ask_who(self, order: AskWho) -> None:
        """Ask which process is at an address."""
        self._node.spawn(self._recognize(order), f"who is {order.node}")

    def try_port(self, order: TryPort) -> None:
        """Try whether a port takes connections."""
        self._node.spawn(self._knock(order), f"try {order.address}:{order.port}")

    async def call(self, node: str, verb: str, *args: Any) -> Any:
        """Run a verb on a node, this one or another; return or raise what it gives.

        A node that this one does not hear is asked through one that does.

        Raises:
            PeerUnreachable: it does not answer.
        """
        packed = [pack(arg) for arg in args]
        if node == self._node.machine.me:
            value = await dispatch(self._node.peer_words, verb, packed, {})
            return unpack(value)
        peer = self._node.machine.members.peer(node)
        through = peer.witness if peer is not None else ""
        head = self._node.machine.view.head(through or node)
        if head is None:
            raise PeerUnreachable(f"no node is called {node}")
        operation = str(args[0]) if args else ""
        target = node if through else ""
        message = Call(
            operation=operation,
            verb=verb,
            args=packed,
            kwargs={},
            target=target,
            cause=acting.CAUSE.get(),
            session=acting.SESSION.get() if verb in FOR_SESSIONS else None,
        )
        try:
            reply = await self.request(head.address, head.mesh_port, message, CALL_S)
        except PeerUnreachable as exc:
            raise PeerUnreachable(f"{through or node}: {exc}") from exc
        if isinstance(reply, Failed):
            raise unpack_error([reply.error, reply.message, reply.fields])
        if not isinstance(reply, Reply):
            raise PeerError(f"{node} answered a call with {type(reply).__name__}")
        return unpack(reply.value)

    async def who_is(self, address: str, mesh_port: int) -> Me | None:
        """Return which process is at an address, None if none says so."""
        reply = await self._try(address, mesh_port, Who(), WHO_S)
        return reply if isinstance(reply, Me) else None

    async def knock(self, address: str, port: int) -> Knock:
        """Tell what a TCP connection to a host's port comes to."""
        return await self._mesh.knock(address, port, KNOCK_S)

    def _hear(self, frame: bytes) -> None:
        message = decode(frame)
        if isinstance(message, Noted):
            if self._node.machine.members.peer(message.node) is not None:
                self._node.journal.take(message.entries)
        elif isinstance(message, Heartbeat | Delta | Forget):
            self._node.feed(Heard(message=message))
        else:
            raise PeerError(f"a {type(message).__name__} is not to be published")

    def _publish(self, message: Published) -> None:
        try:
            frame = encode(message, self._node.machine.protocol)
        except ValueError as exc:  # what it holds is pulled
            logger.warning("not published: %s", exc)
            return
        self._mesh.publish(frame)

    async def _answer(self, frame: bytes) -> bytes | None:
        message = decode(frame)
        if isinstance(message, Call):
            return await self._serve(message)
        if not isinstance(message, Join | Pull | Farewell | Keep | Who):
            raise PeerError(f"a {type(message).__name__} is not to be asked")
        operation = uuid.uuid4().hex
        asked = Asked(operation=operation, message=message)
        answer = await self._node.ask(asked, operation)
        if isinstance(message, Keep):  # nothing else promises anything of the disk
            try:
                async with asyncio.timeout(REQUEST_S):  # so long the asker waits
                    await self._node.container_storage.flushed()
            except TimeoutError:  # few may wait here: a disk that hangs would take all
                return None
        return encode(answer.value, OLDEST)

    async def _serve(self, call: Call) -> bytes:
        try:
            reply = await self._performed(call)
        except VeoError as exc:
            if isinstance(exc, VerbFailed):
                logger.exception("a peer's call of %s failed", call.verb)
            reply = _failed(exc)
        try:
            return encode(reply, OLDEST)
        except ValueError as exc:  # larger than a frame
            return encode(_failed(VeoError(f"{call.verb}: {exc}")), OLDEST)

    async def _performed(self, call: Call) -> Message:
        if call.target not in ("", self._node.machine.me):
            return await self._pass_on(call)
        acting.CAUSE.set(call.cause)
        acting.SESSION.set(call.session or NOBODY)
        words = self._node.peer_words
        value = await dispatch(words, call.verb, call.args, call.kwargs)
        return Reply(value=value)

    async def request(
        self,
        address: str,
        mesh_port: int,
        message: Message,
        timeout_s: float = REQUEST_S,
    ) -> Message:
        """Ask a node, in words that the one before this version has too.

        Raises:
            PeerUnreachable: nobody answers there in time.
            PeerError: what answers cannot be used, or the question fits no frame.
        """
        try:
            frame = encode(message, OLDEST)
        except ValueError as exc:
            raise PeerError(f"not asked: {exc}") from exc
        return decode(await self._mesh.request(address, mesh_port, frame, timeout_s))

    async def _pass_on(self, call: Call) -> Message:
        """Put a call to the node it is for, which the asker cannot reach."""
        head = self._node.machine.view.head(call.target)
        if head is None:
            raise PeerUnreachable(f"no node is called {call.target}")
        direct = attrs.evolve(call, target="")
        return await self.request(head.address, head.mesh_port, direct, CALL_S)

    async def _copy(self, order: AskCopy) -> None:
        keep = Keep(
            node=self._node.config.name,
            boot_id=self._node.boot_id,
            records=Records.of(order.records),
        )
        reply = await self._try(order.address, order.mesh_port, keep)
        self._node.feed(
            CopyAnswered(
                operation=order.operation,
                peer=order.peer,
                kept=isinstance(reply, Ack),
            )
        )

    async def _recognize(self, order: AskWho) -> None:
        found = await self.who_is(order.address, order.mesh_port)
        boot_id = found.boot_id if found is not None else ""
        self._node.feed(Recognized(node=order.node, boot_id=boot_id))

    async def _knock(self, order: TryPort) -> None:
        knock = await self.knock(order.address, order.port)
        self._node.feed(Tried(node=order.node, container=order.container, knock=knock))

    async def _pull(self, order: AskDifference) -> None:
        reply = await self._try(order.address, order.mesh_port, order.pull)
        answer = reply if isinstance(reply, Difference) else None
        self._node.feed(DifferenceHeard(peer=order.peer, answer=answer))

    async def _try(
        self,
        address: str,
        mesh_port: int,
        message: Message,
        timeout_s: float = REQUEST_S,
    ) -> Message | None:
        """Ask a node; None if there is no answer that can be used."""
        try:
            return await self.request(address, mesh_port, message, timeout_s)
        except PeerError as exc:
            logger.debug("%s:%d: %s", address, mesh_port, exc)
            return None


def _failed(exc: VeoError) -> Failed:
    error, message, fields = pack_error(exc)
    return Failed(error=error, message=message, fields=fields)
