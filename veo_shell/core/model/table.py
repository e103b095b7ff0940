"""What all nodes write: the table of services, slots and nodes, and the journal."""

from __future__ import annotations

import enum
from typing import Any

import attrs

from veo_shell.core.model.spec import STOP_TIMEOUT_S, Service

REMOVALS_KEPT = 16


class UpdateState(enum.Enum):
    """Docker's `UpdateStatus.State`: how far the change to a new spec has come."""

    UPDATING = "updating"
    PAUSED = "paused"
    COMPLETED = "completed"
    ROLLING_BACK = "rollback_started"
    ROLLBACK_PAUSED = "rollback_paused"
    ROLLED_BACK = "rollback_completed"


@attrs.frozen(kw_only=True)
class UpdateStatus:
    """Docker's `UpdateStatus`; `reason` says what failed, where something did."""

    state: UpdateState
    reason: str = ""

    @property
    def is_going_on(self) -> bool:
        """Tell whether instances are still to be made of the spec that stands."""
        return self.state in (UpdateState.UPDATING, UpdateState.ROLLING_BACK)

    @property
    def is_halted(self) -> bool:
        """Tell whether it has stopped half-way: instances are of several specs."""
        return self.state in (UpdateState.PAUSED, UpdateState.ROLLBACK_PAUSED)


@attrs.frozen(kw_only=True)
class OldSpec:
    """A spec that a service had, with its id, and how many instances there were."""

    spec_id: str
    service: Service
    replicas: int


@attrs.frozen(kw_only=True)
class ServiceRecord:
    """Table record: a service that should run. `service` None is a tombstone.

    `operations` are the last that changed it: asked again, they are not done again.
    There are none while it is known from its containers alone (`core/orphans.py`).
    `spec_id` is that of the spec, "" for the first; `old_specs` are those before it,
    the one to go back to last. `update` tells how the change to it goes, or went.
    """

    uid: str
    revision: int
    writer: str
    service: Service | None
    replicas: int = 1
    spec_id: str = ""
    old_specs: tuple[OldSpec, ...] = ()
    update: UpdateStatus | None = None
    operations: tuple[str, ...] = ()
    cause: str = ""

    def spec_of(self, spec_id: str) -> Service | None:
        """Return the spec with an id; the one that stands if that is not kept.

        Its mode is that of the service as it stands, whatever it was.
        """
        if self.service is None or spec_id == self.spec_id:
            return self.service
        kept = {old.spec_id: old.service for old in self.old_specs}
        spec, mode = kept.get(spec_id, self.service), self.service.mode
        return spec if spec.mode is mode else attrs.evolve(spec, mode=mode)

    @property
    def stops_within_s(self) -> int:
        """Return how long a container of it may take to stop, of whichever spec."""
        specs = [self.service, *(old.service for old in self.old_specs)]
        times_s = [spec.stop_timeout_s for spec in specs if spec is not None]
        return max(times_s, default=STOP_TIMEOUT_S)

    @property
    def key(self) -> str:
        """Return the record's key in the table."""
        return f"service/{self.uid}"

    @property
    def is_recalled(self) -> bool:
        """Tell whether no operator's word about it is known."""
        return not self.operations


@attrs.frozen(kw_only=True)
class Stuck:
    """A node that a slot could not be moved to, why, and by which drain's decision."""

    node: str
    reason: str
    decision: str = ""


@attrs.frozen(kw_only=True)
class SlotRecord:
    """Table record: where one instance of a service should run. None = nowhere yet.

    `generation` grows with every decision about the slot. `made` is the generation in
    the name of the container that fills it, 0 for the same one: a decision may keep a
    container that was made under an earlier one. `ends` names the containers of this
    slot that are to stop; any other that runs stays until a decision names it.
    `handover`: the container named takes over as soon as it is ready; if because a
    node is drained, that is `drained_from`. `stuck`: where it could not be moved to.
    `spec_id`: what its container is made of. `updating`: that is new, and on trial;
    `stops_first`: the new container begins once the one before it is gone.
    `wanted` False: the slot was given up (stopped, scaled away); its number may be
    filled again. `done`: its container has ended for good, or is a job's and was made;
    the slot is not filled again.
    `operation` is the one that asked for it last: asked again of another coordinator,
    it is answered from here. `cause` is the journal's id of the decision.
    """

    uid: str
    slot: int
    revision: int
    writer: str
    generation: int
    node: str | None
    wanted: bool = True
    operation: str = ""
    made: int = 0
    ends: tuple[str, ...] = ()
    handover: bool = False
    drained_from: str = ""
    stuck: tuple[Stuck, ...] = ()
    spec_id: str = ""
    updating: bool = False
    stops_first: bool = False
    done: bool = False
    cause: str = ""

    @property
    def key(self) -> str:
        """Return the record's key in the table."""
        return f"slot/{self.uid}/{self.slot}"

    @property
    def container_generation(self) -> int:
        """Return the generation in the name of the container that fills it."""
        return self.made or self.generation


@attrs.frozen(kw_only=True)
class NodeRecord:
    """Table record: what is decided about a node. None = not decided.

    `drained_by` is the journal's id of the decision by which it is drained.
    `removed` is the disk id of the state that must not come back, because the node left
    with it or an operator removed it; a node of that name joins with a fresh one.
    `removed_before` are those of earlier such states: hosts may be told by turns.
    `votes`: it counts where a majority is asked for.
    `operations` are the last that changed it: asked again, they are not done again.
    """

    node: str
    revision: int
    writer: str
    role: str | None = None
    drained: bool = False
    drained_by: str = ""
    removed: str = ""
    removed_before: tuple[str, ...] = ()
    votes: bool = False
    operations: tuple[str, ...] = ()
    cause: str = ""

    @property
    def key(self) -> str:
        """Return the record's key in the table."""
        return f"node/{self.node}"

    def bars(self, identity: str) -> bool:
        """Tell whether the node is not to come back with this state."""
        return bool(identity) and identity in (self.removed, *self.removed_before)

    def removing(self, identity: str) -> dict[str, Any]:
        """Return what changes as the node leaves, or is removed, with this state.

        It counts no more: nobody else can take it for one that it sees.
        """
        before = (*self.removed_before, self.removed)
        return {
            "removed": identity,
            "removed_before": tuple(b for b in before if b not in ("", identity))[
                -REMOVALS_KEPT:
            ],
            "votes": False,
            "drained": False,
            "drained_by": "",
        }


Record = ServiceRecord | SlotRecord | NodeRecord


@attrs.frozen(kw_only=True)
class JournalEntry:
    """Something decided or seen, and by `cause` the entry that it follows from.

    `id` is `node/boot/number`, unique in the cluster. `at_s` is in seconds since 1970,
    by the clock of the node that wrote it. `about` is a node; `slot` is -1 where the
    entry is not about one. What an operator `asked` for has who that was (`user`), from
    where (`origin`), in which session and for what reason.
    """

    id: str
    node: str
    kind: str
    text: str
    at_s: float = 0.0
    service: str = ""
    uid: str = ""
    slot: int = -1
    container: str = ""
    about: str = ""
    cause: str = ""
    user: str = ""
    origin: str = ""
    session: str = ""
    reason: str = ""
