"""A container's life: one table, (state, event) -> (container, commands).

Only `on_event` changes the state of a container. A container that is None afterwards
is gone from the engine and from this node's document.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from veo_shell.core.commands import (
    After,
    Command,
    CreateContainer,
    DiscardContainer,
    StartContainer,
    StopContainer,
)
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
from veo_shell.core.life import (
    TURN,
    EngineEnded,
    Found,
    Halt,
    Life,
    LifeEvent,
    MateEnded,
    RestartOrdered,
    Step,
    Unwanted,
    Wanted,
    ended_just_now,
)
from veo_shell.core.model import (
    GroupRole,
    Health,
    Observed,
    OnUnhealthy,
    Restart,
    State,
)

BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 60.0
STEADY_S = 10.0
"""Running for so long makes the next backoff start from the first delay again; not if
its health check was never content."""
RETRY_S = 1.0
"""What the engine failed to stop or remove is tried again after this time."""
SETTLE_S = 5.0
"""A listing may be older than an answer of the engine: it is believed about a
container only when nothing is known to have happened to that for so long."""


def on_event(life: Life, event: LifeEvent, now: float) -> Step:
    """Return the container after the event, and what is to be done.

    Raises:
        AssertionError: the event cannot happen in that state: a fault of ours.
    """
    row = TRANSITIONS.get((life.container.state, type(event)))
    if row is None:
        raise AssertionError(f"{event!r} in {life.container.state!r}")
    after, commands = row(life, event, now)
    if after is not None and isinstance(event, Found) and event.anew:
        after = attrs.evolve(after, owed_exits=0)  # that stream broke off
    if after is not None and after.container.state is not life.container.state:
        after = attrs.evolve(after, changed_s=now)
    return after, commands


def backoff_s(attempts: int) -> float:
    """Return the delay before the start that follows `attempts` failed ones."""
    return float(min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** min(attempts, 16)))


def _ignore(life: Life, event: LifeEvent, now: float) -> Step:
    return life, []


def _create(life: Life, event: LifeEvent, now: float) -> Step:
    order = CreateContainer(
        name=life.container.name, identity=life.identity, service=life.service
    )
    life = attrs.evolve(life, owed_exits=0, bound6=life.address6)
    return life.to(
        State.CREATING,
        id="",
        address=life.address,
        address6=life.address6,
        ports=(),
        health=Health.NONE,
    ), [order]


def _start(life: Life, event: LifeEvent, now: float) -> Step:
    order = StartContainer(name=life.container.name, container_id=life.container.id)
    return attrs.evolve(life.to(State.STARTING), early_exit=None), [order]


def _created(life: Life, event: LifeEvent, now: float) -> Step:
    assert isinstance(event, ContainerCreated)
    life = life.to(life.container.state, id=event.container_id)
    return _start(life, event, now) if life.wanted else _discard(life, event, now)


def _cannot(life: Life, event: LifeEvent, now: float) -> Step:
    """Back off after the engine refused to create or start it."""
    assert isinstance(event, EngineFailed)
    if not life.wanted:
        return _discard(life, event, now)
    delay_s = backoff_s(life.attempts)
    life = attrs.evolve(life, attempts=life.attempts + 1)
    return (
        life.to(State.BACKOFF, reason=event.reason),
        [After(name=life.container.name, delay_s=delay_s)],
    )


def _start_answered(life: Life, event: LifeEvent, now: float) -> Step:
    assert isinstance(event, StartAnswered)
    if not life.wanted:
        return _discard(life, event, now)
    seen, early = event.observed, life.early_exit
    if early is None and not seen.running:
        life = attrs.evolve(life, owed_exits=life.owed_exits + 1)
    if early is not None:
        seen = attrs.evolve(
            seen,
            running=False,
            exit_code=early.exit_code,
            oom_killed=early.oom_killed,
        )
    if not life.container.id:  # it was removed while it was started
        code = seen.exit_code if early else 137
        seen = attrs.evolve(seen, id="", running=False, exit_code=code)
    return _running(life, seen, now)


def _exited_early(life: Life, event: LifeEvent, now: float) -> Step:
    """Keep an end that overtook the engine's answer, if it is not an older one."""
    assert isinstance(event, ContainerExited)
    if life.owed_exits:
        return _exit_told(life, event, now)
    return attrs.evolve(life, early_exit=event), []


