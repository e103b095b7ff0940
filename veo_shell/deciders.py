"""Has what operators ask for written: by the node whose part it is, or the next one.

That one may be lost, or its disk take nothing; the operation's id makes it safe to ask
again, the same one or another.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs

from veo_shell.core.model import Service
from veo_shell.errors import PeerUnreachable, StoreError

if TYPE_CHECKING:
    from veo_shell.node import Node


@attrs.frozen(kw_only=True)
class _Way:
    """Who decides, through whom that one is reached, and why its disk takes nothing.

    One that was just let in lives before its document, and so its address, is known.
    """

    target: str
    witness: str
    is_known: bool
    disk_trouble: str


class Deciders:
    """The coordinators, as the verbs of this node ask them."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def of_service(
        self, uid: str, verb: str, *args: Any, service: Service | None = None
    ) -> Any:
        """Have a service's coordinator do it; return what came of it.

        `service`: what is asked for, of one that is not in the view yet.
        """
        situation = self._node.machine.situation
        return await self._ask(lambda: situation.coordinator(uid, service), verb, *args)

    async def of_node(self, node: str, verb: str, *args: Any) -> int:
        """Have it written about a node; return on how many disks it is.

        By one alone: what is decided about a node is in one record, of which two that
        are written at the same time do not both stand.
        """
        situation = self._node.machine.situation
        revision, copies = await self._ask(
            lambda: situation.coordinator(f"node/{node}"), verb, node, *args
        )
        if revision is not None:
            await self.seen(f"node/{node}", revision)
        return int(copies)

    async def seen(self, key: str, revision: int) -> None:
        """Wait until what another node wrote is known here: its answer may be first."""
        view = self._node.machine.view

        def is_known() -> bool | None:
            record = view.record(key)
            return (record is not None and record.revision >= revision) or None

        with contextlib.suppress(TimeoutError):  # the service, or node, was removed
            async with asyncio.timeout(self._node.config.timing.dead_s):
                await self._node.until(is_known)

    async def _ask(self, who: Callable[[], str], verb: str, *args: Any) -> Any:
        question = f"coordinator.{verb}", uuid.uuid4().hex, *args
        while True:
            way = self._way(who)
            try:
                return await self._twice(way.target, *question)
            except (PeerUnreachable, StoreError) as exc:
                # Known to write nothing, and asked all the same: no disk does.
                is_last = isinstance(exc, StoreError) and way.disk_trouble
                if is_last or not await self._is_other(who, way):
                    raise

    async def _twice(self, node: str, *question: Any) -> Any:
        with contextlib.suppress(PeerUnreachable):  # one message may be lost
            return await self._node.peers.call(node, *question)
        return await self._node.peers.call(node, *question)

    def _way(self, who: Callable[[], str]) -> _Way:
        machine, target = self._node.machine, who()
        peer, head = machine.members.peer(target), machine.view.head(target)
        return _Way(
            target=target,
            witness=peer.witness if peer is not None else "",
            is_known=head is not None,
            disk_trouble=head.disk_trouble if head is not None else "",
        )

    async def _is_other(self, who: Callable[[], str], way: _Way) -> bool:
        """Tell whether another decides, or it is reached, by the time it is dead."""
        timing = self._node.config.timing
        try:
            async with asyncio.timeout(timing.dead_s + timing.suspect_s):
                return await self._node.until(lambda: self._way(who) != way or None)
        except TimeoutError:
            return False
