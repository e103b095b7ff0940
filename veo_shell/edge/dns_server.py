"""DNS over UDP and TCP: packets in, packets out. What they say is the zone's matter."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

from veo_shell.core.model import DnsReply
from veo_shell.core.protocols import AnswerFunction
from veo_shell.edge import dns_client
from veo_shell.edge.dns_desk import LATER, Desk, SendFunction
from veo_shell.edge.dns_forwarder import Forwarder
from veo_shell.edge.dns_port import (
    bind_both,
    is_for_all,
    port_of,
    receive_there,
    send_from_there,
)

logger = logging.getLogger(__name__)

# A datagram, and whose it is, the asker's address first
ReceiveFunction = Callable[[socket.socket, int], tuple[bytes, tuple[Any, ...]]]

_QUERY_SIZE = 4096  # none is longer; what a datagram has beyond is not even read
_BATCH = 64  # about 1 ms of work, then the loop's other tasks have their turn,
_BATCH_S = 0.002  # or after so long, where each is more work
_BATCH_BYTES = 65_536
_MOST_PENDING = 64


class DnsServer:
    """Answers on one address and port, UDP and TCP alike.

    A TCP connection that completes no query for `idle_timeout_s` is closed. Where there
    are `max_connections`, a new one takes the place of the longest idle. Without a
    forwarder other names are refused to everybody.
    """

    def __init__(
        self,
        *,
        idle_timeout_s: float = 10.0,
        max_connections: int = 256,
        forwarder: Forwarder | None = None,
    ) -> None:
        self._idle_timeout_s = idle_timeout_s
        self._forwarder = forwarder
        self._desk: Desk | None = None
        self._pool = _Pool(max_connections)
        self._udps: list[socket.socket] = []
        self._tcps: list[asyncio.Server] = []

    @property
    def port(self) -> int:
        """Return the port it answers on, the same for UDP and TCP."""
        assert self._udps, "not started"
        return port_of(self._udps[0])

    async def start(
        self,
        address: str,
        port: int,
        answer: AnswerFunction,
        is_near: Callable[[str], bool],
        also: Sequence[str] = (),
    ) -> None:
        """Bind and answer from now on; raise `StartError`. Port 0: any that is free.

        `is_near`: who gets answers about other names as well. `also`: further addresses
        to answer at; one may stand for all.
        """
        assert not self._udps, "started already"
        self._desk = Desk(answer, is_near, self._forwarder)
        try:
            for where in (address, *also):
                await self._listen(where, port, self._desk)
                port = self.port
        except BaseException:
            await self.stop()
            raise

    async def _listen(self, address: str, port: int, desk: Desk) -> None:
        udp, listener = await bind_both(address, port)
        self._udps.append(udp)
        receive, send = _receive, _send
        if is_for_all(address):
            receive, send = receive_there, _send_from_there
        loop = asyncio.get_running_loop()
        sends = functools.partial(send, udp)
        loop.add_reader(udp, _answer_datagrams, udp, desk, receive, sends)
        server = await loop.create_server(
            lambda: _Connection(self._pool, desk, self._idle_timeout_s),
            sock=listener,
        )
        self._tcps.append(server)

    def search(self) -> tuple[str, ...]:
        """Return the domains that this host tries behind short names."""
        return self._forwarder.search() if self._forwarder else ()

    def tally(self) -> Mapping[str, int]:
        """Return what was done with questions that are not the zone's to answer."""
        return self._desk.tally() if self._desk else {}

    async def ask(self, address: str, port: int, name: str, kind: str) -> DnsReply:
        """Ask another server, as any client would; see `dns_client.ask`."""
        return await dns_client.ask(address, port, name, kind)

    async def stop(self) -> None:
        """Close the port and all connections; one that is not started stays so."""
        if not self._udps:
            return
        udps, self._udps = self._udps, []
        tcps, self._tcps = self._tcps, []
        for udp in udps:
            asyncio.get_running_loop().remove_reader(udp)
        for tcp in tcps:
            tcp.close()
        await self._pool.close()  # first: who is connected asks on
        if self._forwarder:
            await self._forwarder.close()
        for udp in udps:
            udp.close()
        for tcp in tcps:
            await tcp.wait_closed()


