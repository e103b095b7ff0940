"""How results look: records as tables, everything else as its repr.

On a terminal a table is made for its width, by rich. Elsewhere it is plain text: no
colour, nothing cut off, one row per record, so that it can be cut and grepped.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, TextIO

from veo_shell.core.verbs import is_record

Cell = Callable[[Any], str]

GOOD = frozenset({"running", "healthy", "alive", "yes"})
VERDICTS = frozenset({"state", "status", "health", "fits"})
BAD = frozenset({"failed", "dead", "unhealthy", "exited", "no"})
UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def show(value: object, stream: TextIO | None = None) -> None:
    """Print a value for a person or a pipe, whichever is behind the stream."""
    stream = stream or sys.stdout
    if not stream.isatty() or is_dumb():
        stream.write(f"{text(value)}\n")
    elif is_tabular(value):
        _print_rich(value, stream)
    else:
        import shutil

        stream.write(f"{spread(value, shutil.get_terminal_size().columns)}\n")


def spread(value: object, width: int) -> str:
    """Return the repr of a value, over several lines if it is wider than that."""
    line = repr(value)
    if len(line) <= width or not isinstance(value, dict | list | tuple | set):
        return line
    import pprint

    return pprint.pformat(value, width=width, sort_dicts=False)


def text(value: object) -> str:
    """Return what `show` prints where there is no terminal."""
    if not is_tabular(value):
        return repr(value)
    head, rows = table(value)
    lines = [head, *rows] if head else rows
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    body = "\n".join(_aligned(line, widths) for line in lines)
    return body if head else f"{type(value).__name__}\n{body}"


def is_tabular(value: object) -> bool:
    """Tell whether this is a record or a list of records of one class."""
    if isinstance(value, list | tuple):
        return len({type(item) for item in value}) == 1 and is_record(value[0])
    return is_record(value)


def table(value: Any) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows for a list of records.

    A single record has no head and a row `[field, value]` per field that says
    something.
    """
    if is_record(value):
        return [], _fields(value)
    columns = _columns(value[0])
    rows = [[cell(record) for cell in columns.values()] for record in value]
    shown = [
        index
        for index, name in enumerate(columns)
        if name not in IF_ANY or any(row[index] for row in rows)
    ]
    return (
        [list(columns)[index] for index in shown],
        [[row[index] or "-" for index in shown] for row in rows],
    )


def _fields(record: Any) -> list[list[str]]:
    listed = _columns(record)
    rows = []
    for field in type(record).__attrs_attrs__:
        value = getattr(record, field.name)
        always = _title(field.name) in listed and field.name not in IF_ANY
        if always or value != field.default:
            rows.append([_title(field.name), _cell(field.name, value) or "-"])
    return rows


def _columns(record: Any) -> Mapping[str, Cell]:
    own = COLUMNS.get(type(record).__name__)
    return own or _every_field(record)


def _every_field(record: Any) -> Mapping[str, Cell]:
    names = [field.name for field in type(record).__attrs_attrs__]
    return {_title(name): _field(name) for name in names}


def _field(name: str) -> Cell:
    return lambda record: _cell(name, getattr(record, name))


def _title(name: str) -> str:
    return name.removesuffix("_bytes").removesuffix("_ns")


def _cell(name: str, value: Any) -> str:
    """Return a field's value in the unit that its name tells."""
    if value is None:
        return ""
    if name.endswith("_bytes"):
        return _size(value)
    if name.endswith("_ns"):
        return f"{value / 1e9:g}s"
    return " ".join(_word(value).splitlines())


def _word(value: Any) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case Enum():
            return str(value.value)
        case float():
            return f"{value:g}"
        case list() | tuple():
            return ", ".join(map(_word, value))
        case _ if type(value).__name__ in SHORT:
            return SHORT[type(value).__name__](value)
        case _ if is_record(value):
            return " ".join(f"{name}={word}" for name, word in _fields(value))
    return str(value)


def _size(size_bytes: int) -> str:
    size, unit = float(size_bytes), 0
    while abs(size) >= 1024 and unit < len(UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return (
        f"{size:.3g} {UNITS[unit]}" if abs(size) < 1000 else f"{size:.0f} {UNITS[unit]}"
    )


def _port(port: Any) -> str:
    host = port.host_port or "*"  # "*": chosen by Docker when it starts
    return f"{port.name}:{host}->{port.container_port}/{port.protocol.value}"


def _mount(mount: Any) -> str:
    parts = [mount.source or mount.kind.value, mount.target]
    return ":".join([*parts, "ro"] if mount.read_only else parts)


def _network(service: Any) -> str:
    return service.network_mode or "default"


def _same(*names: str) -> dict[str, Cell]:
    return {_title(name): _field(name) for name in names}


COLUMNS: dict[str, dict[str, Cell]] = {
    "Container": _same(
        "name",
        "service",
        "node",
        "address",
        "state",
        "health",
        "ports",
        "restarts",
        "reason",
    ),
    "Service": {
        **_same("name", "image"),
        "network": _network,
        "ports": lambda service: _word(service.ports),
        **_same("restart"),
    },
    "NodeInfo": _same(
        "node",
        "status",
        "address",
        "role",
        "containers",
        "cpus",
        "memory_bytes",
        "disk_bytes",
        "evidence",
    ),
}
"""What an operator wants to see of each class in a list. Others show every field."""

IF_ANY = frozenset({"reason", "evidence"})
"""Columns that are left out where no row has anything in them."""

SHORT: dict[str, Cell] = {
    "Port": _port,
    "Mount": _mount,
    "Container": lambda container: str(container.name),
    "Service": lambda service: str(service.name),
}
"""Records that have a short form of their own inside a cell."""


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
    return "  ".join(cells).rstrip()


def is_dumb() -> bool:
    return os.environ.get("TERM", "dumb") in ("", "dumb", "unknown")


def _print_rich(value: Any, stream: TextIO) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    head, rows = table(value)
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=bool(head))
    if not head:
        made.title, made.title_justify = type(value).__name__, "left"
    for name in head or ("field", "value"):
        made.add_column(name, header_style="bold", overflow="fold")
    for row in rows:
        # Text, not str: rich would read "[...]" in a value as mark-up.
        cells = zip(head or [row[0]] * 2, row, strict=True)
        made.add_row(*(Text(cell, _style(name, cell)) for name, cell in cells))
    Console(file=stream, highlight=False).print(made)


def _style(column: str, cell: str) -> str:
    if column in VERDICTS:
        return "green" if cell in GOOD else "red" if cell in BAD else ""
    return ""
