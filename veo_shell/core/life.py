"""A container of this node, as its own node knows it, and what happens to it."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Any

import attrs

from veo_shell.core.commands import Command
from veo_shell.core.events import (
    ContainerCreated,
    ContainerDiscarded,
    ContainerExited,
    ContainerGone,
    ContainerStarted,
    EngineFailed,
    HealthChanged,
    ProcessEnded,
    StartAnswered,
    StopAnswered,
    TimerDue,
)
from veo_shell.core.model import (
    Container,
    Identity,
    Observed,
    Restart,
    Service,
    State,
)

ENGINE_STOP_S = 15.0
"""Docker's own time-out for its containers when it ends (`--shutdown-timeout`)."""
ENGINE_GRACE_S = 5.0
"""One that may take longer to stop is waited for, and so long on top."""


FELL = "of its group ended"
TURN = "it is started once the masters of its group are ready"
HAS_PROCESS = frozenset({State.RUNNING, State.UNHEALTHY, State.STOPPING})


@attrs.frozen(kw_only=True)
class Wanted:
    """The table assigns this slot to this node."""


@attrs.frozen(kw_only=True)
class Unwanted:
    """The table does not want this container any more.

    It leaves DNS at once and is stopped after `drain_s`, when who knew it asks no more;
    `kill`: without being asked to end.
    """

    drain_s: float = 0.0
    kill: bool = False


@attrs.frozen(kw_only=True)
class RestartOrdered:
    """An operator wants it restarted, and not twice for one operation.

    It leaves DNS at once and is stopped after `drain_s`.
    """

    operation: str
    drain_s: float = 0.0


@attrs.frozen(kw_only=True)
class MateEnded:
    """One of its group ended, and all of it with that one; `for_good` or to begin anew.

    `reason` is what is told of that.
    """

    reason: str
    for_good: bool


@attrs.frozen(kw_only=True)
class Found:
    """The engine was listed: it holds this container, or (None) does not.

    `anew`: the engine was away before; all that we knew of it is older. `cut_off` says
    what ended it, if not it itself: it was to run on.
    """

    observed: Observed | None
    anew: bool = False
    cut_off: str = ""


@attrs.frozen(kw_only=True)
class EngineEnded:
    """The engine went away: so long before it had begun to stop its containers."""

    within_s: float = ENGINE_STOP_S


LifeEvent = (
    EngineEnded
    | Wanted
    | Unwanted
    | RestartOrdered
    | MateEnded
    | Found
    | ContainerCreated
    | ContainerStarted
    | StartAnswered
    | StopAnswered
    | ProcessEnded
    | ContainerExited
    | ContainerDiscarded
    | ContainerGone
    | EngineFailed
    | HealthChanged
    | TimerDue
)


class Halt(enum.Enum):
    """What follows when one that is wanted has been stopped."""

    RENEWAL = "it is started: an operator restarts it"
    CURE = "it is started again, as after a crash: it is unhealthy"
    END = "it has failed: it is unhealthy, and to be killed for that"
    FALL = "it is started again, not as after a crash: one of its group ended"
    FALL_FOR_GOOD = "it has failed: one of its group did, which ends all of it"


@attrs.frozen(kw_only=True)
class Life:
    """A container of this node with what only its own node needs to know.

    `attempts` counts the starts since it last ran steadily; `wanted` turns False for
    good when the table gives the container up. `early_exit` is an end that the event
    stream told before the engine answered the order to start or stop; `owed_exits`
    counts the reverse: ends known from an answer that the stream has yet to tell.
    `discards`: orders to remove it that the engine has not answered yet. `halt`: it is
    wanted, and stopped. `proven`: its health check was content since it was started, or
    it has none. `health_s` is when its health changed last.
    `changed_s` is when the state changed last. `address` and `address6` are the node's:
    where what is created now is published. `bound6`: where it was, of IPv6.
    """

    container: Container
    identity: Identity
    service: Service
    stop_timeout_s: float = attrs.field(
        default=attrs.Factory(
            lambda self: float(self.service.stop_timeout_s), takes_self=True
        )
    )
    started_s: float | None = None
    attempts: int = 0
    wanted: bool = True
    early_exit: ContainerExited | None = None
    owed_exits: int = 0
    discards: int = 0
    halt: Halt | None = None
    proven: bool = False
    health_s: float = 0.0
    changed_s: float = 0.0
    address: str = attrs.field(
        default=attrs.Factory(lambda self: self.container.address, takes_self=True)
    )
    address6: str = attrs.field(
        default=attrs.Factory(lambda self: self.container.address6, takes_self=True)
    )
    bound6: str = ""

    def to(self, state: State, **changes: Any) -> Life:
        """Return this life with its container in another state."""
        lost = {} if state in HAS_PROCESS else self._without_own_addresses()
        changes = {"dying": False, **lost, **changes}
        container = attrs.evolve(self.container, state=state, **changes)
        return attrs.evolve(self, container=container)

    def at(self, seen: Observed) -> Life:
        """Return this life with its container where the engine has bound it."""
        address, address6, reason = self.address, self.address6, ""
        if seen.own_addresses:
            address, address6 = seen.own_addresses[0], ""
        elif seen.stranded:
            address, address6 = "", ""
            reason = f"its host does not have {seen.address} any more"
        elif seen.address:
            address = seen.address
            address6 = seen.address6 if seen.same_numbers else ""
        return attrs.evolve(self, bound6=seen.address6).to(
            self.container.state,
            address=address,
            address6=address6,
            own_addresses=seen.own_addresses,
            reason=reason,
        )

    def _without_own_addresses(self) -> dict[str, Any]:
        """Return what changes as Docker takes them back, if it has any."""
        if not self.container.own_addresses:
            return {}
        at_home = {"address": self.address, "address6": self.address6}
        return {**at_home, "own_addresses": ()}


Step = tuple[Life | None, list[Command]]


def engine_stop_s(lives: Iterable[Life]) -> float:
    """Return how long an engine takes to stop these as it ends."""
    slowest_s = max((life.service.stop_timeout_s for life in lives), default=0)
    return max(ENGINE_STOP_S, slowest_s + ENGINE_GRACE_S)


def ended_just_now(life: Life, within_s: float, now: float) -> bool:
    """Tell whether the end of its engine, which is at hand, may have ended it.

    Not one that had ended before this node knew it, nor one that runs only once.
    """
    is_new = now - life.changed_s < within_s
    may_be = life.wanted and life.service.restart is not Restart.NEVER
    return is_new and may_be and life.started_s is not None
