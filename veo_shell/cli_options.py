"""What the commands' options share. Light to import, as `veo attach -c` needs it."""

from __future__ import annotations

import argparse
import os

from veo_shell.errors import UsageError


def env(*names: str, default: str | None = None) -> str | None:
    """Return the first of these environment variables that is set and not empty."""
    return next((os.environ[n] for n in names if os.environ.get(n)), default)


def something(text: str) -> str:
    """Refuse an option that is given as "": the usual would be taken unasked."""
    if not text:
        raise argparse.ArgumentTypeError("is empty")
    return text


def run_dir_of(arguments: argparse.Namespace) -> str:
    """Return the run directory of the node that is meant; raise `UsageError`."""
    if arguments.run_dir:
        given: str = arguments.run_dir
        return os.path.abspath(given)  # noqa: PTH100 - pathlib takes 6 ms
    if os.geteuid() == 0:
        return "/run/veo"
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    if base.startswith("/"):
        return f"{base}/veo"
    home = os.path.expanduser("~")  # noqa: PTH111
    if not home.startswith("/"):
        raise UsageError("no home directory to find the node in: give --run-dir")
    return f"{home}/.veo/run"
