"""`container_sup.logs` and `veo logs`: what all containers of a name say, as lines."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, TextIO, cast

from veo_shell.console.pull import Pool
from veo_shell.core.logs import VEO, LogLine, Position
from veo_shell.core.printable import printable
from veo_shell.core.scalars import Wrong, duration_ns, quoted
from veo_shell.errors import UnknownService, UsageError

if TYPE_CHECKING:
    from veo_shell.console.client import Client
    from veo_shell.core.model import Container, Service

    What = Container | Service | str

TAIL_MOST = 10_000
"""What the console lists; who wants more follows, or has `veo logs` print it."""
LOOK_S = 1.0
TAB = "\t"
COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)
SGR = re.compile(r"\\x1b(\[[0-9;]*m)")
"""What `printable` makes of a change of colour, the one thing a log may steer."""


class Lines:
    """Lines of logs in order of time, read once, as they come.

    What stands is compared with what is read, again and again: an instance that was
    started again, moved or came up is read from where it was left.
    """

    def __init__(
        self, client: Client, what: What, *, tail: int | None, follow: bool, since: str
    ) -> None:
        self._client = client
        self._what = meant(what)
        self._follow = follow
        self._is_known = True
        self._ready: deque[LogLine] = deque()
        found = self._found()
        self._look_at_s = time.monotonic() + LOOK_S
        self._pool = Pool(client, follow=follow, since=since)
        self._pool.want(found, tail)

    def __del__(self) -> None:
        # A loop over them that was left: a node has streams for few readers.
        if pool := getattr(self, "_pool", None):
            pool.leave()

    def __repr__(self) -> str:
        return "<lines as they come>"

    @property
    def has_failed(self) -> bool:
        """Tell whether something could not be read; a line says what."""
        return self._pool.has_failed

    def __iter__(self) -> Iterator[LogLine]:
        return self

    def __next__(self) -> LogLine:
        if not self._ready:
            self._ready.extend(self.batch())
        if not self._ready:
            raise StopIteration
        return self._ready.popleft()

    def batch(self) -> list[LogLine]:
        """Return the next lines, as soon as there are some; none at the end."""
        while True:
            if self._follow and time.monotonic() >= self._look_at_s:
                self._look()
            lines = self._pool.take(LOOK_S)
            if lines or (self._pool.is_over and not (self._follow and self._is_known)):
                return lines

    def close(self) -> None:
        """Read no more."""
        self._pool.close()

    def _look(self) -> None:
        """Read what came up meanwhile too, from its beginning."""
        self._look_at_s = time.monotonic() + LOOK_S
        try:
            self._pool.want(self._found(), None)
        except UnknownService:
            self._is_known = False

    def _found(self) -> list[Container]:
        found: list[Container] = self._client.read("streams.find", self._what)
        return [container for container in found if container.id]


def logs(
    client: Client,
    what: What,
    *,
    tail: int,
    follow: bool,
    since: object = None,
) -> Lines | list[LogLine]:
    """Return the last lines of all that is meant; the lines as they come to follow.

    Raises:
        UsageError: more lines are wanted than can be listed, or since when is no time.
    """
    if not isinstance(tail, int) or not 0 <= tail <= TAIL_MOST:
        raise UsageError(
            f"tail: {tail} is not from 0 to {TAIL_MOST}: `veo logs` prints more"
        )
    lines = Lines(client, what, tail=tail, follow=follow, since=docker_since(since))
    if follow:
        return lines
    try:
        return list(deque(lines, maxlen=tail))
    finally:
        lines.close()


def docker_since(since: object) -> str:
    """Return a time as Docker wants it: seconds since 1970, "" for all.

    Raises:
        UsageError: it is neither a duration, as 5m, nor seconds, nor a time.
    """
    if since is None:
        return ""
    text = str(since)
    with contextlib.suppress(Wrong):
        return f"{time.time() - duration_ns(text) / 1e9:.9f}"
    if exact := Position(at=text).since:
        return exact
    try:
        return f"{datetime.fromisoformat(text).timestamp():.6f}"
    except (ValueError, OverflowError):
        raise UsageError(
            f"since: {quoted(text)} is neither a duration (seconds, or like 5m, 1h30m) "
            "nor a time like 2026-01-31T10:00:00Z"
        ) from None


def show(
    batches: Iterable[Iterable[LogLine]], stream: TextIO, *, stamps: bool = False
) -> None:
    """Print lines as they come, each behind the name of its container."""
    is_terminal = stream.isatty()
    is_colourful = is_terminal and not os.environ.get("NO_COLOR")
    colours: dict[str, int] = {}
    for line in _flushing(batches, stream):
        colour = colours.setdefault(line.instance, COLOURS[len(colours) % len(COLOURS)])
        head = f"{line.at} {line.instance}" if stamps else line.instance
        text = f"(veo: {line.text})" if line.stream == VEO else line.text
        if is_colourful:
            stream.write(f"\x1b[{colour}m{head} |\x1b[0m {_coloured(text)}\n")
        elif is_terminal:
            stream.write(f"{head} | {printable(text, but=TAB)}\n")
        else:
            stream.write(f"{head} | {text}\n")


def print_logs(
    client: Client,
    name: str,
    *,
    tail: int | None,
    follow: bool,
    since: str | None,
    stamps: bool,
) -> int:
    """Print what a name's containers say; return the exit status."""
    lines = Lines(client, name, tail=tail, follow=follow, since=docker_since(since))
    with contextlib.closing(lines):
        batches: Iterable[Iterable[LogLine]] = iter(lines.batch, [])
        if not follow and tail is not None:
            batches = [deque(lines, maxlen=tail)]
        show(map(_own_aside, batches), sys.stdout, stamps=stamps)
        return int(lines.has_failed)


def _flushing(
    batches: Iterable[Iterable[LogLine]], stream: TextIO
) -> Iterator[LogLine]:
    for batch in batches:
        yield from batch
        stream.flush()


def _own_aside(lines: Iterable[LogLine]) -> Iterator[LogLine]:
    """Say on stderr what VEO has to say, and leave it out."""
    for line in lines:
        if line.stream == VEO:
            sys.stderr.write(f"veo: {line.instance}: {printable(line.text)}\n")
        else:
            yield line


def _coloured(text: str) -> str:
    """Return a line as a terminal may have it: colours are all that it obeys."""
    tamed = SGR.sub("\x1b\\1", printable(text, but=TAB))
    return f"{tamed}\x1b[0m" if "\x1b" in tamed else tamed


def meant(what: What) -> Service | str:
    """Return what a node is to find: a name, or one of several services of a name.

    A container that waits for a node has no name, and stands for its service.
    """
    if isinstance(what, str):
        return what
    if type(what).__name__ in ("Service", "StandingService"):
        return cast("Service", what)
    return str(getattr(what, "name", "") or getattr(what, "service", what))
