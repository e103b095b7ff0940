"""What the lives of one group on this node mean for each other.

Its masters begin first: another of the group begins for the first time, or anew with
all of it, once they are ready, or have done their job. By its policy the end of one is
that of all: the others are stopped, and start again with it, or end for good with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from veo_shell.core.events import EngineFailed, TimerDue
from veo_shell.core.life import (
    FELL,
    EngineEnded,
    Found,
    Halt,
    Life,
    LifeEvent,
    MateEnded,
)
from veo_shell.core.model import (
    Container,
    GroupPolicy,
    Restart,
    State,
)
from veo_shell.core.turns import awaited, ends_all, is_named
from veo_shell.core.view import View

OVER = frozenset({State.BACKOFF, State.EXITED, State.FAILED})
ORDERED = frozenset({Halt.RENEWAL, Halt.FALL, Halt.FALL_FOR_GOOD})
UNANSWERED = frozenset({State.CREATING, State.STARTING})
APART = frozenset({None, GroupPolicy.ONE_FOR_ONE})


class Mates:
    """The lives of this node, seen as members of their groups."""

    def __init__(self, view: View, lives: Mapping[str, Life]) -> None:
        self._view = view
        self._lives = lives
        self._held: set[str] = set()
        self._falling: dict[str, MateEnded] = {}

    # Who begins

    def holds(self, event: Any) -> bool:
        """Tell whether a timer is to start one whose turn it is not; that is held."""
        is_held = isinstance(event, TimerDue) and self._is_early(event.name)
        if is_held:
            self._held.add(event.name)
        return is_held

    def released(self) -> list[str]:
        """Return those that were held, and whose turn it is now."""
        self._held &= self._lives.keys()
        turn = [name for name in sorted(self._held) if not self._is_early(name)]
        self._held.difference_update(turn)
        return turn

    def _is_early(self, name: str) -> bool:
        life = self._lives[name]
        begins = life.started_s is None or life.service.group_policy not in APART
        is_idle = life.wanted and life.container.state is State.BACKOFF
        return is_idle and begins and bool(awaited(self._view, life.service))

    # Who ends

    def fall_with(self, name: str) -> list[str]:
        """Return which others end with a container by its group's policy, in order."""
        service = self._lives[name].service
        if not ends_all(service):
            return []
        own = self._lives[name].container
        return [
            other
            for other, life in sorted(self._lives.items())
            if life.wanted
            and life.service.group == service.group
            and (life.container.uid, life.container.slot) != (own.uid, own.slot)
        ]

    def forgive(self, name: str) -> None:
        """Know nothing any more of an end because of which one was to end, too."""
        self._falling.pop(name, None)

    def restart_with(self, name: str) -> list[str]:
        """Return which others are restarted with one: no job, nor what is done."""
        return [
            other
            for other in self.fall_with(name)
            if self._lives[other].service.restart is not Restart.NEVER
            and self._lives[other].container.state is not State.EXITED
        ]

    def falls(
        self, name: str, before: Life, after: Life | None, event: LifeEvent
    ) -> Iterator[tuple[str, MateEnded]]:
        """Yield which others end with one that has just ended, and why.

        One whose start the engine has not answered yet ends once it has.
        """
        if after is None or after.container.state not in UNANSWERED:
            due = self._falling.pop(name, None)
            if due is not None and after is not None:
                yield name, due
        if after is None or not _has_ended(before, after, event):
            return
        if self._is_on_trial(after.container):
            return
        yield from self._passed_on(name, _fall(after.container))

    def falls_with_banned(self, name: str) -> Iterator[tuple[str, MateEnded]]:
        """Yield which others end with one that this node may not run just now.

        They begin again when it is their turn, where that is.
        """
        life = self._lives[name]
        if life.wanted and not self._is_on_trial(life.container):
            why = f"{name} {FELL}: no majority of the nodes is seen"
            yield from self._passed_on(name, MateEnded(reason=why, for_good=False))

    def _passed_on(self, name: str, fall: MateEnded) -> Iterator[tuple[str, MateEnded]]:
        for other in self.fall_with(name):
            if self._lives[other].container.state in UNANSWERED:
                earlier = self._falling.get(other, fall)
                self._falling[other] = fall if fall.for_good else earlier
            else:
                yield other, fall

    def falls_with_adopted(self, name: str) -> Iterator[tuple[str, MateEnded]]:
        """Yield which others still run though one ended while this node was away."""
        container = self._lives[name].container
        has_failed = container.state in OVER and bool(container.exit_code)
        if not has_failed or self._is_on_trial(container):
            return
        for other in self.fall_with(name):
            if self._lives[other].container.is_up:
                yield other, _fall(container)

    def _is_on_trial(self, container: Container) -> bool:
        """Tell whether one fills its slot not yet, or no more: others do for it."""
        slot = self._view.slot(container.uid, container.slot)
        if slot is None or slot.handover or slot.updating:
            return True
        return not is_named(slot, container)


def _fall(ended: Container) -> MateEnded:
    why = f"{ended.name} {FELL}: {ended.reason}"
    return MateEnded(reason=why, for_good=ended.state is not State.BACKOFF)


def _has_ended(before: Life, after: Life, event: LifeEvent) -> bool:
    """Tell whether one that ran has ended by itself, not having done its job.

    Not with its engine, which ends all, nor as its operator, or its group, has it.
    """
    is_end = after.container.state in OVER and before.container.state not in OVER
    is_told = isinstance(event, EngineFailed | EngineEnded) or (
        isinstance(event, Found) and event.anew
    )
    has_done = after.container.state is State.EXITED and after.container.exit_code == 0
    return (
        is_end
        and not is_told
        and not has_done
        and after.wanted
        and before.container.state is not State.PENDING
        and before.halt not in ORDERED
    )
