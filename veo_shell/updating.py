"""How an operator's change of a spec is carried out, and what came of it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from veo_shell.core.model import Service, UpdateState, UpdateStatus, Written
from veo_shell.core.progress import updating
from veo_shell.core.written import written
from veo_shell.errors import ServiceError, UpdateFailed

if TYPE_CHECKING:
    from veo_shell.node import Node

FAILED = {
    UpdateState.PAUSED: "the update failed, and is paused",
    UpdateState.ROLLING_BACK: "the update failed, and is being rolled back",
    UpdateState.ROLLED_BACK: "the update failed, and all is rolled back",
    UpdateState.ROLLBACK_PAUSED: "it failed, and could not be rolled back",
}
UNDONE = {UpdateState.ROLLBACK_PAUSED: "it could not be rolled back"}


class Updating:
    """Has updates decided by their coordinator, and waits for them."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def update(self, uid: str, spec: Service) -> Written:
        """Give a service another spec; return once all its instances are of it."""
        revision, copies = await self._node.deciders.of_service(
            uid, "update", uid, spec
        )
        if not revision:
            return written(f"{spec.name}: no instance has to be replaced", copies)
        status, left = await self._outcome(uid, spec.name, revision)
        if self._node.machine.view.spec(uid) != spec and status.state not in FAILED:
            raise ServiceError(f"{spec.name} was changed again while it was updated")
        return self._told(uid, f"{spec.name} updated", status, copies, left, FAILED)

    async def roll_back(self, uid: str, name: str) -> Written:
        """Give a service the spec before; return once all its instances are of it."""
        revision, copies = await self._node.deciders.of_service(uid, "roll_back", uid)
        status, left = await self._outcome(uid, name, revision)
        return self._told(uid, f"{name} rolled back", status, copies, left, UNDONE)

    async def _outcome(
        self, uid: str, name: str, revision: int
    ) -> tuple[UpdateStatus, str]:
        """Wait for an update; return how it stands, and what is still under way."""
        node = self._node
        await node.deciders.seen(f"service/{uid}", revision)
        reconciler = node.machine.reconciler
        view = node.machine.view
        pending = await node.quiet(
            functools.partial(updating, reconciler, uid), [view.service(uid)]
        )
        record = view.service(uid)
        if record is None or record.service is None or record.update is None:
            raise ServiceError(f"{name} was removed while it was updated")
        left = f"still under way: {', '.join(pending)}" if pending else ""
        return record.update, left

    def _told(
        self,
        uid: str,
        what: str,
        status: UpdateStatus,
        copies: int,
        left: str,
        failures: dict[UpdateState, str],
    ) -> Written:
        if status.state in failures:
            name = what.partition(" ")[0]
            raise UpdateFailed(f"{name}: {failures[status.state]}: {status.reason}")
        instances = tuple(self._node.machine.view.instances(uid))
        return written(what, copies, left, instances)
