"""How results look: records as tables, everything else as its repr.

On a terminal a table is made for its width, by rich. Elsewhere it is plain text: no
colour, nothing cut off, one row per record, so that it can be cut and grepped.
Whatever the data holds, nothing that a terminal would obey is printed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from veo_shell.console import fold, plans
from veo_shell.console.cells import IF_ANY, SPARE, columns, fields
from veo_shell.core.kinds import topic
from veo_shell.core.printable import printable
from veo_shell.core.verbs import is_record

GOOD = frozenset({"running", "healthy", "alive", "yes", "pulled"})
READY = "ready"
"""How many instances are ready, of how many: `2/3`."""
VERDICTS = frozenset({"state", "status", "health", "fits", "hears"})
OF_DNS = {"DnsRecord": ("name", "data"), "DnsChange": ("name", "before", "after")}
LIVE = frozenset({"Events", "Top", "Watch"})
ENDLESS = frozenset({"Events", "Lines"})
BAD = frozenset({"failed", "dead", "unhealthy", "exited", "no"})


def show(value: Any, stream: TextIO | None = None) -> None:
    """Print a value for a person or a pipe, whichever is behind the stream."""
    stream = stream or sys.stdout
    if is_log(value):
        _show_log(value, stream)
    elif is_live(value):
        value.show(stream)
    elif not stream.isatty() or is_dumb():
        stream.write(f"{text(value)}\n")
    elif (made_of := parts(value)) is not None:
        for part in made_of:
            if isinstance(part, str):
                stream.write(f"{_painted(part)}\n")
            else:
                _print_rich(part, stream)
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
    if (made_of := parts(value)) is not None:
        return "\n".join(_lines(p) if isinstance(p, str) else text(p) for p in made_of)
    if not is_tabular(value):
        return repr(value)
    head, rows = table(value)
    lines = [head, *rows] if head else rows
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    body = "\n".join(_aligned(line, widths) for line in lines)
    return body if head else f"{type(value).__name__}\n{body}"


def parts(value: Any) -> list[Any] | None:
    """Return the lines and tables that a record is shown as, None for most."""
    shown = PARTS.get(type(value).__name__) if is_record(value) else None
    return shown(value) if shown else None


def is_live(value: object) -> bool:
    """Tell whether this is what comes little by little, and prints itself."""
    return type(value).__name__ in LIVE


def is_endless(value: object) -> bool:
    """Tell whether this comes until Ctrl-C wherever it is printed."""
    return type(value).__name__ in ENDLESS


def is_log(value: Any) -> bool:
    """Tell whether these are lines of logs, listed or as they come."""
    if isinstance(value, list):
        return bool(value) and all(type(one).__name__ == "LogLine" for one in value)
    return type(value).__name__ == "Lines"


def _show_log(value: Any, stream: TextIO) -> None:
    """Print lines of logs; those that come until there are none, or Ctrl-C."""
    from contextlib import closing

    from veo_shell.console import logs

    if isinstance(value, list):
        logs.show([value], stream)
        return
    with closing(value):
        logs.show(iter(value.batch, []), stream)


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
        return [], [[name, printable(cell)] for name, cell in fields(value)]
    cells = columns(value[0])
    rows = [[cell(record) for cell in cells.values()] for record in value]
    if type(value[0]).__name__ == "JournalEntry":
        _draw_tree(value, rows)
    shown = [
        index
        for index, name in enumerate(cells)
        if name not in IF_ANY or any(row[index] for row in rows)
    ]
    return (
        [list(cells)[index] for index in shown],
        [[printable(row[index]) or "-" for index in shown] for row in rows],
    )


def _lines(part: str) -> str:
    return printable(part, but="\n\t")


def _painted(part: str) -> str:
    """Return lines as a terminal shows them: in colour, if they have one."""
    colour = getattr(part, "colour", "")
    if not colour or os.environ.get("NO_COLOR"):
        return _lines(part)
    return f"\x1b[{colour}m{_lines(part)}\x1b[0m"


def _draw_tree(entries: Sequence[Any], rows: list[list[str]]) -> None:
    """Indent what follows from an entry above it, if the list is of such chains.

    The steps of one thing's life stand below each other.
    """
    path: list[tuple[Any, int]] = []
    depths: list[int] = []
    above: set[str] = set()
    for entry in entries:
        while path and path[-1][0].id != entry.cause:
            path.pop()
        if not path and entry.cause in above:
            return  # a history: one chain is told between the steps of another
        cause, depth = path[-1] if path else (None, -1)
        depths.append(depth + (cause is None or _step(cause) != _step(entry)))
        path.append((entry, depths[-1]))
        above.add(entry.id)
    for row, depth in zip(rows, depths, strict=True):
        row[-1] = "  " * (depth - 1) + "└ " * (depth > 0) + row[-1]


def _step(entry: Any) -> tuple[str, ...]:
    """Return what an entry is a step of: a container's life, or a decision's kind."""
    kind = "" if entry.container else topic(entry.kind)
    return kind, entry.uid, entry.container, entry.about


def _written(record: Any) -> list[Any]:
    return [_with_copies(record), *_listed(record.containers), *_warned(record)]


def _with_copies(record: Any) -> str:
    kept = f" (kept on {record.copies} disks)" if record.copies > 1 else ""
    return f"{record.what}{kept}"


def _added(record: Any) -> list[Any]:
    return [[record], *_warned(record)]


def _warned(record: Any) -> list[Any]:
    return [f"warning: {record.warning}"] if record.warning else []


def _listed(records: Sequence[Any]) -> list[Any]:
    return [records] if records else []


def _executed(record: Any) -> list[Any]:
    said = [_lines(record.output.removesuffix("\n"))] if record.output else []
    cut = ["… cut: it said more than that"] if record.cut else []
    return [*said, *cut, f"exit status {record.exit_code}"]


def _loss(record: Any) -> list[Any]:
    moves = _listed(record.moves) or ["nothing of it would move"]
    dns = ["what DNS would answer:", record.dns] if record.dns else []
    return [f"if {record.node} were lost:", *moves, *dns]


PARTS: dict[str, Callable[[Any], list[Any]]] = {
    "Written": _written,
    "Added": _added,
    "Loss": _loss,
    "Plan": plans.shown,
    "Applied": plans.done,
    "Executed": _executed,
}
"""Records that are shown as lines and tables when they stand alone."""


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
    return "  ".join(cells).rstrip()


def is_dumb() -> bool:
    return os.environ.get("TERM", "dumb") in ("", "dumb", "unknown")


def _print_rich(value: Any, stream: TextIO) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=stream, highlight=False)
    head, rows = table(value)
    kind = type(value[0]).__name__ if head else ""
    spare = SPARE.get(kind, ())
    head, rows, spared = fold.narrowed(spare, head, rows, console.width)
    if kind in OF_DNS:
        rows = fold.names(head, rows, console.width, OF_DNS[kind])
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=bool(head))
    if not head:
        made.title, made.title_justify = type(value).__name__, "left"
    for name in head or ("field", "value"):
        made.add_column(name, header_style="bold", overflow="fold")
    for row in rows:
        # Text, not str: rich would read "[...]" in a value as mark-up.
        cells = zip(head or [row[0]] * 2, row, strict=True)
        made.add_row(*(Text(cell, _style(name, cell)) for name, cell in cells))
    console.print(made)
    if spared:
        console.print(f"(too narrow for {', '.join(spared)})")


def _style(column: str, cell: str) -> str:
    if column in VERDICTS:
        return "green" if cell in GOOD else "red" if cell in BAD else ""
    counts = cell.split("/") if column == READY else []
    if len(counts) == 2 and all(map(str.isdecimal, counts)):
        ready, wanted = map(int, counts)
        return "red" if ready < wanted else "green"
    return ""
