"""Sessions without a terminal: `veo attach -c`, `--script`, and code on stdin.

Like the console, a session prints the value of each top-level expression that is not
None; unlike it, it ends at the first error. Light to import: see `client`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from types import CodeType
from typing import TYPE_CHECKING, Any, NamedTuple

from veo_shell.console import failure, render
from veo_shell.console.client import Client
from veo_shell.console.namespace import build
from veo_shell.errors import NodeUnreachable, VeoError

if TYPE_CHECKING:
    import ast

FAILED = 1
MISUSED = 2
NO_NODE = 3
INTERRUPTED = 130
READER_GONE = 141
"""The status a shell shows for a program that SIGPIPE ended."""

ONLY_AST = 0x400
"""`ast.PyCF_ONLY_AST`, without importing `ast`."""


class Statement(NamedTuple):
    """One top-level statement, ready to run."""

    source: str
    code: CodeType
    is_expression: bool


RunDir = str | os.PathLike[str]


def run_file(
    run_dir: RunDir, path: str, argv: Sequence[str] = (), echo: bool = False
) -> int:
    """Run a file as a session; `argv` begins with its name, as in Python."""
    from pathlib import Path  # a one-liner does without it

    try:
        source = Path(path).read_bytes()
    except OSError as exc:
        return _fail(f"veo: cannot read {path}: {exc.strerror}", MISUSED)
    return run_text(run_dir, source, path, argv or [path], echo)


def run_stdin(run_dir: RunDir, echo: bool = False) -> int:
    """Run all that comes on stdin as a session."""
    try:
        source = sys.stdin.buffer.read()
    except KeyboardInterrupt:
        return INTERRUPTED
    return run_text(run_dir, source, "<stdin>", ["-"], echo)


def run_text(
    run_dir: RunDir,
    source: str | bytes,
    filename: str,
    argv: Sequence[str],
    echo: bool = False,
) -> int:
    """Run code as a session; return its exit status.

    `echo` prints each statement behind its prompt before it is run.
    """
    client = Client(run_dir)
    try:
        return run_code(client, source, filename, argv, echo=echo)
    finally:
        client.close()


def run_code(
    client: Client,
    source: str | bytes,
    filename: str,
    argv: Sequence[str],
    *,
    echo: bool = False,
) -> int:
    """Run code as a session of a client; return its exit status."""
    try:
        statements = list(_statements(source, filename))
        about = client.read("veo.about")  # no node: say so before half is done
        sys.argv = [*argv]
        sys.path.insert(0, filename.rpartition("/")[0])
        prompt = Prompt(about.get("node", "veo")) if echo else None
        _run(statements, build(client), prompt)
    except BaseException as exc:
        return _status(exc, source, filename)
    return 0


def _status(error: BaseException, source: str | bytes, filename: str) -> int:
    """Say on stderr what ended a session; return the exit status for it."""
    if _reader_gone():
        # What is left in the buffer must not be complained about at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return READER_GONE
    sys.stdout.flush()
    match error:
        case SystemExit(code=None):
            return 0
        case SystemExit(code=int(status)):
            return status
        case SystemExit(code=said):
            return _fail(str(said), FAILED)
        case KeyboardInterrupt():
            return _fail("KeyboardInterrupt", INTERRUPTED)
        case VeoError():
            return report(error, _where(error, filename))
    return _fail(_traceback(error, source, filename), FAILED)


class Prompt:
    """What a person would have seen before each statement."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._line = 0

    def before(self, source: str) -> str:
        """Return a statement's source behind the next prompt."""
        self._line += 1
        prompt = f"({self._node}){self._line}> "
        return prompt + source.replace("\n", "\n" + " " * len(prompt))


def _run(
    statements: Sequence[Statement], names: dict[str, Any], prompt: Prompt | None
) -> None:
    for statement in statements:
        if prompt:
            sys.stdout.write(f"{prompt.before(statement.source)}\n")
            sys.stdout.flush()
        value = eval(statement.code, names)  # noqa: S307  (the operator's own code)
        if statement.is_expression and value is not None:
            names["_"] = value
            render.show(value)
        # What a program that the script runs prints must come after it.
        sys.stdout.flush()


def _statements(source: str | bytes, filename: str) -> Iterator[Statement]:
    """Compile all before anything is run, so that a bad line 9 stops line 1."""
    tree = _compile(source, filename, "exec", ONLY_AST)
    lines = _lines(source)
    flags = 0
    for number, node in enumerate(tree.body):
        kind = type(node).__name__
        flags |= _future_flags(node)
        if kind == "Expr" and not (number == 0 and _is_docstring(node, filename)):
            whole: Any = _ast().Expression(body=node.value)
            code = _compile(whole, filename, "eval", flags)
            yield Statement(_segment(lines, node), code, is_expression=True)
        else:
            whole = _ast().Module(body=[node], type_ignores=[])
            code = _compile(whole, filename, "exec", flags)
            yield Statement(_segment(lines, node), code, is_expression=False)


def _compile(source: Any, filename: str, mode: str, flags: int) -> Any:
    return compile(source, filename, mode, flags=flags, dont_inherit=True)


def _ast() -> Any:
    import _ast  # `ast` without its Python half

    return _ast


def _future_flags(node: ast.stmt) -> int:
    """Return the compiler flags that `from __future__ import …` sets for the rest."""
    if getattr(node, "module", None) != "__future__":
        return 0
    import __future__

    flags = 0
    for alias in getattr(node, "names", ()):
        flags |= getattr(__future__, alias.name).compiler_flag
    return flags


def _is_docstring(first: ast.stmt, filename: str) -> bool:
    """Tell whether the first statement only says what the rest of a file is about."""
    value = getattr(getattr(first, "value", None), "value", None)
    return isinstance(value, str) and filename[0] != "<"


def _lines(source: str | bytes) -> list[bytes]:
    if isinstance(source, str):
        source = source.encode()
    return source.splitlines(keepends=True)


def _segment(lines: Sequence[bytes], node: ast.stmt) -> str:
    """Return the source of a statement; the parser counts columns in bytes."""
    decorators = getattr(node, "decorator_list", ())
    first = min([node.lineno, *(d.lineno for d in decorators)]) - 1
    last = (node.end_lineno or node.lineno) - 1
    part = list(lines[first : last + 1])
    part[-1] = part[-1][: node.end_col_offset]
    if not decorators:
        part[0] = part[0][node.col_offset :]
    return b"".join(part).decode(errors="replace")


def report(error: VeoError, where: str = "") -> int:
    """Print one of VEO's errors on stderr; return the exit status for it."""
    gone = isinstance(error, NodeUnreachable)
    return _fail(where + failure.message(error), NO_NODE if gone else FAILED)


def _where(error: VeoError, filename: str) -> str:
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

    if filename[0] == "<":
        text = [line.decode(errors="replace") for line in _lines(source)]
        linecache.cache[filename] = (len(source), None, text, filename)
    trace = failure.own_part(error.__traceback__, filename)
    if trace is None:  # a SyntaxError: nothing was run
        lines = traceback.format_exception_only(error)
    else:
        lines = traceback.format_exception(type(error), error, trace)
    return "".join(lines).rstrip()


def _fail(line: str, status: int) -> int:
    """Say on stderr what is wrong, whatever a file is called; return the status."""
    sys.stderr.write(f"{failure.printed(line)}\n")
    return status
