"""`veo logs` and `veo exec`: their options, and what they come to."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable
from typing import Any

from veo_shell.errors import UsageError

TAIL = 100
RunDir = Callable[[argparse.Namespace], str]
Parser = Callable[..., Any]


def add_logs(parser: argparse.ArgumentParser, run_dir: RunDir) -> None:
    """Give `veo logs` its options."""
    parser.set_defaults(run=lambda arguments: _logs(arguments, run_dir(arguments)))
    add = parser.add_argument
    add("name", metavar="NAME", help="a service, or a container")
    add(
        "-f",
        "--follow",
        action="store_true",
        help="go on with what they say, to Ctrl-C",
    )
    add(
        "--tail",
        metavar="N",
        type=_tail,
        default=TAIL,
        help=f"the last lines, or all; default {TAIL}",
    )
    add("--since", metavar="WHEN", help="5m, seconds, or a time: 2026-01-31T10:00:00Z")
    add("-t", "--timestamps", action="store_true", help="with the time of each line")


def add_exec(parser: argparse.ArgumentParser, run_dir: RunDir) -> None:
    """Give `veo exec` its options."""
    parser.set_defaults(run=lambda arguments: _exec(arguments, run_dir(arguments)))
    add = parser.add_argument
    add("-i", "--interactive", action="store_true", help="pass stdin to the command")
    add("-t", "--tty", action="store_true", help="with a terminal, which is this one")
    add("name", metavar="CONTAINER", help="or a service that has one")
    add("command", metavar="-- COMMAND", nargs="*", help="and its arguments")


def _tail(text: str) -> int | None:
    if text == "all":
        return None
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor all")
    return int(text)


def _logs(arguments: argparse.Namespace, run_dir: str) -> int:
    from veo_shell.console.client import Client
    from veo_shell.console.logs import print_logs

    with contextlib.closing(Client(run_dir)) as client:
        return print_logs(
            client,
            arguments.name,
            tail=arguments.tail,
            follow=arguments.follow,
            since=arguments.since,
            stamps=arguments.timestamps,
        )


def _exec(arguments: argparse.Namespace, run_dir: str) -> int:
    from veo_shell.console.client import Client
    from veo_shell.console.execute import attach

    if arguments.command or not arguments.args:
        words = " ".join(arguments.command) or "COMMAND"
        raise UsageError(
            f"exec: give the command behind --: veo exec {arguments.name} -- {words}"
        )
    with contextlib.closing(Client(run_dir)) as client:
        return attach(
            client,
            arguments.name,
            arguments.args,
            terminal=arguments.tty,
            stdin=arguments.interactive,
        )