class _Pool:
    """The open connections, the longest idle first.

    Those that have more to be answered than a turn of the loop has time for wait for
    the next one, in the order in which they came.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._by_use: dict[_Connection, None] = {}
        self._unclosed: set[_Connection] = set()
        self._due: dict[_Connection, None] = {}
        self._is_begun = False
        self._end_s = 0.0

    def end_of_turn(self, connection: _Connection) -> float:
        """Return until when to answer now; 0 where it has to wait, and is called."""
        if not self._is_begun:
            self._end_s = time.monotonic() + _BATCH_S
        if self._due or time.monotonic() >= self._end_s:
            self.wait(connection)
            return 0.0
        self._see_to_the_next()
        return self._end_s

    def wait(self, connection: _Connection) -> None:
        """Have one answer on when it is its turn."""
        self._due.setdefault(connection)
        self._see_to_the_next()

    def _see_to_the_next(self) -> None:
        if not self._is_begun:
            self._is_begun = True
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        """Begin a turn with those who wait."""
        self._is_begun = False
        self._end_s = time.monotonic() + _BATCH_S
        while self._due and time.monotonic() < self._end_s:
            connection = next(iter(self._due))
            del self._due[connection]
            connection.serve(self._end_s)
        if self._due:
            self._see_to_the_next()

    def add(self, connection: _Connection) -> None:
        """Take one in; if there are too many now, close the longest idle."""
        self._unclosed.add(connection)
        self.touch(connection)
        if len(self._by_use) > self._limit:
            longest_idle = next(iter(self._by_use))
            del self._by_use[longest_idle]
            longest_idle.abort()

    def touch(self, connection: _Connection) -> None:
        """Note that the connection is used now."""
        self._by_use.pop(connection, None)
        self._by_use[connection] = None

    def discard(self, connection: _Connection) -> None:
        """Forget a connection, which is closed."""
        self._by_use.pop(connection, None)
        self._due.pop(connection, None)
        self._unclosed.discard(connection)

    async def close(self) -> None:
        """Close all and wait until they are."""
        connections = tuple(self._unclosed)
        for connection in connections:
            connection.abort()
        await asyncio.gather(*(connection.closed for connection in connections))


class _Connection(asyncio.Protocol):
    """One TCP connection: queries behind their length, each answered as soon as it can.

    So those that other servers are asked hold up none (RFC 7766). Nothing is read while
    answers wait to be sent, queries to be answered, or many others to be heard, so what
    a connection can make us keep is bounded.
    """

    def __init__(self, pool: _Pool, desk: Desk, idle_timeout_s: float) -> None:
        self._pool = pool
        self._desk = desk
        self._pending = 0
        self._is_over = False
        self._idle_timeout_s = idle_timeout_s
        self._loop = asyncio.get_running_loop()
        self._received = bytearray()
        self._more: Iterator[bytes] = iter(())
        self._is_blocked = False
        self._used_at = self._loop.time()
        self.closed: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._asker = transport.get_extra_info("peername") or ("",)
        self._pool.add(self)
        self._watch = self._loop.call_later(self._idle_timeout_s, self._close_if_idle)

    def connection_lost(self, exc: Exception | None) -> None:
        self._watch.cancel()
        self._pool.discard(self)
        self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if end_s := self._pool.end_of_turn(self):
            self.serve(end_s)
        else:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """Stay open for the answers that are still to come."""
        self._is_over = True
        return self._pending > 0

    def pause_writing(self) -> None:
        self._is_blocked = True

    def resume_writing(self) -> None:
        self._is_blocked = False
        self._pool.wait(self)

    def abort(self) -> None:
        """Close now, whatever is still to be sent."""
        self._transport.abort()

    def serve(self, end_s: float) -> None:
        """Answer a batch of what was received; the rest waits for its turn."""
        if self._transport.is_closing():
            return
        self._desk.look_up()
        framed, is_all = self._answer_batch(end_s)
        if framed:
            self._transport.write(b"".join(framed))
            self._note_use()
        if self._is_blocked or self._pending >= _MOST_PENDING:
            self._transport.pause_reading()
        elif not is_all:
            self._transport.pause_reading()
            self._pool.wait(self)
        elif self._frame_size() > 2 + _QUERY_SIZE or (
            self._is_over and not self._pending
        ):
            self._transport.close()
        else:
            self._transport.resume_reading()

    def _answer_batch(self, end_s: float) -> tuple[list[bytes], bool]:
        """Return answers in frames, and whether these are all that can be given now."""
        framed: list[bytes] = []
        size = 0
        while len(framed) < _BATCH and size < _BATCH_BYTES:
            answer = next(self._more, None)
            if answer is None:
                if self._pending >= _MOST_PENDING:
                    break
                if (query := self._take_query()) is None:
                    return framed, True
                answer = self._answer_to(query)
            framed.append(_framed(answer) if answer else b"")
            size += len(framed[-1])
            if time.monotonic() >= end_s:
                break
        return framed, False

    def _answer_to(self, query: bytes) -> bytes | None:
        """Return an answer, or the first part of one; its rest comes next."""
        reply = self._desk.serve(query, False, self._asker, self._send_late)
        if reply is None or isinstance(reply, bytes):
            self._pending += reply == LATER
            return reply
        self._more = reply
        return next(reply)

    def _send_late(self, answer: bytes, _: Any) -> None:
        """Send what was not known at once, and go on if that was waited for."""
        if self._is_over or self._pending == _MOST_PENDING:
            self._pool.wait(self)
        self._pending -= 1
        if not self._transport.is_closing():
            self._transport.write(_framed(answer))
            self._note_use()

    def _note_use(self) -> None:
        self._used_at = self._loop.time()
        self._pool.touch(self)

    def _take_query(self) -> bytes | None:
        size = self._frame_size()
        if not 2 <= size <= min(len(self._received), 2 + _QUERY_SIZE):
            return None
        query = bytes(self._received[2:size])
        del self._received[:size]
        return query

    def _frame_size(self) -> int:
        """Return the size of the next query with its length, 0 if not known yet."""
        if len(self._received) < 2:
            return 0
        return 2 + int.from_bytes(self._received[:2])

    def _close_if_idle(self) -> None:
        """Close at the time-out; bytes that complete no query do not put it off."""
        left_s = self._used_at + self._idle_timeout_s - self._loop.time()
        if left_s <= 0:
            self.abort()
        else:
            self._watch = self._loop.call_later(left_s, self._close_if_idle)


def _framed(answer: bytes) -> bytes:
    return len(answer).to_bytes(2) + answer


def _answer_datagrams(
    udp: socket.socket, desk: Desk, receive: ReceiveFunction, send: SendFunction
) -> None:
    """Answer what waits on the socket, a batch at most.

    Answers are sent one right after the other: to wake an asker for each takes more.
    """
    desk.look_up()
    for reply, asker in [*_served(udp, desk, receive, send)]:
        send(reply, asker)


def _served(
    udp: socket.socket, desk: Desk, receive: ReceiveFunction, send: SendFunction
) -> Iterator[tuple[bytes, tuple[Any, ...]]]:
    end_s = time.monotonic() + _BATCH_S
    with contextlib.suppress(BlockingIOError):
        for _ in range(_BATCH):
            packet, asker = receive(udp, _QUERY_SIZE)
            reply = desk.serve(packet, True, asker, send)
            if reply and isinstance(reply, bytes):  # else silence, or for TCP alone
                yield reply, asker
            if time.monotonic() >= end_s:
                return


def _receive(udp: socket.socket, size: int) -> tuple[bytes, tuple[Any, ...]]:
    return udp.recvfrom(size)


def _send(udp: socket.socket, reply: bytes, asker: Any) -> None:
    try:
        udp.sendto(reply, asker)
    except OSError as exc:  # full buffer, no route, port 0: it will ask again
        logger.debug("DNS: no answer to %s: %s", asker, exc)


def _send_from_there(udp: socket.socket, reply: bytes, asker: Any) -> None:
    try:
        send_from_there(udp, reply, asker)
    except OSError as exc:
        logger.debug("DNS: no answer to %s: %s", asker[0], exc)
