"""`veo attach`: its options, and what they come to."""

from __future__ import annotations

import argparse
import gc
import math
import re
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from veo_shell.console.light import import_msgspec
from veo_shell.errors import UsageError

if TYPE_CHECKING:
    from veo_shell.console import script

RunDir = Callable[[argparse.Namespace], str]

HELP = (
    "What follows CODE or FILE is its sys.argv. Without either, code that is piped to "
    "stdin is run. Exit status: 0, 1 on an exception, 2 on wrong usage, 3 when no node "
    "answers, 4 after --timeout, 5 when the node refuses what is asked."
)
SWITCHES = ("--echo", "--json", "--read-only", "--yes")
A_YEAR_S = 365 * 24 * 60 * 60
WITH_VALUE = ("--run-dir", "--timeout", "--reason", "--record")


def add_attach(parser: argparse.ArgumentParser, run_dir: RunDir) -> None:
    """Give `veo attach` its options."""
    parser.set_defaults(run=lambda arguments: _attach(arguments, run_dir(arguments)))
    add = parser.add_argument
    add("--echo", action="store_true", help="show each input before its result")
    add("--json", action="store_true", help="print each value as a JSON document")
    _add_common(add)
    add(
        "--record",
        metavar="FILE",
        default="",
        help="write the session to a file as it is seen, for `veo check-session`",
    )
    add(
        "node",
        metavar="NODE",
        nargs="?",
        type=_node,
        help="the node that is to answer, through this host's; default this host's",
    )
    code_or_file = parser.add_mutually_exclusive_group()
    add = code_or_file.add_argument
    add("-c", metavar="CODE", dest="code", help="run code and leave")
    add("--script", metavar="FILE", help="run a file and leave")


def _add_common(add: Callable[..., object]) -> None:
    add(
        "--timeout",
        metavar="SECONDS",
        type=_seconds,
        help="end the session after so long, with exit status 4",
    )
    add(
        "--read-only",
        action="store_true",
        help="have the node refuse whatever changes something",
    )
    add(
        "--yes",
        action="store_true",
        help="confirm what takes something away; a terminal is asked without it",
    )


def split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part `attach …` behind the code or the file that it is to run.

    What follows is its own, as in Python; argparse would look for our options there.
    """
    at = 1
    while at < len(argv):
        word = argv[at]
        if word.startswith(("-c", "--script")):
            end = at + (2 if word in ("-c", "--script") else 1)
            return [*argv[:end]], [*argv[end:]]
        at += 2 if word in WITH_VALUE else 1
    return [*argv], []


def _node(text: str) -> str:
    if not re.fullmatch(r"[\w-]+(@[\w.-]+)?", text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no node's name; a file is run by --script"
        )
    return text


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= A_YEAR_S:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no number of seconds above 0, up to {A_YEAR_S} (a year)"
        )
    return seconds


def add_check(parser: argparse.ArgumentParser, run_dir: RunDir) -> None:
    """Give `veo check-session` its options."""
    parser.set_defaults(run=lambda arguments: _check(arguments, run_dir(arguments)))
    _add_common(parser.add_argument)
    parser.add_argument("file", metavar="FILE", help="a transcript, or a page.md")


def _check(arguments: argparse.Namespace, run_dir: str) -> int:
    from veo_shell.console import replay

    return replay.check(run_dir, arguments.file, _how(arguments))


def _how(arguments: argparse.Namespace) -> script.How:
    from veo_shell.console import script
    from veo_shell.console.identity import identity

    return script.How(
        timeout_s=arguments.timeout,
        is_sure=arguments.yes,
        node=getattr(arguments, "node", None) or "",
        session=identity(read_only=arguments.read_only),
    )


def _attach(arguments: argparse.Namespace, run_dir: str) -> int:
    gc.disable()  # until the session's first input: nothing that is imported is garbage
    import_msgspec()
    from veo_shell.console import script

    how = _how(arguments)._replace(
        echo=arguments.echo, as_json=arguments.json, record=arguments.record
    )
    argv = _session_argv(arguments.args)
    if arguments.code is not None:
        return script.run_text(run_dir, arguments.code, "<-c>", ["-c", *argv], how)
    if arguments.script is not None:
        path = arguments.script
        return script.run_file(run_dir, path, [path, *argv], how)
    if not sys.stdin.isatty():
        return script.run_stdin(run_dir, how)
    if arguments.json or arguments.timeout:
        raise UsageError("--json and --timeout are for -c, --script and code on stdin")
    from veo_shell.console import attach

    return attach.main(run_dir, how)


def _session_argv(words: list[str]) -> list[str]:
    """Return the arguments of code or of a file, less a `--` before them.

    An option of ours that stands there is more likely meant for us than for the
    script, and the code would run on the wrong node.
    """
    if words[:1] == ["--"]:
        return words[1:]
    for word in words:
        if word == "--":
            break
        if word.partition("=")[0] in SWITCHES + WITH_VALUE:
            raise UsageError(
                f"{word} stands behind the code or the file: put it before, or put -- "
                "between if it is the script's"
            )
    return words
