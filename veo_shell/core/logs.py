"""Lines of containers' logs: from Docker's bytes, each once, and in order of time."""

from __future__ import annotations

import calendar
import heapq
import math
import re
from collections import Counter, deque
from collections.abc import Iterable

import attrs

from veo_shell.core.frames import STDOUT, Frames

LINE_BYTES = 64 * 1024
"""A line that is longer comes in pieces."""
HELD_CHARACTERS = 256 * 1024
"""So much of an instance may wait to be merged before no more of it is asked for."""

VEO = "veo"
"""The stream of what VEO itself says in between."""

STAMP = re.compile(rb"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)\.(\d{9})Z ")
STAMP_BYTES = len("2026-01-01T00:00:00.000000000Z")


@attrs.frozen(kw_only=True)
class LogLine:
    """One line of a container's output.

    `at` is the engine's time of it, UTC to the nanosecond; such texts sort by time.
    `stream`: stdout or stderr; veo where it is VEO that has to say something.
    """

    at: str
    instance: str
    stream: str
    text: str


@attrs.frozen(kw_only=True)
class Position:
    """How far a log was read: the time of the last message, and how many had it."""

    at: str = ""
    count: int = 0

    @property
    def since(self) -> str:
        """Return it as Docker's `since`: seconds since 1970; it returns those as well.

        Of the messages of that very time the reader knows how many it has had.
        """
        found = STAMP.fullmatch(f"{self.at} ".encode())
        if found is None:
            return ""
        whole_s = calendar.timegm((*(int(found[n]) for n in range(1, 7)), 0, 0, 0))
        return f"{whole_s}.{found[7].decode()}"


class LogReader:
    """Makes lines of one container's log, asked for with timestamps.

    `after`: where the reader before this one was; what that one had is left out.
    """

    def __init__(
        self, instance: str, *, is_tty: bool = False, after: Position | None = None
    ) -> None:
        self._instance = instance
        self._frames = Frames(is_tty=is_tty)
        self._is_tty = is_tty
        self._after = after or Position()
        self._again = 0
        self._at, self._count = self._after.at, self._after.count
        self._begun: dict[str, tuple[str, bytes]] = {}
        self._raw = b""

    @property
    def position(self) -> Position:
        """Return how far it has read."""
        return Position(at=self._at, count=self._count)

    def feed(self, data: bytes) -> list[LogLine]:
        """Return the lines that are complete now."""
        lines: list[LogLine] = []
        for stream, piece in self._frames.feed(data):
            if self._is_tty:
                for message in self._messages(piece):
                    self._take(stream, message, lines)
            else:
                self._take(stream, piece, lines)
        return lines

    def end(self) -> list[LogLine]:
        """Return what is left: the log goes on no more, or breaks off here."""
        lines: list[LogLine] = []
        if self._raw:
            self._take(STDOUT, self._raw, lines)
        for stream, (at, text) in self._begun.items():
            lines.append(self._line(at, stream, text))
        self._raw, self._begun = b"", {}
        return lines

    def _messages(self, data: bytes) -> Iterable[bytes]:
        """Part what came of a terminal, which is not framed, into lines."""
        *whole, self._raw = (self._raw + data).split(b"\n")
        for line in whole:
            yield line.removesuffix(b"\r") + b"\n"
        while len(self._raw) > LINE_BYTES + STAMP_BYTES:
            # What follows of it has no time of its own, and is taken for as old.
            yield self._raw[: LINE_BYTES + STAMP_BYTES]
            self._raw = self._raw[LINE_BYTES + STAMP_BYTES :]

    def _take(self, stream: str, message: bytes, lines: list[LogLine]) -> None:
        stamp = STAMP.match(message)
        at = message[:STAMP_BYTES].decode() if stamp else self._at
        if stamp and self._was_had(at):
            return
        text = message[STAMP_BYTES + 1 :] if stamp else message
        begun_at, begun = self._begun.pop(stream, (at, b""))
        whole = begun + text
        if whole.endswith(b"\n"):
            lines.append(self._line(begun_at, stream, whole[:-1]))
        elif len(whole) > LINE_BYTES:
            lines.append(self._line(begun_at, stream, whole))
        else:
            self._begun[stream] = begun_at, whole

    def _was_had(self, at: str) -> bool:
        """Tell whether the reader before this one had it; else count it as had now."""
        if at < self._after.at:
            return True
        if at == self._after.at and self._again < self._after.count:
            self._again += 1
            return True
        self._count = self._count + 1 if at == self._at else 1
        self._at = at
        return False

    def _line(self, at: str, stream: str, text: bytes) -> LogLine:
        return LogLine(
            at=at,
            instance=self._instance,
            stream=stream,
            text=text.decode(errors="replace"),
        )


class Merge:
    """Puts the lines of several instances in order of their times.

    A line comes out when every instance has told of a later one, or its end. With a
    window also when it has waited for that long, or too much waits: one that says
    nothing holds up nobody. What waits is bounded by who asks no more for what
    `is_full`.
    """

    def __init__(self, window_s: float = math.inf) -> None:
        self._window_s = window_s
        self._open: set[str] = set()
        self._silent: set[str] = set()
        self._full: set[str] = set()
        self._waiting: dict[str, deque[tuple[LogLine, float]]] = {}
        self._held: Counter[str] = Counter()
        # A heap: of each instance that waits, the time of its first line.
        self._heads: list[tuple[str, str]] = []

    def add(self, instance: str) -> None:
        """Wait for an instance from now on."""
        self._open.add(instance)
        if not self._waiting.get(instance):
            self._silent.add(instance)

    def end(self, instance: str) -> None:
        """Wait for an instance no more; what it told comes out."""
        self._open.discard(instance)
        self._silent.discard(instance)

    def put(self, lines: Iterable[LogLine], now: float) -> None:
        """Take in what an instance told next."""
        for line in lines:
            waiting = self._waiting.setdefault(line.instance, deque())
            if not waiting:
                heapq.heappush(self._heads, (line.at, line.instance))
                self._silent.discard(line.instance)
            waiting.append((line, now))
            self._count(line.instance, len(line.text))

    def take(self, now: float) -> list[LogLine]:
        """Return what may come out, in order."""
        out: list[LogLine] = []
        while self._heads and (not self._silent or self.due_in_s(now) <= 0):
            _, instance = heapq.heappop(self._heads)
            waiting = self._waiting[instance]
            line, _ = waiting.popleft()
            self._count(instance, -len(line.text))
            out.append(line)
            if waiting:
                heapq.heappush(self._heads, (waiting[0][0].at, instance))
            elif instance in self._open:
                self._silent.add(instance)
            else:
                del self._waiting[instance], self._held[instance]
        return out

    @property
    def is_empty(self) -> bool:
        """Tell whether no line waits."""
        return not self._heads

    def due_in_s(self, now: float) -> float:
        """Return when the next line comes out, though others say nothing."""
        if not self._heads:
            return math.inf
        if self._full and self._window_s < math.inf:
            return 0.0
        _, arrived = self._waiting[self._heads[0][1]][0]
        return arrived + self._window_s - now

    def is_full(self, instance: str) -> bool:
        """Tell whether enough of an instance waits."""
        return instance in self._full

    def _count(self, instance: str, more: int) -> None:
        self._held[instance] += more
        if self._held[instance] > HELD_CHARACTERS:
            self._full.add(instance)
        else:
            self._full.discard(instance)
