"""Pulls logs from the nodes of their containers, and merges them.

A thread for each node asks it for more, as long as little waits to be read here. So a
slow reader slows down what is pulled, and nothing piles up anywhere.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import attrs

from veo_shell.core.logs import VEO, LogLine, LogReader, Merge
from veo_shell.errors import NodeUnreachable, UnknownContainer, VeoError

if TYPE_CHECKING:
    from veo_shell.console.client import Client
    from veo_shell.core.model import Container

WINDOW_S = 0.3
"""While logs are followed, so long a line waits for an older one of another."""
PACE_S, MUCH_BYTES = 0.02, 256 * 1024
"""So long it is not asked again where little comes, for each time costs every node that
is passed, the less the nearer it is to what an answer holds, and not at all then."""
AGAIN_S = 1.0
LEAVE_S = 1.0
TRIES = 3


@attrs.define(eq=False)
class Log:
    """The log of one container, as far as it was read.

    `stream` is that of its node, "" until it is open. `tail`: so much of what is there
    is read, None for all. `is_over`: it has told all. `tries`: how often in a row it
    could not be read.
    """

    container: Container
    tail: int | None
    reader: LogReader
    stream: str = ""
    number: int = 0
    is_over: bool = False
    tries: int = 0
    trouble: str = ""
    again_at_s: float = 0.0
    served: int = 0

    @property
    def name(self) -> str:
        """Return what its lines are called by."""
        return self.container.name

    def may_go_on(self, container: Container) -> bool:
        """Tell whether one that has told all may have more to tell by now."""
        known, self.container = self.container, container
        was, now = (known.id, known.restarts), (container.id, container.restarts)
        return container.is_up or was != now

    def leave_off(self) -> list[LogLine]:
        """Read on from here by another stream; return what is left of this one."""
        lines = self.reader.end()
        self.stream, self.number = "", 0
        self.reader = LogReader(self.name, after=self.reader.position)
        return lines


class Pool:
    """The logs that are read, from `since` on (Docker's, "" for all).

    `follow`: as long as their containers run, again when they are started again, and
    again when they could not be read; else a few tries each. `has_failed`: one was
    given up. A line of VEO's own says what is missing.
    """

    def __init__(self, client: Client, *, follow: bool, since: str) -> None:
        self.has_failed = False
        self._client = client
        self._follow = follow
        self._since = since
        self._threads: list[threading.Thread] = []
        self._last_bytes: Counter[str] = Counter()
        # What is below belongs to whoever has this.
        self._news = threading.Condition()
        self._merge = Merge(WINDOW_S if follow else math.inf)
        self._logs: dict[str, Log] = {}
        self._error: Exception | None = None
        self._is_closed = False
        self._served = 0

    @property
    def is_over(self) -> bool:
        """Tell whether nothing more comes: of all that is read, or can be just now."""
        with self._news:
            return self._merge.is_empty and all(
                log.is_over or (self._follow and log.tries)
                for log in self._logs.values()
            )

    def want(self, containers: Iterable[Container], tail: int | None) -> None:
        """Read these; what was not there the time before, its last lines alone."""
        with self._news:
            nodes = {log.container.node for log in self._logs.values()}
            for container in containers:
                log = self._logs.get(container.name)
                if log is None:
                    reader = LogReader(container.name)
                    log = Log(container=container, tail=tail, reader=reader)
                    self._logs[container.name] = log
                elif log.is_over and log.may_go_on(container):
                    log.is_over = False
                else:
                    continue
                self._merge.add(container.name)
                if container.node not in nodes:
                    nodes.add(container.node)
                    self._start(container.node)
            self._news.notify_all()

    def take(self, within_s: float) -> list[LogLine]:
        """Return the next lines; none if none come so soon, or none are left."""
        with self._news:
            lines = self._taken()
            if not lines and not self._error:
                due_s = self._merge.due_in_s(time.monotonic())
                self._news.wait(max(0.0, min(within_s, due_s)))
                lines = self._taken()
            if not lines and self._error:
                raise self._error
            return lines

    def leave(self) -> None:
        """Read no more; each thread tells its node so, and is not waited for."""
        with self._news:
            self._is_closed = True
            self._news.notify_all()

    def close(self) -> None:
        """Read no more, and tell the nodes so."""
        self.leave()
        with self._news:
            nodes = {log.container.node for log in self._logs.values()}
        for node in nodes:  # so that no thread waits for more
            self._close(self._client, node)
        for thread in self._threads:
            thread.join(LEAVE_S)

    def _taken(self) -> list[LogLine]:
        lines = self._merge.take(time.monotonic())
        if lines:
            self._news.notify_all()
        return lines

    def _start(self, node: str) -> None:
        thread = threading.Thread(
            target=self._run, args=[node], name=f"logs of {node}", daemon=True
        )
        self._threads.append(thread)
        thread.start()

    # The thread of a node

    def _run(self, node: str) -> None:
        with contextlib.closing(self._client.another()) as client:
            try:
                while (due := self._due(node)) is not None:
                    self._pull(client, node, due)
                self._close(client, node)
            except Exception as exc:  # whoever reads the lines gets it
                with self._news:
                    self._error = exc
                    self._news.notify_all()

    def _close(self, client: Client, node: str) -> None:
        """End the streams of a node, if it can be told; they end by themselves too."""
        with self._news:
            names = [
                log.stream
                for log in self._logs.values()
                if log.container.node == node and log.stream and not log.tries
            ]
        with contextlib.suppress(VeoError):
            if names:
                client.read("streams.close", node, names)

    def _due(self, node: str) -> list[Log] | None:
        """Return the logs to ask for more of, once there are some; None at the end."""
        with self._news:
            while not self._is_closed:
                now = time.monotonic()
                mine = [
                    log
                    for log in self._logs.values()
                    if log.container.node == node and not log.is_over
                ]
                full = {log.name for log in mine if self._merge.is_full(log.name)}
                due = [
                    log
                    for log in mine
                    if log.again_at_s <= now and log.name not in full
                ]
                # Who is asked may have nothing to tell for a second, and what is full
                # is read sooner than that: unless it waits for just those.
                if due and not (full and self._follow):
                    return sorted(due, key=lambda log: log.served)
                again_s = [log.again_at_s - now for log in mine if log.again_at_s > now]
                self._news.wait(min(again_s, default=None))
        return None

    def _pull(self, client: Client, node: str, due: list[Log]) -> None:
        for log in due:
            if not log.stream:
                self._try(partial(self._open, client, log), [log])
        wanted = {log.stream: log for log in due if log.stream}
        if wanted:
            read = partial(self._read, client, node, wanted)
            self._try(read, list(wanted.values()))
            if rest_s := pause_s(self._last_bytes[node]):
                with self._news:
                    self._news.wait_for(lambda: self._is_closed, rest_s)

    def _try(self, work: Callable[[], None], logs: list[Log]) -> None:
        try:
            work()
        except NodeUnreachable:
            raise
        except UnknownContainer:  # it went since it was listed
            self._over(logs)
        except VeoError as exc:
            self._failed(logs, str(exc))

    def _open(self, client: Client, log: Log) -> None:
        since = log.reader.position.since
        stream, is_tty = client.read(
            "streams.logs",
            log.container.node,
            log.container.id,
            since or self._since,
            None if since else log.tail,
            self._follow,
        )
        log.reader = LogReader(log.name, is_tty=is_tty, after=log.reader.position)
        log.stream, log.number = stream, 0

    def _read(self, client: Client, node: str, wanted: dict[str, Log]) -> None:
        asked = [[stream, log.number + 1] for stream, log in wanted.items()]
        told = client.read("streams.read", node, asked)
        self._last_bytes[node] = sum(len(data) for _, data, _, _ in told)
        for stream, data, is_over, reason in told:
            log = wanted[stream]
            lines = log.reader.feed(data)
            with self._news:
                log.number += 1
                self._served += 1
                log.served = self._served
                if data:
                    log.tries = 0
                self._merge.put(lines, time.monotonic())
                self._news.notify_all()
            if reason:
                self._failed([log], reason)
            elif is_over:
                self._over([log])

    def _over(self, logs: Iterable[Log]) -> None:
        with self._news:
            for log in logs:
                self._end(log)

    def _failed(self, logs: Iterable[Log], reason: str) -> None:
        """Have logs read again a little later, and say what is wrong with them.

        Not of a single time: a message of the mesh may be lost.
        """
        with self._news:
            now = time.monotonic()
            for log in logs:
                self._merge.put(log.leave_off(), now)
                log.tries += 1
                log.again_at_s = now + AGAIN_S
                if log.tries > 1 and reason != log.trouble:
                    log.trouble = reason
                    self._merge.put([_said(log, reason)], now)
                if log.tries == TRIES and not self._follow:
                    self.has_failed = True
                    self._end(log)
            self._news.notify_all()

    def _end(self, log: Log) -> None:
        self._merge.put(log.leave_off(), time.monotonic())
        self._merge.end(log.name)
        log.is_over, log.tries = True, 0
        self._news.notify_all()


def pause_s(came_bytes: int) -> float:
    """Return how long not to ask again: not at all where nothing came in a second."""
    lacks = 1 - min(came_bytes, MUCH_BYTES) / MUCH_BYTES
    return PACE_S * lacks if came_bytes else 0.0


def _said(log: Log, text: str) -> LogLine:
    """Return what VEO has to say of a log, between its lines."""
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
    return LogLine(at=at, instance=log.name, stream=VEO, text=text)
