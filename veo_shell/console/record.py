"""`--record`: a session written as it is seen, for `veo check-session` to replay."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from veo_shell.console import failure, render
from veo_shell.console.transcript import PROMPT, STACK, TRACEBACK, as_said
from veo_shell.errors import UsageError, VeoError

CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


class Record:
    """Writes inputs and what they say to a file: no colour, no column cut.

    Where that cannot be written any more, as on a full disk, it says so once, and the
    session goes on without it.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            self._file = Path(path).open("w", encoding="utf-8")  # noqa: SIM115
        except OSError as exc:
            raise UsageError(f"cannot write {path}: {exc.strerror}") from exc
        self._is_listening = self._is_broken = False
        self._margin, self._begun = "", ""

    def close(self) -> None:
        """End the record."""
        with self._unbroken():
            self._file.close()

    def write(self, text: str) -> None:
        """Write what is seen, each line once it is whole."""
        *lines, self._begun = CODES.sub("", self._begun + text).split("\n")
        self._put("".join(f"{as_said(line, self._margin)}\n" for line in lines))

    def line(self, text: str) -> None:
        """Write lines."""
        self.write(f"{text}\n")

    def _begin(self, typed: str) -> None:
        """Write an input as it stands behind its prompt."""
        self._put(f"{CODES.sub('', typed)}\n")
        found = PROMPT.match(typed.partition("\n")[0])
        self._margin = " " * (len(found[1]) + 1) if found else ""

    def _put(self, text: str) -> None:
        with self._unbroken():
            if not self._is_broken:
                self._file.write(text)
                self._file.flush()

    @contextlib.contextmanager
    def _unbroken(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            if not self._is_broken:
                self._is_broken = True
                said = f"cannot write {self._path}: {exc.strerror}"
                sys.stderr.write(f"{said}: the rest is not recorded\n")

    @contextlib.contextmanager
    def step(self, typed: str) -> Iterator[None]:
        """Write an input, what is printed meanwhile, and the error that ends it."""
        self._begin(typed)
        with (
            self._listening(True),
            contextlib.redirect_stdout(_Heard(sys.stdout, self)),
            contextlib.redirect_stderr(_Heard(sys.stderr, self)),
        ):
            try:
                yield
            except VeoError as exc:
                self.line(failure.message(exc))
                raise
            except Exception as exc:
                self.failed(exc)
                raise

    def failed(self, error: BaseException) -> None:
        """Write an error that is none of VEO's, without its stack."""
        import traceback

        last = "".join(traceback.format_exception_only(error)).rstrip()
        self.line(f"{TRACEBACK}\n{STACK}\n{failure.printed(last)}")

    def showing(self, value: Any) -> None:
        """Write a value that is about to be shown, as a pipe would get it.

        What goes on until Ctrl-C says something else each time: `…`.
        """
        if render.is_live(value) or render.is_endless(value):
            self.line("…")
        elif value is not None:
            self.line(render.text(value))
        self._is_listening = False  # to the end of the step

    def hear(self, text: str) -> None:
        """Write what is printed, unless it is written otherwise."""
        if self._is_listening:
            self.write(text)

    @contextlib.contextmanager
    def _listening(self, to_what_is_printed: bool) -> Iterator[None]:
        before, self._is_listening = self._is_listening, to_what_is_printed
        try:
            yield
        finally:
            self._is_listening = before
            if self._begun:  # what is typed next has a line of its own
                self.line("")


class _Heard(io.TextIOBase):
    """A stream whose text is written to a record, too."""

    def __init__(self, stream: TextIO, record: Record) -> None:
        self._stream = stream
        self._record = record

    def write(self, text: str) -> int:
        self._record.hear(text)
        return self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()
