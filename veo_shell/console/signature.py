"""Signatures of verbs, as the node spells them, for completion and help."""

from __future__ import annotations

import ast
import functools
import inspect
import re
from collections.abc import Iterator
from inspect import Parameter, Signature
from typing import Any


def spelled(routine: Any) -> str:
    """Return the signature of a routine as it is called, its types as written."""
    text = re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(inspect.signature(routine)))
    return text.replace("(self, ", "(").replace("(self)", "()")


@functools.cache
def parse_signature(text: str) -> Signature:
    """Return the signature that a text like `(name, *, queue=False)` spells.

    The text came over a socket: it is read, never evaluated. One that Python cannot
    read (a default whose repr is no Python) gives `(*args, **kwargs)`.
    """
    try:
        tree = ast.parse(f"def f{text}: ...")
    except SyntaxError:
        tree = ast.parse("def f(*args, **kwargs): ...")
    function = tree.body[0]
    assert isinstance(function, ast.FunctionDef)
    return Signature(
        list(_parameters(function.args)),
        return_annotation=_spelled(function.returns, Signature.empty),
    )


class _Spelled(str):
    """A hint or default as it is written."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _parameters(a: ast.arguments) -> Iterator[Parameter]:
    positional = [
        *((arg, Parameter.POSITIONAL_ONLY) for arg in a.posonlyargs),
        *((arg, Parameter.POSITIONAL_OR_KEYWORD) for arg in a.args),
    ]
    required = len(positional) - len(a.defaults)
    defaults: list[ast.expr | None] = [*[None] * required, *a.defaults]
    for (arg, kind), default in zip(positional, defaults, strict=True):
        yield _parameter(arg, kind, default)
    if a.vararg:
        yield _parameter(a.vararg, Parameter.VAR_POSITIONAL, None)
    for arg, default in zip(a.kwonlyargs, a.kw_defaults, strict=True):
        yield _parameter(arg, Parameter.KEYWORD_ONLY, default)
    if a.kwarg:
        yield _parameter(a.kwarg, Parameter.VAR_KEYWORD, None)


def _parameter(arg: ast.arg, kind: Any, default: ast.expr | None) -> Parameter:
    return Parameter(
        arg.arg,
        kind,
        default=_spelled(default, Parameter.empty),
        annotation=_spelled(arg.annotation, Parameter.empty),
    )


def _spelled(node: ast.expr | None, absent: Any) -> Any:
    return absent if node is None else _Spelled(ast.unparse(node))
