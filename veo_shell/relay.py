"""Verbs that a session of one node calls on another: their answers are streams.

So a verb may take its time, an answer may be larger than a message, one that is lost is
asked for again, and what nobody reads any more ends.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import msgspec

from veo_shell import acting
from veo_shell.core.dispatch import access, dispatch
from veo_shell.core.sessions import READ, check
from veo_shell.core.verbs import pack_error, read
from veo_shell.errors import ServiceError, VeoError, VerbFailed

if TYPE_CHECKING:
    from veo_shell.node import Node

logger = logging.getLogger(__name__)


class Relay:
    """Performs verbs for the sessions of other nodes; passes on what its own ask."""

    def __init__(self, node: Node) -> None:
        self._node = node

    @read
    async def begin(
        self, node: str, stream: str, verb: str, args: list[Any], kwargs: dict[str, Any]
    ) -> None:
        """Begin a verb on a node; `streams.read` gives what came of it, packed.

        It says so as the control socket does: `["ok", packed]` or `["error", …]`.
        """
        if node != self._node.config.name:
            await self._pass_on(node, stream, verb, args, kwargs)
            return
        if self._node.streams.holds(stream):  # the answer was lost, not the question
            return
        kind = access(self._node.console_words, verb)
        work = self._answer(verb, kind, args, kwargs)
        task = asyncio.get_running_loop().create_task(work)
        abandon = self._node.abandon if kind != READ else asyncio.Task.cancel
        self._node.streams.hold(stream, _Answer(task, abandon))

    async def _pass_on(self, node: str, *asked: Any) -> None:
        try:
            await self._node.peers.call(node, "relay.begin", node, *asked)
        except VeoError as exc:
            if "no word is called 'relay'" not in str(exc):
                raise
            raise ServiceError(
                f"{node} runs an older VEO, which takes no sessions of others: "
                "upgrade it"
            ) from exc

    async def _answer(
        self, verb: str, kind: str, args: list[Any], kwargs: dict[str, Any]
    ) -> bytes:
        try:
            check(acting.SESSION.get(), verb, kind)
            if kind not in ("", READ):
                await self._node.sessions.note(verb, args, kwargs)
            packed = await dispatch(self._node.console_words, verb, args, kwargs)
            return msgspec.msgpack.encode(["ok", packed])
        except VeoError as exc:
            if isinstance(exc, VerbFailed):
                logger.exception("%s failed", verb)
            return msgspec.msgpack.encode(["error", *pack_error(exc)])


class _Answer:
    """What came of a verb, read as what a process says is."""

    is_tty = False

    def __init__(self, task: asyncio.Task[bytes], abandon: Any) -> None:
        self._task = task
        self._abandon = abandon
        self._read_to = 0

    async def read(self, most_bytes: int) -> bytes:
        """Return what comes next, once the verb is done."""
        answer = await asyncio.shield(self._task)
        begin = self._read_to
        self._read_to += most_bytes
        return answer[begin : self._read_to]

    def close(self) -> None:
        """Give the verb up, if it is not done."""
        if not self._task.done():
            self._abandon(self._task)
