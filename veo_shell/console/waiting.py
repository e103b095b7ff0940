"""What a call that takes long is at: one line, which goes away as it returns."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from veo_shell.core.printable import printable
from veo_shell.errors import VeoError

if TYPE_CHECKING:
    from veo_shell.console.client import Client

AFTER_S = 1.0
EVERY_S = 0.2
ERASED = "\r\x1b[K"
DIM, USUAL = "\x1b[2m", "\x1b[0m"


class Waiting:
    """Tells on a terminal what happens in the cluster while a verb is called."""

    def __init__(self, client: Client, stream: TextIO) -> None:
        self._client = client
        self._stream = stream

    @contextlib.contextmanager
    def during(self, verb: str, args: Sequence[Any]) -> Iterator[None]:
        """Tell, if it takes more than a second, what happens meanwhile."""
        teller = _Teller(self._client, self._stream, verb, _about(args))
        teller.start()
        try:
            yield
        finally:
            teller.end()


class _Teller(threading.Thread):
    """Writes a line anew and anew; after `end` nothing more."""

    def __init__(
        self, client: Client, stream: TextIO, verb: str, about: str | None
    ) -> None:
        super().__init__(name="waiting", daemon=True)
        self._client = client
        self._stream = stream
        self._verb = verb
        self._about = about
        self._begun_s = time.monotonic()
        self._last = ""
        self._is_shown = False
        self._ended = threading.Event()
        self._writing = threading.Lock()

    def end(self) -> None:
        """Take the line away."""
        with self._writing:
            self._ended.set()
            if self._is_shown:
                self._stream.write(ERASED)
                self._stream.flush()

    def run(self) -> None:
        if self._ended.wait(AFTER_S):
            return
        threading.Thread(target=self._listen, name="news", daemon=True).start()
        while True:
            self._write()
            if self._ended.wait(EVERY_S):
                return

    def _write(self) -> None:
        for_s = time.monotonic() - self._begun_s
        line = f"{self._verb}: {for_s:.0f} s, Ctrl-C cancels"
        line = printable(f"{line}; {self._last}" if self._last else line)
        columns = shutil.get_terminal_size().columns
        dim, usual = ("", "") if os.environ.get("NO_COLOR") else (DIM, USUAL)
        with self._writing:
            if not self._ended.is_set():
                self._stream.write(f"{ERASED}{dim}{line[: columns - 1]}{usual}")
                self._stream.flush()
                self._is_shown = True

    def _listen(self) -> None:
        """Note what happens to what the verb is about, or in the cluster."""
        with (
            contextlib.closing(self._client.another()) as client,
            contextlib.suppress(VeoError),
        ):
            cursor = ""
            while not self._ended.is_set():
                told = client.read("event_log.after", cursor, self._about)
                cursor = told["cursor"]
                for event in told["events"]:
                    self._last = event.text


def _about(args: Sequence[Any]) -> str | None:
    """Return the name of what the verb is about, None where it has none."""
    first = args[0] if args else None
    name = first if isinstance(first, str) else getattr(first, "name", None)
    return name if isinstance(name, str) and name else None
