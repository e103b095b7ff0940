"""`veo check-session`: what a transcript tells is done again, to say the same."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from veo_shell.console import failure, render, session
from veo_shell.console.client import Client
from veo_shell.console.deadline import Deadline
from veo_shell.console.exits import FAILED, FINE, TIMED_OUT
from veo_shell.console.namespace import build
from veo_shell.console.script import How, RunDir
from veo_shell.console.statements import statements
from veo_shell.console.transcript import Step, matches, steps
from veo_shell.errors import ReadOnly, UsageError, VeoError

AGAIN_S = 0.2
SOURCE = "<session>"


def check(run_dir: RunDir, path: str, how: How) -> int:
    """Replay a transcript; print the first difference, and return the exit status."""
    told = _read(path)
    client = Client(run_dir, session=how.session)
    client.is_sure = how.is_sure
    if client.session["read_only"]:
        _refuse_shell(path, told)
    deadline = Deadline(how.timeout_s)
    at = told[0]
    try:
        with deadline, contextlib.closing(client):
            client.here("veo.about")
            if how.node:
                session.move(client, how.node)
            replay = Replay(client, run_dir)
            for at in told:
                said = replay.until_right(at)
                if not matches(at.expected, said):
                    return _differ(path, at, said)
                deadline.check()
    except KeyboardInterrupt:
        if not deadline.is_over:
            raise
        _complain(f"{path}:{at.line}: {deadline.what_is_over}")
        return TIMED_OUT
    many = (
        "1 step, as it is told"
        if len(told) == 1
        else f"{len(told)} steps, all as they are told"
    )
    sys.stdout.write(f"{path}: {many}\n")
    return FINE


def _refuse_shell(path: str, told: list[Step]) -> None:
    """Raise `ReadOnly` if there are commands of a shell: no node refuses those."""
    for step in told:
        if step.is_shell:
            raise ReadOnly(
                f"{path}:{step.line}: a command of a shell cannot be held to "
                "--read-only; nothing was done"
            )


class Replay:
    """One session of a client, and of a shell beside the node."""

    def __init__(self, client: Client, run_dir: RunDir) -> None:
        self._names = build(client)
        self._outputs = self._names["Out"] = {}
        self._run_dir = run_dir

    def until_right(self, step: Step) -> str:
        """Return what a step says; do it again while it may become what is told."""
        until_s = time.monotonic() + step.within_s
        while True:
            said = self._shell(step.source) if step.is_shell else self._do(step)
            if matches(step.expected, said) or time.monotonic() >= until_s:
                return said
            time.sleep(AGAIN_S)

    def _shell(self, command: str) -> str:
        """Return what a command prints; what it complains of is shown."""
        sys.stdout.flush()
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            env={**os.environ, "VEO_RUN_DIR": os.fspath(self._run_dir)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            check=False,
        )
        return done.stdout.decode(errors="replace")

    def _do(self, step: Step) -> str:
        """Return what an input prints, its values, and how it failed."""
        heard = io.StringIO()
        with contextlib.redirect_stdout(heard), contextlib.redirect_stderr(heard):
            try:
                self._run(step, heard)
            except VeoError as exc:
                heard.write(f"{failure.message(exc)}\n")
            except SystemExit as exc:
                heard.write(f"SystemExit: {exc}\n")
            except Exception as exc:
                trace = failure.own_part(exc.__traceback__, SOURCE)
                heard.writelines(traceback.format_exception(type(exc), exc, trace))
        return heard.getvalue()

    def _run(self, step: Step, heard: io.StringIO) -> None:
        for statement in statements(step.source, SOURCE):
            value: Any = eval(statement.code, self._names)  # noqa: S307 (their own)
            if statement.is_expression and value is not None:
                self._keep(step, value)
                if not render.is_endless(value):
                    render.show(value, heard)

    def _keep(self, step: Step, value: Any) -> None:
        """Have an answer under the names that the console gives it."""
        self._names["_"] = value
        if number := step.number:
            self._names[f"_{number}"] = self._outputs[number] = value


def _read(path: str) -> list[Step]:
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is no text"
        raise UsageError(f"cannot read {path}: {reason}") from exc
    told = steps(text, markdown=path.endswith(".md"))
    if not told:
        raise UsageError(f"{path}: no line in it begins with a prompt")
    return told


def _differ(path: str, step: Step, said: str) -> int:
    within = f" (after {step.within_s:g} s)" if step.within_s else ""
    _complain(f"{path}:{step.line}: {step.prompt} {step.source}")
    _complain(f"expected:\n{_indented(step.expected)}")
    _complain(f"got{within}:\n{_indented(said)}")
    return FAILED


def _indented(text: str) -> str:
    lines = text.strip("\n").splitlines() or ["(nothing)"]
    return "\n".join(f"    {line}".rstrip() for line in lines)


def _complain(text: str) -> None:
    sys.stderr.write(f"{failure.printed(text)}\n")
