"""A file as the truth: what it would change, and having that done."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs

from veo_shell.core.foresight import Foresight
from veo_shell.core.model import Added, Container, Health, Mode, Service, State
from veo_shell.core.plan import plan
from veo_shell.core.planned import Action, Applied, Plan, Step
from veo_shell.core.progress import standing
from veo_shell.core.turns import is_named
from veo_shell.core.written import ONE_COPY
from veo_shell.errors import ApplyFailed, ServiceError, VeoError

if TYPE_CHECKING:
    from veo_shell.node import Node

STANDING = (Action.ADD, Action.CHANGE, Action.KEEP)
"""What is to run when all is done."""
NOT_DONE = {
    Action.ADD: "not added",
    Action.CHANGE: "not changed",
    Action.REMOVE: "not removed",
}


class Applying:
    """Compares the services of a file with those that stand, and makes them so."""

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
            [service.spec for service in services],
            machine.view.services(),
            Foresight(machine.situation, self._node.clock.now()),
            lambda: uuid.uuid4().hex,
            prune=prune,
        )

    async def apply(self, plan: Plan) -> Applied:
        """Do what a plan says, in its order; what fails does not stop the rest.

        Raises:
            ApplyFailed: something was not done, or does not run.
        """
        run = _Run(self._node, plan)
        await run.add([s for s in plan.steps if s.action is Action.ADD])
        for step in plan.steps:
            if step.action in (Action.CHANGE, Action.REMOVE):
                await run.perform(step)
        await run.look([s for s in plan.steps if s.action in STANDING])
        warning = ONE_COPY if run.is_on_one_disk else ""
        if run.failed:
            raise ApplyFailed(done=run.done, failed=run.failed, warning=warning)
        return Applied(done=tuple(run.done), warning=warning)


class _Run:
    """One plan as it is carried out, and what came of it, a line each."""

    def __init__(self, node: Node, plan: Plan) -> None:
        self._node = node
        self._plan = plan
        self._sup = node.container_sup
        self._view = node.machine.view
        self._lost: set[str] = set()
        self.done: list[str] = []
        self.failed: list[str] = []
        self.is_on_one_disk = False

    async def add(self, steps: Sequence[Step]) -> None:
        """Have services placed one after the other, as planned; begun all together."""
        begun = [(step, await self._accept(step)) for step in steps]
        found = await asyncio.gather(
            *(self._sup.begun(step.service, *taken) for step, taken in begun if taken),
            return_exceptions=True,
        )
        outcomes = iter(found)
        for step, taken in begun:
            if taken:
                self._note_added(step, next(outcomes))

    async def _accept(self, step: Step) -> Any:
        """Have a service placed; return what `begun` needs, None if it is not to be."""
        if any(r.service == step.service for r in self._view.named(step.service.name)):
            self.done.append(f"{step.name} stands already")
            return None
        try:
            beside = self._beside(step)
            return await self._sup.accepted(step.service, step.uid, beside=beside)
        except VeoError as exc:
            self._fail(step, exc)
            return None

    def _beside(self, step: Step) -> list[tuple[str, Service]]:
        """Return what else is to be in a service's group and is not there yet.

        As far as it says where that can be: a frame of the mesh is to hold it.
        """
        return [
            (other.uid, attrs.evolve(other.service, files=(), environment=()))
            for other in self._plan.steps
            if other.action in (Action.ADD, Action.CHANGE)
            if other.service.group == step.service.group is not None
            if other is not step
        ]

    def _note_added(self, step: Step, outcome: Added | BaseException) -> None:
        match outcome:
            case VeoError():
                self._fail(step, outcome)
            case BaseException():
                raise outcome
            case added:
                self.is_on_one_disk |= added.copies == 1
                self.done.append(f"{step.name} added")

    async def perform(self, step: Step) -> None:
        """Change or remove a service."""
        try:
            if step.action is Action.CHANGE:
                await self._change(step)
            else:
                await self._remove(step)
        except VeoError as exc:
            self._fail(step, exc)

    async def _change(self, step: Step) -> None:
        name = step.service.name
        if {change.field for change in step.changes} != {"replicas"}:
            written = await self._sup.update_service(name, step.service, step.uid)
            self.is_on_one_disk |= written.copies == 1
        record = self._view.service(step.uid)
        is_counted = step.service.mode is not Mode.GLOBAL
        if is_counted and record is not None and record.replicas != step.replicas:
            written = await self._sup.scale(name, step.replicas, step.uid)
            self.is_on_one_disk |= written.copies == 1
        self.done.append(f"{step.name} changed")

    async def _remove(self, step: Step) -> None:
        if any(self._view.spec(uid) is None for uid in step.after):
            raise ServiceError("what replaces it could not be added")
        written = await self._sup.remove_service(step.service.name, step.uid)
        self.is_on_one_disk |= written.copies == 1
        for container in self._view.instances(step.uid):
            if self._node.machine.situation.is_reached(container.node):
                raise ServiceError(f"still there: {_trouble(container)}")
        self.done.append(f"{step.name} removed")

    def _fail(self, step: Step, error: VeoError) -> None:
        self._lost.add(step.uid)
        why = "; ".join(line.strip() for line in str(error).splitlines())
        self.failed.append(f"{step.name}: {NOT_DONE[step.action]}: {why}")

    async def look(self, steps: Sequence[Step]) -> None:
        """Wait until all runs; note what does not once nothing happens any more."""
        uids = [step.uid for step in steps if step.uid not in self._lost]
        wanted = set(uids)
        records = [self._view.service(uid) for uid in uids]
        left = await self._node.quiet(lambda: self._left(uids), records)
        self.failed += [f"still under way: {text}" for text in left]
        for container in self._sup.cloud_containers():
            if container.uid in wanted and self._is_trouble(container):
                self.failed.append(_trouble(container))

    def _is_trouble(self, container: Container) -> bool:
        """Tell whether what is to fill a slot does not run; what ends there is none."""
        slot = self._view.slot(container.uid, container.slot)
        is_wanted = slot is not None and (
            not container.name or is_named(slot, container)
        )
        return is_wanted and not _is_well(container)

    def _left(self, uids: list[str]) -> tuple[str, ...]:
        """Return what is pending; of those that are ready it is asked no more."""
        found = {uid: self._pending(uid) for uid in uids}
        uids[:] = [uid for uid in uids if found[uid]]
        return tuple(text for texts in found.values() for text in texts)

    def _pending(self, uid: str) -> tuple[str, ...]:
        if self._view.spec(uid) is None:
            return ()
        unsure = (
            f"{c.name} is not known to be healthy yet"
            for c in self._view.instances(uid)
            if c.state is State.RUNNING and c.health is Health.STARTING
        )
        return (*standing(self._node.machine.reconciler, uid), *unsure)


def _is_well(container: Container) -> bool:
    """Tell whether it runs, or was to end and did so in order."""
    return container.is_ready or (
        container.state is State.EXITED and container.exit_code == 0
    )


def _trouble(container: Container) -> str:
    why = f", {container.reason}" if container.reason else ""
    return f"{container.name or container.service}: {container.state.value}{why}"
