"""What is drawn again and again until Ctrl-C, or q: on a terminal in place, else once.

The screen is left as it was, and what was seen last stays below the prompt.
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import shutil
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from typing import TextIO

from veo_shell.console import failure, fold, render
from veo_shell.errors import UsageError, VeoError

ENTER, LEAVE = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J", "\x1b[?7h\x1b[?25h\x1b[?1049l"
"""Another screen without a cursor, whose lines are cut; and back."""
EVERY_LEAST_S = 0.1

Frame = Callable[[], str]


def every_s(every: object) -> float:
    """Return the seconds between two frames, if that is a number of such."""
    if isinstance(every, int | float) and every >= EVERY_LEAST_S:
        return float(every)
    raise UsageError(f"every: {every!r} is no number of seconds from {EVERY_LEAST_S}")


def show(frame: Frame, stream: TextIO, every: float) -> None:
    """Draw what `frame` returns again and again, until Ctrl-C or q; else print it."""
    if not stream.isatty() or render.is_dumb():
        stream.write(f"{frame()}\n")
        return
    screen = Screen(stream)
    with contextlib.suppress(KeyboardInterrupt), screen:
        screen.draw(made(frame))
        while not screen.is_left(every):
            screen.draw(made(frame))
    stream.write(f"{screen.last}\n")
    stream.flush()


def made(frame: Frame) -> str:
    """Return a frame; a node that is away may be there at the next."""
    try:
        return frame()
    except UsageError:
        raise
    except VeoError as exc:
        width = shutil.get_terminal_size().columns
        return "\n".join(fold.words(failure.message(exc), width))


class Screen(contextlib.AbstractContextManager["Screen"]):
    """The whole terminal; only lines that changed are written, for slow ones."""

    def __init__(self, stream: TextIO) -> None:
        self.last = ""
        self._stream = stream
        self._drawn: list[str] = []
        self._size = (0, 0)

    def __enter__(self) -> Screen:
        self._keys = sys.stdin if sys.stdin.isatty() else None
        if self._keys:
            self._was = termios.tcgetattr(self._keys)
            tty.setcbreak(self._keys)
        self._stream.write(ENTER)
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.write(LEAVE)
        self._stream.flush()
        if self._keys:
            termios.tcsetattr(self._keys, termios.TCSADRAIN, self._was)

    def is_left(self, within_s: float) -> bool:
        """Wait so long; tell whether somebody typed q meanwhile."""
        end_s = time.monotonic() + within_s
        while (left_s := end_s - time.monotonic()) > 0:
            if self._keys is None:
                time.sleep(left_s)
            elif select.select([self._keys], [], [], left_s)[0]:
                typed = os.read(self._keys.fileno(), 1024)
                if b"q" in typed or not typed:
                    return True
        return False

    def draw(self, text: str) -> None:
        """Draw lines, as many as fit."""
        self.last = text
        size = shutil.get_terminal_size()
        if size != self._size:
            self._stream.write("\x1b[2J")
            self._drawn, self._size = [], size
        lines = self._fitting(text.splitlines())
        for number, line in enumerate(lines):
            if self._drawn[number : number + 1] != [line]:
                self._stream.write(f"\x1b[{number + 1};1H{line}\x1b[0m\x1b[K")
        if len(lines) < len(self._drawn):
            self._stream.write(f"\x1b[{len(lines) + 1};1H\x1b[J")
        self._drawn = lines
        self._stream.flush()

    def _fitting(self, lines: list[str]) -> list[str]:
        room = self._size[1] - 1
        if len(lines) <= room:
            return lines
        return [*lines[: room - 1], f"… {len(lines) - room + 1} more lines"]


class Drawn(io.StringIO):
    """Takes what is drawn for a terminal, to draw it there later."""

    def isatty(self) -> bool:
        return True


@contextlib.contextmanager
def drawn_for(stream: TextIO) -> Iterator[io.StringIO]:
    """Have a place to draw a value in the way that it is drawn there."""
    yield Drawn() if stream.isatty() and not render.is_dumb() else io.StringIO()
