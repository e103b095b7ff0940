"""`veo`, and `python -m veo_shell`."""

import gc

YOUNG = 50_000
"""So many new objects are looked at for garbage at a time, where Python has 700.

What is imported has none: to look for it was a twentieth of `attach -c`.
"""


def run() -> int:
    """Run the command that was given, in a process of its own; return its status."""
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])
    from veo_shell.cli import main

    status = main()
    gc.freeze()  # else Python ends with a look at all there is: 10 ms of `attach -c`
    return status


if __name__ == "__main__":
    raise SystemExit(run())
