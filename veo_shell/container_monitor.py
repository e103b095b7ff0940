"""`container_monitor`: carries orders to the engine and tells what comes of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING

import attrs

from veo_shell.container_builder import build
from veo_shell.core.commands import (
    After,
    CreateContainer,
    DiscardContainer,
    StartContainer,
    StopContainer,
)
from veo_shell.core.events import (
    ContainerCreated,
    ContainerDiscarded,
    EngineFailed,
    EngineListed,
    EngineLost,
    Event,
    StartAnswered,
    StopAnswered,
    TimerDue,
)
from veo_shell.core.model import Container, State
from veo_shell.core.protocols import Engine, Host
from veo_shell.core.scalars import shown
from veo_shell.core.verbs import read
from veo_shell.errors import EngineError, UnknownContainer

if TYPE_CHECKING:
    from veo_shell.node import Node

logger = logging.getLogger(__name__)

REWATCH_S = 1.0

Work = Callable[[], Coroutine[None, None, Event]]
Failure = type[EngineFailed] | type[StopAnswered]


def _slot_in(name: str) -> list[str]:
    """Return the uid and the slot that a container's name tells, if it is such."""
    *_, uid, slot, generation = ["", "", *name.rsplit("-", 3)]
    return [uid, slot] if uid and slot.isdigit() and generation.isdigit() else []


class ContainerMonitor:
    """Watches this node's containers and performs what the core orders for them."""

    def __init__(self, node: Node, engine: Engine, host: Host) -> None:
        self._node = node
        self._engine = engine
        self._host = host
        self._timers: dict[str, asyncio.TimerHandle] = {}

    @read
    def state(self, container: Container | str) -> Container:
        """Return a container as it is now, by its record, name or Docker id.

        >>> container_monitor.state("veo-uno-nginx-1f0c2a-0-1")
        """
        if isinstance(container, Container) and container.state is State.PENDING:
            return self._in_slot(container)
        name = container if isinstance(container, str) else container.name
        for found in self._node.machine.view.containers():
            if name and name in (found.name, found.id):
                return found
        said = f"no container is called '{shown(name)}'"
        raise UnknownContainer(said + self._instead(name))

    def _instead(self, name: str) -> str:
        """Return what to look at instead: those of a service, or what took a slot."""
        view, slot = self._node.machine.view, _slot_in(name)
        uids = {r.uid for r in view.named(name)}
        found = [
            c.name
            for c in view.containers()
            if c.uid in uids or (slot and _slot_in(c.name) == slot)
        ]
        if uids:
            names = f": give one of its containers, {', '.join(found)}" if found else ""
            return f": that is a service{names}"
        return f": {found[0]} has its place now" if found else ""

    def _in_slot(self, pending: Container) -> Container:
        """Return what fills the slot of one that waited for a node, if it yet does."""
        view = self._node.machine.view
        for found in view.containers():
            if (found.uid, found.slot) == (pending.uid, pending.slot):
                return found
        slot = view.slot(pending.uid, pending.slot)
        if slot is not None and slot.wanted:
            return attrs.evolve(pending, generation=slot.container_generation)
        raise UnknownContainer(f"{pending.service}: slot {pending.slot} was given up")

    async def check(self) -> None:
        """Raise `EngineUnreachable` unless the engine answers."""
        await self._engine.check()

    def watch(self) -> None:
        """Begin to feed what happens on the engine."""
        self._node.spawn(self._watch(), "engine watch")

    async def close(self) -> None:
        """Let go of the engine; what runs on it keeps running."""
        for timer in self._timers.values():
            timer.cancel()
        await self._engine.close()

    def create(self, order: CreateContainer) -> None:
        """Create a container, pulling its image where it is missing."""

        async def work() -> Event:
            config = build(
                order.service,
                identity=order.identity,
                address=self._node.config.address,
                address6=self._node.config.address6,
                resolvers=self._node.dns_registry.resolvers_for(order.service),
            )
            files = order.service.files
            made = await self._engine.create(order.name, config, files)
            return ContainerCreated(name=order.name, container_id=made)

        self._order(order.name, work)

    def start(self, order: StartContainer) -> None:
        """Start a container."""

        async def work() -> Event:
            seen = await self._engine.start(order.container_id)
            return StartAnswered(name=order.name, observed=seen)

        self._order(order.name, work)

    def stop(self, order: StopContainer) -> None:
        """Stop a container."""

        async def work() -> Event:
            seen = await self._engine.stop(order.container_id, order.timeout_s)
            return StopAnswered(name=order.name, observed=seen)

        self._order(order.name, work, StopAnswered)

    def discard(self, order: DiscardContainer) -> None:
        """Stop and remove a container."""

        async def work() -> Event:
            await self._engine.discard(order.container_id, order.timeout_s)
            return ContainerDiscarded(name=order.name)

        self._order(order.name, work)

    def after(self, order: After) -> None:
        """Tell the core when a time is over; a later order for a name replaces it."""
        if (old := self._timers.pop(order.name, None)) is not None:
            old.cancel()
        self._timers[order.name] = asyncio.get_running_loop().call_later(
            order.delay_s, self._due, order.name
        )

    def _due(self, name: str) -> None:
        self._timers.pop(name, None)
        self._node.feed(TimerDue(name=name))

    def _order(self, name: str, work: Work, failed: Failure = EngineFailed) -> None:
        self._node.spawn(self._carry_out(name, work, failed), f"order for {name}")

    async def _carry_out(self, name: str, work: Work, failed: Failure) -> None:
        try:
            event = await work()
        except EngineError as exc:
            logger.warning("%s: %s", name, exc)
            event = failed(name=name, reason=str(exc))
        except Exception as exc:
            logger.exception("%s: a fault of VEO's", name)
            event = failed(name=name, reason=f"a fault of VEO's: {exc!r}")
        self._node.feed(event)

    def _located(self, event: Event) -> Event:
        """Return the event; a listing with what this host has no address for any more.

        What is started is bound to one that it has. Its node's own is not looked at:
        what would replace it had to be there too.
        """
        if not isinstance(event, EngineListed):
            return event
        bound = {a for c in event.containers for a in (c.address, c.address6)}
        away = {
            a
            for a in bound - {"", *self._node.config.addresses}
            if not self._host.has_address(a)
        }
        held = (
            attrs.evolve(
                c,
                stranded=c.address in away,
                same_numbers=c.same_numbers and c.address6 not in away,
            )
            for c in event.containers
        )
        return EngineListed(containers=tuple(held))

    async def _watch(self) -> None:
        while True:
            try:
                async for event in self._engine.watch():
                    self._node.feed(self._located(event))
            except Exception as exc:
                # Deaf to its engine a node would tell untruths: say so, hear again.
                logger.exception("the engine's events cannot be followed")
                self._node.feed(EngineLost(reason=repr(exc)))
            await asyncio.sleep(REWATCH_S)
