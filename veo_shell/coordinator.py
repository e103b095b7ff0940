"""What nodes ask of each other, over the mesh; no console reaches it.

Most of it is for a service's coordinator, the rest for the node of a container.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from veo_shell.core import events as ev
from veo_shell.core.model import InstanceHealth, Service
from veo_shell.core.operations import Operation
from veo_shell.core.verbs import read, write

if TYPE_CHECKING:
    from veo_shell.node import Node

Decided = list[Any]
"""`[value, copies]`: what came of it, and on how many disks the write is."""


class Coordinator:
    """The operators' writes, decided by this node; its containers, at its hand."""

    def __init__(self, node: Node) -> None:
        self._node = node

    @write
    async def add(
        self,
        operation: str,
        uid: str,
        service: Service,
        queue: bool,
        beside: list[tuple[str, Service]] | None = None,
    ) -> Decided:
        """Take a service in and place it; the value is a list of `Accepted`.

        `beside`: what is to be in its group soon.
        """
        return await self._decide(
            ev.AddAsked(
                operation=operation,
                uid=uid,
                service=service,
                queue=queue,
                beside=tuple(beside or ()),
            )
        )

    @write
    async def remove(self, operation: str, uid: str) -> Decided:
        """Remove a service."""
        return await self._decide(ev.RemoveAsked(operation=operation, uid=uid))

    @write
    async def stop(
        self, operation: str, uid: str, slot: int, generation: int
    ) -> Decided:
        """Give up a slot, if the container made in that generation fills it."""
        return await self._decide(
            ev.StopAsked(operation=operation, uid=uid, slot=slot, generation=generation)
        )

    @write
    async def scale(self, operation: str, uid: str, replicas: int) -> Decided:
        """Set how many instances of a service run; the value is that number."""
        return await self._decide(
            ev.ScaleAsked(operation=operation, uid=uid, replicas=replicas)
        )

    @write
    async def update(self, operation: str, uid: str, service: Service) -> Decided:
        """Give a service another spec; the value is the revision of its record.

        0 if no instance is to be replaced.
        """
        return await self._decide(
            ev.UpdateAsked(operation=operation, uid=uid, service=service)
        )

    @write
    async def roll_back(self, operation: str, uid: str) -> Decided:
        """Give a service back the spec before; the value is its record's revision."""
        return await self._decide(ev.RollbackAsked(operation=operation, uid=uid))

    @write
    async def move(self, operation: str, uid: str, slot: int, node: str) -> Decided:
        """Begin to move a slot; the value tells whether it was."""
        return await self._decide(
            ev.MoveAsked(operation=operation, uid=uid, slot=slot, node=node)
        )

    @write
    async def assign_role(self, operation: str, node: str, role: str) -> Decided:
        """Give a node a role."""
        return await self._decide(
            ev.RoleAssigned(operation=operation, node=node, role=role)
        )

    @write
    async def drain(self, operation: str, node: str, drained: bool) -> Decided:
        """Have a node's work move away, or take that back."""
        return await self._decide(
            ev.DrainAsked(operation=operation, node=node, drained=drained)
        )

    @write
    async def remove_node(self, operation: str, node: str) -> Decided:
        """Remove a node from the cluster."""
        return await self._decide(ev.RemoveNodeAsked(operation=operation, node=node))

    @write
    async def restart(self, operation: str, name: str) -> None:
        """Begin to restart a container of this node."""
        await self._node.instances.restart_here(operation, name)

    @read
    async def health(self, operation: str, name: str) -> InstanceHealth:
        """Return what this node's engine says of a container's health."""
        return await self._node.instances.health_here(name)

    @read
    async def inspect(self, operation: str, name: str) -> dict[str, Any]:
        """Return the raw document of a container of this node."""
        return await self._node.instances.inspect_here(name)

    @read
    def stays(self) -> bool:
        """Tell whether this node stays, and holds what one that leaves does."""
        return self._node.departure.stays

    @write
    async def leave(self) -> None:
        """Have this node leave, if somebody stays: an operator removes it."""
        await self._node.departure.leave(removed=True)

    async def _decide(self, event: Operation) -> Decided:
        """Have it decided once this node has seen the others' view, not before."""
        machine = self._node.machine
        await self._node.until(lambda: machine.is_settled or None)
        answer = await self._node.ask(event, event.operation)
        return [answer.value, answer.copies]
