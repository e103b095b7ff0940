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


def names(
    head: list[str], rows: list[list[str]], width: int, wide: Sequence[str]
) -> list[list[str]]:
    """Return rows of DNS whose `wide` columns end lines at dots.

    The first of them, the name, has the room that it needs first.
    """
    at = [head.index(name) for name in wide]
    widths = widest(head, rows)
    labels = [max(len(head[i]), _longest(row[i] for row in rows)) for i in at]
    room = width - sum(widths) + sum(widths[index] for index in at) - 2 * len(head) + 2
    room = max(room, LEAST * len(at))
    first = max(room - sum(labels[1:]), labels[0])
    first = min(widths[at[0]], first, room - LEAST * (len(at) - 1))
    rooms = {at[0]: first}
    for place, index in enumerate(at[1:], 1):
        left = room - sum(rooms.values())
        label = min(labels[place], left - sum(labels[place + 1 :]))
        rooms[index] = min(widths[index], max(left // (len(at) - place), label))
    return [
        [
            "\n".join(at_dots(cell, rooms[index])) if index in rooms else cell
            for index, cell in enumerate(row)
        ]
        for row in rows
    ]


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
