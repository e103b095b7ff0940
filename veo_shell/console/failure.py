"""How errors look: VEO's own in one line each, others with the user's stack."""

from __future__ import annotations

from types import TracebackType

from veo_shell.core.printable import printable
from veo_shell.errors import VeoError

HERE = __file__.rpartition("/")[0] + "/"


def message(error: VeoError) -> str:
    """Return the class and the message, without a stack."""
    return printed(f"{type(error).__name__}: {error}")


def printed(text: str) -> str:
    """Return lines as they may be printed, whatever an error says of its data."""
    return printable(text, but="\n\t")


def own_part(trace: TracebackType | None, filename: str) -> TracebackType | None:
    """Return the part of a traceback that is the user's, from `filename` on.

    The console's own frames are left out at both ends, never in the middle.
    """
    frames = []
    while trace is not None:
        frames.append(trace)
        trace = trace.tb_next
    names = [frame.tb_frame.f_code.co_filename for frame in frames]
    first = names.index(filename) if filename in names else 0
    last = len(names)
    while last > first and names[last - 1].startswith(HERE):
        last -= 1
    linked: TracebackType | None = None
    for frame in reversed(frames[first:last]):
        linked = TracebackType(linked, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return linked


def last_line(trace: TracebackType | None, filename: str) -> int | None:
    """Return the line of `filename` where a traceback goes deepest."""
    line = None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == filename:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
