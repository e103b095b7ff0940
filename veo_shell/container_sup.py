"""`container_sup`: adds, removes, stops and lists what the cluster runs."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from veo_shell.core.check import problems
from veo_shell.core.model import (
    Accepted,
    Added,
    Container,
    Event,
    ImagePull,
    InstanceHealth,
    JournalEntry,
    Loss,
    Mode,
    NodeInfo,
    Service,
    StandingService,
    State,
    Status,
    Written,
)
from veo_shell.core.outcomes import (
    far_from_running,
    left_to_do,
    outcomes_of,
    still_under_way,
    under_way,
    wait_for_room,
)
from veo_shell.core.planned import Applied, Plan
from veo_shell.core.progress import scaling
from veo_shell.core.protocols import Inspector
from veo_shell.core.scalars import REPLICAS_MOST
from veo_shell.core.turns import end_with
from veo_shell.core.variants import called, meant, uid_with
from veo_shell.core.verbs import destroy, read, write
from veo_shell.core.what_if import if_lost
from veo_shell.core.wire import PROTOCOL, packed_bytes
from veo_shell.core.written import ONE_COPY, written
from veo_shell.errors import (
    Refused,
    ServiceError,
    StartFailed,
    UsageError,
)

if TYPE_CHECKING:
    from veo_shell.node import Node

MAX_SPEC_BYTES = 240 * 1024
"""A record holds two specs at least, and travels with others in frames of 1 MiB."""
File = list[Service]
"""The services of a file, as they come from a console that has read it."""
REACHED = frozenset({Status.ALIVE, Status.SUSPECT})
SAME_HEAL_S = 60.0
"""Decisions about duplicates that are no further apart belong to one heal."""


class ContainerSup:
    """The operator's hand on the cluster's containers."""

    def __init__(self, node: Node, engine: Inspector) -> None:
        self._node = node
        self._engine = engine

    @write
    async def add_service(self, service: Service, queue: bool = False) -> Added:
        """Run a service somewhere in the cluster; return its container once it runs.

        Of several replicas the first, once all have begun; one that does not start is
        tried again. Adding what stands already adds one instance. In the mode global
        one begins on every node that fits; that is added once.
        Or once nothing happens any more for a while, as while a large image is pulled:
        then it tells what is still under way.
        With `queue` a service that fits nowhere is accepted and waits as `pending`.
        Ctrl-C ends the waiting alone: the service stays accepted until it is removed.

        Raises:
            NoSuitableNode: with a reason per node; nothing is left behind.
            StartFailed: an engine could not create or start it; nothing is left.
            ServiceError: it could not be, but was moved meanwhile, and stands.

        >>> container_sup.add_service(t)
        """
        return await self.begun(service, *await self.accepted(service, queue=queue))

    async def accepted(
        self,
        service: Service,
        uid: str = "",
        queue: bool = False,
        beside: Sequence[tuple[str, Service]] = (),
    ) -> tuple[list[Accepted], int]:
        """Have a service taken in; return its slots, and on how many disks that is.

        `uid`: the one that it gets; without, that of an equal one that stands, or a new
        one. `beside`: what is to be in its group soon.
        """
        spec, view = _checked(service), self._node.machine.view
        uid = uid or uid_with(view, service) or uuid.uuid4().hex
        older = any(head.protocol < PROTOCOL for head in view.nodes)
        more = [list(beside)] if beside and not older else []
        accepted: list[Accepted]
        accepted, copies = await self._node.deciders.of_service(
            uid, "add", uid, spec, queue, *more, service=spec
        )
        return accepted, copies

    async def begun(
        self, service: Service, accepted: list[Accepted], copies: int
    ) -> Added:
        """Wait until a service that was taken in runs; return its container."""
        view = self._node.machine.view
        listed = self._node.machine.listed
        await self._node.quiet(
            lambda: under_way(outcomes_of(listed, accepted, service)),
            [view.service(one.uid) for one in accepted],
        )
        outcomes = outcomes_of(listed, accepted, service)
        failed = [outcome for outcome in outcomes if outcome.failed]
        if len(failed) < len(outcomes):
            good = [outcome.container for outcome in outcomes if not outcome.failed]
            return _added(min(good, key=far_from_running), copies, left_to_do(outcomes))
        node = failed[0].container.node
        what = f"{service.name} on {node}: {failed[0].failed}"
        slots = view.slots(accepted[0].uid)
        is_all = len(failed) == sum(slot.wanted for slot in slots)
        # To stop the last of a group may be to end all of it, which has run before.
        if service.mode is Mode.GLOBAL or (service.group and is_all):
            await self._remove(accepted[0].uid)
            raise StartFailed(what)
        for outcome in failed:
            try:
                await self._withdraw(outcome.container)
            except ServiceError as exc:
                raise ServiceError(f"{what}. But {exc}") from exc
        raise StartFailed(what)

    @destroy
    async def remove_service(self, name: str | Service, variant: str = "") -> Written:
        """Remove the service of a name, or the one given; tell what it ran.

        Returns when its containers are gone from every node that can be reached, or
        once nothing happens any more for a while: then it tells which are still there.

        Raises:
            AmbiguousService: several have that name, and no `variant` says which.

        >>> container_sup.remove_service("nginx")
        """
        view = self._node.machine.view
        record = meant(view, name, variant)
        uid, which = record.uid, called(record)
        held = [c for c in view.containers() if c.uid == uid]
        copies, left = await self._remove(uid)
        ended = (attrs.evolve(c, state=State.EXITED, reason="removed") for c in held)
        return written(f"{which} removed", copies, left, containers=tuple(ended))

    @write
    async def scale(
        self, name: str | Service, replicas: int, variant: str = ""
    ) -> Written:
        """Have so many instances of a service; return once they run, or wait for room.

        Or once nothing happens any more for a while: then it tells what is pending.

        Raises:
            AmbiguousService: several have that name, and no `variant` says which.
            ServiceError: it is global: there is one on every node that fits.

        >>> container_sup.scale("nginx", 3)
        """
        if not 0 <= replicas <= REPLICAS_MOST:
            raise UsageError(f"replicas: {replicas} is not from 0 to {REPLICAS_MOST}")
        record = meant(self._node.machine.view, name, variant)
        uid, which = record.uid, called(record)
        _, copies = await self._node.deciders.of_service(uid, "scale", uid, replicas)
        going_on = await self._node.quiet(
            lambda: self._scaling(uid, replicas), [record]
        )
        instances = tuple(self._node.machine.view.instances(uid))
        waits = sum(1 for c in self._node.machine.listed.waiting() if c.uid == uid)
        left = [wait_for_room(waits)] if waits else []
        left += [still_under_way(going_on)] if going_on else []
        what = f"{which}: {replicas} instance{'' if replicas == 1 else 's'}"
        return written(what, copies, "; ".join(left), instances)

    @write
    async def update_service(
        self, name: str | Service, spec: Service, variant: str = ""
    ) -> Written:
        """Give a service another spec, its instances replaced as `update` in it says.

        How many there are changes only if `replicas` is another in the spec. Returns
        once all are of that spec, or once nothing happens any more for a while.

        Raises:
            AmbiguousService: several have that name: `variant=` says which.
            UpdateFailed: an instance failed: what was changed is rolled back, or it is
                paused, as the spec's `on_failure` says.

        >>> container_sup.update_service("nginx", t)
        """
        spec = _checked(spec)
        record = meant(self._node.machine.view, name, variant)
        assert record.service is not None
        if spec.name != record.service.name:
            raise UsageError(
                f"{record.service.name} cannot be renamed to {spec.name}: add that, "
                "and then remove the other"
            )
        # Changed by hand it is the file's still.
        is_from_file = spec.from_file or record.service.from_file
        spec = attrs.evolve(spec, from_file=is_from_file)
        return await self._node.updating.update(record.uid, spec)

    @write
    async def rollback(self, name: str | Service, variant: str = "") -> Written:
        """Give a service back the spec that it had before; again, and it is back.

        Raises:
            AmbiguousService: several have that name: `variant=` says which.
            ServiceError: it has had no other.
            UpdateFailed: an instance of that spec fails, too.

        >>> container_sup.rollback("nginx")
        """
        record = meant(self._node.machine.view, name, variant)
        return await self._node.updating.roll_back(record.uid, called(record))

    @write
    async def stop(self, container: Container | str) -> Written:
        """Stop and remove one container for good; the last one ends its service.

        With that all of its group, if that is its policy. Also what takes over from it,
        while it is moved.
        Returns when it is gone, or its node cannot be reached: then it is stopped when
        that is back. Or once nothing happens any more for a while: then it tells why.

        Raises:
            ServiceError: another one fills its slot by now, or its service is global:
                it would be back.

        >>> container_sup.stop(container_sup.cloud_containers()[0])
        """
        view = self._node.machine.view
        found = self._node.container_monitor.state(container)
        spec = view.spec(found.uid)
        mates = end_with(view, spec) if spec is not None else []
        copies, left = await self._withdraw(found)
        what = f"{found.name or found.service} stopped"
        gone = [r for r in mates if view.spec(r.uid) is None and r.uid != found.uid]
        if gone:
            what += f", and with it {', '.join(map(called, gone))} of its group"
            held = {c.name for r in gone for c in view.instances(r.uid)}
            still = await self._node.quiet(
                lambda: self._left(c for c in view.containers() if c.name in held)
            )
            left = "; ".join(filter(None, [left, self._still(still)]))
        return written(what, copies, left)

    @write
    async def restart(
        self, what: Container | Service | str, variant: str = ""
    ) -> Written:
        """Restart a container, or the instances of a service one after the other.

        Each when the one before is ready again, with it all of its group if that is its
        policy. It is stopped in order and started at once, its restarts counted anew.
        It begins again, too, where it had ended. Once nothing happens any more for a
        while it tells what is under way.

        Raises:
            ServiceError: one does not come back; those after it are left as they are.
            AmbiguousService: several have that name, and no `variant` says which.

        >>> container_sup.restart("nginx")
        """
        instances = self._node.instances
        found = instances.of(what, variant)
        if not found:
            raise Refused("nothing of it runs: there is nothing to restart")
        left = await instances.restart(found)
        names = ", ".join(container.name for container in found)
        view = self._node.machine.view
        now = (view.container(c.node, c.name) for c in found)
        seen = tuple(container for container in now if container is not None)
        return Written(
            what=f"{names} restarted",
            copies=0,
            warning=still_under_way(left) if left else "",
            containers=seen,
        )

    @read
    async def health(self, what: Container | Service | str) -> list[InstanceHealth]:
        """Return what the health check says of a container, or of all of a service.

        With for how long, how often in a row it failed, and what it said last. Of a
        name, of all its variants.

        >>> container_sup.health("nginx")
        """
        instances, found = self._node.instances, self._node.streams.find(what)
        return list(await asyncio.gather(*map(instances.health, found)))

    @read
    async def inspect(self, container: Container | str) -> dict[str, Any]:
        """Return what Docker's own inspect tells of a container, on any node.

        >>> container_sup.inspect(container_sup.cloud_containers()[0])
        """
        found = self._node.container_monitor.state(container)
        return await self._node.instances.inspect(found)

    @write
    async def pull(
        self, image: str, nodes: Sequence[str] | None = None
    ) -> list[ImagePull]:
        """Have every node, or those named, get an image; tell how each of them did.

        Each by its own engine, with the credentials that `docker login` keeps for the
        user that the node runs as. Returns once all are done, or nothing happens any
        more for a while; `pulls()` tells meanwhile, and afterwards, how far they are.

        >>> container_sup.pull("nginx:latest")
        """
        return await self._node.images.on(image, nodes)

    @read
    def pulls(self) -> list[ImagePull]:
        """Return the pulls that this node was asked for last, and how far each is.

        >>> container_sup.pulls()
        """
        return self._node.images.pulls

    @read
    async def plan(self, file: File | None = None, prune: bool = False) -> Plan:
        """Return what applying a file would add, change, remove; nothing is done.

        Without one the node's own file; in the console a path is of a file of yours.
        With `prune` also what is in the cluster and not in the file would be removed.

        >>> container_sup.plan("cluster.yml")
        """
        return await self._node.applying.plan(file, prune=prune)

    @write
    async def apply(
        self, file: File | Plan | None = None, prune: bool = False
    ) -> Applied:
        """Add, change and remove what a file, or a plan, says; return once all runs.

        Without one the node's own file; in the console a path is of a file of yours.
        With `prune` also what is in the cluster and not in the file is removed.
        What fails does not stop the rest. Applied again, nothing is done.

        Raises:
            ApplyFailed: something was not done, or does not run; each is told.

        >>> container_sup.apply("cluster.yml")
        """
        applying = self._node.applying
        if not isinstance(file, Plan):
            file = await applying.plan(file, prune=prune)
        return await applying.apply(file)

    @read
    async def last_heal(self) -> list[JournalEntry]:
        """Return how the last duplicates were ended: which stayed, which went, and why.

        Empty where there never were any. `why(service)` tells what led to it.

        >>> container_sup.last_heal()
        """
        heals = await self._node.journal.heals()
        return [e for e in heals if e.at_s > heals[-1].at_s - SAME_HEAL_S]

    @read
    async def events(
        self,
        about: str | Container | Service | NodeInfo | None = None,
        kind: str | list[str] | None = None,
        since: str | float | None = None,
        limit: int | None = None,
    ) -> list[Event]:
        """Return what happened to a service, a container, a node, or in the cluster.

        The last 50, or all `since` so long ago (`"5m"`, or seconds) or a time; `limit`
        says how many. Of verdicts on nodes, this node's.

        >>> container_sup.events("nginx", kind="failed", since="1h")
        """
        return await self._node.event_log.last(about, kind, since, limit)

    @read
    def if_lost(self, node: str) -> Loss:
        """Return what would become of a node's work if it were lost; nothing is done.

        >>> container_sup.if_lost("dos@dos")
        """
        machine = self._node.machine
        name = self._node.node_monitor.named(node)
        config, now = self._node.config, self._node.clock.now()
        return if_lost(machine.view, machine.members, machine.me, name, config.dns, now)

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
        """Return the containers of all nodes that live, and those that wait for one.

        One whose node is not heard just now, or has lost its engine, says so.

        >>> container_sup.cloud_containers()
        """
        return self._node.machine.listed.containers()

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
        """Return the services that the cluster runs, each as it was asked for.

        How many instances are ready, of how many, `service_status()` tells.

        >>> container_sup.services()
        """
        return [r.service for r in self._node.machine.view.services() if r.service]

    @read
    def service_status(self) -> list[StandingService]:
        """Return the services, and how many instances of each are ready, of how many.

        Ready is what DNS answers; wanted what `scale` asked for last, of a global one
        an instance on each node that fits, less those that have done their work (exit
        code 0), as a job does. What takes a service takes one of these, and means just
        that one where several have its name.

        >>> container_sup.service_status()
        """
        return self._node.machine.answered.services()

    def _scaling(self, uid: str, replicas: int) -> tuple[str, ...]:
        """Return what is pending until the instances are as many as they can be."""
        machine = self._node.machine
        if machine.view.spec(uid) is None:
            raise ServiceError("the service was removed while it was being scaled")
        return scaling(machine.situation, uid, replicas)

    async def _remove(self, uid: str) -> tuple[int, str]:
        """Remove a service; return on how many disks that is, and what is left."""
        copies: int
        view = self._node.machine.view
        record = view.service(uid)  # as long as it says how long it takes to stop
        _, copies = await self._node.deciders.of_service(uid, "remove", uid)
        left = await self._node.quiet(lambda: self._left(view.instances(uid)), [record])
        return copies, self._still(left)

    async def _withdraw(self, container: Container) -> tuple[int, str]:
        """Give up a container's slot; return on how many disks, and what is left."""
        copies: int
        view, uid, slot = self._node.machine.view, container.uid, container.slot
        record = view.service(uid)
        _, copies = await self._node.deciders.of_service(
            container.uid,
            "stop",
            container.uid,
            container.slot,
            container.generation,
        )
        names = {c.name for c in view.in_slot(uid, slot)}  # two while it is moved
        left = await self._node.quiet(
            lambda: self._left(c for c in view.in_slot(uid, slot) if c.name in names),
            [record],
        )
        return copies, self._still(left)

    def _left(self, containers: Iterable[Container]) -> tuple[str, ...]:
        """Return which of these are on nodes that can be reached."""
        return tuple(c.name for c in containers if self._is_reached(c.node))

    def _still(self, names: tuple[str, ...]) -> str:
        """Return why containers that are to end are still there, "" for none."""
        held = [c for c in self._node.machine.view.containers() if c.name in names]
        told = [f"{c.name} ({c.reason or c.state.value})" for c in held]
        return f"still there, and tried again: {', '.join(told)}" if told else ""

    def _is_reached(self, node: str) -> bool:
        machine = self._node.machine
        head = machine.view.head(node)
        engine = head is not None and not head.engine_lost
        return engine and machine.members.status(node) in REACHED


def _checked(service: Service) -> Service:
    """Return what is asked for, without how it stands.

    Raises:
        UsageError: it breaks a rule, or is too large to pass on.
    """
    spec = service.spec if isinstance(service, Service) else service
    if told := problems(spec):
        raise UsageError("\n".join(told))
    if (size := packed_bytes(spec)) > MAX_SPEC_BYTES:
        raise UsageError(
            f"{spec.name}: its spec takes {size} bytes, at most "
            f"{MAX_SPEC_BYTES} are taken: mount files instead of large values"
        )
    return spec


def _added(container: Container, copies: int, left: str) -> Added:
    fields = attrs.asdict(container, recurse=False)
    warnings = ([ONE_COPY] if copies == 1 else []) + ([left] if left else [])
    return Added(**fields, copies=copies, warning="; ".join(warnings))
