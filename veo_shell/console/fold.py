"""How lines fit a width: broken where a reader expects it. Light to import."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

PIECE = re.compile(r"[^. ]+[. ]?|[. ]")
"""What lines of DNS are made of: labels, each with its dot."""
LEAST = 16
"""What a column keeps when another one takes its place."""


def narrowed(
    spare: Iterable[str],
    head: list[str],
    rows: list[list[str]],
    width: int,
    *,
    folded: Mapping[str, int] | None = None,
) -> tuple[list[str], list[list[str]], list[str]]:
    """Return a table without what is spared where it is too wide, and that.

    What is still too wide is folded; of columns in `folded` so much is enough.
    """
    spared: list[str] = []
    for name in spare if head else ():
        enough = folded or {}
        widths = [
            min(width_, enough.get(column, width_))
            for column, width_ in zip(head, widest(head, rows), strict=True)
        ]
        if sum(widths) + 2 * len(widths) - 2 <= width:
            break
        if name in head:
            at = head.index(name)
            head = head[:at] + head[at + 1 :]
            rows = [row[:at] + row[at + 1 :] for row in rows]
            spared.append(name)
    return head, rows, spared


def widest(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """Return the width of each column."""
    return [max(map(len, column)) for column in zip(head, *rows, strict=True)]


def names(head: list[str], rows: list[list[str]], width: int) -> list[list[str]]:
    """Return rows of DNS whose names, and what they stand for, end lines at dots.

    A name has the room that it needs first.
    """
    if not {"name", "data"} <= {*head}:
        return rows
    name, data = head.index("name"), head.index("data")
    widths = widest(head, rows)
    taken = sum(widths) - widths[name] - widths[data] + 2 * len(head) - 2
    room = max(width - taken, 2 * LEAST)
    label, other = _longest(row[name] for row in rows), _longest(r[data] for r in rows)
    first = min(widths[name], max(room - other, label), room - LEAST)
    folded = []
    for row in rows:
        line = [*row]
        line[name] = "\n".join(at_dots(row[name], first))
        line[data] = "\n".join(at_dots(row[data], room - first))
        folded.append(line)
    return folded


def at_dots(text: str, width: int) -> list[str]:
    """Return a text as lines of such a width; a label that is longer is cut in two."""
    lines = [""]
    for piece in PIECE.findall(text):
        if lines[-1] and len(lines[-1]) + len(piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece
        while len(lines[-1].rstrip()) > width:
            lines[-1:] = [lines[-1][:width], lines[-1][width:]]
    return [line.rstrip() for line in lines]


def _longest(texts: Iterable[str]) -> int:
    pieces = (piece for text in texts for piece in PIECE.findall(text))
    return max((len(piece.rstrip()) for piece in pieces), default=0)


def words(text: str, width: int, indent: str = "") -> list[str]:
    """Return a text as lines that are broken between words."""
    import textwrap

    return textwrap.wrap(
        text,
        max(width, LEAST),
        subsequent_indent=indent,
        break_on_hyphens=False,
    ) or [""]
