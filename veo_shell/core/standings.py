"""What has changed for DNS: nodes, and services of which something else is answered."""

from __future__ import annotations

from veo_shell.core.answered import Answered
from veo_shell.core.membership import GONE, Membership
from veo_shell.core.model import Status
from veo_shell.core.view import View
from veo_shell.core.zone_records import Standing


class Standings:
    """How services stand, told once after each change, by their names in lower case.

    `nodes` are those that count, with their addresses, as of the last time.
    """

    def __init__(self, view: View, members: Membership, answered: Answered) -> None:
        self._view = view
        self._members = members
        self._answered = answered
        self._names: dict[str, set[str]] = {}
        self._uids: dict[str, set[str]] = {}
        self._reach: dict[str, tuple[str, Status]] = {}
        self._nodes_of = -1, -1
        self.nodes: dict[str, tuple[str, ...]] = {}

    def take(self) -> dict[str, Standing]:
        """Return those that may have changed since the last time, all at first.

        One of which nothing is left stands empty.
        """
        touched = self._view.news | self._touched_by_nodes()
        self._view.news.clear()
        names = {name for uid in touched for name in self._named(uid)}
        found = {}
        for name in names:
            uids = self._uids.get(name, set())
            found[name] = self._answered.standing(name, uids)
        return found

    def uids(self, name: str) -> frozenset[str]:
        """Return the services of a name in lower case, as of the last time."""
        return frozenset(self._uids.get(name, ()))

    def _touched_by_nodes(self) -> set[str]:
        """Return the services of nodes that are reached now, or are not any more.

        A hundred nodes are not looked at for each container that changes.
        """
        seen = self._view.epoch, self._members.revision
        if seen == self._nodes_of:
            return set()
        before, self._nodes_of = self._reach, seen
        heads = {head.node: head for head in self._view.nodes}
        self._reach = {
            node: (head.engine_lost, self._members.status(node))
            for node, head in heads.items()
        }
        self.nodes = {
            node: heads[node].addresses
            for node, (_, status) in self._reach.items()
            if status not in GONE
        }
        return {
            container.uid
            for node, reach in self._reach.items()
            if before.get(node) != reach
            for container in self._view.containers(node)
        }

    def _named(self, uid: str) -> set[str]:
        """Return what a service is called, or was: by its record and its containers."""
        before = self._names.pop(uid, set())
        record = self._view.service(uid)
        names = {c.service.lower() for c in self._view.instances(uid)}
        if record is not None and record.service is not None:
            names.add(record.service.name.lower())
        if names:
            self._names[uid] = names
        for name in names - before:
            self._uids.setdefault(name, set()).add(uid)
        for name in before - names:
            self._uids[name].discard(uid)
            if not self._uids[name]:
                del self._uids[name]
        return names | before