def _exit_told(life: Life, event: LifeEvent, now: float) -> Step:
    """Note that the stream told of an end that is known already."""
    return attrs.evolve(life, owed_exits=max(life.owed_exits - 1, 0)), []


def _started_by_hand(life: Life, event: LifeEvent, now: float) -> Step:
    assert isinstance(event, ContainerStarted)
    seen = event.observed
    known = life.owed_exits  # it was our start, the end of which is known
    return _running(life, seen, now) if seen.running and not known else (life, [])


def _running(life: Life, seen: Observed, now: float) -> Step:
    """Take over what the engine reports of a container that was started."""
    first = life.started_s is None
    restarts = life.container.restarts + (0 if first else 1)
    life = attrs.evolve(life, started_s=now, proven=False).at(seen)
    life = life.to(State.RUNNING, id=seen.id, restarts=restarts)
    if not seen.running:
        return _ended(life, seen.exit_code, seen.oom_killed, now)
    life = life.to(State.RUNNING, ports=seen.ports, exit_code=None, oom_killed=False)
    return _checked(life, seen.health, seen.check_output, now)


def _process_ended(life: Life, event: LifeEvent, now: float) -> Step:
    """Have DNS pass over it at once; what follows depends on how it ended."""
    life = life.to(life.container.state, dying=True)
    return attrs.evolve(life, changed_s=now), []


def _exited(life: Life, event: LifeEvent, now: float) -> Step:
    assert isinstance(event, ContainerExited)
    if life.owed_exits:
        return _exit_told(life, event, now)
    return _ended(life, event.exit_code, event.oom_killed, now)


def _ended(life: Life, exit_code: int, oom_killed: bool, now: float) -> Step:
    """Decide by the restart policy what follows the end of the process."""
    ran_s = 0.0 if life.started_s is None else now - life.started_s
    attempts = 0 if life.proven and ran_s >= STEADY_S else life.attempts
    what = "killed: out of memory" if oom_killed else f"exit code {exit_code}"
    halt, what = life.halt, life.container.reason if life.halt else what
    life = attrs.evolve(life, attempts=attempts + 1, halt=None).to(
        State.EXITED,
        exit_code=exit_code,
        oom_killed=oom_killed,
        health=Health.NONE,
        ports=(),
        reason=what,
    )
    policy, limit = life.service.restart, life.service.restart_count
    if halt is Halt.END:
        return life.to(State.FAILED, reason=f"{what} (on_unhealthy: kill)"), []
    if halt is Halt.FALL_FOR_GOOD:
        return life.to(State.FAILED), []
    if halt is Halt.FALL:
        return _from_the_beginning(attrs.evolve(life, attempts=attempts))
    is_done = policy is Restart.ON_FAILURE and exit_code == 0
    if not halt and (policy is Restart.NEVER or is_done):
        return life, []
    if limit and life.container.restarts >= limit:
        return life.to(State.FAILED, reason=f"{what}, restarted {limit} times"), []
    order = After(name=life.container.name, delay_s=backoff_s(attempts))
    return life.to(State.BACKOFF), [order]


def _again(life: Life, event: LifeEvent, now: float) -> Step:
    """Start it again: the same container, or a new one where that is gone.

    The engine would bind the ports of the same one where they were, though the node
    has another address by now.
    """
    is_at_home = life.container.address == life.address
    is_at_home = is_at_home and life.bound6 in ("", life.address6)
    if life.container.id and is_at_home and not life.service.auto_remove:
        return _start(life, event, now)
    return _create(life, event, now)


def _gone(life: Life, event: LifeEvent, now: float) -> Step:
    """Note that the container is no longer on the engine; its end came before."""
    return life.to(life.container.state, id=""), []


