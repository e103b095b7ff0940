"""The connecting half of the mesh: one socket to one socket of a peer."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import secrets
from collections.abc import Callable, Sequence

import zmq

from veo_shell.core.wire import MAX_FRAME_BYTES
from veo_shell.edge.zmq_guard import REFUSED, Keys, Outbound
from veo_shell.edge.zmq_pump import Monitor, Pump
from veo_shell.edge.zmq_rounds import Rounds
from veo_shell.errors import PeerUnreachable

logger = logging.getLogger(__name__)

Context = zmq.Context[zmq.Socket[bytes]]
Socket = zmq.Socket[bytes]

QUEUE_MESSAGES = 1000
REVIVE_S = 1.0
RETRY_MS = 100
RETRY_MAX_MS = 1000  # how long a peer that came back may go unheard
HANDSHAKE_MS = 5000
HEARTBEAT_MS = 2000
HEADROOM_BYTES = 1024  # for what CURVE and request ids add to a frame


def endpoint(address: str, port: int) -> str:
    """Return ZeroMQ's name for an address and port."""
    return f"tcp://[{address}]:{port}" if ":" in address else f"tcp://{address}:{port}"


def configure(socket: Socket, address: str) -> None:
    """Set what every socket of the mesh has: bounded queues, short time-outs."""
    socket.linger = 0
    socket.sndhwm = QUEUE_MESSAGES
    socket.rcvhwm = QUEUE_MESSAGES
    socket.maxmsgsize = MAX_FRAME_BYTES + HEADROOM_BYTES
    # libzmq's own 100 are full of strangers in no time, and a peer waits a second more.
    socket.backlog = 1024
    socket.ipv6 = ":" in address
    socket.handshake_ivl = HANDSHAKE_MS
    # Without these two, TCP's own back-off delays a link that was cut and mended.
    socket.tcp_maxrt = 4000
    socket.connect_timeout = 2000
    socket.reconnect_ivl = RETRY_MS
    socket.reconnect_ivl_max = RETRY_MAX_MS


class Link:
    """A connection to a peer's socket, kept up for as long as the link is open.

    libzmq itself comes back after a lost connection, but never after a protocol error
    (another program on that port for a moment, a frame too large, a refusal by ZAP).
    """

    def __init__(
        self,
        kind: int,
        address: str,
        port: int,
        *,
        context: Context,
        keys: Sequence[Keys],
        on_message: Callable[[list[bytes]], None],
        on_refusal: Callable[[str], None],
        on_drained: Callable[[], None] | None = None,
        rounds: Rounds | None = None,
    ) -> None:
        self.where = f"{address}:{port}"
        self._kind = kind
        self._address = address
        self._endpoint = endpoint(address, port)
        self._context = context
        self._on_message = on_message
        self._on_refusal = on_refusal
        self._on_drained = on_drained
        self._rounds = rounds
        # Replies find the way back through a connection that replaced the asking one.
        self._routing_id = b"veo" + secrets.token_bytes(12)
        self._outbound = Outbound(keys)
        self._revival: asyncio.TimerHandle | None = None
        self._open()

    @property
    def is_refused(self) -> bool:
        """Tell whether the other side refused all our keys when we connected last."""
        return self._outbound.is_refused

    def send(self, parts: list[bytes]) -> bool:
        """Send; False, and nothing is queued, while there is no connection."""
        return self._pump.send(parts)

    def hurry(self) -> None:
        """Connect now if libzmq is only waiting for its next attempt."""
        if self._is_waiting:
            self._reopen()

    def close(self) -> None:
        """Disconnect; what is queued is dropped."""
        self._stop_revival()
        self._monitor.close()
        self._pump.close()

    def _open(self) -> None:
        socket = self._context.socket(self._kind)
        with contextlib.ExitStack() as undo:
            undo.callback(socket.close, linger=0)
            self._configure(socket)
            monitor = Monitor(self._context, socket, self._on_event)
            undo.callback(monitor.close)
            socket.connect(self._endpoint)
            undo.pop_all()
        self._monitor = monitor
        self._pump = Pump(socket, self._on_message, self._on_drained, self._rounds)
        self._is_waiting = self._is_resting = False

    def _configure(self, socket: Socket) -> None:
        configure(socket, self._address)
        self._outbound.keys.present(socket)
        # The connecting side alone asks; the other side trusts it for the TTL.
        socket.heartbeat_ivl = HEARTBEAT_MS
        socket.heartbeat_timeout = 2 * HEARTBEAT_MS
        socket.heartbeat_ttl = 3 * HEARTBEAT_MS
        if self._kind == zmq.SUB:
            socket.subscribe(b"")
        else:
            # Else requests queue for an absent peer and reach it, stale, on its return.
            socket.immediate = True
            socket.routing_id = self._routing_id

    def _reopen(self) -> None:
        monitor, pump = self._monitor, self._pump
        try:
            self._open()
        except zmq.ZMQError as exc:
            logger.error("cannot connect to %s again: %s", self.where, exc.strerror)
            self._revive_soon()
            return
        self._stop_revival()
        monitor.close()
        pump.close()

    def _revive_soon(self, in_s: float = REVIVE_S) -> None:
        self._stop_revival()
        loop = asyncio.get_running_loop()
        self._revival = loop.call_later(in_s, self._reopen)

    def _on_event(self, event: zmq.Event, value: int) -> None:
        if self._is_resting:
            return
        if self._outbound.is_hang_up(event, value):
            self._rest()
        elif event is zmq.Event.DISCONNECTED:
            self._revive_soon()
        elif event is zmq.Event.CONNECT_RETRIED:
            self._stop_revival()
        if event in _ATTEMPTS:
            self._is_waiting = event is zmq.Event.CONNECT_RETRIED

    def _rest(self) -> None:
        """Try no more with these keys; a new socket presents the next ones."""
        if self._outbound.is_certain:
            self._on_refusal(self.where)
        with contextlib.suppress(zmq.ZMQError):  # libzmq may have given up before us
            self._pump.socket.disconnect(self._endpoint)
        self._is_waiting = self._is_resting = True
        self._revive_soon(self._outbound.pause_s)

    def _stop_revival(self) -> None:
        if self._revival is not None:
            self._revival.cancel()
            self._revival = None


