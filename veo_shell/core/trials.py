"""How new instances do until they have proved themselves, as one node has seen it."""

from __future__ import annotations

import attrs

from veo_shell.core.model import Container, SlotRecord


@attrs.define
class Trial:
    """One generation of a slot: seen since when, ready since when, started how often.

    `ready_s` is None while it is not ready, and is anew with every start.
    """

    generation: int
    begun_s: float
    ready_s: float | None = None
    restarts: int = 0

    def ready_for_s(self, now: float) -> float:
        """Return for how long it has been ready without a break; -1 if it is not."""
        return now - self.ready_s if self.ready_s is not None else -1.0


class Trials:
    """The trials of the slots of all services that this node decides about."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[int, Trial]] = {}

    def forget(self, uid: str) -> None:
        """Know nothing any more of a service's instances."""
        self._seen.pop(uid, None)

    def of(self, slot: SlotRecord, named: Container | None, now: float) -> Trial:
        """Return what was seen of the container that a slot names, up to now."""
        seen = self._seen.setdefault(slot.uid, {})
        trial = seen.get(slot.slot)
        if trial is None or trial.generation != slot.generation:
            seen[slot.slot] = trial = Trial(slot.generation, now)
        if named is None or not named.is_ready:
            trial.ready_s = None
        elif trial.ready_s is None or trial.restarts != named.restarts:
            trial.ready_s, trial.restarts = now, named.restarts
        return trial
