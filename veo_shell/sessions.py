"""The sessions of operators: who is attached, and what each of them asks for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from veo_shell import acting
from veo_shell.core.events import Called
from veo_shell.core.model import Service, Status
from veo_shell.core.naming import rows
from veo_shell.core.sessions import READ, Attendance, Session, described
from veo_shell.core.verbs import pack, read, unpack
from veo_shell.errors import PeerUnreachable, UnknownNode, VeoError

if TYPE_CHECKING:
    from veo_shell.node import Node

logger = logging.getLogger(__name__)

PEER_S = 1.0
EXEC = "streams.exec"
PARTS = frozenset({"streams.write", "streams.resize", "streams.end_input"})
"""Writes that belong to a command in a container, which was noted as it began."""


class Sessions:
    """The sessions of all nodes, and what those of this one change."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.attendance = Attendance()

    @read
    async def who(self) -> list[Session]:
        """Return who is attached to the nodes of the cluster, and since when.

        Of nodes that answer; one that has left is listed for a few seconds.

        >>> who()
        """
        living = [p for p in self._node.machine.members if p.status is Status.ALIVE]
        told = await asyncio.gather(*(self._at(peer.node) for peer in living))
        return self.here() + [session for some in told for session in some]

    @read
    def here(self) -> list[Session]:
        """Return who is attached to this node."""
        name = self._node.config.name
        held = self.attendance.sessions()
        return [attrs.evolve(session, node=session.node or name) for session in held]

    @read
    def names(self) -> dict[str, list[dict[str, Any]]]:
        """Return what completion offers: services, containers, the file's services."""
        sup = self._node.container_sup
        settings: Any = self._node.words["settings"]
        file: Sequence[Service] = ()
        with contextlib.suppress(VeoError):  # what is wrong with it `settings` tells
            file = settings.get_applications()
        return rows(sup.services(), sup.cloud_containers(), file)

    async def begin(
        self,
        session: Session,
        verb: str,
        kind: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> None:
        """Have the task of a call work for a session; note what changes something."""
        acting.SESSION.set(session)
        if kind not in ("", READ):
            await self.note(verb, args, kwargs)

    async def note(
        self, verb: str, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        """Note what the session asks for; what comes of it here follows from it.

        A node that cannot note it does it all the same.
        """
        if verb in PARTS:
            return
        session = acting.SESSION.get()
        operation = uuid.uuid4().hex
        why = f": {session.reason}" if session.reason else ""
        about = self._about(verb, args)
        if verb == EXEC:  # as whoever asked for it would call it
            named = [pack(about["container"])] if "container" in about else args[2:3]
            verb, args = "container_sup.exec", [*named, *args[3:4]]
        event = Called(
            operation=operation,
            text=f"{described(verb, args, kwargs)} by {session.who}{why}",
            by=session,
            **about,
        )
        try:
            answer = await self._node.ask(event, operation)
        except VeoError as exc:
            logger.warning("%s is not noted: %s", verb, exc)
        else:
            acting.CAUSE.set(answer.value)

    def _about(self, verb: str, args: Sequence[Any]) -> dict[str, str]:
        """Return which service, container or node a call is about, if one is known."""
        try:
            what = unpack(args[0]) if args else ""
            if verb.startswith("streams."):  # of the node that is named first
                return self._named(unpack(args[2]))
            if verb.startswith("node_monitor."):
                return {"about": self._node.node_monitor.named(what)}
        except (IndexError, TypeError, UnknownNode, VeoError):
            return {}
        if isinstance(what, Service):
            return {"service": what.name}
        return self._named(getattr(what, "name", what))

    def _named(self, name: object) -> dict[str, str]:
        view = self._node.machine.view
        for container in view.containers():
            if name and name in (container.name, container.id):
                return {"container": container.name}
        if isinstance(name, str) and any(r.service for r in view.named(name)):
            return {"service": name}
        return {}

    async def _at(self, node: str) -> list[Session]:
        try:
            async with asyncio.timeout(PEER_S):
                told: list[Session] = await self._node.peers.call(node, "sessions.here")
                return told
        except (PeerUnreachable, TimeoutError, VeoError) as exc:
            logger.debug("the sessions of %s: %s", node, exc)
            return []
