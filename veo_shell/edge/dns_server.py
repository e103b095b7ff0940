"""DNS over UDP and TCP: packets in, packets out. What they say is the zone's matter."""

from __future__ import annotations

import asyncio
import errno
import functools
import ipaddress
import logging
import socket
from collections.abc import Iterator
from typing import cast

from veo_shell.core import dns_packet
from veo_shell.core.model import DnsReply
from veo_shell.core.protocols import AnswerFunction, Reply
from veo_shell.edge import dns_client
from veo_shell.errors import StartError

logger = logging.getLogger(__name__)

_QUERY_SIZE = 4096  # none is longer; what a datagram has beyond is not even read
_BATCH = 64  # about 1 ms of work, then the loop's other tasks have their turn
_BATCH_BYTES = 65_536
_UDP_BUFFER_SIZE = 1 << 20
_FREE_PORT_TRIES = 16

_REASONS = {
    errno.EADDRINUSE: "another program has this port: stop it, or use --dns-port",
    errno.EACCES: "this port needs root (CAP_NET_BIND_SERVICE), or use --dns-port",
    errno.EADDRNOTAVAIL: "this machine has no such address: use --address",
}


class DnsServer:
    """Answers on one address and port, UDP and TCP alike.

    A TCP connection that completes no query for `idle_timeout_s` is closed. Where there
    are `max_connections`, a new one takes the place of the longest idle.
    """

    def __init__(
        self, *, idle_timeout_s: float = 10.0, max_connections: int = 256
    ) -> None:
        self._idle_timeout_s = idle_timeout_s
        self._pool = _Pool(max_connections)
        self._udp: socket.socket | None = None
        self._tcp: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """Return the port it answers on, the same for UDP and TCP."""
        assert self._udp, "not started"
        return _port_of(self._udp)

    async def start(self, address: str, port: int, answer: AnswerFunction) -> None:
        """Bind and answer from now on; raise `StartError`. Port 0: any that is free."""
        assert not self._udp, "started already"
        guarded = functools.partial(_guarded, answer)
        self._udp, listener = _bind_both(address, port)
        loop = asyncio.get_running_loop()
        loop.add_reader(self._udp, _answer_datagrams, self._udp, guarded)
        self._tcp = await loop.create_server(
            lambda: _Connection(self._pool, guarded, self._idle_timeout_s),
            sock=listener,
        )

    async def ask(self, address: str, port: int, name: str, kind: str) -> DnsReply:
        """Ask another server, as any client would; see `dns_client.ask`."""
        return await dns_client.ask(address, port, name, kind)

    async def stop(self) -> None:
        """Close the port and all connections; one that is not started stays so."""
        if not self._udp or not self._tcp:
            return
        asyncio.get_running_loop().remove_reader(self._udp)
        self._udp.close()
        self._tcp.close()
        await self._pool.close()
        await self._tcp.wait_closed()
        self._udp = self._tcp = None


