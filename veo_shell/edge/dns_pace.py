"""How much of one kind of work is done in a turn of the event loop."""

from __future__ import annotations

import asyncio
import select
import socket
from collections import deque


class Pace:
    """Lets so many go on in each turn of the loop, in the order in which they came.

    Twice as many at most, by where in a turn they come.
    What many wait for may come for all of them at a time, and heartbeats are not to
    wait until the last has gone on.
    """

    def __init__(self, per_turn: int) -> None:
        self._per_turn = per_turn
        self._left = per_turn
        self._called = 0
        self._is_begun = False
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def turn(self) -> None:
        """Go on, at once if fewer have gone on in this turn of the loop."""
        if self._left and not self._waiting:
            self._left -= 1
            self._see_to_the_next()
            return
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await future

    def _see_to_the_next(self) -> None:
        if not self._is_begun:
            self._is_begun = True
            asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        """Begin a turn, in which those go on who were called in the last."""
        self._is_begun = False
        self._left, self._called = self._per_turn - self._called, 0
        if self._waiting or self._left < self._per_turn:
            self._see_to_the_next()  # before they go on
        while self._waiting and self._called < self._per_turn:
            future = self._waiting.popleft()
            if not future.done():  # who gave up waits no more
                self._called += 1
                future.set_result(None)


class Inbox:
    """Receives on many sockets, so many packets in each turn of the loop at most.

    The loop knows them as one, of a system call that tells it a few at a time.
    """

    def __init__(self, per_turn: int, size_bytes: int) -> None:
        self._per_turn = per_turn
        self._size_bytes = size_bytes
        self._waiting: dict[int, tuple[socket.socket, asyncio.Future[bytes]]] = {}
        self._epoll: select.epoll | None = None

    async def receive(self, udp: socket.socket) -> bytes:
        """Return the next packet, or raise what its socket does."""
        loop = asyncio.get_running_loop()
        if self._epoll is None:
            self._epoll = select.epoll()
            loop.add_reader(self._epoll, self._take, self._epoll)
        future: asyncio.Future[bytes] = loop.create_future()
        descriptor = udp.fileno()
        self._waiting[descriptor] = udp, future
        self._epoll.register(descriptor, select.EPOLLIN)
        try:
            return await future
        finally:
            self._epoll.unregister(descriptor)
            del self._waiting[descriptor]

    def close(self) -> None:
        """Let go of what it takes; nobody may be waiting."""
        if self._epoll is not None:
            asyncio.get_running_loop().remove_reader(self._epoll)
            self._epoll.close()
            self._epoll = None

    def _take(self, epoll: select.epoll) -> None:
        for descriptor, _ in epoll.poll(0, self._per_turn):
            udp, future = self._waiting[descriptor]
            if future.done():  # by a time-out just now
                continue
            try:
                future.set_result(udp.recv(self._size_bytes))
            except BlockingIOError:
                continue
            except OSError as exc:
                future.set_exception(exc)
