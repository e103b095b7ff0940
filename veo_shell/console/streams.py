"""The standard streams of a `veo` command, as what it does needs them."""

from __future__ import annotations

import io
import os
import sys


def prepare() -> None:
    """Open /dev/null where a standard stream is closed; have stdout take every letter.

    A socket would get its number else, and what is printed would go there.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # Open until the process ends, as the one that was closed.
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.encoding != "utf-8":
        sys.stdout.reconfigure(errors="backslashreplace")  # a frame of a table, or é
