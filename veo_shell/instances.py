"""What is asked of, and done to, containers one by one, whichever node runs them."""

from __future__ import annotations

import contextlib
import functools
import uuid
from typing import TYPE_CHECKING, Any

from veo_shell.core.docker_health import health_of
from veo_shell.core.events import RestartAsked
from veo_shell.core.life import TURN
from veo_shell.core.model import Container, Health, InstanceHealth, Service, State
from veo_shell.core.protocols import Engine
from veo_shell.core.variants import meant
from veo_shell.errors import (
    EngineError,
    PeerError,
    PeerUnreachable,
    Refused,
    ServiceError,
    UnknownContainer,
)

if TYPE_CHECKING:
    from veo_shell.node import Node

FIRST_PROTOCOL = 2
FAILING = frozenset({State.BACKOFF, State.FAILED, State.UNHEALTHY})


class Instances:
    """The containers of the cluster, each asked for at its own node."""

    def __init__(self, node: Node, engine: Engine) -> None:
        self._node = node
        self._engine = engine

    def of(self, what: Container | Service | str, variant: str) -> list[Container]:
        """Return a container, by its record, name or id, or one service's, by slot."""
        view, state = self._node.machine.view, self._node.container_monitor.state
        if isinstance(what, Container):
            return [state(what)]
        if isinstance(what, str) and not view.named(what):
            found = [c for c in view.containers() if what and what in (c.name, c.id)]
            if found:
                return found
        uid = meant(view, what, variant).uid
        return sorted(view.instances(uid), key=lambda c: (c.slot, c.name))

    # Asked from any node

    async def restart(self, containers: list[Container]) -> tuple[str, ...]:
        """Restart each once the one before is ready again; return what is left to do.

        One operation for all: what is restarted with another of its group is not again.

        Raises:
            ServiceError: one does not come back; those after it run as before.
        """
        view = self._node.machine.view
        operation = uuid.uuid4().hex
        for index, container in enumerate(containers):
            rest = [c.name for c in containers[index + 1 :]]
            try:
                await self._ask(container, "restart", operation, container.name)
                pending = functools.partial(self._restarting, container, operation)
                left = await self._node.quiet(pending, [view.service(container.uid)])
            except (PeerError, ServiceError) as exc:
                raise ServiceError(f"{exc}{_unchanged(rest)}") from exc
            if left:
                return (*left, *(f"{name} was not restarted" for name in rest))
        return ()

    async def health(self, container: Container) -> InstanceHealth:
        """Return what a container's health check says, as its node knows it."""
        try:
            answer = await self._ask(container, "health", "", container.name)
        except (EngineError, PeerError, ServiceError) as exc:
            return InstanceHealth(
                name=container.name,
                node=container.node,
                health=container.health,
                reason=str(exc),
            )
        assert isinstance(answer, InstanceHealth)
        return answer

    async def inspect(self, container: Container) -> dict[str, Any]:
        """Return Docker's raw document of a container."""
        found: dict[str, Any] = await self._ask(
            container, "inspect", "", container.name
        )
        return found

    async def _ask(self, container: Container, verb: str, *args: str) -> Any:
        head = self._node.machine.view.head(container.node)
        if head is not None and head.protocol < FIRST_PROTOCOL:
            raise Refused(
                f"{container.node} runs an older VEO, which has no {verb}: upgrade it"
            )
        question = container.node, f"coordinator.{verb}", *args
        with contextlib.suppress(PeerUnreachable):  # one message may be lost
            return await self._node.peers.call(*question)
        return await self._node.peers.call(*question)

    def _restarting(self, container: Container, operation: str) -> tuple[str, ...]:
        """Return what is pending until a container that was restarted is ready."""
        view, name = self._node.machine.view, container.name
        now = view.container(container.node, name)
        if now is None:
            raise ServiceError(f"{name} was moved or stopped while it was restarted")
        told = f" ({now.state.value} {now.reason}".rstrip() + ")"
        if now.operation != operation or now.state is State.STOPPING:
            return (f"{name} restarts{told}",)
        if now.state in FAILING and now.reason != TURN:
            raise ServiceError(f"{name} does not come back{told}")
        if now.is_ready or now.state is State.EXITED:  # a job may have done its work
            return ()
        if now.health is Health.STARTING:
            told = " (its health check has not succeeded yet)"
        return (f"{name} restarts{told}",)

    # Answered by the container's own node

    async def restart_here(self, operation: str, name: str) -> None:
        """Begin to restart a container of this node, once for an operation."""
        await self._node.ask(RestartAsked(operation=operation, name=name), operation)

    async def health_here(self, name: str) -> InstanceHealth:
        """Return what this node's engine says of a container's health."""
        machine = self._node.machine
        raw = await self.inspect_here(name)
        since_s = machine.health_for_s(name, self._node.clock.now())
        return health_of(raw, name, machine.me, since_s)

    async def inspect_here(self, name: str) -> dict[str, Any]:
        """Return the raw document of a container of this node."""
        machine = self._node.machine
        held = machine.view.container(machine.me, name)
        if held is None or not held.id:
            raise UnknownContainer(f"{name} is not, or not yet, on {machine.me}")
        return await self._engine.inspect(held.id)


def _unchanged(names: list[str]) -> str:
    if not names:
        return ""
    return f"; not restarted: {', '.join(names)}"
