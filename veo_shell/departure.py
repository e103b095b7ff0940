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
from veo_shell.errors import (
    PeerUnreachable,
    Refused,
    ServiceError,
    UsageError,
    VeoError,
)

if TYPE_CHECKING:
    from veo_shell.node import Node


ANSWER_S = 1.0
"""Less than who told this node to leave waits for its answer."""
TRIES = 2


class Departure:
    """Whether this node stays, and the leaving of it and others."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._asking = 0

    @property
    def stays(self) -> bool:
        """Tell whether this node has seen the others' view, and does not leave."""
        machine = self._node.machine
        return machine.is_settled and not machine.is_leaving and not self._asking

    async def leave(self, *, removed: bool = False) -> None:
        """Begin to leave the cluster: stop the containers, say so; then end.

        Raises:
            ServiceError: nobody would be left who knows the services.
        """
        machine = self._node.machine
        if machine.is_leaving:
            return
        with self._node.answering():
            self._asking += 1
            try:
                await self._ask_who_stays()
                if not machine.is_leaving:  # by another's word meanwhile
                    # First: whom the peers take for gone decides no more.
                    self._node.feed(Leaving(removed=removed))
            finally:
                self._asking -= 1
            await self._node.peers.say_farewell(left=True)

    async def drain(self, node: str) -> tuple[int, Draining]:
        """Drain a node; return on how many disks that is, and what is left there."""
        copies = await self._node.deciders.of_node(node, "drain", True)
        view = self._node.machine.view
        there = {c.uid for c in view.containers(node)}
        await self._node.quiet(
            lambda: self._draining(node).pending, map(view.service, there)
        )
        return copies, self._draining(node)

    async def remove(self, node: str) -> int:
        """Remove a node, return on how many disks that is.

        One that lives leaves first, or goes on to, and one that has just died is waited
        for: what still runs there is known until it stopped, and a majority service is
        not started beside it.

        Raises:
            ServiceError: it does not leave.
        """
        machine = self._node.machine
        is_there = machine.view.head(node) is not None
        if is_there and machine.members.status(node) not in AWAY:
            await self._have_leave(node)
        if node == machine.me and machine.is_leaving:
            return 0
        return await self._node.deciders.of_node(node, "remove_node")

    async def _have_leave(self, node: str) -> None:
        """Have a node leave; wait until it has, for no longer than that may take."""
        members, timing = self._node.machine.members, self._node.config.timing
        leaving_s = self._node.machine.situation.leaving_s(node)
        is_told = False
        try:
            is_told = await self._tell_to_leave(node)
            async with asyncio.timeout(
                leaving_s + (timing.dead_s + timing.majority_s) * members.crowd
            ):
                await self._node.until(lambda: self._is_gone(node) or None)
        except UsageError:  # an earlier version
            return
        except ServiceError as exc:
            raise ServiceError(f"{exc}. {node} is drained: undrain it") from exc
        except TimeoutError as exc:
            # Its engine hangs, if it was told.
            if not is_told and members.status(node) is not Status.LEFT:
                raise ServiceError(
                    f"{node} does not hear that it is to leave, and is drained: try "
                    "again, or undrain it"
                ) from exc

    def _is_gone(self, node: str) -> bool:
        """Tell whether a node has left, or been dead for as long as it may run on."""
        machine = self._node.machine
        members, now = machine.members, self._node.clock.now()
        runs_s = members.timing.majority_s * members.crowd
        is_dead = members.status(node) is Status.DEAD
        is_over = is_dead and members.lost_for_s(node, now) >= runs_s
        return is_over or machine.view.head(node) is None

    async def _tell_to_leave(self, node: str) -> bool:
        """Have a node begin to leave, if it may; tell whether it was told."""
        tries = TRIES if self._node.machine.members.status(node) not in GONE else 0
        for _ in range(tries):
            with contextlib.suppress(PeerUnreachable):
                await self._node.peers.call(node, "coordinator.leave")
                return True
        return False

    def _draining(self, node: str) -> Draining:
        machine = self._node.machine
        is_there = machine.view.head(node) is not None
        if is_there and not machine.view.is_drained(node):
            raise ServiceError(f"{node} was undrained: what had not moved yet stays")
        return draining(machine.reconciler, node)

    async def _ask_who_stays(self) -> None:
        situation = self._node.machine.situation
        others = [n for n in situation.verdicts.coordinators() if n != situation.me]
        answers = await asyncio.gather(*(self._stays(other) for other in others))
        stay = {n for n, stays in zip(others, answers, strict=True) if stays}
        # Those that are heard still: what others hold may be from before they were not.
        staying = stay.intersection(situation.verdicts.coordinators())
        reason = why_not_leave(situation, situation.me, staying)
        if reason and not self._node.machine.is_leaving:
            raise Refused(reason)

    async def _stays(self, node: str) -> bool:
        """Ask a node whether it stays; one of an earlier version cannot tell."""
        try:
            async with asyncio.timeout(ANSWER_S):
                return bool(await self._node.peers.call(node, "coordinator.stays"))
        except UsageError:
            return True
        except (VeoError, TimeoutError):
            return False
