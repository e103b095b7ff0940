"""Code parted into top-level statements, each ready to run. Light to import."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import CodeType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import ast

ONLY_AST = 0x400
"""`ast.PyCF_ONLY_AST`, without importing `ast`."""

MARK = "\ufeff".encode()
"""What some editors begin a file with; the parser counts no columns of it."""


class Statement(NamedTuple):
    """One top-level statement, ready to run."""

    source: str
    code: CodeType
    is_expression: bool


def statements(source: str | bytes, filename: str) -> Iterator[Statement]:
    """Compile all before anything is run, so that a bad line 9 stops line 1."""
    tree = _compile(source, filename, "exec", ONLY_AST)
    lines = lines_of(source)
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


def lines_of(source: str | bytes) -> list[bytes]:
    if isinstance(source, str):
        source = source.encode(errors="backslashreplace")
    return source.removeprefix(MARK).splitlines(keepends=True)


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
