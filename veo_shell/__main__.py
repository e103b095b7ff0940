"""`veo`, and `python -m veo_shell`."""

import gc

from veo_shell.cli import main


def run() -> int:
    """Run the command that was given, in a process of its own; return its status."""
    status = main()
    gc.freeze()  # else Python ends with a look at all there is: 10 ms of `attach -c`
    return status


if __name__ == "__main__":
    raise SystemExit(run())
