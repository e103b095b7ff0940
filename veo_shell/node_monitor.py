"""`node_monitor`: tells who lives, and what the nodes have; beats this node's heart."""

from __future__ import annotations

import asyncio
import random
import uuid
from typing import TYPE_CHECKING

from veo_shell.core import reconcile
from veo_shell.core.events import HeartbeatDue, Ticked
from veo_shell.core.membership import GONE
from veo_shell.core.model import (
    Candidate,
    NodeDocument,
    NodeInfo,
    NodeRoom,
    Resources,
    Room,
    Service,
)
from veo_shell.core.protocols import Host
from veo_shell.core.verbs import read, write
from veo_shell.errors import UsageError

if TYPE_CHECKING:
    from veo_shell.node import Node

TICK_S = 0.25


class NodeMonitor:
    """What operators ask about nodes; the clock that drives the verdicts on them."""

    def __init__(self, node: Node, host: Host) -> None:
        self._node = node
        self._host = host
        self._lag_s = 0.0

    @read
    def nodes(self) -> list[NodeInfo]:
        """Return every node as this one sees it.

        >>> node_monitor.nodes()
        """
        return [self._info(head) for head in self._heads()]

    @read
    def get_resources(self) -> Resources:
        """Return what this node has and what is free of it, now.

        >>> node_monitor.get_resources()
        """
        return self._host.resources()

    @read
    def available(self) -> list[NodeRoom]:
        """Return what each node that lives has in all for containers.

        >>> node_monitor.available()
        """
        return [self._room(head, Room()) for head in self._living()]

    @read
    def free(self) -> list[NodeRoom]:
        """Return what each node that lives has left of what services can reserve.

        >>> node_monitor.free()
        """
        view = self._node.machine.view
        return [
            self._room(head, reconcile.reserved(view, head.node))
            for head in self._living()
        ]

    @read
    def where(self, service: Service) -> list[Candidate]:
        """Return the nodes that a service fits, best first, and why others do not.

        >>> node_monitor.where(t)
        """
        machine = self._node.machine
        return reconcile.candidates(machine.view, machine.members, service, "")

    @write
    async def assign_role(self, node: str, role: str) -> None:
        """Give a node a role, over the one in its own file, for all of the cluster.

        >>> node_monitor.assign_role("dos@dos", "master")
        """
        if not role or role.split() != [role]:
            raise UsageError(f"{role!r} is not a role: give one word")
        operation = uuid.uuid4().hex
        await self._node.peers.call(
            self._node.machine.me, "coordinator.assign_role", operation, node, role
        )

    def run(self) -> None:
        """Begin to tell the others that this node lives, and to judge them."""
        self._node.spawn(self._beat(), "heartbeat")
        self._node.spawn(self._tick(), "tick")

    async def _beat(self) -> None:
        period_s = self._node.config.timing.heartbeat_s
        while True:
            self._node.feed(HeartbeatDue(lag_s=self._lag_s))
            # Spread, so that nodes started together do not speak together.
            await asyncio.sleep(period_s * random.uniform(0.9, 1.1))  # noqa: S311

    async def _tick(self) -> None:
        clock = self._node.clock
        while True:
            due_s = clock.now() + TICK_S
            await asyncio.sleep(TICK_S)
            self._lag_s = max(0.0, clock.now() - due_s)
            self._node.feed(Ticked(lag_s=self._lag_s))

    def _heads(self) -> list[NodeDocument]:
        return sorted(self._node.machine.view.nodes, key=lambda head: head.node)

    def _living(self) -> list[NodeDocument]:
        members = self._node.machine.members
        return [h for h in self._heads() if members.status(h.node) not in GONE]

    def _info(self, head: NodeDocument) -> NodeInfo:
        machine = self._node.machine
        peer = machine.members.peer(head.node)
        return NodeInfo(
            node=head.node,
            status=machine.members.status(head.node),
            address=head.address,
            role=machine.view.role(head.node),
            containers=len(list(machine.view.containers(head.node))),
            cpus=head.resources.cpu.count,
            memory_bytes=head.resources.memory.total_bytes,
            disk_bytes=head.resources.disk.total_bytes,
            evidence=peer.evidence if peer else "this node",
        )

    def _room(self, head: NodeDocument, held: Room) -> NodeRoom:
        has = head.resources
        return NodeRoom(
            node=head.node,
            role=self._node.machine.view.role(head.node),
            cpus=has.cpu.count - held.cpus,
            memory_bytes=has.memory.total_bytes - held.memory_bytes,
            disk_bytes=has.disk.total_bytes - held.disk_bytes,
        )
