"""The cluster as a prompt tells it, asked for in a thread of its own.

So a node that is busy, or gone, delays neither a prompt nor a key.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from veo_shell.errors import NodeUnreachable, UsageError, VeoError

if TYPE_CHECKING:
    from veo_shell.console.client import Client
    from veo_shell.core.model import NodeInfo

EVERY_S = 5.0
WAIT_S = 0.15
"""How long a prompt waits for what it is about to tell."""
LEAVE_S = 0.3


@attrs.frozen
class Health:
    """How many nodes live, of how many that are members."""

    alive: int
    members: int

    def __str__(self) -> str:
        return f"{self.alive}/{self.members}"


def health_of(nodes: list[NodeInfo]) -> Health:
    """Count nodes; what has left for good is missed by nobody."""
    statuses = [row.status.value for row in nodes if row.status.value != "left"]
    return Health(statuses.count("alive"), len(statuses))


class Glance:
    """What was last heard of the cluster, and whether the node told it in time.

    `changed` is called, in the thread, whenever that is no more what it was.
    """

    def __init__(self, client: Client) -> None:
        self.changed: Callable[[], object] = lambda: None
        self._client = client
        self._health: Health | None = None
        self._is_silent = False
        self._turn = threading.Condition()
        self._wanted = self._told = 0
        self._is_over = False
        self._thread = threading.Thread(target=self._run, name="glance", daemon=True)
        self._thread.start()

    def look(self, within_s: float = WAIT_S) -> None:
        """Ask anew; return when that is answered, or later than it should be."""
        with self._turn:
            self._wanted = self._told + 1
            self._turn.notify_all()
            if not self._turn.wait_for(lambda: self._told >= self._wanted, within_s):
                self._is_silent = True

    @property
    def text(self) -> str:
        """Return `2/2`; `?/2` while the node does not say; "" where it cannot."""
        if self._health is None:
            return "?" if self._is_silent else ""
        return f"?/{self._health.members}" if self._is_silent else str(self._health)

    @property
    def is_well(self) -> bool:
        """Tell whether the node answers, and all members live."""
        health = self._health
        whole = health is None or health.alive == health.members
        return whole and not self._is_silent

    def close(self) -> None:
        """Look no more."""
        with self._turn:
            self._is_over = True
            self._turn.notify_all()
        self._thread.join(LEAVE_S)  # it ends with the process if its node is silent

    def _run(self) -> None:
        with contextlib.closing(self._client):
            while self._waited():
                before = self._health, self._is_silent
                self._ask()
                if (self._health, self._is_silent) != before:
                    self.changed()

    def _waited(self) -> bool:
        """Wait until there is something to ask; return False at the end."""
        with self._turn:
            self._turn.wait_for(
                lambda: self._is_over or self._wanted > self._told, EVERY_S
            )
            return not self._is_over

    def _ask(self) -> None:
        number = self._wanted
        try:
            self._health = health_of(self._client.read("node_monitor.nodes"))
            is_silent = False
        except UsageError:  # a node that has no such verb
            is_silent = False
        except VeoError as exc:
            is_silent = isinstance(exc, NodeUnreachable)
        with self._turn:
            self._is_silent = is_silent
            self._told = max(self._told, number)
            self._turn.notify_all()
