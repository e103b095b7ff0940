"""What each node's engine holds, and images that it is to get."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from veo_shell.core import scalars
from veo_shell.core.model import ImagePull, PullState, Status
from veo_shell.core.protocols import Stock
from veo_shell.core.verbs import write
from veo_shell.errors import EngineError, PeerUnreachable, UsageError, VeoError

if TYPE_CHECKING:
    from veo_shell.node import Node

logger = logging.getLogger(__name__)

T = TypeVar("T")

REWATCH_S = 1.0
NEWS_S = 1.0
"""So long a node waits for something new to tell: less than a call may take."""
TRIES = 3
KEPT = 256


class Images:
    """What this node's engine holds, what it pulls, and what is pulled on others."""

    def __init__(self, node: Node, stock: Stock) -> None:
        self._node = node
        self._stock = stock
        self._own: dict[str, ImagePull] = {}
        self._all: dict[tuple[str, str], ImagePull] = {}

    @property
    def pulls(self) -> list[ImagePull]:
        """Return what was asked for last on this node, and how far it is."""
        return list(self._all.values())

    def watch(self) -> None:
        """Begin to feed what the engine holds."""
        self._node.spawn(self._watch(), "engine's holdings")

    @write
    async def pull(self, operation: str, image: str) -> ImagePull:
        """Have this node's engine get an image, once; tell how far that is.

        At once if it is over, else when there is something new, or after a moment.
        """
        if operation not in self._own:
            me = self._node.machine.me
            self._own[operation] = ImagePull(node=me, image=image)
            _trim(self._own)
            self._node.spawn(self._get(operation, image), f"pull of {image}")
        before = self._own[operation]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(NEWS_S):
                await self._node.until(lambda: self._is_news(operation, before) or None)
        return self._own.get(operation, before)

    async def on(self, image: str, nodes: Sequence[str] | None) -> list[ImagePull]:
        """Have nodes get an image, all if none are named; return how each did.

        Once all are done, or nothing happens any more for a while.
        """
        try:
            scalars.image(image)
        except scalars.Wrong as wrong:
            raise UsageError(f"pull: {wrong}") from wrong
        operation = uuid.uuid4().hex
        for name in self._named(nodes):
            self._all[operation, name] = ImagePull(node=name, image=image)
            self._node.spawn(self._follow(operation, name), f"pull on {name}")
        _trim(self._all)
        await self._node.quiet(
            lambda: tuple(
                f"{pull.node} {pull.progress}"
                for pull in self._of(operation)
                if pull.state is PullState.PULLING
            )
        )
        return self._of(operation)

    def _named(self, nodes: Sequence[str] | None) -> list[str]:
        given = [nodes] if isinstance(nodes, str) else nodes
        if given is None:
            return sorted(head.node for head in self._node.machine.view.nodes)
        return list(dict.fromkeys(map(self._node.node_monitor.named, given)))

    def _of(self, operation: str) -> list[ImagePull]:
        return [pull for (of, _), pull in self._all.items() if of == operation]

    def _is_news(self, operation: str, before: ImagePull) -> bool:
        pull = self._own.get(operation, before)
        return pull != before or pull.state is not PullState.PULLING

    async def _watch(self) -> None:
        while True:
            try:
                async for held in self._stock.watch_holdings():
                    self._node.dns_registry.networks = held.networks
                    self._node.feed(held)
            except Exception:  # what was told of them last stands
                logger.exception("the engine's images and volumes cannot be followed")
            await asyncio.sleep(REWATCH_S)

    async def _get(self, operation: str, image: str) -> None:
        def tell(progress: str) -> None:
            self._tell(operation, progress=progress)

        try:
            await self._stock.pull(image, tell)
        except EngineError as exc:
            self._tell(operation, state=PullState.FAILED, reason=str(exc))
        else:
            self._tell(operation, state=PullState.PULLED)

    def _tell(self, operation: str, **changes: Any) -> None:
        if operation in self._own:
            self._own[operation] = attrs.evolve(self._own[operation], **changes)

    async def _follow(self, operation: str, node: str) -> None:
        """Ask a node how far it is until it is done, or cannot be asked."""
        key, told = (operation, node), self._all[operation, node]
        while told.state is PullState.PULLING:
            try:
                told = await self._ask(operation, told)
            except VeoError as exc:
                told = attrs.evolve(told, state=PullState.FAILED, reason=str(exc))
            if key in self._all:
                self._all[key] = told

    async def _ask(self, operation: str, pull: ImagePull) -> ImagePull:
        """Ask a node, again where a message may have been lost."""
        for left in reversed(range(TRIES)):
            status = self._node.machine.members.status(pull.node)
            if status is not Status.ALIVE:
                raise PeerUnreachable(f"it is {status.value}")
            try:
                told = await self._node.peers.call(
                    pull.node, "images.pull", operation, pull.image
                )
            except PeerUnreachable:
                if not left:
                    raise
            else:
                assert isinstance(told, ImagePull)
                return told
        raise AssertionError


def _trim(pulls: dict[T, ImagePull]) -> None:
    """Forget the oldest of those that are over."""
    over = [key for key, pull in pulls.items() if pull.state is not PullState.PULLING]
    for key in over[: max(len(pulls) - KEPT, 0)]:
        del pulls[key]
