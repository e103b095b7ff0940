"""How two specs differ, field by field, in the words of the file.

Specs are compared as a file has them. Of a list each element is told: entries like
`NAME=value` by their name, ports by theirs, volumes and files by their target, what is
in an order (arguments) by its place, anything else as it is; of a file its lines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from veo_shell.core.check import to_mapping
from veo_shell.core.model import Service
from veo_shell.core.planned import FieldChange
from veo_shell.core.scalars import shown

IN_ORDER = frozenset({"args", "cmd"})
ENTRIES = frozenset({"environment", "labels"})
CONTENT = "content"
SIZES = frozenset({"memory", "disk"})
DURATIONS = frozenset({"interval", "timeout", "start_period", "delay", "monitor"})
KEYS = ("name", "target")
"""What tells the elements of a list of mappings apart, if they have it."""
UNITS = {"g": 1 << 30, "m": 1 << 20, "k": 1 << 10}
SECRET = ("PASS", "SECRET", "TOKEN", "KEY", "CREDENTIAL")
"""A variable with one of these in its name, or a file's line, is not shown."""
HIDDEN = "***"
MOST = 200
"""So many characters of a value are told."""
LINES_MOST = 20
"""So many lines of a file are told."""
UNSAID = ("", "0", "0ns", None, False)
"""Values that are not worth telling of something that comes or goes as a whole."""


def differences(before: Service, after: Service) -> tuple[FieldChange, ...]:
    """Return what of a spec changes, but for its replicas, in the order of the file."""
    if before == after:
        return ()
    old, new = to_mapping(before), to_mapping(after)
    for spec in (old, new):
        del spec["name"], spec["replicas"]
    return tuple(_of_mappings(old, new, ""))


def _of_mappings(
    old: Mapping[str, Any], new: Mapping[str, Any], path: str
) -> Iterator[FieldChange]:
    for key in dict.fromkeys([*old, *new]):
        field = f"{path}.{key}" if path else key
        yield from _of_values(old.get(key), new.get(key), field, key)


def _of_values(old: Any, new: Any, field: str, key: str) -> Iterator[FieldChange]:
    if old == new:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        yield from _of_mappings(old, new, field)
    elif key == CONTENT and old is not None and new is not None:
        yield from _of_texts(old, new, field)
    elif isinstance(old, list) and isinstance(new, list):
        told = list(_of_lists(old, new, field, key))
        # The same elements: only their order is another one.
        yield from told or [_change(field, _order(old, key), _order(new, key), key)]
    else:
        yield _change(field, old, new, key)


def _of_lists(
    old: list[Any], new: list[Any], field: str, key: str
) -> Iterator[FieldChange]:
    if key in IN_ORDER:
        for at in range(max(len(old), len(new))):
            pair = old[at : at + 1], new[at : at + 1]
            yield from _of_elements(*pair, f"{field}[{at}]", key)
        return
    held, wanted = _by_name(old, key), _by_name(new, key)
    if held is None or wanted is None:
        yield from _of_bags(old, new, field, key)
        return
    for name in dict.fromkeys([*held, *wanted]):
        pair = held.get(name, []), wanted.get(name, [])
        yield from _of_elements(*pair, f"{field}.{shown(name)}", name)


def _of_elements(
    old: list[Any], new: list[Any], field: str, key: str
) -> Iterator[FieldChange]:
    """Compare one element of each, or none of one."""
    if old and new:
        yield from _of_values(old[0], new[0], field, key)
    else:
        yield _change(field, (old or [None])[0], (new or [None])[0], key)


def _of_bags(
    old: list[Any], new: list[Any], field: str, key: str
) -> Iterator[FieldChange]:
    before, after = (Counter(_spelled(v, key) for v in side) for side in (old, new))
    for text in (before - after).elements():
        yield FieldChange(field=field, before=text, after=None)
    for text in (after - before).elements():
        yield FieldChange(field=field, before=None, after=text)


def _of_texts(old: str, new: str, field: str) -> Iterator[FieldChange]:
    before, after = Counter(old.splitlines()), Counter(new.splitlines())
    gone, come = (before - after).elements(), (after - before).elements()
    told = [_change(field, line, None, CONTENT) for line in gone]
    told += [_change(field, None, line, CONTENT) for line in come]
    yield from told[:LINES_MOST]
    if not told:
        yield FieldChange(field=field, before="its lines", after="in another order")
    elif len(told) > LINES_MOST:
        more = f"and {len(told) - LINES_MOST} more lines"
        yield FieldChange(field=field, before="…", after=more)


def _by_name(values: list[Any], key: str) -> dict[str, list[Any]] | None:
    """Return the elements by what tells them apart; None if nothing does."""
    if key in ENTRIES:  # of two of one name the last one counts, as for Docker
        return {name: [of] for name, _, of in (v.partition("=") for v in values)}
    if not all(isinstance(value, Mapping) for value in values):
        return None
    named = {_name(value): [_rest(value)] for value in values}
    return named if len(named) == len(values) and "" not in named else None


def _name(value: Mapping[str, Any]) -> str:
    return next((str(value[key]) for key in KEYS if key in value), "")


def _rest(value: Mapping[str, Any]) -> dict[str, Any]:
    name = next((key for key in KEYS if key in value), "")
    return {key: of for key, of in value.items() if key != name}


def _order(values: list[Any], key: str) -> list[Any]:
    """Return a list as it is told whose order alone changes."""
    if key in ENTRIES:
        return [value.partition("=")[0] for value in values]
    return [
        _name(value) or value if isinstance(value, Mapping) else value
        for value in values
    ]


def _change(field: str, old: Any, new: Any, key: str) -> FieldChange:
    before, after = (
        None if value is None else _spelled(value, key) for value in (old, new)
    )
    if field.startswith("environment.") and any(s in key.upper() for s in SECRET):
        before, after = (text and HIDDEN for text in (before, after))
    return FieldChange(field=field, before=before, after=after)


def _spelled(value: Any, key: str) -> str:
    """Return a value as one would write it in the file."""
    match value:
        case bool():
            return "true" if value else "false"
        case Mapping():
            said = {k: v for k, v in value.items() if not _is_unsaid(v)}
            inner = ", ".join(f"{k}: {_spelled(v, k)}" for k, v in said.items())
            return f"{{{inner}}}"
        case list():
            return f"[{', '.join(_spelled(item, key) for item in value)}]"
    text = str(value)
    if key == CONTENT and any(word in text.upper() for word in SECRET):
        return HIDDEN
    number = text.removesuffix("ns")
    if key in DURATIONS and number.isdecimal():
        return f"{int(number) / 1e9:.9g}s"
    if key in SIZES and text.isdecimal():
        return _size(int(text))
    return shown(text.removesuffix(".0") if key == "cpus" else text, MOST)


def _is_unsaid(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(map(_is_unsaid, value.values()))
    return value in UNSAID or value == []


def _size(size_bytes: int) -> str:
    for unit, bytes_each in UNITS.items():
        if size_bytes and size_bytes % bytes_each == 0:
            return f"{size_bytes // bytes_each}{unit}"
    return str(size_bytes)
