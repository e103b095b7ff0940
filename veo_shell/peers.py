"""This node's dealings with its peers: frames into events, commands into frames."""

from __future__ import annotations

import asyncio
import logging
import uuid
from typing import TYPE_CHECKING, Any

from veo_shell.core.commands import (
    AskDifference,
    Connect,
    Disconnect,
    Introduce,
    Publish,
)
from veo_shell.core.dispatch import dispatch
from veo_shell.core.events import Asked, DifferenceHeard, Heard, Welcomed
from veo_shell.core.model import Status
from veo_shell.core.protocols import Mesh
from veo_shell.core.verbs import pack, pack_error, unpack, unpack_error
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
    VeoError,
    VerbFailed,
)

if TYPE_CHECKING:
    from veo_shell.node import Node

logger = logging.getLogger(__name__)

REQUEST_S = 1.0
CALL_S = 3.0
NAME_TRIES = 8
"""A name is refused while its old process was heard lately: a restart waits for it."""


class Peers:
    """The mesh's only user."""

    def __init__(self, node: Node, mesh: Mesh) -> None:
        self._node = node
        self._mesh = mesh
        self._timing = node.config.timing

    async def start(self) -> None:
        """Bind the mesh and take part in it."""
        await self._mesh.start(self._hear, self._answer)

    async def join(self) -> None:
        """Be taken in by the nodes to join; those not there yet are asked again later.

        Raises:
            StartError: one refuses this node, as when its name is taken.
        """
        for address, port in self._node.config.joins:
            if reason := await self._introduce(address, port):
                again_s = self._timing.rejoin_s
                logger.warning("%s: asked again every %g s", reason, again_s)
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
        await self._mesh.stop()

    def publish(self, order: Publish) -> None:
        """Send a message to every peer."""
        self._mesh.publish(encode(order.message))

    def connect(self, order: Connect) -> None:
        """Hear a peer from now on."""
        self._mesh.connect(order.address, order.mesh_port, order.pub_port)

    def disconnect(self, order: Disconnect) -> None:
        """Stop hearing a peer."""
        self._mesh.disconnect(order.address, order.mesh_port, order.pub_port)

    def introduce(self, order: Introduce) -> None:
        """Tell a node of this one."""
        self._node.spawn(
            self._introduce_or_fail(order.address, order.mesh_port), "introduction"
        )

    def ask_difference(self, order: AskDifference) -> None:
        """Pull what a peer knows more."""
        self._node.spawn(self._pull(order), f"pull from {order.peer}")

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
        frame = await self._mesh.request(address, mesh_port, encode(message), timeout_s)
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

    async def _introduce(self, address: str, mesh_port: int) -> str | None:
        """Send a `Join`; return why it was not answered, raise if it was refused."""
        tries = 1
        try:
            reply = await self._ask_in(address, mesh_port)
            while isinstance(reply, Refused) and tries < NAME_TRIES:
                tries += 1
                await asyncio.sleep(self._timing.name_retry_s)
                reply = await self._ask_in(address, mesh_port)
        except PeerError as exc:
            return str(exc)
        if isinstance(reply, Welcome):
            welcomed = Welcomed(address=address, mesh_port=mesh_port, answer=reply)
            self._node.feed(welcomed)
            return None
        reason = reply.reason if isinstance(reply, Refused) else "not understood"
        me = self._node.machine.me
        raise StartError(f"{address}:{mesh_port} refuses {me}: {reason}")

    async def _ask_in(self, address: str, mesh_port: int) -> Message:
        machine = self._node.machine
        document = machine.view.head(machine.me)
        assert document is not None
        join = Join(document=document, cluster=machine.cluster)
        return await self._request(address, mesh_port, join, REQUEST_S)

    async def _introduce_or_fail(self, address: str, mesh_port: int) -> None:
        try:
            await self._introduce(address, mesh_port)
        except StartError as exc:
            self._node.fail(exc)

    async def _rejoin(self, address: str, mesh_port: int) -> None:
        while True:
            await asyncio.sleep(self._timing.rejoin_s)
            try:
                if await self._introduce(address, mesh_port) is None:
                    return
            except StartError as exc:
                self._node.fail(exc)
                return
