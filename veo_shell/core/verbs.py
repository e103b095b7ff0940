"""Verbs: what may be called from a console, another node or HTTP, and how it travels.

Arguments and results travel as `[tag, plain data]`: the tag names a record class of
`core/model.py` ("Container"), a list of them ("[Container]"), or is "" for plain data.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from veo_shell.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])


def read(function: F) -> F:
    """Mark a method as a verb that changes nothing."""
    function.verb = "read"  # type: ignore[attr-defined]
    return function


def write(function: F) -> F:
    """Mark a method as a verb that changes the cluster."""
    function.verb = "write"  # type: ignore[attr-defined]
    return function


def verbs_of(word: type) -> dict[str, Callable[..., Any]]:
    """Return the verbs of one of the seven words, by name."""
    members = {name: getattr(word, name) for name in dir(word) if name[0] != "_"}
    return {name: m for name, m in members.items() if hasattr(m, "verb")}


def pack(value: Any) -> list[Any]:
    """Return `[tag, plain data]` for an argument or result."""
    if (
        isinstance(value, list | tuple)
        and value
        and hasattr(value[0], "__attrs_attrs__")
    ):
        return [f"[{type(value[0]).__name__}]", msgspec.to_builtins(value)]
    if hasattr(value, "__attrs_attrs__"):
        return [type(value).__name__, msgspec.to_builtins(value)]
    return ["", msgspec.to_builtins(value)]


def unpack(packed: Any) -> Any:
    """Return the value that `pack` packed; raise `UsageError` for anything else."""
    match packed:
        case ["", value]:
            return value
        case [str(tag), value]:
            record = _record_class(tag.strip("[]"))
            shape: Any = list[record] if tag.startswith("[") else record  # type: ignore[valid-type]
            try:
                return msgspec.convert(value, shape)
            except msgspec.ValidationError as exc:
                raise UsageError(f"not a {tag}: {exc}") from exc
    raise UsageError("a value that is not [tag, data]")


def _record_class(name: str) -> type:
    from veo_shell.core import model

    found = getattr(model, name, None)
    if not hasattr(found, "__attrs_attrs__"):
        raise UsageError(f"no record is called {name!r}")
    assert isinstance(found, type)
    return found
