"""Sees to it that somebody stays, where several nodes are to leave at the same time.

A node that is to leave says so from then on, and only then asks the others whether they
stay; it goes if one does. So of any that ask, the last to begin is told by all others
that they leave, and does not: what is known of the services is not lost with the last.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from veo_shell.core.progress import why_not_leave
from veo_shell.errors import ServiceError, UsageError, VeoError

if TYPE_CHECKING:
    from veo_shell.node import Node

REMOVAL_S = 30.0
"""So long it may take until a removal is decided that was found to be in order."""


class Departure:
    """Whether this node stays, and may leave."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._until_s = -math.inf

    @property
    def stays(self) -> bool:
        """Tell whether this node holds what the cluster does, and goes on to."""
        machine, now = self._node.machine, self._node.clock.now()
        return machine.is_settled and not machine.is_leaving and now >= self._until_s

    async def prepare(self) -> None:
        """Have this node be one that leaves, for as long as it takes to begin to.

        Raises:
            ServiceError: nobody would be left who knows the services.
        """
        self._until_s = self._node.clock.now() + REMOVAL_S
        situation = self._node.machine.situation
        others = [n for n in situation.verdicts.coordinators() if n != situation.me]
        stay = await asyncio.gather(*(self._asked(other) for other in others))
        leaving = [node for node, stays in zip(others, stay, strict=True) if not stays]
        if reason := why_not_leave(situation, situation.me, leaving):
            self._until_s = -math.inf
            raise ServiceError(reason)

    async def _asked(self, node: str) -> bool:
        """Ask a node whether it stays; one of an earlier version cannot tell."""
        try:
            return bool(await self._node.peers.call(node, "coordinator.stays"))
        except UsageError:
            return True
        except VeoError:
            return False
