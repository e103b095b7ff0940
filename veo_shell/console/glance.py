"""The cluster as a prompt and completion tell it, asked for in a thread of its own.

So a node that is busy, or gone, delays neither a prompt nor a key.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from veo_shell.errors import NodeUnreachable, VeoError

if TYPE_CHECKING:
    from veo_shell.console.client import Client

Row = Mapping[str, Any]

EVERY_S = 5.0
WAIT_S = 0.15
"""How long a prompt waits for what it is about to tell."""
LEAVE_S = 0.3
FRESH_S = 4.0
VERBS_S = 60.0
"""A node that was upgraded under a session has other verbs after so long at most."""
NAMES_S = 0.5
"""How long completion waits for the names that there are now."""


class Health(NamedTuple):
    """How many nodes live, of how many that are members."""

    alive: int
    members: int

    def __str__(self) -> str:
        return f"{self.alive}/{self.members}"


class Names(NamedTuple):
    """What can be named: verbs, and what is in the cluster and in the node's file.

    The records are mappings of some of their fields, see `core/naming.py`.
    """

    verbs: Mapping[str, Mapping[str, Sequence[str]]] = {}
    nodes: Sequence[Row] = ()
    services: Sequence[Row] = ()
    containers: Sequence[Row] = ()
    file: Sequence[Row] = ()


def health_of(nodes: Sequence[Row]) -> Health:
    """Count nodes; what has left for good is missed by nobody."""
    statuses = [row["status"] for row in nodes if row["status"] != "left"]
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
        self._names = Names()
        self._names_at_s = float("-inf")
        self._names_are_wanted = True
        self._verbs_at, self._verbs_at_s = "", float("-inf")
        self._turn = threading.Condition()
        self._wanted, self._told = 1, 0
        self._is_over = False
        self._thread = threading.Thread(target=self._run, name="glance", daemon=True)
        self._thread.start()

    def look(self, within_s: float = WAIT_S) -> None:
        """Ask anew; return when that is answered, or later than it should be."""
        with self._turn:
            if self._told:  # else the first question is still under way
                self._wanted = self._told + 1
                self._turn.notify_all()
            if not self._turn.wait_for(lambda: self._told >= self._wanted, within_s):
                self._is_silent = True

    @property
    def known(self) -> Names:
        """Return what can be named, as last heard."""
        return self._names

    @property
    def is_fresh(self) -> bool:
        """Tell whether that was a moment ago."""
        return time.monotonic() - self._names_at_s < FRESH_S

    @property
    def verbs(self) -> Mapping[str, Mapping[str, Sequence[str]]]:
        """Return `{word: {verb: [access, signature, docstring]}}`, as last heard."""
        return self._names.verbs

    def names(self, within_s: float = NAMES_S) -> Names:
        """Return what can be named now; what was last heard if that takes longer."""
        with self._turn:
            if not self.is_fresh:
                self._names_are_wanted = True
                self._wanted = self._told + 1
                self._turn.notify_all()
            self._turn.wait_for(lambda: not self._names_are_wanted, within_s)
            return self._names

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
        nodes: Sequence[Row] = ()
        try:
            nodes = self._client.plain("node_monitor.nodes")
            is_silent = False
        except VeoError as exc:  # one that has no such verb answers as well
            is_silent = isinstance(exc, NodeUnreachable)
        with self._turn:
            self._health = health_of(nodes) if nodes else self._health
            self._is_silent = is_silent
            self._told = max(self._told, number)
            self._turn.notify_all()
        if self._names_are_wanted and not is_silent:
            self._ask_names(nodes)

    def _ask_names(self, nodes: Sequence[Row]) -> None:
        found: dict[str, Any] = {}
        with contextlib.suppress(VeoError):  # of an older VEO, or just gone
            found |= self._client.plain("sessions.names")
        at, now = self._client.at, time.monotonic()
        if at != self._verbs_at or now - self._verbs_at_s > VERBS_S:
            with contextlib.suppress(VeoError):
                found["verbs"] = self._client.plain("veo.describe")
                self._verbs_at, self._verbs_at_s = at, now
        with self._turn:
            self._names = self._names._replace(nodes=nodes, **found)
            self._names_at_s = time.monotonic()
            self._names_are_wanted = False
            self._turn.notify_all()
