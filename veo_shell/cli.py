"""`veo`: the command line. Thin; each command imports what it needs when it runs."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from veo_shell import __version__
from veo_shell.cli_options import env, run_dir_of, something
from veo_shell.console.exits import (
    FAILED,
    FINE,
    NO_NODE,
    READER_GONE,
    USAGE,
    interrupted,
    status_of,
)
from veo_shell.console.identity import REASON
from veo_shell.console.streams import prepare
from veo_shell.errors import NodeUnreachable, UsageError, VeoError

STATUSES = (
    "exit status: 0, 1 on a failure, 2 on wrong usage, 3 when no node answers, 5 when "
    "the node refuses what is asked"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status (`STATUSES`)."""
    prepare()
    try:
        own, rest = _split(sys.argv[1:] if argv is None else argv)
        command = own[0] if own else ""
        parser = _parser(_PlanParser if command == "plan" else _Parser, command)
        arguments = parser.parse_args(own, argparse.Namespace(args=rest, reason=None))
        if arguments.reason is not None:
            os.environ[REASON] = arguments.reason
        status = arguments.run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return interrupted()
    except OSError as exc:
        return _give_up_output(exc)
    except VeoError as exc:
        return _complain(exc)
    assert isinstance(status, int)
    return status


def _split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part the command line where what is not `veo`'s own begins.

    That is behind `--` for `veo exec`, behind the code or the file for `veo attach`.
    """
    if argv[:1] == ["exec"] and "--" in argv:
        at = [*argv].index("--")
        return [*argv[:at]], [*argv[at + 1 :]]
    if argv[:1] == ["attach"]:
        from veo_shell.cli_attach import split

        return split(argv)
    return [*argv], []


def _give_up_output(error: OSError) -> int:
    """End in order where stdout cannot be written; raise what is another error."""
    if error.errno not in (errno.EPIPE, errno.ENOSPC):
        raise error
    # What is left in the buffer must not be complained about at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if error.errno == errno.EPIPE:
        return READER_GONE
    return _complain(VeoError(f"cannot write what was asked for: {error.strerror}"))


def _complain(error: VeoError) -> int:
    """Say what is wrong, a line for each problem; return the exit status for it."""
    from veo_shell.core.printable import printable

    for line in str(error).splitlines():
        sys.stderr.write(f"veo: {printable(line)}\n")
    return status_of(error)


def _formatter(prog: str) -> argparse.HelpFormatter:
    """Return what lays out help; without `shutil`, whose import takes longer than that.

    argparse makes one for every option that is added.
    """
    columns = os.environ.get("COLUMNS", "")
    width = int(columns) if columns.isascii() and columns.isdigit() else 0
    if not width:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            width = os.get_terminal_size(sys.stdout.fileno()).columns
    return argparse.HelpFormatter(prog, width=(width or 80) - 2)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage before it."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**how, formatter_class=_formatter)

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        sys.stdout.flush()  # while a reader that has left can be told from a bug
        super().exit(status, message)

    usage_status = USAGE

    def error(self, message: str) -> NoReturn:
        self.exit(self.usage_status, f"veo: {message} (see: {self.prog} --help)\n")


class _PlanParser(_Parser):
    """That of `veo plan`, whose status 2 says that there is something to do."""

    usage_status = FAILED


if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[_Parser]


def _parser(kind: type[_Parser], command: str = "") -> _Parser:
    """Return the parser of a command; of all, where it is none: they take a while."""
    parser = kind(
        prog="veo",
        description="A masterless Docker cluster with DNS built in.",
        epilog=f"veo COMMAND --help tells more; {STATUSES}",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"veo {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    adders = {
        "start": _add_start,
        "stop": _add_stop,
        "status": _add_status,
        "events": _add_events,
        "attach": _add_attach,
        "check-session": _add_check_session,
        "check": _add_check,
        "plan": _add_plan,
        "apply": _add_apply,
        "logs": _add_logs,
        "exec": _add_exec,
        "resolver": _add_resolver,
    }
    wanted = [adders[command]] if command in adders else adders.values()
    for add in wanted:
        add(commands)
    return parser


def _add(commands: Commands, name: str, help: str, epilog: str = "") -> _Parser:  # noqa: A002 (argparse's word)
    return commands.add_parser(
        name,
        help=help,
        description=f"{help[0].upper()}{help[1:]}.",
        epilog=epilog,
        allow_abbrev=False,
    )


def _add_run_dir(parser: _Parser) -> None:
    parser.add_argument(
        "--run-dir",
        metavar="DIR",
        type=something,
        default=env("VEO_RUN_DIR"),
        help="where the node's control socket is; default /run/veo, unless root "
        "$XDG_RUNTIME_DIR/veo or ~/.veo/run (VEO_RUN_DIR)",
    )


def _add_reason(parser: _Parser) -> None:
    parser.add_argument(
        "--reason",
        metavar="TEXT",
        help=f"why, for the journal: a ticket, say ({REASON})",
    )


def _add_start(commands: Commands) -> None:
    from veo_shell.cli_start import HELP, add_start

    parser = _add(commands, "start", "run a node on this host", HELP)
    _add_run_dir(parser)
    add_start(parser, run_dir_of)


def _add_stop(commands: Commands) -> None:
    parser = _add(
        commands, "stop", "stop this host's node; its containers keep running"
    )
    parser.set_defaults(run=_stop)
    _add_run_dir(parser)
    _add_reason(parser)
    parser.add_argument(
        "--leave",
        action="store_true",
        help="leave the cluster: the containers stop here and start on other nodes",
    )


def _add_status(commands: Commands) -> None:
    parser = _add(commands, "status", "show nodes, services, containers")
    parser.set_defaults(run=_status)
    _add_run_dir(parser)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="as one JSON document")
    how.add_argument(
        "--quiet", action="store_true", help="only by the exit status: does it answer?"
    )


def _add_events(commands: Commands) -> None:
    parser = _add(
        commands,
        "events",
        "tell what happened in the cluster, and what happens",
        "The last 50, or all --since. docs/events.md lists the kinds, and the keys of "
        "--json.",
    )
    parser.set_defaults(run=_events)
    _add_run_dir(parser)
    parser.add_argument("--json", action="store_true", help="a JSON document per line")
    parser.add_argument(
        "-f", "--follow", action="store_true", help="go on with what comes"
    )
    add = parser.add_argument
    add("--since", metavar="AGO", type=something, help="so long ago, as 5m, or a time")
    add("--limit", metavar="N", type=int, help="so many at most")
    add("--kind", action="append", help="only of this kind; may be repeated")
    add("name", metavar="NAME", nargs="?", help="a service, a container or a node")


def _add_attach(commands: Commands) -> None:
    from veo_shell.cli_attach import HELP, add_attach

    parser = _add(commands, "attach", "open the console of a node", HELP)
    _add_run_dir(parser)
    _add_reason(parser)
    add_attach(parser, run_dir_of)


def _add_check_session(commands: Commands) -> None:
    from veo_shell.cli_attach import add_check

    parser = _add(
        commands,
        "check-session",
        "replay a transcript of a session, and compare what is said",
        "Exit status: 0 if all is as told, 1 at the first difference, 2 on wrong "
        "usage, 3 when no node answers, 4 after --timeout.",
    )
    _add_run_dir(parser)
    _add_reason(parser)
    add_check(parser, run_dir_of)


def _add_check(commands: Commands) -> None:
    parser = _add(
        commands, "check", "check a cluster.yml, and print what is wrong in it"
    )
    parser.set_defaults(run=_check)
    parser.add_argument("file", metavar="FILE")


def _add_plan(commands: Commands) -> None:
    parser = _add(
        commands,
        "plan",
        "show what applying a cluster.yml would do; nothing is done",
        "exit status: 0 nothing to do, 2 something to do, 1 on a failure or wrong "
        "usage, 3 when no node answers",
    )
    parser.set_defaults(run=_plan)
    _add_file_and_prune(parser)


def _add_apply(commands: Commands) -> None:
    parser = _add(
        commands,
        "apply",
        "have the cluster run what a cluster.yml says",
        "Shows what is to be done, asks, does it and waits until all runs. Where there "
        "is no terminal to ask at, nothing is done without --yes.",
    )
    parser.set_defaults(run=_apply)
    _add_file_and_prune(parser)
    parser.add_argument("--yes", action="store_true", help="do it without asking")
    _add_reason(parser)


def _add_file_and_prune(parser: _Parser) -> None:
    parser.add_argument("file", metavar="FILE")
    parser.add_argument(
        "--prune",
        action="store_true",
        help="also remove what runs in the cluster and is not in the file",
    )
    _add_run_dir(parser)


def _add_logs(commands: Commands) -> None:
    from veo_shell.cli_streams import add_logs

    logs = _add(commands, "logs", "print what a service's containers say")
    _add_run_dir(logs)
    add_logs(logs, run_dir_of)


def _add_exec(commands: Commands) -> None:
    from veo_shell.cli_streams import add_exec

    execute = _add(
        commands,
        "exec",
        "run a command in a container, on whatever node it is",
        "The exit status is the command's. Without -t, Ctrl-C ends `veo exec` alone.",
    )
    _add_run_dir(execute)
    _add_reason(execute)
    add_exec(execute, run_dir_of)


def _add_resolver(commands: Commands) -> None:
    from veo_shell.cli_resolver import HELP, add_resolver

    help_ = "have this host's programs ask its node for names"
    parser = _add(commands, "resolver", help_, HELP)
    _add_run_dir(parser)
    add_resolver(parser, run_dir_of)


def _stop(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from veo_shell import daemon

    run_dir = Path(run_dir_of(arguments))
    if arguments.leave:
        return daemon.leave(run_dir, _ask_to_leave)
    return daemon.stop(run_dir)


def _ask_to_leave(run_dir: str | os.PathLike[str]) -> None:
    """Have a node begin to leave; raise `NodeUnreachable` if it cannot be asked."""
    from veo_shell.console.client import Client

    client = Client(run_dir)
    try:
        client.read("veo.about")
        # It may have ended before it can answer.
        with contextlib.suppress(NodeUnreachable):
            client.call("node_monitor.leave")
    finally:
        client.close()


def _status(arguments: argparse.Namespace) -> int:
    if arguments.quiet:
        from veo_shell.console.client import answers

        return FINE if answers(run_dir_of(arguments)) else NO_NODE
    from veo_shell.console import status

    return status.show(run_dir_of(arguments), as_json=arguments.json)


def _events(arguments: argparse.Namespace) -> int:
    from veo_shell.console import events

    return events.run(
        run_dir_of(arguments),
        arguments.name,
        arguments.kind,
        arguments.since,
        arguments.limit,
        follow=arguments.follow,
        as_json=arguments.json,
    )


def _check(arguments: argparse.Namespace) -> int:
    from veo_shell import settings
    from veo_shell.core.printable import printable

    problems = settings.check(arguments.file)
    for line in problems:
        sys.stderr.write(f"{printable(line)}\n")
    return FAILED if problems else FINE


def _plan(arguments: argparse.Namespace) -> int:
    from veo_shell.console import apply

    try:
        return apply.plan(run_dir_of(arguments), arguments.file, prune=arguments.prune)
    except UsageError as exc:
        raise VeoError(str(exc)) from exc  # its status would tell of something to do


def _apply(arguments: argparse.Namespace) -> int:
    from veo_shell.console import apply

    return apply.apply(
        run_dir_of(arguments), arguments.file, prune=arguments.prune, yes=arguments.yes
    )
