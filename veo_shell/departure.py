"""How this node leaves: only if somebody stays, where several are to at the same time.

A node that is to leave says so from then on, and only then asks the others whether they
stay; it goes if one does. So of any that ask, the last to begin is told by all others
that they leave, and does not: what is known of the services is not lost with the last.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from veo_shell.core.events import Leaving
from veo_shell.core.progress import why_not_leave
from veo_shell.errors import ServiceError, UsageError, VeoError

if TYPE_CHECKING:
    from veo_shell.node import Node


class Departure:
    """Whether this node stays, and its leaving."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._is_about_to = False

    @property
    def stays(self) -> bool:
        """Tell whether this node holds what the cluster does, and goes on to."""
        machine = self._node.machine
        return machine.is_settled and not machine.is_leaving and not self._is_about_to

    async def leave(self, *, removed: bool = False) -> None:
        """Begin to leave the cluster: stop the containers, say so; then end.

        Raises:
            ServiceError: nobody would be left who knows the services.
        """
        if self._node.machine.is_leaving:
            return
        with self._node.answering():
            self._is_about_to = True
            try:
                await self._ask_who_stays()
                # First: whom the peers take for gone decides no more.
                self._node.feed(Leaving(removed=removed))
            finally:
                self._is_about_to = False
            await self._node.peers.say_farewell(left=True)

    async def _ask_who_stays(self) -> None:
        situation = self._node.machine.situation
        others = [n for n in situation.verdicts.coordinators() if n != situation.me]
        stay = await asyncio.gather(*(self._stays(other) for other in others))
        leaving = [node for node, stays in zip(others, stay, strict=True) if not stays]
        if reason := why_not_leave(situation, situation.me, leaving):
            raise ServiceError(reason)

    async def _stays(self, node: str) -> bool:
        """Ask a node whether it stays; one of an earlier version cannot tell."""
        try:
            return bool(await self._node.peers.call(node, "coordinator.stays"))
        except UsageError:
            return True
        except VeoError:
            return False
