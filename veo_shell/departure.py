"""How work leaves a node, and a node the cluster: only if somebody stays.

A node that is to leave says so from then on, and only then asks the others whether they
stay; it goes if one does. So of any that ask at the same time the last to begin is told
by all others that they leave, and does not: what is known of the services is not lost.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from veo_shell.core.events import Leaving
from veo_shell.core.membership import AWAY, GONE
from veo_shell.core.model import Status
from veo_shell.core.progress import Draining, draining, why_not_leave
from veo_shell.errors import PeerUnreachable, ServiceError, UsageError, VeoError

if TYPE_CHECKING:
    from veo_shell.node import Node


class Departure:
    """Whether this node stays, and the leaving of it and others."""

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

    async def drain(self, node: str) -> tuple[int, Draining]:
        """Drain a node; return on how many disks that is, and what is left there."""
        copies = await self._node.deciders.of_node(node, "drain", True)
        await self._node.quiet(lambda: self._draining(node).pending)
        return copies, self._draining(node)

    async def remove(self, node: str) -> int:
        """Remove a node, return on how many disks that is.

        One that lives leaves first: what still runs there is known until it stopped,
        and a majority service is not started beside it.
        """
        machine = self._node.machine
        if machine.members.status(node) not in GONE | AWAY:
            await self._have_leave(node)
        if node == machine.me and machine.is_leaving:
            return 0
        return await self._node.deciders.of_node(node, "remove_node")

    async def _have_leave(self, node: str) -> None:
        """Have a node leave; wait until it has, for no longer than that may take."""
        machine = self._node.machine

        def is_gone() -> bool | None:
            is_dead = machine.members.status(node) is Status.DEAD
            return is_dead or machine.view.head(node) is None or None

        try:
            with contextlib.suppress(PeerUnreachable):  # its answer may be lost
                await self._node.peers.call(node, "coordinator.leave")
            async with asyncio.timeout(self._node.config.timing.leaving_s):
                await self._node.until(is_gone)
        except (UsageError, TimeoutError):  # an earlier version, or its engine hangs
            return
        except ServiceError as exc:
            raise ServiceError(f"{exc}. {node} is drained: undrain it") from exc

    def _draining(self, node: str) -> Draining:
        machine = self._node.machine
        is_there = machine.view.head(node) is not None
        if is_there and not machine.view.is_drained(node):
            raise ServiceError(f"{node} was undrained: what had not moved yet stays")
        return draining(machine.reconciler, node)

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