def _gone_meanwhile(life: Life, event: LifeEvent, now: float) -> Step:
    """Have one that is to be started again made anew; the rest is to go anyhow."""
    return _gone(life, event, now) if life.halt else (life, [])


def _vanished(life: Life, event: LifeEvent, now: float) -> Step:
    """Treat a container that disappeared while it should run as killed."""
    return _ended(life.to(life.container.state, id=""), 137, False, now)


def _health(life: Life, event: LifeEvent, now: float) -> Step:
    assert isinstance(event, HealthChanged)
    if life.container.dying:
        return life, []
    return _checked(life, event.health, event.output, now)


def _checked(life: Life, health: Health, output: str, now: float) -> Step:
    """Note what the health check of one that runs says; act on what is bad in a step.

    So it is shown as unhealthy, and with what its check said, before it is stopped.
    """
    old = life.container
    changed_s = now if health is not old.health else life.health_s
    proven = life.proven or health in (Health.NONE, Health.HEALTHY)
    life = attrs.evolve(life, health_s=changed_s, proven=proven)
    if health is Health.UNHEALTHY:
        sick = life.to(State.UNHEALTHY, health=health, reason=output, dying=old.dying)
        return sick, [After(name=old.name, delay_s=0.0)]
    reason = "" if old.state is State.UNHEALTHY else old.reason
    return life.to(State.RUNNING, health=health, reason=reason, dying=old.dying), []


def _treat(life: Life, event: LifeEvent, now: float) -> Step:
    """Do with one that is unhealthy as its service says; not if it is about to end."""
    action = life.service.when_unhealthy
    if action is OnUnhealthy.LEAVE or life.container.dying:
        return life, []
    said = f": {life.container.reason}" if life.container.reason else ""
    halt = Halt.END if action is OnUnhealthy.KILL else Halt.CURE
    return _halt(life, halt, f"unhealthy{said}")


def _halt(life: Life, halt: Halt, reason: str) -> Step:
    """Stop one that is wanted: what follows is decided when it has ended."""
    life = attrs.evolve(life, halt=halt, early_exit=None)
    return _stop(life.to(State.STOPPING, reason=reason))


def _stop(life: Life) -> Step:
    # What is to be killed for its health is not asked first: it cannot be relied on.
    timeout_s = 0.0 if life.halt is Halt.END else life.stop_timeout_s
    return life, [
        StopContainer(
            name=life.container.name,
            container_id=life.container.id,
            timeout_s=timeout_s,
        )
    ]


def _stop_answered(life: Life, event: LifeEvent, now: float) -> Step:
    """Go on once it has ended, told by the answer or before it; else stop it again."""
    assert isinstance(event, StopAnswered)
    early, seen = life.early_exit, event.observed
    if life.halt is None:  # the table has given it up meanwhile
        return life, []
    runs = bool(event.reason) or (seen is not None and seen.running)
    if early is None and runs:
        return life, [After(name=life.container.name, delay_s=RETRY_S)]
    if early is None and seen is not None:
        life = attrs.evolve(life, owed_exits=life.owed_exits + 1)
    if seen is None and not event.reason:
        life = life.to(State.STOPPING, id="")
    life, end = attrs.evolve(life, early_exit=None), early or seen
    if life.halt is Halt.RENEWAL:
        return _renew(life, event, now)
    if end is None:
        return _ended(life, 137, False, now)
    return _ended(life, end.exit_code, end.oom_killed, now)


def _restart(life: Life, event: LifeEvent, now: float) -> Step:
    assert isinstance(event, RestartOrdered)
    name, wish = life.container.name, event.operation
    life = life.to(life.container.state, operation=wish)
    halted, orders = _halt(life, Halt.RENEWAL, "restarted by an operator")
    if event.drain_s:
        orders = [After(name=name, delay_s=event.drain_s)]
    return halted, orders


def _restart_idle(life: Life, event: LifeEvent, now: float) -> Step:
    """Start it at once, and whether or not it was to be started again."""
    assert isinstance(event, RestartOrdered)
    life = life.to(life.container.state, operation=event.operation)
    return _renew(life, event, now)


