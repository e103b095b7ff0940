"""`container_sup.exec` and `veo exec`: a command in a container, wherever that is."""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import shutil
import signal
import sys
import termios
import threading
import tty
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, BinaryIO

import attrs

from veo_shell.console.logs import meant
from veo_shell.console.relay import chunks
from veo_shell.core.frames import STDERR, STDOUT, Frames, Piece
from veo_shell.errors import (
    EngineError,
    NodeUnreachable,
    PeerUnreachable,
    ReadOnly,
    StreamLost,
    UsageError,
    VeoError,
)

if TYPE_CHECKING:
    from veo_shell.console.client import Client
    from veo_shell.core.model import Container, Service

    What = Container | Service | str

OUTPUT_MOST_BYTES = 1024 * 1024
TYPED_BYTES = 32 * 1024
LEAVE_S = 1.0
RESIZED, DONE = b"r", b"q"


@attrs.frozen(kw_only=True)
class Executed:
    """How a command ended. `output`: what it said, on both; `cut`: it said more."""

    exit_code: int
    output: str
    cut: bool = False


class Running:
    """A command that runs in a container; `close` it when it is not read any more."""

    def __init__(
        self,
        client: Client,
        what: What,
        command: Sequence[str],
        *,
        tty: bool = False,
        stdin: bool = False,
    ) -> None:
        self._client = client
        container: Container = client.read("streams.one", meant(what))
        self.node = container.node
        self.stream = os.urandom(16).hex()
        self._frames = Frames(is_tty=tty)
        asked = self.stream, container.id, list(command), tty, stdin
        try:
            client.call("streams.exec", self.node, *asked)
        except ReadOnly as exc:  # it names the verb that nobody calls here
            said = str(exc).replace("streams.exec", "container_sup.exec")
            raise ReadOnly(said) from None
        except BaseException:  # Ctrl-C too, while it begins
            self.close()
            raise

    def pieces(self) -> Iterator[Piece]:
        """Yield what it says, as (output, bytes), to its end."""
        for data in chunks(self._client, self.node, self.stream):
            yield from self._frames.feed(data)

    def exit_code(self) -> int:
        """Return how it ended, once it has."""
        code: int = self._client.read("streams.exit_code", self.node, self.stream)
        return code

    def close(self) -> None:
        """Read no more."""
        with contextlib.suppress(VeoError):  # it ends by itself, later
            self._client.read("streams.close", self.node, [self.stream])


def run(client: Client, what: What, command: str | Sequence[str]) -> Executed:
    """Run a command; return how it ended, and the first of what it said."""
    kept, cut = bytearray(), False
    with contextlib.closing(Running(client, what, _words(command))) as running:
        for _, piece in running.pieces():
            cut = cut or len(kept) + len(piece) > OUTPUT_MOST_BYTES
            kept += piece[: OUTPUT_MOST_BYTES - len(kept)]
        return Executed(
            exit_code=running.exit_code(),
            output=kept.decode(errors="replace"),
            cut=cut,
        )


def attach(
    client: Client, what: What, command: Sequence[str], *, terminal: bool, stdin: bool
) -> int:
    """Run a command with our own streams; return its exit status."""
    if terminal and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("-t: stdin and stdout are no terminal: leave it out")
    running = Running(client, what, command, tty=terminal, stdin=stdin)
    outputs = {STDOUT: sys.stdout.buffer, STDERR: sys.stderr.buffer}
    with contextlib.ExitStack() as held:
        held.callback(running.close)
        if terminal:
            held.enter_context(_raw(sys.stdin.fileno()))
        if terminal or stdin:
            held.enter_context(_Input(client, running, terminal, stdin))
        for output, piece in running.pieces():
            _put(outputs[output], piece)
        return running.exit_code()


