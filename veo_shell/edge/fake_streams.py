"""Logs and commands of the engine in memory: the contract of a real Docker's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import attrs

from veo_shell.core.frames import STDOUT, framed
from veo_shell.core.logs import Position
from veo_shell.errors import EngineError

if TYPE_CHECKING:
    from veo_shell.edge.fake_engine import FakeContainer, Program

ECHO = ("cat",)
UNKNOWN = 127


@attrs.frozen
class Message:
    """What a container said at a time."""

    at: str
    output: str
    data: bytes

    def stamped(self) -> bytes:
        """Return it as Docker's log has it."""
        return framed(self.output, f"{self.at} ".encode() + self.data)


class FakeStreams:
    """What the fake engine's containers have said, and the commands run in them.

    A command does what the engine's `programs` say of it; `cat` echoes; any other is
    not found. `find` returns a container, or raises.
    """

    def __init__(
        self,
        find: Callable[[str], FakeContainer],
        programs: Mapping[tuple[str, ...], Program],
    ) -> None:
        self._find = find
        self._programs = programs
        self._said: dict[str, list[Message]] = {}
        self._followers: dict[str, list[FakeOutput]] = {}
        self._number = 0

    async def logs(
        self, container_id: str, *, since: str, tail: int | None, follow: bool
    ) -> FakeOutput:
        """Have a container's log, with the time of each message."""
        container = self._find(container_id)
        said = self._said.get(container.id, [])
        from_s = float(since or 0)
        newer = [m for m in said if float(Position(at=m.at).since) >= from_s]
        output = FakeOutput()
        for message in newer if tail is None else newer[len(newer) - tail :]:
            output.say(message.stamped())
        if follow and container.running:
            self._followers.setdefault(container.id, []).append(output)
        else:
            output.end()
        return output

    async def exec(
        self, container_id: str, command: Sequence[str], *, tty: bool, stdin: bool
    ) -> FakeDialogue:
        """Run a command in a container that runs."""
        container = self._find(container_id)
        if not container.running:
            raise EngineError(f"container {container.id} is not running", status=409)
        dialogue = FakeDialogue(is_tty=tty)
        program = self._programs.get(tuple(command))
        if program is not None:
            for output, text in program.says:
                dialogue.tell(output, text.encode())
            if program.exits is not None:
                dialogue.finish(program.exits)
        elif tuple(command) != ECHO:
            dialogue.tell(STDOUT, f"exec: {command[0]}: not found\r\n".encode())
            dialogue.finish(UNKNOWN)
        elif not stdin:
            dialogue.finish(0)
        return dialogue

    # What a test, and the engine, do to it

    def say(self, container_id: str, text: str, output: str = STDOUT) -> None:
        """Have a container say something now: a line, or a piece of one."""
        self._number += 1
        whole_s, part = divmod(self._number, 1000)
        at = f"2026-01-01T00:{whole_s // 60:02}:{whole_s % 60:02}.{part:03}000000Z"
        message = Message(at, output, text.encode())
        self._said.setdefault(container_id, []).append(message)
        for follower in self._followers.get(container_id, ()):
            follower.say(message.stamped())

    def ended(self, container_id: str, error: EngineError | None = None) -> None:
        """End the logs that followed a container; with an `error` they break off."""
        for follower in self._followers.pop(container_id, ()):
            follower.end(error)

    def cut(self) -> None:
        """End every log that follows: the engine goes away."""
        for container_id in list(self._followers):
            self.ended(container_id)


class FakeOutput:
    """A stream in memory."""

    is_tty = False

    def __init__(self) -> None:
        self._news = asyncio.Event()
        self._data = bytearray()
        self._ended = False
        self._error: EngineError | None = None
        self.is_closed = False

    async def read(self, most_bytes: int) -> bytes:
        """Return what comes next, b"" at the end."""
        while not self._data and not self._ended:
            self._news.clear()
            await self._news.wait()
        if self._error is not None and not self._data:
            raise self._error
        data = bytes(self._data[:most_bytes])
        del self._data[:most_bytes]
        return data

    def close(self) -> None:
        """Read no more."""
        self.is_closed = True
        self._data.clear()
        self.end()

    def say(self, data: bytes) -> None:
        """Have this come next."""
        if not self._ended:
            self._data += data
            self._news.set()

    def end(self, error: EngineError | None = None) -> None:
        """Have nothing more come, or this fail."""
        self._ended, self._error = True, error
        self._news.set()


class FakeDialogue(FakeOutput):
    """A command in memory: it says again what it is told, until it is told no more."""

    def __init__(self, *, is_tty: bool) -> None:
        super().__init__()
        self.is_tty = is_tty
        self.size = (0, 0)
        self._code: int | None = None

    async def write(self, data: bytes) -> None:
        """Pass to its stdin; a terminal shows it besides."""
        self.tell(STDOUT, data)

    def end_input(self) -> None:
        """Tell it that nothing more comes."""
        self.finish(0)

    async def resize(self, rows: int, columns: int) -> None:
        """Tell its terminal how large it is."""
        self.size = (rows, columns)

    async def exit_code(self) -> int:
        """Return its exit code."""
        if self._code is None:
            raise EngineError("the command's output ended, and it runs on")
        return self._code

    def tell(self, output: str, data: bytes) -> None:
        """Have it say something."""
        self.say(data if self.is_tty else framed(output, data))

    def finish(self, code: int) -> None:
        """End it."""
        if self._code is None:
            self._code = code
        self.end()
