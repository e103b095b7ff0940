"""`veo`: the command line. Thin; each command imports what it needs when it runs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from veo_shell import __version__
from veo_shell.errors import NodeUnreachable, UsageError, VeoError

FINE, FAILED, USAGE, NO_NODE = 0, 1, 2, 3


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status (docs: 0, 1, 2, 3)."""
    arguments = _parser().parse_args(argv)
    try:
        status = arguments.run(arguments)
    except NodeUnreachable as exc:
        return _complain(exc, NO_NODE)
    except UsageError as exc:
        return _complain(exc, USAGE)
    except VeoError as exc:
        return _complain(exc, FAILED)
    assert isinstance(status, int)
    return status


def _complain(error: VeoError, status: int) -> int:
    sys.stderr.write(f"veo: {error}\n")
    return status


def _env(*names: str, default: str | None = None) -> str | None:
    """Return the first of these environment variables that is set and not empty."""
    return next((os.environ[n] for n in names if os.environ.get(n)), default)


def _run_dir(arguments: argparse.Namespace) -> Path:
    if arguments.run_dir:
        return Path(arguments.run_dir).absolute()
    if os.geteuid() == 0:
        return Path("/run/veo")
    base = os.environ.get("XDG_RUNTIME_DIR")
    return Path(base) / "veo" if base else Path.home() / ".veo" / "run"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="veo", description="A masterless Docker cluster with DNS built in."
    )
    parser.add_argument("--version", action="version", version=f"veo {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_start(commands)
    _add_stop(commands)
    _add_status(commands)
    _add_attach(commands)
    _add_check(commands)
    return parser


if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def _add_run_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--run-dir",
        metavar="DIR",
        default=_env("VEO_RUN_DIR"),
        help="where the node's control socket is (VEO_RUN_DIR; default /run/veo)",
    )


def _add_start(commands: Commands) -> None:
    parser = commands.add_parser("start", help="run a node on this host")
    parser.set_defaults(run=_start)
    _add_run_dir(parser)
    add = parser.add_argument
    add(
        "--name",
        default=_env("VEO_NAME", "NAME"),
        help="name@host; the host name for what is missing (VEO_NAME, NAME)",
    )
    add(
        "--address",
        default=_env("VEO_ADDRESS"),
        help="the address others reach this host at (VEO_ADDRESS)",
    )
    add(
        "--config",
        metavar="FILE",
        default=_env("VEO_CONFIG"),
        help="the node's cluster.yml (VEO_CONFIG)",
    )
    add(
        "--join",
        metavar="HOST[:PORT]",
        action="append",
        default=None,
        help="a node to join, any will do; may be repeated (VEO_JOIN, JOIN: a list)",
    )
    add(
        "--cluster",
        default=_env("VEO_CLUSTER", default="veo"),
        help="the cluster's name (VEO_CLUSTER; default veo)",
    )
    add(
        "--cookie-file",
        metavar="FILE",
        default=_env("VEO_COOKIE_FILE"),
        help="the cluster's secret (VEO_COOKIE_FILE; else COOKIE, ~/.veo/cookie)",
    )
    add(
        "--dns-port",
        metavar="PORT",
        default=_env("VEO_DNS_PORT", default="53"),
        help="where DNS answers (VEO_DNS_PORT; default 53)",
    )
    add(
        "--mesh-port",
        metavar="PORT",
        default=_env("VEO_MESH_PORT", default="8087"),
        help="where peers ask; the next one publishes (VEO_MESH_PORT; default 8087)",
    )
    add(
        "--data-dir",
        metavar="DIR",
        default=_env("VEO_DATA_DIR"),
        help="where state is kept (VEO_DATA_DIR; default /var/lib/veo)",
    )
    add(
        "--docker",
        metavar="URL",
        default=_env("VEO_DOCKER", "DOCKER_HOST"),
        help="the Docker Engine (VEO_DOCKER, DOCKER_HOST)",
    )
    add(
        "--log-level",
        choices=["debug", "info", "warning", "error"],
        default=_env("VEO_LOG_LEVEL", default="info"),
        help="what is logged (VEO_LOG_LEVEL; default info)",
    )
    add(
        "--detach",
        action="store_true",
        default=_env("VEO_DETACH", default="") not in ("", "0", "false", "no"),
        help="run in the background; returns when the node is up (VEO_DETACH)",
    )


def _add_stop(commands: Commands) -> None:
    parser = commands.add_parser(
        "stop", help="stop this host's node; its containers keep running"
    )
    parser.set_defaults(run=_stop)
    _add_run_dir(parser)


def _add_status(commands: Commands) -> None:
    parser = commands.add_parser("status", help="show nodes, services, containers")
    parser.set_defaults(run=_status)
    _add_run_dir(parser)
    parser.add_argument("--json", action="store_true", help="as one JSON document")


def _add_attach(commands: Commands) -> None:
    parser = commands.add_parser("attach", help="open the console of a node")
    parser.set_defaults(run=_attach)
    _add_run_dir(parser)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("-c", metavar="CODE", dest="code", help="run code and leave")
    source.add_argument(
        "--script", metavar="FILE", help="run a file and leave; ARGS are its sys.argv"
    )
    parser.add_argument(
        "--echo", action="store_true", help="show each input before its result"
    )
    parser.add_argument("args", nargs="*", metavar="ARGS", help=argparse.SUPPRESS)


def _add_check(commands: Commands) -> None:
    parser = commands.add_parser("check", help="check a cluster.yml")
    parser.set_defaults(run=_check)
    parser.add_argument("file", metavar="FILE")


def _start(arguments: argparse.Namespace) -> int:
    from veo_shell import daemon

    options = daemon.Options(
        name=arguments.name,
        address=arguments.address,
        config=arguments.config,
        join=arguments.join
        or (_env("VEO_JOIN", "JOIN") or "").replace(",", " ").split(),
        cluster=arguments.cluster,
        cookie_file=arguments.cookie_file,
        dns_port=arguments.dns_port,
        mesh_port=arguments.mesh_port,
        data_dir=arguments.data_dir,
        run_dir=_run_dir(arguments),
        docker=arguments.docker,
        log_level=arguments.log_level,
    )
    return daemon.detach(options) if arguments.detach else daemon.run(options)


def _stop(arguments: argparse.Namespace) -> int:
    from veo_shell import daemon

    return daemon.stop(_run_dir(arguments))


def _status(arguments: argparse.Namespace) -> int:
    from veo_shell.console import status

    return status.show(_run_dir(arguments), as_json=arguments.json)


def _attach(arguments: argparse.Namespace) -> int:
    from veo_shell.console import attach, script

    run_dir = _run_dir(arguments)
    if arguments.code is not None:
        return script.run_text(
            run_dir, arguments.code, "<-c>", ["-c", *arguments.args], arguments.echo
        )
    if arguments.script is not None:
        path = arguments.script
        return script.run_file(run_dir, path, [path, *arguments.args], arguments.echo)
    if arguments.args:
        raise UsageError(f"unexpected argument {arguments.args[0]!r}")
    if not sys.stdin.isatty():
        text = sys.stdin.read()
        return script.run_text(run_dir, text, "<stdin>", ["-"], arguments.echo)
    return attach.main(run_dir)


def _check(arguments: argparse.Namespace) -> int:
    from veo_shell import settings

    problems = settings.check(arguments.file)
    for line in problems:
        sys.stderr.write(f"{line}\n")
    return FAILED if problems else FINE