class _Pool:
    """The open connections, the longest idle first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._by_use: dict[_Connection, None] = {}
        self._unclosed: set[_Connection] = set()

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
        self._unclosed.discard(connection)

    async def close(self) -> None:
        """Close all and wait until they are."""
        connections = tuple(self._unclosed)
        for connection in connections:
            connection.abort()
        await asyncio.gather(*(connection.closed for connection in connections))


class _Connection(asyncio.Protocol):
    """One TCP connection: queries behind their length, answered in order (RFC 7766).

    Nothing is read while answers wait to be sent or queries to be answered, so what a
    connection can make us keep is bounded.
    """

    def __init__(
        self, pool: _Pool, answer: AnswerFunction, idle_timeout_s: float
    ) -> None:
        self._pool = pool
        self._answer = answer
        self._idle_timeout_s = idle_timeout_s
        self._loop = asyncio.get_running_loop()
        self._received = bytearray()
        self._more: Iterator[bytes] = iter(())
        self._is_blocked = False
        self._used_at = self._loop.time()
        self.closed: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._asker: str = (transport.get_extra_info("peername") or [""])[0]
        self._pool.add(self)
        self._watch = self._loop.call_later(self._idle_timeout_s, self._close_if_idle)

    def connection_lost(self, exc: Exception | None) -> None:
        self._watch.cancel()
        self._pool.discard(self)
        self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._serve()

    def pause_writing(self) -> None:
        self._is_blocked = True

    def resume_writing(self) -> None:
        self._is_blocked = False
        self._serve()

    def abort(self) -> None:
        """Close now, whatever is still to be sent."""
        self._transport.abort()

    def _serve(self) -> None:
        """Answer a batch of what was received; the rest waits for its turn."""
        if self._transport.is_closing():
            return
        framed, is_all = self._answer_batch()
        if framed:
            self._transport.write(b"".join(framed))
            self._used_at = self._loop.time()
            self._pool.touch(self)
        if self._is_blocked:
            self._transport.pause_reading()
        elif not is_all:
            self._transport.pause_reading()
            self._loop.call_soon(self._serve)
        elif self._frame_size() > 2 + _QUERY_SIZE:
            self._transport.close()
        else:
            self._transport.resume_reading()

    def _answer_batch(self) -> tuple[list[bytes], bool]:
        """Return answers in frames, and whether these are all that can be given now."""
        framed: list[bytes] = []
        size = 0
        while len(framed) < _BATCH and size < _BATCH_BYTES:
            answer = next(self._more, None)
            if answer is None:
                if (query := self._take_query()) is None:
                    return framed, True
                answer = self._answer_to(query)
            framed.append(len(answer).to_bytes(2) + answer if answer else b"")
            size += len(framed[-1])
        return framed, False

    def _answer_to(self, query: bytes) -> bytes | None:
        """Return an answer, or the first part of one; its rest comes next."""
        reply = self._answer(query, False, self._asker)
        if reply is None or isinstance(reply, bytes):
            return reply
        self._more = reply
        return next(reply)

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


def _guarded(answer: AnswerFunction, packet: bytes, udp: bool, asker: str) -> Reply:
    try:
        return answer(packet, udp, asker)
    except Exception:
        logger.exception("DNS: a query of %d bytes gets SERVFAIL", len(packet))
        if dns_packet.is_query(packet):
            return dns_packet.failure(packet, dns_packet.SERVFAIL)
        return None


def _answer_datagrams(udp: socket.socket, answer: AnswerFunction) -> None:
    """Answer what waits on the socket, a batch at most."""
    for _ in range(_BATCH):
        try:
            packet, asker = udp.recvfrom(_QUERY_SIZE)
        except BlockingIOError:
            return
        reply = answer(packet, True, asker[0])
        if not isinstance(reply, bytes):
            continue  # silence, or for TCP alone
        try:
            udp.sendto(reply, asker)
        except OSError as exc:  # full buffer, no route, port 0: it will ask again
            logger.debug("DNS: no answer to %s: %s", asker, exc)


def _bind_both(address: str, port: int) -> tuple[socket.socket, socket.socket]:
    """Return the UDP and the TCP socket of one port."""
    tries = 1 if port else _FREE_PORT_TRIES
    while True:
        tries -= 1
        listener = _bind(socket.SOCK_STREAM, address, port)
        try:
            return _bind(socket.SOCK_DGRAM, address, _port_of(listener)), listener
        except StartError:
            listener.close()
            if not tries:
                raise


def _bind(kind: socket.SocketKind, address: str, port: int) -> socket.socket:
    bound = socket.socket(_family_of(address), kind)
    bound.setblocking(False)
    try:
        if kind is socket.SOCK_STREAM:
            # Not for UDP: there Linux lets two servers take each other's packets
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _UDP_BUFFER_SIZE)
        bound.bind((address, port))
        if kind is socket.SOCK_STREAM:
            bound.listen()
    except OSError as exc:
        bound.close()
        raise _cannot_start(kind, address, port, exc) from exc
    return bound


def _family_of(address: str) -> socket.AddressFamily:
    try:
        version = ipaddress.ip_address(address).version
    except ValueError as exc:
        message = f"cannot answer DNS on {address!r}: no IP address; use --address"
        raise StartError(message) from exc
    return socket.AF_INET6 if version == 6 else socket.AF_INET


def _cannot_start(
    kind: socket.SocketKind, address: str, port: int, exc: OSError
) -> StartError:
    transport = "TCP" if kind is socket.SOCK_STREAM else "UDP"
    reason = _REASONS.get(exc.errno or 0, f"{exc.strerror}; see --dns-port")
    return StartError(
        f"cannot answer DNS on {address} port {port} ({transport}): {reason}"
    )


def _port_of(bound: socket.socket) -> int:
    port: int = bound.getsockname()[1]
    return port
