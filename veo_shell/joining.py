"""How this node comes into the cluster: asks to be taken in, again until it is."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING

from veo_shell.core.commands import Introduce
from veo_shell.core.events import RefusedEntry, Welcomed
from veo_shell.core.wire import Join, Message, Refused, Welcome
from veo_shell.errors import PeerError, PeerUnreachable, Removed, StartError

if TYPE_CHECKING:
    from veo_shell.node import Node

logger = logging.getLogger(__name__)

NAME_TRIES = 8
"""A name is refused while its old process answers: one that ends just now may."""


class Joining:
    """Introduces this node to others."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._timing = node.config.timing

    async def join(self) -> None:
        """Be taken in by the nodes to join; those not there yet are asked again later.

        Raises:
            StartError: one refuses this node, as when its name is taken.
        """
        await asyncio.gather(*(self._join(*j) for j in self._node.config.joins))

    async def join_now(self, host: str, mesh_port: int) -> None:
        """Be taken in by a node that an operator names.

        Raises:
            PeerUnreachable: nobody answers there.
            PeerError: it refuses this node.
        """
        try:
            reason = await self._introduce(await _address_of(host), mesh_port)
        except StartError as exc:
            raise PeerError(str(exc)) from exc
        if reason is not None:
            raise PeerUnreachable(reason)

    def introduce(self, order: Introduce) -> None:
        """Tell a node of this one."""
        self._node.spawn(
            self._introduce_or_end(order.address, order.mesh_port), "introduction"
        )

    async def _join(self, address: str, port: int) -> None:
        if reason := await self._introduce(address, port):
            again_s = self._timing.rejoin_s
            logger.warning("%s: asked again every %g s", reason, again_s)
            self._node.spawn(self._rejoin(address, port), f"join {address}")

    async def _introduce(self, address: str, mesh_port: int) -> str | None:
        """Send a `Join`; return why it was not answered, raise if it was refused."""
        tries = 1
        try:
            reply = await self._ask_in(address, mesh_port)
            while isinstance(reply, Refused) and tries < NAME_TRIES:
                if reply.removed:
                    raise Removed(f"{address}:{mesh_port}: {reply.reason}")
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
        join = Join(document=machine.own, cluster=machine.cluster)
        return await self._node.peers.request(address, mesh_port, join)

    async def _introduce_or_end(self, address: str, mesh_port: int) -> None:
        try:
            await self._introduce(address, mesh_port)
        except StartError as exc:
            removed = isinstance(exc, Removed)
            self._node.feed(RefusedEntry(reason=str(exc), removed=removed))

    async def _rejoin(self, address: str, mesh_port: int) -> None:
        while True:
            await asyncio.sleep(self._timing.rejoin_s)
            try:
                if await self._introduce(address, mesh_port) is None:
                    return
            except StartError as exc:
                self._node.fail(exc)
                return


async def _address_of(host: str) -> str:
    """Return the IP address of a host, its IPv4 one if it has both."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:  # UnicodeError: a label that is too long
        reason = getattr(exc, "strerror", None) or "it is not a host's name"
        raise PeerUnreachable(f"no address of {host}: {reason}") from exc
    best = min(found, key=lambda info: info[0] != socket.AF_INET)
    return str(best[4][0])
