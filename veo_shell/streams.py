"""What containers say and are told, read bit by bit from whatever node asks.

Nothing is pushed. A reader asks for the next bytes, and gets those since it asked last,
or none after a second; a reader that is slow, or gone, holds up nobody, and what it
does not ask for stays with the engine. Each answer is kept until the next one is asked
for by its number: one that the mesh loses is asked for again, and nothing is missing.
"""

from __future__ import annotations

import asyncio
import difflib
import functools
import uuid
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from veo_shell.core import protocols, verbs
from veo_shell.core.membership import GONE
from veo_shell.core.model import Container, Service
from veo_shell.core.scalars import shown
from veo_shell.core.variants import is_just
from veo_shell.errors import (
    AmbiguousContainer,
    EngineError,
    Refused,
    StreamLost,
    UnknownContainer,
    UnknownService,
    UsageError,
)

if TYPE_CHECKING:
    from veo_shell.node import Node

CHUNK_BYTES = 256 * 1024
ANSWER_BYTES = 512 * 1024
"""Of all streams together: a frame of the mesh takes a mebibyte."""
WAIT_S = 1.0
"""So long an answer waits for something to tell; the asker's own time-out is longer."""
IDLE_S = 30.0
"""A stream that nobody asked for so long is closed: its reader went without a word."""
MOST = 64
FIRST_PROTOCOL = 2
"""What a node speaks that has this."""
LOST = "the stream is lost: its node was started anew, or nobody read it for long"

Work = Callable[..., Coroutine[Any, Any, Any]]
F = TypeVar("F", bound=Work)


def _there(work: F) -> F:
    """Have a verb, whose first argument is a node, done by that one."""

    @functools.wraps(work)
    async def done(self: Streams, node: str, *args: Any) -> Any:
        if node == self.me:
            return await work(self, node, *args)
        return await self.call(node, work.__name__, *args)

    return done  # type: ignore[return-value]


