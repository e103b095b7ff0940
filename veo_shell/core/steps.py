"""What the journal tells of each step of a container's life."""

from __future__ import annotations

from veo_shell.core.events import EngineFailed
from veo_shell.core.life import Halt, Life, LifeEvent, Unwanted
from veo_shell.core.model import STOP_TIMEOUT_S, Container, State

KILLED = 137
"""What a shell shows for a process that SIGKILL ended, and Docker too."""
ENDS = (State.BACKOFF, State.EXITED)


def steps(before: Life, after: Life | None, event: LifeEvent) -> list[tuple[str, str]]:
    """Return the kind and the text of each entry, none for what is not worth one.

    That DNS answers it from now on is told apart from that it runs.
    """
    if after is None:
        return [("removed", "removed")]
    old, new = before.container, after.container
    told = []
    if new.state is not old.state:
        why = f": {new.reason}" if new.reason else ""
        if new.state is State.STOPPING and after.stop_timeout_s > STOP_TIMEOUT_S:
            why += f" (killed after {after.stop_timeout_s:g} s)"
        told.append((_kind(old, after, event), f"{new.state.value}{why}"))
    if new.is_ready and not old.is_ready and old.state is not State.UNHEALTHY:
        told.append(("ready", "ready"))
    return told


def _kind(old: Container, after: Life, event: LifeEvent) -> str:
    new = after.container
    if (isinstance(event, Unwanted) and event.kill) or after.halt is Halt.END:
        return "killed"
    if isinstance(event, EngineFailed):
        return "start_failed"
    if new.state is not State.RUNNING and new.state not in ENDS:
        return str(new.state.value)
    if old.state is State.PENDING and new.exit_code is None:
        return "adopted"
    return _start(old, new) if new.state is State.RUNNING else _end(new)


def _start(old: Container, new: Container) -> str:
    if old.state is State.UNHEALTHY and new.is_ready:
        return "ready"
    # That an operator restarts it counts as no restart.
    is_again = new.restarts > old.restarts or new.operation
    return "restarted" if is_again else "started"


def _end(new: Container) -> str:
    return "killed" if new.oom_killed or new.exit_code == KILLED else "exited"
