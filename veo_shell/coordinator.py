"""What nodes ask of a service's coordinator, over the mesh; no console reaches it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from veo_shell.core.events import AddAsked, RemoveAsked, RoleAssigned, StopAsked
from veo_shell.core.model import Accepted, Service
from veo_shell.core.operations import Operation
from veo_shell.core.verbs import write

if TYPE_CHECKING:
    from veo_shell.node import Node


class Coordinator:
    """The operators' writes, decided by this node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    @write
    async def add(
        self, operation: str, uid: str, service: Service, queue: bool
    ) -> Accepted:
        """Take a service in and place it."""
        event = AddAsked(operation=operation, uid=uid, service=service, queue=queue)
        accepted: Accepted = await self._decide(event)
        return accepted

    @write
    async def remove(self, operation: str, uid: str) -> None:
        """Remove a service."""
        await self._decide(RemoveAsked(operation=operation, uid=uid))

    @write
    async def stop(self, operation: str, uid: str, slot: int, generation: int) -> None:
        """Give a slot up."""
        event = StopAsked(
            operation=operation, uid=uid, slot=slot, generation=generation
        )
        await self._decide(event)

    @write
    async def assign_role(self, operation: str, node: str, role: str) -> None:
        """Give a node a role."""
        await self._decide(RoleAssigned(operation=operation, node=node, role=role))

    async def _decide(self, event: Operation) -> Any:
        """Have it decided once this node has seen the others' view, not before."""
        machine = self._node.machine
        await self._node.until(lambda: machine.is_settled or None)
        return await self._node.ask(event, event.operation)
