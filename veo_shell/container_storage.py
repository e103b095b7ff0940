"""`container_storage`: what the cluster runs, as this node knows it, kept on disk."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from veo_shell.core.commands import Save
from veo_shell.core.events import Saved, SaveFailed
from veo_shell.core.model import Container, NodeDocument, Record
from veo_shell.core.protocols import Held, Store
from veo_shell.core.verbs import read
from veo_shell.errors import StoreError, UnknownContainer

if TYPE_CHECKING:
    from veo_shell.node import Node

logger = logging.getLogger(__name__)

AGAIN_S = 1.0
LATER_S = 0.25
"""So long what another node runs may wait to be written: that writes it at once."""


class ContainerStorage:
    """Writes the view to disk, one batch after the other, and answers from it."""

    def __init__(self, node: Node, store: Store) -> None:
        self._node = node
        self._store = store
        self._pending: list[Save] = []
        self._flushed: asyncio.Future[None] | None = None
        self._hurry = asyncio.Event()
        self._is_failing = False

    @read
    def containers_for_node(self, node: str) -> list[Container]:
        """Return the containers of a node.

        >>> container_storage.containers_for_node("uno@uno")
        """
        name = self._node.node_monitor.named(node)
        return list(self._node.machine.view.containers(name))

    @read
    def containers_by_service_name(self, name: str) -> list[Container]:
        """Return the containers of all services of a name, on every node.

        >>> container_storage.containers_by_service_name("nginx")
        """
        return [c for c in self._node.machine.view.containers() if c.service == name]

    @read
    def container_by_id(self, container_id: str) -> Container:
        """Return the container with a Docker id, or with a beginning that only it has.

        >>> container_storage.container_by_id("3f2a9c")
        """
        held = self._node.machine.view.containers()
        found = [c for c in held if container_id and c.id.startswith(container_id)]
        if len(found) != 1:
            count = "no container's id begins" if not found else "several ids begin"
            raise UnknownContainer(f"{count} with {container_id!r}")
        return found[0]

    def load(self) -> Held:
        """Return the view as it was saved last."""
        return self._store.load()

    def save(self, order: Save) -> None:
        """Write to disk soon; orders that come while one is written go together.

        What is no more than what another node runs waits a moment for more. Where the
        disk takes nothing, they are tried again until it does.
        """
        self._pending.append(order)
        own = self._node.config.name
        if (
            order.records
            or order.dropped
            or any(d.node == own for d in order.documents)
        ):
            self._hurry.set()
        if self._flushed is None:
            self._flushed = asyncio.get_running_loop().create_future()
            self._node.spawn(self._write(self._flushed), "store")

    async def flushed(self) -> None:
        """Return when all that was ordered so far is on disk."""
        while self._flushed is not None:
            self._hurry.set()
            await asyncio.shield(self._flushed)

    async def close(self) -> None:
        """Write what is left and close the store."""
        try:
            if self._pending:
                await self._write_batch()
        finally:
            await self._store.close()

    async def _write(self, flushed: asyncio.Future[None]) -> None:
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LATER_S):
                    await self._hurry.wait()
            while self._pending:
                try:
                    ticket = await self._write_batch()
                except Exception as exc:
                    self._tell(exc)
                    await asyncio.sleep(AGAIN_S)
                else:
                    self._is_failing = False
                    self._node.feed(Saved(ticket=ticket))
            flushed.set_result(None)
        finally:
            self._flushed = None
            self._hurry.clear()
            flushed.cancel()

    def _tell(self, error: Exception) -> None:
        """Log once why nothing is written, and tell the core: it promises nothing."""
        is_ours = not isinstance(error, StoreError)
        reason = f"a fault of VEO's: {error!r}" if is_ours else str(error)
        if not self._is_failing:
            what = "%s; tried again until it can be written"
            logger.error(what, reason, exc_info=error if is_ours else None)
        self._is_failing = True
        self._node.feed(SaveFailed(reason=reason))

    def _tell_hanging(self) -> None:
        """The same of a disk that neither takes what is written nor says why."""
        reason = "the disk does not answer"
        if not self._is_failing:
            logger.error("%s; what is to be written waits for it", reason)
        self._is_failing = True
        self._node.feed(SaveFailed(reason=reason))

    async def _write_batch(self) -> int:
        """Write what waits; it stays in line until it is on disk. Return its ticket.

        As one order: while the disk takes nothing, many wait.
        """
        batch = _together(self._pending)
        self._pending = [batch]
        loop, limit_s = asyncio.get_running_loop(), self._node.config.timing.copy_s
        late = loop.call_later(limit_s, self._tell_hanging)
        try:
            await self._store.save(batch.documents, batch.records, batch.dropped)
        finally:
            late.cancel()
        del self._pending[0]
        return batch.ticket


def _together(orders: list[Save]) -> Save:
    """Return one order for several: of each thing what was ordered last."""
    documents: dict[str, NodeDocument] = {}
    records: dict[str, Record] = {}
    dropped: set[str] = set()
    for order in orders:
        dropped.update(order.dropped)
        for key in order.dropped:
            documents.pop(key, None)
            records.pop(key, None)
        documents.update((d.node, d) for d in order.documents)
        records.update((r.key, r) for r in order.records)
    return Save(
        ticket=orders[-1].ticket,
        documents=tuple(documents.values()),
        records=tuple(records.values()),
        dropped=tuple(sorted(dropped - documents.keys() - records.keys())),
    )
