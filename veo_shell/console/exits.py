"""The exit statuses of `veo`, and which of them an error comes to."""

from __future__ import annotations

import sys

from veo_shell.errors import NodeUnreachable, Refused, UsageError, VeoError

FINE, FAILED, USAGE, NO_NODE, TIMED_OUT, REFUSED = range(6)
INTERRUPTED, READER_GONE = 130, 141
"""The statuses a shell shows for a program that SIGINT or SIGPIPE ended."""


def status_of(error: VeoError, usage: int = USAGE) -> int:
    """Return the exit status for an error; `usage` for a wrong call."""
    if isinstance(error, NodeUnreachable):
        return NO_NODE
    if isinstance(error, Refused):
        return REFUSED
    return usage if isinstance(error, UsageError) else FAILED


def interrupted(said: str = "") -> int:
    """Say that Ctrl-C ended it; return the status for that.

    Behind a question, or half a line, a terminal has written `^C`.
    """
    begun = "\n" if sys.stderr.isatty() else ""
    sys.stderr.write(f"{begun}{said}")
    return INTERRUPTED
