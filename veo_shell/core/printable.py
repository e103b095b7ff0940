"""Text as it may be printed: what came from elsewhere must not steer a terminal."""

from __future__ import annotations


def printable(text: str, but: str = "") -> str:
    r"""Return the text with its unprintable characters spelled out, but for these.

    >>> printable("\x1b[2J\n"), printable("two\nlines", but="\n")
    ('\\x1b[2J\\n', 'two\nlines')
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in but else c.encode("unicode_escape").decode()
        for c in text
    )
