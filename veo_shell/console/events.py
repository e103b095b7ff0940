"""`container_sup.events` and `veo events`: what happens, line by line, also live.

Light to import: see `client`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

import msgspec

from veo_shell.console.cells import columns
from veo_shell.core.printable import printable
from veo_shell.errors import UnknownService

if TYPE_CHECKING:
    from veo_shell.console.client import Client
    from veo_shell.core.model import Event

WIDTHS = {"at": 18, "node": 9, "kind": 14}


class Events:
    """Events as they come, read once; first those that there were `since`.

    What is not there yet can be followed too.
    """

    def __init__(
        self,
        client: Client,
        about: Any = None,
        kind: Any = None,
        since: Any = None,
        limit: int | None = None,
    ) -> None:
        self._client = client
        self._which = about, kind
        self._cursor = self._after("")["cursor"]
        self._ready: deque[Event] = deque()
        if since is not None or limit is not None:
            with contextlib.suppress(UnknownService):
                self._ready += client.read(
                    "container_sup.events", about, kind, since, limit
                )
        # What happened meanwhile is told by both.
        self._told = {event.id for event in self._ready}

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        while not self._ready:
            self._ready += self.batch()
        return self._ready.popleft()

    def __repr__(self) -> str:
        return "<events as they come>"

    def batch(self) -> list[Event]:
        """Return the next ones as soon as there are some, and none a little later."""
        if self._ready:
            ready = list(self._ready)
            self._ready.clear()
            return ready
        answer = self._after(self._cursor)
        self._cursor = answer["cursor"]
        return [event for event in answer["events"] if event.id not in self._told]

    def show(self, stream: TextIO, *, as_json: bool = False) -> NoReturn:
        """Print them, a line each, until Ctrl-C, or until nobody reads them."""
        while True:
            write(self.batch(), stream, as_json=as_json)
            if _is_left(stream):
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    def _after(self, cursor: str) -> dict[str, Any]:
        answer: dict[str, Any] = self._client.read(
            "event_log.after", cursor, *self._which
        )
        return answer


def write(events: Iterable[Event], stream: TextIO, *, as_json: bool = False) -> None:
    """Print events, a line each."""
    for event in events:
        stream.write(f"{_json(event) if as_json else _line(event)}\n")
    stream.flush()


def run(
    run_dir: str | os.PathLike[str],
    about: str | None,
    kinds: list[str] | None,
    since: str | None,
    limit: int | None,
    *,
    follow: bool,
    as_json: bool,
) -> int:
    """Print what happened, and goes on to happen; return the exit status."""
    from veo_shell.console.client import Client

    client = Client(run_dir)
    try:
        if follow:
            events = Events(client, about, kinds, since, limit)
            events.show(sys.stdout, as_json=as_json)
        told = client.read("container_sup.events", about, kinds, since, limit)
        write(told, sys.stdout, as_json=as_json)
    finally:
        client.close()
    return 0


def _json(event: Event) -> str:
    return msgspec.json.encode(event).decode()


def _line(event: Event) -> str:
    cells = {title: cell(event) for title, cell in columns(event).items()}
    words = (printable(cells[title]).ljust(WIDTHS.get(title, 0)) for title in cells)
    return "  ".join(words).rstrip()


def _is_left(stream: TextIO) -> bool:
    """Tell whether a stream is a pipe that nobody reads any more."""
    poll = select.poll()
    poll.register(stream.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))
