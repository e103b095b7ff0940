"""A file as the truth: what it would change, and having that done."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING

from veo_shell.core.foresight import Foresight
from veo_shell.core.model import Service
from veo_shell.core.plan import plan
from veo_shell.core.planned import Plan

if TYPE_CHECKING:
    from veo_shell.node import Node


class Applying:
    """Compares the services of a file with those that stand."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def plan(self, services: Sequence[Service] | None, *, prune: bool) -> Plan:
        """Return what is to be done; without services those of the node's own file.

        Once this node knows what stands: one that has just started may not.
        """
        if services is None:
            services = self._node.settings.get_applications()
        machine = self._node.machine
        await self._node.until(lambda: machine.is_settled or None)
        return plan(
            services,
            machine.view.services(),
            Foresight(machine.situation, self._node.clock.now()),
            lambda: uuid.uuid4().hex,
            prune=prune,
        )
