"""Where instances would run if they were begun now, one after the other."""

from __future__ import annotations

from veo_shell.core.groups import Share
from veo_shell.core.model import Mode, Service
from veo_shell.core.places import Places, refusals
from veo_shell.core.situation import Situation

TOLD = 50
"""Of so many services it is told why they fit nowhere: it takes long for many."""
MORE = f"no node fits; why is told of the first {TOLD} such services"


class Foresight:
    """Places instances in a view of its own: those before are there, in no table."""

    def __init__(self, situation: Situation, now: float) -> None:
        self._view = situation.view.apart()
        apart = Situation(situation.me, self._view, situation.verdicts)
        apart.now = now
        self._places = Places(apart)
        self._refused = 0

    def expect(self, service: Service, uid: str, replicas: int) -> None:
        """Note what is to be in a group: it gets a node that fits the whole of it."""
        if service.group:
            coming = self._places.groups.coming.setdefault(service.group, {})
            coming[uid] = Share(service, replicas, uid)

    def place(
        self, service: Service, uid: str, count: int
    ) -> tuple[tuple[str | None, ...], str]:
        """Return a node for each of so many, None for nowhere, and why nowhere.

        In the mode global for each node that fits and has none.
        """
        if service.mode is Mode.GLOBAL:
            return self._everywhere(service, uid)
        nodes: list[str | None] = []
        for _ in range(count):
            node = self._places.best(service, uid)
            if node is None:
                nowhere = [None] * (count - len(nodes))
                return (*nodes, *nowhere), self._why(service, uid)
            self._view.account(node).add(service, 1)
            if service.group:
                self._places.groups.foreseen[service.group] = node
            nodes.append(node)
        return tuple(nodes), ""

    def _everywhere(
        self, service: Service, uid: str
    ) -> tuple[tuple[str | None, ...], str]:
        nodes = self._places.free(service, uid)
        for node in nodes:
            self._view.account(node).add(service, 1)
        if nodes or any(slot.wanted and slot.node for slot in self._view.slots(uid)):
            return tuple(nodes), ""
        return (None,), self._why(service, uid)

    def _why(self, service: Service, uid: str) -> str:
        self._refused += 1
        if self._refused > TOLD:
            return MORE
        return refusals(self._places.candidates(service, uid))
