"""`container_sup`: adds, removes, stops and lists what the cluster runs."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import uuid
from typing import TYPE_CHECKING, Any

import attrs

from veo_shell.core.check import problems
from veo_shell.core.membership import GONE
from veo_shell.core.model import (
    Accepted,
    Container,
    Identity,
    Service,
    State,
    Status,
)
from veo_shell.core.placement import coordinator
from veo_shell.core.protocols import Engine
from veo_shell.core.verbs import read, write
from veo_shell.core.wire import packed_bytes
from veo_shell.errors import (
    PeerUnreachable,
    ServiceError,
    StartFailed,
    UnknownService,
    UsageError,
)

if TYPE_CHECKING:
    from veo_shell.node import Node

MAX_SPEC_BYTES = 256 * 1024
"""Specs travel with others in frames of 1 MiB."""
REACHED = frozenset({Status.ALIVE, Status.SUSPECT})


class ContainerSup:
    """The operator's hand on the cluster's containers."""

    def __init__(self, node: Node, engine: Engine) -> None:
        self._node = node
        self._engine = engine

    @write
    async def add_service(self, service: Service, queue: bool = False) -> Container:
        """Run a service somewhere in the cluster; return its container once it runs.

        Adding what stands already adds one instance. With `queue` a service that fits
        nowhere is accepted and waits as `pending`. Ctrl-C ends the waiting alone: the
        service stays accepted until it is removed.

        Raises:
            NoSuitableNode: with a reason per node; nothing is left behind.
            StartFailed: an engine could not create or start it; nothing is left.

        >>> container_sup.add_service(t)
        """
        if told := problems(service):
            raise UsageError("\n".join(told))
        if (size := packed_bytes(service)) > MAX_SPEC_BYTES:
            raise UsageError(
                f"{service.name}: its spec takes {size} bytes, at most "
                f"{MAX_SPEC_BYTES} are taken: mount files instead of large values"
            )
        uid = self._uid_of(service)
        accepted: Accepted = await self._coordinate(uid, "add", uid, service, queue)
        if accepted.node is None:
            return self._pending(accepted, service)
        failure, container = await self._node.until(
            lambda: self._outcome(accepted, service)
        )
        if failure is None:
            return container
        await self._withdraw(container)
        raise StartFailed(f"{service.name} on {container.node}: {failure}")

    @write
    async def remove_service(self, name: str | Service) -> list[Container]:
        """Remove all services of a name, or just the one given; return what they ran.

        Returns when their containers are gone from every node that can be reached.

        >>> container_sup.remove_service("nginx")
        """
        view = self._node.machine.view
        spec = name if isinstance(name, Service) else None
        wanted = name.name if isinstance(name, Service) else name
        uids = [
            record.uid
            for record in view.services()
            if record.service
            and record.service.name == wanted
            and spec in (None, record.service)
        ]
        if not uids:
            raise UnknownService(self._unknown(wanted, spec))
        held = [c for c in view.containers() if c.uid in uids]
        for uid in uids:
            await self._coordinate(uid, "remove", uid)
        await self._node.until(lambda: self._gone(uids))
        return [attrs.evolve(c, state=State.EXITED, reason="removed") for c in held]

    @write
    async def stop(self, container: Container | str) -> None:
        """Stop and remove one container for good; the last one ends its service.

        Returns when it is gone, or its node cannot be reached: then it is stopped when
        that is back.

        >>> container_sup.stop(container_sup.cloud_containers()[0])
        """
        await self._withdraw(self._node.container_monitor.state(container))

    @read
    def count(self) -> int:
        """Return how many containers this node has.

        >>> container_sup.count()
        """
        return len(self.list_containers())

    @read
    def list_containers(self) -> list[Container]:
        """Return this node's containers.

        >>> container_sup.list_containers()
        """
        return list(self._node.machine.view.containers(self._node.machine.me))

    @read
    def cloud_containers(self) -> list[Container]:
        """Return the containers of all nodes that live.

        One whose node is not heard just now, or has lost its engine, says so.

        >>> container_sup.cloud_containers()
        """
        view = self._node.machine.view
        return [seen for c in view.containers() if (seen := self._as_seen(c))]

    @read
    async def get_containers(self) -> list[dict[str, Any]]:
        """Return this node's containers as Docker itself lists them.

        >>> container_sup.get_containers()
        """
        return await self._engine.list_raw()

    @read
    def get_container_group(self, group: str) -> list[Container]:
        """Return the containers of a group's services, on every node.

        >>> container_sup.get_container_group("shop")
        """
        view = self._node.machine.view
        uids = {
            r.uid for r in view.services() if r.service and r.service.group == group
        }
        return [c for c in view.containers() if c.uid in uids]

    @read
    def services(self) -> list[Service]:
        """Return the services that the cluster runs.

        >>> container_sup.services()
        """
        return [r.service for r in self._node.machine.view.services() if r.service]

    def _as_seen(self, container: Container) -> Container | None:
        """Return a container with what is known of its node; None of a dead one."""
        machine = self._node.machine
        status = machine.members.status(container.node)
        head = machine.view.head(container.node)
        if status in GONE or head is None:
            return None
        if status is not Status.ALIVE:
            reason = f"its node is {status.value}"
        elif head.engine_lost:
            reason = "its engine is away"
        else:
            return container
        return attrs.evolve(container, reason=reason)

    def _uid_of(self, service: Service) -> str:
        for record in self._node.machine.view.services():
            if record.service == service:
                return record.uid
        return uuid.uuid4().hex

    async def _coordinate(self, uid: str, verb: str, *args: Any) -> Any:
        """Have the service's coordinator do it, or the next one if that is lost.

        The operation's id makes the repetition safe.
        """
        call = self._node.peers.call
        question = f"coordinator.{verb}", uuid.uuid4().hex, *args
        while True:
            target = self._coordinator(uid)
            with contextlib.suppress(PeerUnreachable):  # one message may be lost
                return await call(target, *question)
            try:
                return await call(target, *question)
            except PeerUnreachable:
                if not await self._is_replaced(uid, target):
                    raise

    def _coordinator(self, uid: str) -> str:
        return coordinator(uid, self._node.machine.members.alive())

    async def _is_replaced(self, uid: str, lost: str) -> bool:
        """Tell whether another node coordinates by the time that one is dead."""
        timing = self._node.config.timing
        try:
            async with asyncio.timeout(timing.dead_s + timing.suspect_s):
                return await self._node.until(
                    lambda: self._coordinator(uid) != lost or None
                )
        except TimeoutError:
            return False

    def _outcome(
        self, accepted: Accepted, service: Service
    ) -> tuple[str | None, Container] | None:
        """Return (why it failed or None, the container) once that is known."""
        view = self._node.machine.view
        record = view.service(accepted.uid)
        if record is not None and record.service is None:
            raise ServiceError(f"{service.name} was removed while it was being added")
        slots = {slot.slot: slot for slot in view.slots(accepted.uid)}
        slot = slots.get(accepted.slot)
        if slot is None:
            return None
        if not slot.wanted:
            raise ServiceError(f"{service.name} was stopped while it was being added")
        if slot.node is None:
            return None, self._pending(accepted, service)
        name = self._identity(accepted, service, slot.node, slot.generation)
        container = view.container(slot.node, name.container_name)
        if container is None:
            return None
        if container.state in (State.RUNNING, State.UNHEALTHY, State.EXITED):
            return None, container
        if container.state in (State.BACKOFF, State.FAILED):
            never_ran = container.exit_code is None
            return (container.reason if never_ran else None), container
        return None

    def _identity(
        self, accepted: Accepted, service: Service, node: str, generation: int
    ) -> Identity:
        return Identity(
            cluster=self._node.config.cluster,
            node=node,
            service=service.name,
            uid=accepted.uid,
            slot=accepted.slot,
            generation=generation,
        )

    def _pending(self, accepted: Accepted, service: Service) -> Container:
        return Container(
            name="",
            service=service.name,
            uid=accepted.uid,
            slot=accepted.slot,
            generation=accepted.generation,
            node="",
            address="",
            image=service.image,
            state=State.PENDING,
            reason="no node fits yet",
        )

    async def _withdraw(self, container: Container) -> None:
        await self._coordinate(
            container.uid,
            "stop",
            container.uid,
            container.slot,
            container.generation,
        )
        await self._node.until(lambda: self._gone([container.uid], container.name))

    def _gone(self, uids: list[str], name: str = "") -> bool | None:
        """Tell when nothing of these is left on the nodes that can be reached."""
        machine = self._node.machine
        left = [
            c
            for c in machine.view.containers()
            if c.uid in uids and name in ("", c.name) and self._is_reached(c.node)
        ]
        return None if left else True

    def _is_reached(self, node: str) -> bool:
        machine = self._node.machine
        head = machine.view.head(node)
        engine = head is not None and not head.engine_lost
        return engine and machine.members.status(node) in REACHED

    def _unknown(self, name: str, spec: Service | None) -> str:
        names = [service.name for service in self.services()]
        if spec is not None and name in names:
            return (
                f"the service {name!r} stands with another spec; "
                f"remove_service({name!r}) removes every one of that name"
            )
        near = difflib.get_close_matches(name, names, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"no service is called {name!r}{hint}"