_ATTEMPTS = (
    zmq.Event.CONNECT_RETRIED,
    zmq.Event.CONNECT_DELAYED,
    zmq.Event.CONNECTED,
)


class Line:
    """Requests to one peer and their replies, any number at once.

    A request is handed to libzmq only while there is a connection, and not after its
    time is over; what comes too late is dropped.
    """

    def __init__(
        self,
        address: str,
        port: int,
        *,
        context: Context,
        keys: Sequence[Keys],
        on_refusal: Callable[[str], None],
    ) -> None:
        self._numbers = itertools.count()
        self._unsent: dict[bytes, bytes] = {}
        self._replies: dict[bytes, asyncio.Future[bytes]] = {}
        self._link = Link(
            zmq.DEALER,
            address,
            port,
            context=context,
            keys=keys,
            on_message=self._receive,
            on_refusal=on_refusal,
            on_drained=self._flush,
        )

    @property
    def is_idle(self) -> bool:
        """Tell whether no request waits for its reply."""
        return not self._replies

    async def ask(self, frame: bytes, timeout_s: float) -> bytes:
        """Return the reply to a frame; raise `PeerUnreachable`."""
        number = next(self._numbers).to_bytes(8, "big")
        reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._replies[number] = reply
        self._unsent[number] = frame
        self._flush()
        try:
            async with asyncio.timeout(timeout_s):
                return await reply
        except TimeoutError as exc:
            raise PeerUnreachable(self._complaint(number, timeout_s)) from exc
        finally:
            del self._replies[number]
            self._unsent.pop(number, None)

    def hurry(self) -> None:
        """Connect now if libzmq is only waiting for its next attempt."""
        self._link.hurry()

    def close(self, reason: str) -> None:
        """Disconnect; requests that wait fail for this reason."""
        self._link.close()
        for reply in self._replies.values():
            if not reply.done():
                reply.set_exception(PeerUnreachable(f"{self._link.where}: {reason}"))

    def _complaint(self, number: bytes, timeout_s: float) -> str:
        if number not in self._unsent:
            return f"{self._link.where} did not answer within {_rounded(timeout_s)}"
        if self._link.is_refused:
            return f"{self._link.where} {REFUSED}"
        return f"{self._link.where} could not be reached within {_rounded(timeout_s)}"

    def _flush(self) -> None:
        for number, frame in list(self._unsent.items()):
            if not self._link.send([number, frame]):
                return
            del self._unsent[number]

    def _receive(self, parts: list[bytes]) -> None:
        match parts:
            case [number, frame] if number in self._replies:
                reply = self._replies[number]
                if not reply.done():
                    reply.set_result(frame)


def _rounded(seconds: float) -> str:
    """Return a time as the one who set it did: less what went by since then."""
    return f"{max(0.1, round(seconds, 1)):g} s"