def _restart_under_way(life: Life, event: LifeEvent, now: float) -> Step:
    """Note that an operator wants what is done already: it is started just now."""
    assert isinstance(event, RestartOrdered)
    halt = Halt.RENEWAL if life.halt else None
    life = attrs.evolve(life, halt=halt)
    return life.to(life.container.state, operation=event.operation), []


def _renew(life: Life, event: LifeEvent, now: float) -> Step:
    """Start it as for the first time: what went wrong before is not counted."""
    life = attrs.evolve(life, halt=None, attempts=0, started_s=None)
    life = life.to(life.container.state, restarts=0, reason="")
    if life.service.group and life.service.group_role is not GroupRole.MASTER:
        return _from_the_beginning(life.to(life.container.state, reason=TURN))
    return _again(life, event, now)


def _from_the_beginning(life: Life) -> Step:
    """Have one of a group started when it is its turn there: that is no restart."""
    life = attrs.evolve(life, started_s=None).to(State.BACKOFF)
    return life, [After(name=life.container.name, delay_s=0.0)]


def _fall(life: Life, event: LifeEvent, now: float) -> Step:
    """Stop one whose group ends; what runs once does not run again with it."""
    assert isinstance(event, MateEnded)
    is_over = event.for_good or life.service.restart is Restart.NEVER
    return _halt(life, Halt.FALL_FOR_GOOD if is_over else Halt.FALL, event.reason)


def _fall_idle(life: Life, event: LifeEvent, now: float) -> Step:
    """Have one that waits to be started again wait no more, if all ends for good."""
    assert isinstance(event, MateEnded)
    return (life.to(State.FAILED, reason=event.reason) if event.for_good else life), []


def _fall_meanwhile(life: Life, event: LifeEvent, now: float) -> Step:
    """Have one that is stopped to be started again not be, if all ends for good."""
    assert isinstance(event, MateEnded)
    if not event.for_good:
        return life, []
    life = life.to(life.container.state, reason=event.reason)
    return attrs.evolve(life, halt=Halt.FALL_FOR_GOOD), []


def _discard(life: Life, event: LifeEvent, now: float) -> Step:
    """Stop and remove it; where nothing was created there is nothing to remove."""
    if not life.container.id:
        return None, []
    order = DiscardContainer(
        name=life.container.name,
        container_id=life.container.id,
        timeout_s=life.stop_timeout_s,
    )
    life = attrs.evolve(life, wanted=False, halt=None, discards=life.discards + 1)
    return life.to(State.STOPPING), [order]


def _time_to_stop(life: Life, event: LifeEvent, now: float) -> Step:
    """Stop or remove it after its drain or a failure; not twice, for an older timer."""
    if life.halt and life.container.id:
        return _stop(life)
    if life.halt:
        return _stop_answered(life, StopAnswered(name=life.container.name), now)
    return (life, []) if life.discards else _discard(life, event, now)


def _unwanted(life: Life, event: LifeEvent, now: float) -> Step:
    assert isinstance(event, Unwanted)
    life = _sentenced(life, event)
    if not event.drain_s or not life.container.is_up:
        return _discard(life, event, now)
    drained = attrs.evolve(life, wanted=False).to(State.STOPPING)
    return drained, [After(name=life.container.name, delay_s=event.drain_s)]


def _unwanted_later(life: Life, event: LifeEvent, now: float) -> Step:
    """Wait for the engine's answer: only then it is known what to remove."""
    assert isinstance(event, Unwanted)
    return attrs.evolve(_sentenced(life, event), wanted=False), []


def _hastened(life: Life, event: LifeEvent, now: float) -> Step:
    """Kill what is stopping in order, once; remove what was to be started again."""
    assert isinstance(event, Unwanted)
    if life.halt:
        return _discard(_sentenced(life, event), event, now)
    is_killed = life.discards and not life.stop_timeout_s
    if is_killed or not event.kill:
        return life, []
    return _discard(_sentenced(life, event), event, now)


def _sentenced(life: Life, event: Unwanted) -> Life:
    return attrs.evolve(life, stop_timeout_s=0.0) if event.kill else life


