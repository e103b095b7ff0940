"""`veo plan` and `veo apply`: a file as the truth about what runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import attrs

from veo_shell.console import confirm, failure, files, plans, render
from veo_shell.console.client import Client
from veo_shell.console.exits import FAILED, FINE
from veo_shell.core.planned import Action, Plan, Step
from veo_shell.errors import ApplyFailed, NotConfirmed

CHANGES = 2
AT_ONCE = 10
"""So many services are added, or removed, at a time."""

RunDir = str | os.PathLike[str]


def plan(run_dir: RunDir, file: str, *, prune: bool) -> int:
    """Print what applying a file would do; return 2 if that is something, else 0."""
    with _client(run_dir) as client:
        planned = _planned(client, file, prune)
    render.show(planned)
    return CHANGES if planned.changing else FINE


def apply(run_dir: RunDir, file: str, *, prune: bool, yes: bool) -> int:
    """Print what is to be done, ask, and have it done; return the exit status.

    What is done is what was shown, even if the file is another by then.
    """
    with _client(run_dir) as client:
        planned = _planned(client, file, prune)
        render.show(planned)
        if planned.changing and not yes:
            _agree()
        return _carry_out(client, planned)


def _planned(client: Client, file: str, prune: bool) -> Plan:
    services = files.services(file)  # what is wrong with it is told first
    planned = client.read("container_sup.plan", services, prune)
    assert isinstance(planned, Plan)
    return planned


def _agree() -> None:
    """Ask whoever is at the terminal; raise `NotConfirmed` without a yes."""
    if not confirm.can_ask():
        raise NotConfirmed(
            "nothing was done: there is nobody to ask; --yes applies it unasked"
        )
    if not confirm.ask("apply this?"):
        raise NotConfirmed("nothing was done")


def _carry_out(client: Client, planned: Plan) -> int:
    progress = _Progress(len(planned.changing))
    failed: list[str] = []
    warning = ""
    for steps in _parts(planned):
        progress.begin(steps)
        try:
            applied = client.call("container_sup.apply", Plan(steps=tuple(steps)))
            done = list(applied.done)
        except ApplyFailed as exc:
            applied, done = exc, exc.done
            failed += exc.failed
        except KeyboardInterrupt:
            progress.clear()
            _complain("what was begun goes on; `veo plan` tells what is left to do")
            raise
        warning = warning or applied.warning
        progress.end(steps, done)
    for line in [*failed, *([f"warning: {warning}"] if warning else [])]:
        _complain(line)
    return FAILED if failed else FINE


def _parts(planned: Plan) -> Iterator[Sequence[Step]]:
    """Part a plan, in its order, so that it is told how far it has come."""
    for action, many in (
        (Action.ADD, AT_ONCE),
        (Action.CHANGE, 1),
        (Action.REMOVE, AT_ONCE),
        (Action.KEEP, max(1, len(planned.steps))),
    ):
        steps = [step for step in planned.steps if step.action is action]
        yield from (steps[at : at + many] for at in range(0, len(steps), many))


@attrs.define
class _Progress:
    """Tells what is done, a line each; on a terminal also what is being done."""

    _total: int
    _done: int = 0

    def begin(self, steps: Sequence[Step]) -> None:
        """Say what is being done."""
        if not _is_live():
            return
        names = ", ".join(step.name for step in steps[: plans.NAMES_MOST])
        more = ", …" if len(steps) > plans.NAMES_MOST else ""
        doing = {"add": "adding", "change": "changing", "remove": "removing"}
        what = doing.get(steps[0].action.value, "looking at")
        line = f"[{self._done}/{self._total}] {what} {names}{more}"
        sys.stdout.write(failure.printed(line)[: _width() - 1])
        sys.stdout.flush()

    def end(self, steps: Sequence[Step], done: Sequence[str]) -> None:
        """Say what was done in the place of what was being done."""
        self.clear()
        self._done += sum(step.action is not Action.KEEP for step in steps)
        for line in done:
            sys.stdout.write(f"{failure.printed(line)}\n")
        sys.stdout.flush()

    def clear(self) -> None:
        """Take away what is said of the present."""
        if _is_live():
            sys.stdout.write("\r\x1b[K")


def _is_live() -> bool:
    return sys.stdout.isatty() and not render.is_dumb()


def _width() -> int:
    import shutil

    return shutil.get_terminal_size().columns


def _complain(line: str) -> None:
    sys.stdout.flush()
    sys.stderr.write(f"veo: {failure.printed(line)}\n")


@contextmanager
def _client(run_dir: RunDir) -> Iterator[Client]:
    client = Client(run_dir)
    try:
        yield client
    finally:
        client.close()
