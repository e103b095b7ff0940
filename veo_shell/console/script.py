"""Sessions without a terminal: `veo attach -c`, `--script`, and code on stdin.

Like the console, a session prints the value of each top-level expression that is not
None; unlike it, it ends at the first error. Light to import: see `client`.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from veo_shell.console import failure, render, session
from veo_shell.console.client import Client
from veo_shell.console.deadline import Deadline
from veo_shell.console.exits import (
    FAILED,
    FINE,
    READER_GONE,
    TIMED_OUT,
    USAGE,
    interrupted,
    status_of,
)
from veo_shell.console.namespace import build
from veo_shell.console.statements import Statement, lines_of, statements
from veo_shell.errors import VeoError

if TYPE_CHECKING:
    from veo_shell.console.record import Record


class How(NamedTuple):
    """What a session is to be like.

    `echo`: print each statement behind its prompt before it is run. `as_json`: print
    values as JSON, None too, a document each. `timeout_s`: for so long it may run.
    `is_sure`: what takes something away is confirmed. `session` is who it is. `node`
    is the one that is to answer, if it is not the socket's own. `record`: the file that
    it is written to, as it is seen.
    """

    echo: bool = False
    as_json: bool = False
    timeout_s: float | None = None
    is_sure: bool = False
    session: dict[str, Any] | None = None
    node: str = ""
    record: str = ""


USUAL = How()
RunDir = str | os.PathLike[str]


def run_file(
    run_dir: RunDir, path: str, argv: Sequence[str] = (), how: How = USUAL
) -> int:
    """Run a file as a session; `argv` begins with its name, as in Python."""
    from pathlib import Path  # a one-liner does without it

    try:
        source = Path(path).read_bytes()
    except OSError as exc:
        return _fail(f"veo: cannot read {path}: {exc.strerror}", USAGE)
    return run_text(run_dir, source, path, argv or [path], how)


def run_stdin(run_dir: RunDir, how: How = USUAL) -> int:
    """Run all that comes on stdin as a session."""
    return run_text(run_dir, None, "<stdin>", ["-"], how)


def run_text(
    run_dir: RunDir,
    source: str | bytes | None,
    filename: str,
    argv: Sequence[str],
    how: How = USUAL,
) -> int:
    """Run code, or what comes on stdin, as a session; return its exit status."""
    with recorded(how.record) as record:
        return _run_recorded(run_dir, source, filename, argv, how, record)


def _run_recorded(
    run_dir: RunDir,
    source: str | bytes | None,
    filename: str,
    argv: Sequence[str],
    how: How,
    record: Record | None,
) -> int:
    client = Client(run_dir, session=how.session)
    client.is_sure = how.is_sure
    deadline = Deadline(how.timeout_s)
    try:
        with deadline:
            if source is None:
                source = sys.stdin.buffer.read()
            _run(client, source, filename, argv, how, deadline, record)
    except BaseException as exc:
        return _status(exc, source or b"", filename, deadline)
    finally:
        client.close()
    return FINE


@contextlib.contextmanager
def recorded(path: str) -> Iterator[Record | None]:
    """Have a record of a session, if a file is given for it.

    Raises:
        UsageError: it cannot be written.
    """
    if not path:
        yield None
        return
    from veo_shell.console.record import Record

    with contextlib.closing(Record(path)) as record:
        yield record


def _run(
    client: Client,
    source: str | bytes,
    filename: str,
    argv: Sequence[str],
    how: How,
    deadline: Deadline,
    record: Record | None,
) -> None:
    parts = list(statements(source, filename))
    if how.node:
        session.move(client, how.node)
    about = client.read("veo.about")  # no node: say so before half is done
    sys.argv = [*argv]
    sys.path.insert(0, filename.rpartition("/")[0])
    prompt = Prompt(client, about.get("node", "veo"))
    names = build(client)
    gc.freeze()  # what is loaded now stays: nobody waits for a look at it
    gc.enable()
    for statement in parts:
        typed = prompt.before(statement.source)
        if how.echo:
            sys.stdout.write(f"{typed}\n")
            sys.stdout.flush()
        with record.step(typed) if record else contextlib.nullcontext():
            _perform(statement, names, how, record)
        # What a program that the script runs prints must come after it.
        sys.stdout.flush()
        deadline.check()


def _perform(
    statement: Statement, names: dict[str, Any], how: How, record: Record | None
) -> None:
    value = eval(statement.code, names)  # noqa: S307  (the operator's own code)
    if not statement.is_expression:
        return
    if value is not None:
        names["_"] = value
    if record:
        record.showing(value)
    if how.as_json:
        from veo_shell.console import documents

        documents.show(value, sys.stdout)
    elif value is not None:
        render.show(value)


def _status(
    error: BaseException, source: str | bytes, filename: str, deadline: Deadline
) -> int:
    """Say on stderr what ended a session; return the exit status for it."""
    if _reader_gone():
        # What is left in the buffer must not be complained about at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return READER_GONE
    sys.stdout.flush()
    if deadline.is_over:
        return _fail(f"{_where(error, filename)}{deadline.what_is_over}", TIMED_OUT)
    match error:
        case SystemExit(code=None):
            return FINE
        case SystemExit(code=int(status)):
            return status
        case SystemExit(code=said):
            return _fail(str(said), FAILED)
        case KeyboardInterrupt():
            return interrupted("KeyboardInterrupt\n")
        case VeoError():
            return report(error, _where(error, filename))
    return _fail(_traceback(error, source, filename), FAILED)


class Prompt:
    """What a person would have seen before each statement."""

    def __init__(self, client: Client, node: str) -> None:
        self._client = client
        self._node = node
        self._line = 0

    def before(self, source: str) -> str:
        """Return a statement's source behind the next prompt."""
        self._line += 1
        return behind(f"({self._client.at or self._node}){self._line}> ", source)


def behind(prompt: str, source: str) -> str:
    """Return an input as it stands behind its prompt."""
    return prompt + source.replace("\n", "\n" + " " * len(prompt))


def report(error: VeoError, where: str = "") -> int:
    """Print one of VEO's errors on stderr; return the exit status for it."""
    return _fail(where + failure.message(error), status_of(error, usage=FAILED))


def _where(error: BaseException, filename: str) -> str:
    """Say where in a file it was: a one-liner needs no telling."""
    line = failure.last_line(error.__traceback__, filename)
    return f"{filename}:{line}: " if line and filename[0] != "<" else ""


def _reader_gone() -> bool:
    """Tell whether stdout is a pipe that nobody reads any more."""
    import select

    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _traceback(error: BaseException, source: str | bytes, filename: str) -> str:
    import linecache
    import traceback

    from veo_shell.console import hints

    if filename[0] == "<":
        text = [line.decode(errors="replace") for line in lines_of(source)]
        linecache.cache[filename] = (len(source), None, text, filename)
    trace = failure.own_part(error.__traceback__, filename)
    if trace is None:  # a SyntaxError: nothing was run
        lines = traceback.format_exception_only(error)
    else:
        lines = traceback.format_exception(type(error), error, trace)
    code = source if isinstance(source, str) else source.decode(errors="replace")
    return "".join(lines).rstrip() + hints.after(error, code)


def _fail(line: str, status: int) -> int:
    """Say on stderr what is wrong, whatever a file is called; return the status."""
    sys.stderr.write(f"{failure.printed(line)}\n")
    return status