def _discarded(life: Life, event: LifeEvent, now: float) -> Step:
    """Forget it with the last answer: one more would meet the next of its name."""
    if life.discards > 1:
        return attrs.evolve(life, discards=life.discards - 1), []
    return None, []


def _discard_failed(life: Life, event: LifeEvent, now: float) -> Step:
    assert isinstance(event, EngineFailed)
    life = attrs.evolve(life, discards=life.discards - 1)
    if life.discards:
        return life, []
    return (
        life.to(State.STOPPING, reason=event.reason),
        [After(name=life.container.name, delay_s=RETRY_S)],
    )


def _found(life: Life, event: LifeEvent, now: float) -> Step:
    """Compare with the listing: catches what the event stream did not tell."""
    assert isinstance(event, Found)
    seen = event.observed
    if not event.anew and now - life.changed_s < SETTLE_S:
        return life, []
    if event.anew and not (seen and seen.running):
        return _resume(life, seen, "its engine ended")
    if seen is None:
        return _vanished(life, event, now)
    if not seen.running:
        return _ended(life, seen.exit_code, seen.oom_killed, now)
    dying = life.container.dying and not event.anew
    life = life.at(seen).to(life.container.state, ports=seen.ports, dying=dying)
    return _checked(life, seen.health, seen.check_output, now)


def _adopt(life: Life, event: LifeEvent, now: float) -> Step:
    """Take over a container found on the engine, created or run by an earlier us.

    One that ended meanwhile is judged by its exit code: a finished job is not run
    again because its node was. That tells nothing of one that was cut off.
    """
    assert isinstance(event, Found)
    seen = event.observed
    assert seen is not None
    if seen.running:
        return _running(life, seen, now)
    life = life.at(seen)
    if not seen.ever_started:
        life = life.to(State.BACKOFF, id=seen.id)
        return life, [After(name=life.container.name, delay_s=0.0)]
    if event.cut_off:
        return _resume(life, seen, event.cut_off)
    life = life.to(State.EXITED, id=seen.id)
    return _ended(life, seen.exit_code, seen.oom_killed, now)


def _resume(life: Life, seen: Observed | None, why: str) -> Step:
    """Decide about one that was ended by its engine's or host's end, or removed then.

    Its exit code tells nothing then, and the start that follows is no restart.
    """
    seen_id, exit_code = (seen.id, seen.exit_code) if seen else ("", 137)
    life = attrs.evolve(life, started_s=None).to(
        State.BACKOFF,
        id=seen_id,
        health=Health.NONE,
        ports=(),
        reason=why,
    )
    if life.service.restart is not Restart.NEVER:
        return life, [After(name=life.container.name, delay_s=0.0)]
    return life.to(
        State.EXITED,
        exit_code=exit_code,
        oom_killed=seen is not None and seen.oom_killed,
        reason=f"exit code {exit_code}",
    ), []


def _found_idle(life: Life, event: LifeEvent, now: float) -> Step:
    """Take back a container that runs though it was thought to have ended.

    One that waits to be started again need not wait any longer for a new engine.
    """
    assert isinstance(event, Found)
    seen = event.observed
    if not event.anew and now - life.changed_s < SETTLE_S:
        return life, []
    if seen is not None and seen.running:
        return _running(life, seen, now)
    waits = event.anew and life.container.state is State.BACKOFF
    orders: list[Command] = []
    if waits:
        orders.append(After(name=life.container.name, delay_s=0.0))
    return (_gone(life, event, now)[0] if seen is None else life), orders


def _ended_with_engine(life: Life, event: LifeEvent, now: float) -> Step:
    """Take back that it had ended: asked to by its engine, it obeyed.

    The start that follows counts as the first: it is no restart.
    """
    assert isinstance(event, EngineEnded)
    if not ended_just_now(life, event.within_s, now):
        return life, []
    life = attrs.evolve(life, started_s=None)
    if life.container.state in (State.EXITED, State.FAILED):
        life = life.to(State.BACKOFF, reason="its engine ended")
    return life, []


