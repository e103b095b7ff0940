"""Verbs: what may be called from a console, another node or HTTP, and how it travels.

Arguments and results travel as `[tag, data]`. The tag "Container" names a record class
of `core/model/`, `planned.py` or `sessions.py`, "[Container]" a list of such records;
"[]" and "{}" are a list and a mapping whose members are packed themselves (records
among other things); "" is plain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from veo_shell.core.pieces import PIECE, in_turns
from veo_shell.errors import UsageError, VeoError, by_name

F = TypeVar("F", bound=Callable[..., Any])


def read(function: F) -> F:
    """Mark a method as a verb that changes nothing."""
    function.verb = "read"  # type: ignore[attr-defined]
    return function


def write(function: F) -> F:
    """Mark a method as a verb that changes the cluster."""
    function.verb = "write"  # type: ignore[attr-defined]
    return function


def destroy(function: F) -> F:
    """Mark a method as a verb that takes something away: a person is asked first."""
    function.verb = "destroy"  # type: ignore[attr-defined]
    return function


def verbs_of(word: type) -> dict[str, Callable[..., Any]]:
    """Return the verbs of one of the seven words, by name."""
    members = {name: getattr(word, name) for name in dir(word) if name[0] != "_"}
    return {name: m for name, m in members.items() if hasattr(m, "verb")}


def is_record(value: object) -> bool:
    """Tell whether this is an instance of an attrs class."""
    return hasattr(type(value), "__attrs_attrs__")


def pack(value: Any) -> list[Any]:
    """Return `[tag, data]`, plain data all through, for an argument or result.

    Raises `TypeError` for what is neither plain nor a record.
    """
    try:
        return _packed(value)
    except RecursionError as exc:
        raise TypeError("a value that holds itself, or is too deep") from exc


def _packed(value: Any) -> list[Any]:
    if is_record(value):
        return [type(value).__name__, _plain(value)]
    if not _holds_records(value):
        return ["", _plain(value)]
    if isinstance(value, Mapping):
        return ["{}", {key: _packed(item) for key, item in value.items()}]
    if is_record(value[0]) and len({type(item) for item in value}) == 1:
        return [f"[{type(value[0]).__name__}]", _plain(value)]
    return ["[]", [_packed(item) for item in value]]


async def pack_in_turns(value: Any) -> list[Any]:
    """Return what `pack` does; many records of a kind are packed in pieces."""
    is_many = isinstance(value, list | tuple) and len(value) > PIECE
    if not is_many or not is_record(value[0]) or len(set(map(type, value))) > 1:
        return pack(value)
    starts, records = range(0, len(value), PIECE), tuple(value)
    pieces = (_plain(records[at : at + PIECE]) for at in starts)
    return [f"[{type(value[0]).__name__}]", await in_turns(pieces)]


def unpack(packed: Any) -> Any:
    """Return the value that `pack` packed; raise `UsageError` for anything else.

    Sequences come back as lists, enumerations outside of records as their values.
    """
    match packed:
        case ["", value]:
            return value
        case ["[]", [*items]]:
            return [unpack(item) for item in items]
        case ["{}", dict(mapping)]:
            return {key: unpack(item) for key, item in mapping.items()}
        case [str(tag), value] if tag.startswith("[") and tag.endswith("]"):
            record: Any = _record_class(tag[1:-1])
            return _convert(value, list[record], tag)
        case [str(tag), value]:
            return _convert(value, _record_class(tag), tag)
    raise UsageError("a value that is not [tag, data]")


def pack_error(error: VeoError) -> list[Any]:
    """Return `[class name, message, fields]`."""
    return [type(error).__name__, str(error), _plain(error.fields)]


def unpack_error(packed: Any) -> VeoError:
    """Return the error that `pack_error` packed, of the same class if it is known."""
    match packed:
        case [str(name), str(message), dict(fields)]:
            return by_name(name)(message, **fields)
    return VeoError(f"an error that cannot be read: {packed!r}")


def _holds_records(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(is_record(item) or _holds_records(item) for item in value)
    if isinstance(value, Mapping):
        return any(is_record(item) or _holds_records(item) for item in value.values())
    return False


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value, builtin_types=(bytes,), enc_hook=_text)


def _text(value: Any) -> str:
    """Return a text of a class of its own as plain text; refuse everything else."""
    if isinstance(value, str):
        return str(value)
    raise TypeError(f"{type(value).__name__}: neither plain data nor a record")


def _convert(value: Any, shape: Any, tag: str) -> Any:
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as exc:
        raise UsageError(f"not a {tag}: {exc}") from exc


def _record_class(name: str) -> type:
    from veo_shell.core import model  # only callers that see a record pay for attrs

    found = getattr(model, name, None)
    if found is None:
        from veo_shell.core import planned, sessions

        found = getattr(planned, name, None) or getattr(sessions, name, None)
    if not hasattr(found, "__attrs_attrs__"):
        raise UsageError(f"no record is called {name!r}")
    assert isinstance(found, type)
    return found
