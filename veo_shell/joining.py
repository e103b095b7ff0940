"""How this node comes into the cluster: asks to be taken in, again until it is."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from typing import TYPE_CHECKING, Any

from veo_shell.core.commands import Introduce
from veo_shell.core.events import RefusedEntry, Welcomed
from veo_shell.core.model import Knock
from veo_shell.core.wire import Join, Me, Message, Refused, Welcome
from veo_shell.errors import PeerError, PeerUnreachable, Removed, StartError

if TYPE_CHECKING:
    from veo_shell.node import Node

logger = logging.getLogger(__name__)

NAME_TRIES = 8
"""A name is refused while its old process answers: one that ends just now may."""
LOOK_UP_S = 2.0
PATIENCE = 30
"""Times the usual pause: the longest one between two tries of a node that is listed."""
NO_SUCH_HOST = (socket.EAI_NONAME, socket.EAI_NODATA)


class NoSuchHost(PeerUnreachable):
    """DNS is up, and has no address of that host."""


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
        config = self._node.config
        await asyncio.gather(
            *(self._join(*joined) for joined in config.joins),
            *(self._join_listed(*listed) for listed in config.listed),
        )

    async def is_alone(self) -> bool:
        """Tell whether there is nobody to join but this node itself.

        One list of nodes may serve for all of them, and for those to come: whose host
        has no address, or refuses the mesh's port, does not run. One whose host is
        silent may.
        """
        config = self._node.config
        absent = await asyncio.gather(
            *(self._is_own(*joined) for joined in config.joins),
            *(self._is_absent(*listed) for listed in config.listed),
        )
        return all(absent)

    async def processes_at(self, host: str, mesh_port: int) -> list[Me]:
        """Return the nodes that answer at a host's addresses; this one may be among.

        Raises:
            PeerUnreachable: the host has none.
        """
        addresses = await _addresses_of(host)
        who_is = self._node.peers.who_is
        found = await asyncio.gather(*(who_is(at, mesh_port) for at in addresses))
        return [process for process in found if process is not None]

    async def join_now(self, host: str, mesh_port: int) -> None:
        """Be taken in by a node that an operator names.

        Raises:
            PeerUnreachable: nobody answers there.
            PeerError: it refuses this node.
        """
        try:
            reason = await self._try(host, mesh_port)
        except StartError as exc:
            raise PeerError(str(exc)) from exc
        if reason is not None:
            raise PeerUnreachable(reason)

    def introduce(self, order: Introduce) -> None:
        """Tell a node of this one."""
        self._node.spawn(
            self._introduce_or_end(order.address, order.mesh_port), "introduction"
        )

    async def _join(self, host: str, port: int) -> None:
        if reason := await self._try(host, port):
            again_s = self._timing.rejoin_s
            logger.warning("%s: asked again every %g s", reason, again_s)
            self._node.spawn(self._rejoin(host, port, again_s), f"join {host}")

    async def _join_listed(self, host: str, port: int) -> None:
        if reason := await self._try(host, port):
            logger.debug("%s: asked again", reason)
            most_s = PATIENCE * self._timing.rejoin_s
            self._node.spawn(self._rejoin(host, port, most_s), f"join {host}")

    async def _is_own(self, host: str, port: int) -> bool:
        try:
            return not await self._others_at(host, port)
        except PeerUnreachable:
            return False

    async def _is_absent(self, host: str, port: int) -> bool:
        try:
            others = await self._others_at(host, port)
        except PeerUnreachable as exc:
            # Who is not of this machine cannot reach a node on loopback.
            is_hidden = self._node.config.address.startswith("127.")
            return isinstance(exc, NoSuchHost) or is_hidden
        knocks = (self._node.peers.knock(address, port) for address in others)
        return all(found is Knock.REFUSED for found in await asyncio.gather(*knocks))

    async def _others_at(self, host: str, port: int) -> list[str]:
        """Return the addresses of a host that are not this node's.

        One name may be that of all nodes. A resolver has a host's own address first
        (RFC 6724), and who is taken in by itself is in no cluster.
        """
        config = self._node.config
        own = config.address, config.mesh_port
        return [at for at in await _addresses_of(host) if (at, port) != own]

    async def _try(self, host: str, port: int) -> str | None:
        """Ask to be taken in; return why that came to nothing, raise if refused.

        The addresses are looked up each time: DNS may be up, or others, only later.
        """
        try:
            others = await self._others_at(host, port)
        except PeerUnreachable as exc:
            return str(exc)
        reasons = []
        for address in others:
            reason = await self._introduce(address, port)
            if reason is None:
                return None
            reasons.append(reason)
        return "; ".join(reasons) or None

    async def _introduce(self, address: str, mesh_port: int) -> str | None:
        """Send a `Join`; return why it was not answered, raise if it was refused."""
        tries = 1
        try:
            reply = await self._ask_in(address, mesh_port)
            while isinstance(reply, Refused) and tries < NAME_TRIES:
                if reply.removed:
                    if node := await self._outcast_at(address, mesh_port):
                        return f"{node} is removed here, and says so of this node"
                    raise Removed(
                        f"{address}:{mesh_port}: {reply.reason}",
                        disk_id=self._node.machine.own.disk_id,
                    )
                tries += 1
                await asyncio.sleep(self._timing.name_retry_s)
                reply = await self._ask_in(address, mesh_port)
        except PeerError as exc:
            return str(exc)
        if isinstance(reply, Welcome):
            welcomed = Welcomed(address=address, mesh_port=mesh_port, answer=reply)
            self._node.feed(welcomed)
            return None
        if not isinstance(reply, Refused):
            return f"{address}:{mesh_port} gives an answer that is not understood"
        me = self._node.machine.me
        raise StartError(f"{address}:{mesh_port} refuses {me}: {reply.reason}")

    async def _outcast_at(self, address: str, mesh_port: int) -> str:
        """Return who is at an address, if its state is removed here, else "".

        Where two removed each other, apart, neither is to give up what it knows.
        """
        process = await self._node.peers.who_is(address, mesh_port)
        if process is None:
            return ""
        record = self._node.machine.view.node_record(process.node)
        is_removed = record is not None and record.bars(
            process.identity or process.boot_id
        )
        return process.node if is_removed else ""

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

    async def _rejoin(self, host: str, port: int, most_s: float) -> None:
        """Try until it answers; the pauses double up to `most_s`."""
        pause_s = self._timing.rejoin_s
        while True:
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, most_s)
            try:
                if await self._try(host, port) is None:
                    return
            except StartError as exc:
                self._node.fail(exc)
                return


async def _addresses_of(host: str) -> list[str]:
    """Return the IP addresses of a host, the IPv4 ones first."""
    try:
        async with asyncio.timeout(LOOK_UP_S):
            found = await _look_up(host)
    except TimeoutError as exc:
        raise PeerUnreachable(f"no address of {host} in {LOOK_UP_S:g} s") from exc
    except OSError as exc:
        known = isinstance(exc, socket.gaierror) and exc.errno in NO_SUCH_HOST
        kind = NoSuchHost if known else PeerUnreachable
        raise kind(f"no address of {host}: {exc.strerror or exc}") from exc
    found.sort(key=lambda info: info[0] != socket.AF_INET)
    return list(dict.fromkeys(str(info[4][0]) for info in found))


async def _look_up(host: str) -> list[Any]:
    """Ask DNS in a thread that nobody waits for.

    The loop's own has few at a time, begins those given up too, and waits for all as
    it closes: where DNS is silent, `veo stop` would wait for minutes.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[Any]] = loop.create_future()

    def tell(found: list[Any] | OSError) -> None:
        if answer.done():  # given up
            return
        if isinstance(found, OSError):
            answer.set_exception(found)
        else:
            answer.set_result(found)

    def ask() -> None:
        found: list[Any] | OSError
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except OSError as exc:
            found = exc
        with contextlib.suppress(RuntimeError):  # the loop is closed: the node ended
            loop.call_soon_threadsafe(tell, found)

    threading.Thread(target=ask, name=f"look up {host}", daemon=True).start()
    return await answer
