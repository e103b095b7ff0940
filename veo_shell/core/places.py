"""Where one more instance of a service would run, and why not elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import attrs

from veo_shell.core.groups import Groups
from veo_shell.core.model import Candidate, Mode, Service, SlotRecord
from veo_shell.core.placement import (
    NodeState,
    best,
    has_room,
    homes,
    lack,
    misfit,
    rank,
    unfit,
)
from veo_shell.core.situation import Situation
from veo_shell.core.turns import is_named


class Places:
    """Ranks the nodes; keeps what it works out until something changes."""

    def __init__(self, situation: Situation) -> None:
        self._situation = situation
        self._view = situation.view
        self.groups = Groups(situation)
        self._states_seen = -1, -1, -1
        self._node_states: list[NodeState] = []
        # By all that `unfit` looks at of a service.
        self._fitting: dict[tuple[object, ...], list[NodeState]] = {}
        self._misfits: dict[tuple[object, ...], dict[str, str]] = {}

    def candidates(
        self,
        service: Service,
        uid: str,
        instead_of: SlotRecord | None = None,
        without: Collection[str] = (),
    ) -> list[Candidate]:
        """Rank all nodes for one more instance of a service, or for one in its place.

        `instead_of`: what fills this slot is to be no more by then; `without`: nodes
        that its group is not to be on.
        """
        if not self._situation.may_decide(service):
            why = "no majority of the nodes is seen (on_partition: majority)"
            nodes = sorted(head.node for head in self._view.nodes)
            return [Candidate(node=node, fits=False, reason=why) for node in nodes]
        states = now = self._states()
        if instead_of is not None:
            states = [self._without(instead_of, state) for state in states]
        if service.group:
            return self.groups.rank(service, uid, states, now, without)
        return rank(service, uid, states)

    def for_one_more(self, service: Service, uid: str) -> list[Candidate]:
        """Rank all nodes, of which in the mode global none fits that has its own."""
        ranked = self.candidates(service, uid)
        if service.mode is not Mode.GLOBAL:
            return ranked
        why = "it has its own (mode: global)"
        told = [
            attrs.evolve(c, fits=False, reason=why)
            if c.fits and uid in self._view.account(c.node).slots
            else c
            for c in ranked
        ]
        return sorted(told, key=lambda candidate: not candidate.fits)

    def home(self, service: Service, without: Collection[str] = ()) -> str | None:
        """Return the node where a service's group is; None if nowhere, or it has none.

        Of several, the one where all of it is to be, which is none of those `without`.
        """
        if not service.group:
            return None
        return self.groups.home(service.group, self._states(), without)

    def _without(self, slot: SlotRecord, state: NodeState) -> NodeState:
        """Return a node as it is to an instance that is there: drained or not."""
        service = self._view.spec(slot.uid)
        if service is None or slot.node != state.node:
            return state
        account = state.account.apart()
        account.add(service, -1)
        return attrs.evolve(state, account=account, drained=False)

    def best(
        self, service: Service, uid: str, without: Collection[str] = ()
    ) -> str | None:
        """Return the node that `candidates` has first, None if no node fits.

        `without` are nodes that do not come into question.
        """
        if not self._situation.may_decide(service):
            return None
        if service.group:
            return self.groups.best(service, uid, self._states(), without)
        fitting = self._fit(service)
        if without:
            fitting = [state for state in fitting if state.node not in without]
        if at_home := homes(service, self._states()):
            fitting = [state for state in fitting if state.node in at_home]
        return best(service, uid, fitting)

    def free(self, service: Service, uid: str) -> list[str]:
        """Return the nodes that fit and have none of a service yet, in order."""
        if not self._situation.may_decide(service):
            return []
        fitting = (s for s in self._fit(service) if uid not in s.account.slots)
        return sorted(state.node for state in fitting if has_room(service, state))

    def has_room_beside(self, service: Service, uid: str, node: str) -> bool:
        """Tell whether a node has room for one more as long as others run on there.

        Those of the service that no slot names: they are replaced, or stop.
        """
        record = self._view.service(uid)
        assert record is not None
        state = next(s for s in self._states() if s.node == node)
        account = state.account.apart()
        for container in self._view.instances(uid):
            slot = self._view.slot(uid, container.slot)
            is_over = slot is None or not is_named(slot, container)
            if container.node == node and container.may_run and is_over:
                account.add(record.spec_of(container.spec_id) or service, 1)
        return lack(service, attrs.evolve(state, account=account)) is None

    def misfits(self, service: Service) -> dict[str, str]:
        """Return the nodes that are not what a service asks for, and why."""
        states, asked = self._states(), _asked(service)
        if asked not in self._misfits:
            found = ((state.node, misfit(service, state)) for state in states)
            self._misfits[asked] = {node: why for node, why in found if why}
        return self._misfits[asked]

    def _fit(self, service: Service) -> list[NodeState]:
        """Return the nodes that `unfit` has nothing against."""
        states, asked = self._states(), _asked(service)
        if asked not in self._fitting:
            self._fitting[asked] = [s for s in states if unfit(service, s) is None]
        return self._fitting[asked]

    def _states(self) -> list[NodeState]:
        """Return what placement looks at, made anew when a node has changed."""
        verdicts = self._situation.verdicts.revision
        seen = self._view.epoch, verdicts, self._view.holdings
        if seen != self._states_seen:
            self._states_seen = seen
            self._fitting, self._misfits = {}, {}
            self._node_states = [
                NodeState(
                    node=head.node,
                    status=self._situation.verdicts.status(head.node),
                    role=self._view.role(head.node),
                    resources=head.resources,
                    account=self._view.account(head.node),
                    labels=_values(head.labels),
                    engine_lost=head.engine_lost,
                    drained=self._view.is_drained(head.node),
                    images=frozenset(head.images),
                    volumes=frozenset(head.volumes),
                    lan_networks=frozenset(head.lan_networks),
                )
                for head in self._view.nodes
            ]
        return self._node_states


def refusals(ranked: list[Candidate]) -> str:
    """Return in one line why no node fits."""
    reasons = [f"{c.node}: {c.reason}" for c in ranked]
    return "; ".join(reasons) or "no node is known"


def _asked(service: Service) -> tuple[object, ...]:
    return service.hosts, service.roles, service.constraints


def _values(labels: Iterable[str]) -> dict[str, str]:
    """Return the values of labels, `NAME=value`, by name."""
    parts = (label.partition("=") for label in labels)
    return {name: value for name, _, value in parts}
