"""The exit statuses of `veo`, and which of them an error comes to."""

from __future__ import annotations

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
