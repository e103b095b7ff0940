"""Read ZeroMQ sockets from the asyncio loop, without a task or a future per message.

`zmq.asyncio` costs the loop 130 µs for a message that comes alone, this 70 µs; most of
what a mesh receives are heartbeats, which come alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import Callable, Sequence

import zmq
from zmq.utils.monitor import parse_monitor_message

from veo_shell.edge.zmq_rounds import TURN_S, Rounds

logger = logging.getLogger(__name__)

DONTWAIT, EVENTS, POLLIN = int(zmq.DONTWAIT), int(zmq.EVENTS), int(zmq.POLLIN)
"""Plain numbers: `&` of an enum's members takes as long as receiving a message."""


class Pump:
    """Hands what a socket receives to `on_message`, in order, on the loop's thread.

    `on_drained` is called whenever nothing more waits: then a send that did not go may.
    """

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        on_message: Callable[[list[bytes]], None],
        on_drained: Callable[[], None] | None = None,
        rounds: Rounds | None = None,
    ) -> None:
        self.socket = socket
        self._on_message = on_message
        self._on_drained = on_drained
        self._loop = asyncio.get_running_loop()
        self._descriptor = socket.FD
        self._poller = rounds or self._loop
        self._poller.add_reader(self._descriptor, self._pump)
        self._again: asyncio.Handle = self._loop.call_soon(self._pump)

    def send(self, parts: Sequence[bytes]) -> bool:
        """Queue a message; False if nobody is connected or the queue is full."""
        try:
            self.socket.send_multipart(parts, zmq.DONTWAIT)
        except zmq.Again:
            return False
        # libzmq's descriptor tells of a change only once, and a send may eat it.
        self._pump_soon()
        return True

    def close(self) -> None:
        """Stop reading and close the socket; what is queued is dropped."""
        self._again.cancel()
        self._poller.remove_reader(self._descriptor)
        self.socket.close(linger=0)

    def _pump_soon(self) -> None:
        self._again.cancel()
        self._again = self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        end_s = time.monotonic() + TURN_S
        while time.monotonic() < end_s:
            try:
                parts = self.socket.recv_multipart(DONTWAIT)
            except zmq.Again:
                break
            self._hand_over(parts)
            if self.socket.closed:
                return
            # Asked before it is tried again: an exception costs more than a message.
            if not int(self.socket.getsockopt(EVENTS)) & POLLIN:
                break
        else:
            self._pump_soon()
        if self._on_drained is not None:
            self._on_drained()

    def _hand_over(self, parts: list[bytes]) -> None:
        try:
            self._on_message(parts)
        except Exception:
            logger.exception("a message could not be handled")


class Monitor:
    """Hands a socket's connection events to `on_event` as (event, value)."""

    _numbers = itertools.count()

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        socket: zmq.Socket[bytes],
        on_event: Callable[[zmq.Event, int], None],
    ) -> None:
        self._socket = socket
        self._on_event = on_event
        endpoint = f"inproc://monitor-{next(self._numbers)}"
        # First, because it may fail: libzmq's own thread waits for ever to tell of a
        # watched socket's end while nobody is there to be told.
        pair = context.socket(zmq.PAIR)
        with contextlib.ExitStack() as undo:
            undo.callback(pair.close, linger=0)
            # Unbounded: that thread, and all of the mesh, waits while this is full
            # (seen: 1,000 connections of garbage while the loop was busy).
            pair.rcvhwm = 0
            socket.monitor(endpoint, zmq.EVENT_ALL)
            pair.connect(endpoint)
            undo.pop_all()
        self._pump = Pump(pair, self._receive)

    def close(self) -> None:
        """Stop watching; before the watched socket is closed."""
        self._socket.disable_monitor()
        self._pump.close()

    def _receive(self, parts: list[bytes]) -> None:
        event = parse_monitor_message(parts)
        self._on_event(zmq.Event(event["event"]), event["value"])