class Streams:
    """The streams of this node's containers, and the way to those of the others."""

    def __init__(
        self, node: Node, engine: protocols.Streams, idle_s: float = IDLE_S
    ) -> None:
        self._node = node
        self._engine = engine
        self._idle_s = idle_s
        self._open: dict[str, _Open] = {}

    @property
    def me(self) -> str:
        """Return this node's name."""
        return self._node.config.name

    async def call(self, node: str, verb: str, *args: Any) -> Any:
        """Have another node do it."""
        head = self._node.machine.view.head(node)
        if head is not None and head.protocol < FIRST_PROTOCOL:
            raise Refused(
                f"{node} runs an older VEO, which has neither logs nor exec: upgrade it"
            )
        return await self._node.peers.call(node, f"streams.{verb}", node, *args)

    def stop(self) -> None:
        """Close all that is open."""
        for stream in list(self._open):
            self._end(stream)

    # What there is to talk with

    @verbs.read
    def find(self, what: Container | Service | str) -> list[Container]:
        """Return the containers that are meant: all of a service, or the one.

        Raises:
            UnknownService: nothing is called so.
        """
        name = what if isinstance(what, str) else what.name
        containers = [c for c in self._node.machine.view.containers() if self._is(c)]
        if isinstance(what, str | Service):
            services = [r for r in self._node.machine.view.named(name) if r.service]
            found = [c for c in containers if c.service == name]
            if isinstance(what, Service):
                uids = {r.uid for r in services if is_just(what, r)}
                found = [c for c in found if c.uid in uids]
            if found or services:
                return sorted(found, key=lambda c: (c.uid, c.slot, c.name))
        found = [c for c in containers if name and name in (c.name, c.id, c.id[:12])]
        if not found:
            raise UnknownService(self._unknown(name, containers))
        return found

    @verbs.read
    def one(self, what: Container | Service | str) -> Container:
        """Return the one container that is meant, which runs.

        Raises:
            AmbiguousContainer: it could be several.
            UnknownContainer: it is none, or does not run.
        """
        found = self.find(what)
        running = [c for c in found if c.is_up]
        if len(running) == 1:
            return running[0]
        name = what if isinstance(what, str) else what.name
        if running:
            told = ", ".join(f"{c.name} ({c.node})" for c in running)
            raise AmbiguousContainer(
                f"{len(running)} containers of {name!r} run, say which: {told}",
                containers=[c.name for c in running],
            )
        told = ", ".join(f"{c.name}: {c.reason or c.state.value}" for c in found)
        raise UnknownContainer(
            f"{name!r} does not run ({told or 'it has no container yet'})"
        )

    # Streams, of the node named first

    @verbs.read
    @_there
    async def logs(
        self, node: str, container: str, since: str, tail: int | None, follow: bool
    ) -> list[Any]:
        """Open a container's log, by its Docker id; return `[stream, has a terminal]`.

        `since` is Docker's: seconds since 1970, "" for all.
        """
        self._check(container)
        output = await self._engine.logs(
            container, since=since, tail=tail, follow=follow
        )
        stream = uuid.uuid4().hex
        self.hold(stream, output)
        return [stream, output.is_tty]

    @verbs.write
    @_there
    async def exec(
        self,
        node: str,
        stream: str,
        container: str,
        command: list[str],
        tty: bool,
        stdin: bool,
    ) -> None:
        """Run a command in a container, by its Docker id.

        `stream`: what its stream is to be called, so that who asks can close it before
        it has the answer.
        """
        self._check(container)
        dialogue = await self._engine.exec(container, command, tty=tty, stdin=stdin)
        self.hold(stream, dialogue, dialogue)

    @verbs.read
    @_there
    async def read(self, node: str, wanted: list[list[Any]]) -> list[list[Any]]:
        """Return what comes next of some streams, as soon as there is some of one.

        `wanted` is `[stream, number]` of each: 1, and one more for each answer that
        came. The answer is `[stream, bytes, whether that was all, why it broke off]`
        of those that have something.
        """
        loop = asyncio.get_running_loop()
        held = {str(s): self._open.get(str(s)) for s, _ in wanted}
        fills = {
            str(s): loop.create_task(one.fill(int(number)))
            for s, number in wanted
            if (one := held[str(s)]) is not None
        }
        lost = [[s, b"", True, LOST] for s, one in held.items() if one is None]
        try:
            await _first(fills.values(), 0 if lost else WAIT_S)
        finally:
            for one in held.values():
                self._touch(one)
        answer, size = lost, 0
        for stream, task in fills.items():
            one = held[stream]
            assert one is not None
            if task.cancelled():
                continue
            task.result()
            if size + len(one.chunk) <= ANSWER_BYTES:
                size += len(one.chunk)
                answer.append([stream, one.chunk, one.is_over, one.reason])
        return answer

    @verbs.write
    @_there
    async def write(self, node: str, stream: str, number: int, data: bytes) -> bool:
        """Pass bytes to a command; return False if it takes none just now.

        `number`: 1, and one more for each that was taken.
        """
        one = self._held(stream)
        self._touch(one)
        return await one.write(number, data)

    @verbs.write
    @_there
    async def end_input(self, node: str, stream: str) -> None:
        """Tell a command that nothing more comes."""
        self._held(stream).dialogue.end_input()

    @verbs.write
    @_there
    async def resize(self, node: str, stream: str, rows: int, columns: int) -> None:
        """Tell a command's terminal how large it is."""
        await self._held(stream).dialogue.resize(rows, columns)

    @verbs.read
    @_there
    async def exit_code(self, node: str, stream: str) -> int:
        """Return the exit code of a command that has said all."""
        return await self._held(stream).dialogue.exit_code()

    @verbs.read
    @_there
    async def close(self, node: str, streams: list[str]) -> None:
        """Close streams; those that are closed already are fine."""
        for stream in streams:
            self._end(stream)

    def _is(self, container: Container) -> bool:
        """Tell whether a container is where it can be asked for, or may be again."""
        return self._node.machine.members.status(container.node) not in GONE

    def _unknown(self, name: str, containers: list[Container]) -> str:
        services = [
            r.service.name for r in self._node.machine.view.services() if r.service
        ]
        near = difflib.get_close_matches(
            name, [*services, *(c.name for c in containers)], 1
        )
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"no service or container is called '{shown(name)}'{hint}"

    def _check(self, container: str) -> None:
        """Refuse what is no container of this node's, or one too many."""
        own = self._node.machine.view.containers(self.me)
        if not any(container and c.id == container for c in own):
            raise UnknownContainer(
                f"{self.me} has no container {shown(container[:12])} any more"
            )
        if len(self._open) >= MOST:
            raise Refused(
                f"{self.me}: {MOST} logs and commands are open there: end some of them"
            )

    def holds(self, stream: str) -> bool:
        """Tell whether a stream is open."""
        return stream in self._open

    def hold(
        self,
        stream: str,
        output: protocols.Output,
        dialogue: protocols.Dialogue | None = None,
    ) -> None:
        """Have a stream to be read, until it is closed, or not read for long."""
        self._end(stream)
        one = self._open[stream] = _Open(stream, output, dialogue)
        self._touch(one)

    def _held(self, stream: str) -> _Open:
        if stream not in self._open:
            raise StreamLost(LOST)
        return self._open[stream]

    def _touch(self, one: _Open | None) -> None:
        """Have a stream end once nobody has asked for it for long."""
        if one is None or one.name not in self._open:
            return
        if one.timer is not None:
            one.timer.cancel()
        one.timer = asyncio.get_running_loop().call_later(
            self._idle_s, self._end, one.name
        )

    def _end(self, stream: str) -> None:
        if (one := self._open.pop(stream, None)) is not None:
            if one.timer is not None:
                one.timer.cancel()
            one.output.close()


class _Open:
    """A stream that is open, with the answer that may have to be given again."""

    def __init__(
        self, name: str, output: protocols.Output, dialogue: protocols.Dialogue | None
    ) -> None:
        self.name = name
        self.output = output
        self.timer: asyncio.TimerHandle | None = None
        self.chunk = b""
        self.is_over = False
        self.reason = ""
        self._dialogue = dialogue
        self._number = 0
        self._written = 0
        self._reading = asyncio.Lock()
        self._writing = asyncio.Lock()

    @property
    def dialogue(self) -> protocols.Dialogue:
        """Return the command; raise `UsageError` where it is a log."""
        if self._dialogue is None:
            raise UsageError("it is a log: there is nothing to tell it")
        return self._dialogue

    async def fill(self, number: int) -> None:
        """Have the answer of this number, which ends the one before."""
        async with self._reading:
            if number <= self._number or self.is_over:
                return
            try:
                self.chunk = await self.output.read(CHUNK_BYTES)
            except EngineError as exc:
                self.chunk, self.reason = b"", str(exc)
            self._number = number
            self.is_over = not self.chunk

    async def write(self, number: int, data: bytes) -> bool:
        """Pass the bytes of this number, once; return False where it takes none."""
        async with self._writing:
            if number <= self._written:
                return True
            try:
                async with asyncio.timeout(WAIT_S):
                    await self.dialogue.write(data)
            except TimeoutError:
                return False
            self._written = number
            return True


async def _first(tasks: Iterable[asyncio.Task[None]], within_s: float) -> None:
    """Wait until one is done, not for long, and give up the others."""
    waiting = list(tasks)
    try:
        if waiting:
            await asyncio.wait(
                waiting, timeout=within_s, return_when=asyncio.FIRST_COMPLETED
            )
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