Row = Callable[[Life, LifeEvent, float], Step]
S = State
TRANSITIONS: dict[tuple[State, type], Row] = {
    (S.PENDING, Wanted): _create,
    (S.PENDING, Found): _adopt,
    (S.CREATING, ContainerCreated): _created,
    (S.CREATING, EngineFailed): _cannot,
    (S.CREATING, Unwanted): _unwanted_later,
    (S.CREATING, RestartOrdered): _restart_under_way,
    (S.CREATING, ContainerGone): _ignore,
    (S.CREATING, ContainerExited): _ignore,
    (S.CREATING, HealthChanged): _ignore,
    (S.CREATING, ContainerStarted): _ignore,
    (S.CREATING, Found): _ignore,
    (S.CREATING, TimerDue): _ignore,
    (S.STARTING, StartAnswered): _start_answered,
    (S.STARTING, ContainerStarted): _ignore,  # the engine's answer is on its way
    (S.STARTING, ContainerExited): _exited_early,
    (S.STARTING, HealthChanged): _ignore,
    (S.STARTING, ContainerGone): _gone,
    (S.STARTING, EngineFailed): _cannot,
    (S.STARTING, Unwanted): _unwanted_later,
    (S.STARTING, RestartOrdered): _restart_under_way,
    (S.STARTING, Found): _ignore,
    (S.STARTING, TimerDue): _ignore,
    **{
        row: how
        for state in (S.RUNNING, S.UNHEALTHY)
        for row, how in {
            (state, ContainerStarted): _ignore,
            (state, ProcessEnded): _process_ended,
            (state, ContainerExited): _exited,
            (state, ContainerGone): _vanished,
            (state, HealthChanged): _health,
            (state, Unwanted): _unwanted,
            (state, MateEnded): _fall,
            (state, RestartOrdered): _restart,
            (state, Found): _found,
            (state, TimerDue): _ignore,
        }.items()
    },
    **{
        row: how
        for state in (S.BACKOFF, S.EXITED, S.FAILED)
        for row, how in {
            (state, ContainerStarted): _started_by_hand,
            (state, ContainerExited): _exit_told,
            (state, ContainerGone): _gone,
            (state, HealthChanged): _ignore,
            (state, Unwanted): _unwanted,
            (state, RestartOrdered): _restart_idle,
            (state, Found): _found_idle,
            (state, TimerDue): _ignore,
        }.items()
    },
    (S.BACKOFF, TimerDue): _again,
    (S.BACKOFF, MateEnded): _fall_idle,
    (S.EXITED, MateEnded): _ignore,
    (S.FAILED, MateEnded): _ignore,
    (S.UNHEALTHY, TimerDue): _treat,
    **{
        (state, EngineEnded): _ended_with_engine
        for state in (S.CREATING, S.STARTING, S.BACKOFF, S.EXITED, S.FAILED)
    },
    # What becomes of these the next listing tells.
    **{(s, EngineEnded): _ignore for s in (S.RUNNING, S.UNHEALTHY, S.STOPPING)},
    # How it ended, the engine has told already, or it does not matter.
    **{
        (state, ProcessEnded): _ignore
        for state in S
        if state not in (S.PENDING, S.RUNNING, S.UNHEALTHY)
    },
    (S.STOPPING, ContainerDiscarded): _discarded,
    (S.STOPPING, EngineFailed): _discard_failed,
    (S.STOPPING, StopAnswered): _stop_answered,
    # An answer to an order that was overtaken.
    **{(s, StopAnswered): _ignore for s in S if s is not S.STOPPING},
    (S.STOPPING, MateEnded): _fall_meanwhile,
    (S.STOPPING, TimerDue): _time_to_stop,
    (S.STOPPING, ContainerStarted): _ignore,
    (S.STOPPING, ContainerExited): _exited_early,
    (S.STOPPING, ContainerGone): _gone_meanwhile,
    (S.STOPPING, HealthChanged): _ignore,
    (S.STOPPING, Unwanted): _hastened,
    (S.STOPPING, RestartOrdered): _restart_under_way,
    (S.STOPPING, Found): _ignore,
}
