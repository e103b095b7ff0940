"""Whether the containers of a node whose daemon is away still answer.

Its host stands, so they most likely run on; but nobody tells of them. Each TCP port
that one publishes is tried: DNS leaves out those that are closed.
"""

from __future__ import annotations

from veo_shell.core import events as ev
from veo_shell.core.commands import TryPort
from veo_shell.core.membership import AWAY, Membership
from veo_shell.core.model import Container, Knock, Transport
from veo_shell.core.outbox import Outbox
from veo_shell.core.view import View

EVERY_S = 1.0


class Doors:
    """The containers on nodes that are away, found closed."""

    def __init__(self, view: View, members: Membership, out: Outbox) -> None:
        self._view = view
        self._members = members
        self._out = out
        self._closed: set[str] = set()
        self._tried_s = 0.0
        self.revision = 0

    def is_closed(self, container: Container) -> bool:
        """Tell whether a container was found closed since its node is away."""
        return container.name in self._closed

    def on_tick(self, now: float) -> None:
        """Try the ports of all that runs on nodes that are away."""
        away = [peer.node for peer in self._members if peer.status in AWAY]
        theirs = [c for node in away for c in self._view.containers(node)]
        before = len(self._closed)
        self._closed &= {container.name for container in theirs}
        self.revision += len(self._closed) != before
        if theirs and now - self._tried_s >= EVERY_S:
            self._tried_s = now
            for container in theirs:
                if container.is_ready:
                    self._try(container)

    def on_tried(self, event: ev.Tried, now: float) -> None:
        """Note whether a container's port took a connection."""
        was_closed = event.container in self._closed
        if event.knock is Knock.OPEN:
            self._closed.discard(event.container)
        elif self._members.status(event.node) in AWAY:
            self._closed.add(event.container)
        if was_closed is not (event.container in self._closed):
            self.revision += 1
            self._note(event)

    def _note(self, event: ev.Tried) -> None:
        container = self._view.container(event.node, event.container)
        if container is not None:
            self._view.news.add(container.uid)

    def _try(self, container: Container) -> None:
        for port in container.ports:
            if port.protocol is Transport.TCP and port.host_port:
                self._out.order(
                    TryPort(
                        node=container.node,
                        container=container.name,
                        address=container.address,
                        port=port.host_port,
                    )
                )
                return