class _Input(contextlib.AbstractContextManager[None]):
    """A thread that passes on what is typed, and how large the terminal is."""

    def __init__(
        self, client: Client, running: Running, terminal: bool, stdin: bool
    ) -> None:
        self._client = client
        self._running = running
        self._terminal = terminal
        self._stdin = [sys.stdin.fileno()] if stdin else []
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        self._thread = threading.Thread(target=self._run, name="stdin", daemon=True)
        self._before: Any = signal.SIG_DFL

    def __enter__(self) -> None:
        if self._terminal:
            self._before = signal.signal(signal.SIGWINCH, self._resized)
            self._tell(RESIZED)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        if self._terminal:
            signal.signal(signal.SIGWINCH, self._before)
        self._tell(DONE)
        self._thread.join(LEAVE_S)

    def _resized(self, number: int, frame: FrameType | None) -> None:
        self._tell(RESIZED)

    def _tell(self, what: bytes) -> None:
        with contextlib.suppress(BlockingIOError):  # it is told enough already
            os.write(self._wake, what)

    def _run(self) -> None:
        # The other thread sees what became of the command, and says so.
        with (
            contextlib.closing(self._client.another()) as client,
            contextlib.suppress(EngineError, StreamLost, NodeUnreachable),
        ):
            self._pass_on(client)

    def _pass_on(self, client: Client) -> None:
        number = 0
        while True:
            ready, _, _ = select.select([self._woken, *self._stdin], [], [])
            if self._woken in ready:
                if self._is_done(client):
                    return
            elif data := _typed(ready[0]):
                number += 1
                if not self._write(client, number, data):
                    return
            else:
                self._stdin = []
                self._end_input(client)

    @property
    def _whose(self) -> tuple[str, str]:
        return self._running.node, self._running.stream

    def _write(self, client: Client, number: int, data: bytes) -> bool:
        """Pass on what is typed as soon as it is taken; return False at the end."""
        while not self._is_done(client):
            with contextlib.suppress(PeerUnreachable):
                if client.call("streams.write", *self._whose, number, data):
                    return True
        return False

    def _end_input(self, client: Client) -> None:
        while not self._is_done(client):
            with contextlib.suppress(PeerUnreachable):
                client.call("streams.end_input", *self._whose)
                return

    def _is_done(self, client: Client) -> bool:
        """Tell whether the command has ended; tell it how large the terminal is now."""
        ready, _, _ = select.select([self._woken], [], [], 0)
        told = os.read(self._woken, TYPED_BYTES) if ready else b""
        if RESIZED in told and DONE not in told:
            self._resize(client)
        return DONE in told

    def _resize(self, client: Client) -> None:
        columns, rows = shutil.get_terminal_size()
        with contextlib.suppress(EngineError, PeerUnreachable):  # it has ended just now
            client.call("streams.resize", *self._whose, rows, columns)


@contextlib.contextmanager
def _raw(terminal: int) -> Iterator[None]:
    """Have a terminal pass on each key, Ctrl-C too; as it was whatever happens."""
    was = termios.tcgetattr(terminal)
    before = {n: signal.signal(n, _leave) for n in (signal.SIGTERM, signal.SIGHUP)}
    try:
        tty.setraw(terminal, termios.TCSADRAIN)
        yield
    finally:
        with contextlib.suppress(termios.error):  # it was closed
            termios.tcsetattr(terminal, termios.TCSADRAIN, was)
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def _typed(source: int) -> bytes:
    try:
        return os.read(source, TYPED_BYTES)
    except OSError:  # the terminal was closed
        return b""


def _put(stream: BinaryIO, data: bytes) -> None:
    stream.write(data)
    stream.flush()


def _words(command: str | Sequence[str]) -> list[str]:
    words: list[Any]
    try:
        words = shlex.split(command) if isinstance(command, str) else list(command)
    except ValueError as exc:  # a quotation without end
        raise UsageError(f"exec: {command!r}: {exc}") from None
    except TypeError:
        words = [command]
    if not all(isinstance(word, str) for word in words):
        raise UsageError(f"exec: {command!r} is no command: a text, or a list of texts")
    if not words:
        raise UsageError("exec: what is to be run?")
    return words
