"""`veo start`: its options, the variables that stand in for them, and the start."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from veo_shell.cli_options import env, something
from veo_shell.errors import UsageError

RunDir = Callable[[argparse.Namespace], str]

HELP = (
    "Each option can be given as the variable in brackets instead; the option counts "
    "more, and a VEO_ variable more than one without."
)
OFF = ("0", "false", "no", "off")
ON = ("1", "true", "yes", "on")


class Setting(NamedTuple):
    """One option of `veo start`, and the variables that stand in for it."""

    flag: str
    metavar: str
    variables: tuple[str, ...]
    help: str
    default: str | None = None


START = (
    Setting(
        "--name",
        "NAME",
        ("VEO_NAME", "NAME"),
        "name@host; this host's name stands for what is missing",
    ),
    Setting(
        "--address",
        "ADDRESS",
        ("VEO_ADDRESS",),
        "the address others reach this host at; default: the one it goes out with",
    ),
    Setting(
        "--address6",
        "ADDRESS",
        ("VEO_ADDRESS6",),
        "a second one, of IPv6, at which it answers DNS and publishes ports too",
    ),
    Setting(
        "--config",
        "FILE",
        ("VEO_CONFIG",),
        "the node's file; default ./cluster.yml or /etc/veo/cluster.yml, if there",
    ),
    Setting("--cluster", "NAME", ("VEO_CLUSTER",), "the cluster's name", "veo"),
    Setting(
        "--cookie-file",
        "FILE",
        ("VEO_COOKIE_FILE",),
        "the cluster's secret, one for all nodes; else $COOKIE, else ~/.veo/cookie",
    ),
    Setting(
        "--accept-cookie-file",
        "FILE",
        ("VEO_ACCEPT_COOKIE_FILE",),
        "a second secret that is accepted too, while the cluster's is changed",
    ),
    Setting("--dns-port", "PORT", ("VEO_DNS_PORT",), "where DNS answers", "53"),
    Setting(
        "--resolv-conf",
        "FILE",
        ("VEO_RESOLV_CONF",),
        "names the servers that it asks about other names",
        "/etc/resolv.conf",
    ),
    Setting(
        "--mesh-port",
        "PORT",
        ("VEO_MESH_PORT",),
        "where peers ask; the next one publishes",
        "8087",
    ),
    Setting(
        "--data-dir",
        "DIR",
        ("VEO_DATA_DIR",),
        "where state is kept; default /var/lib/veo, ~/.veo/data unless root",
    ),
    Setting(
        "--docker",
        "URL",
        ("VEO_DOCKER", "DOCKER_HOST"),
        "the Docker Engine; default unix:///var/run/docker.sock",
    ),
    Setting(
        "--log-level",
        "LEVEL",
        ("VEO_LOG_LEVEL",),
        "debug, info, warning or error",
        "info",
    ),
)


def add_start(parser: argparse.ArgumentParser, run_dir: RunDir) -> None:
    """Give `veo start` its options."""
    parser.set_defaults(run=lambda arguments: _start(arguments, run_dir(arguments)))
    for setting in START:
        default = f"; default {setting.default}" if setting.default else ""
        parser.add_argument(
            setting.flag,
            metavar=setting.metavar,
            type=something,
            default=env(*setting.variables, default=setting.default),
            help=f"{setting.help}{default} ({', '.join(setting.variables)})",
        )
    parser.add_argument(
        "--join",
        metavar="HOST[:PORT]",
        action="append",
        help="a node to join, any will do; may be repeated (VEO_JOIN, JOIN: several, "
        "between commas or spaces); what `nodes:` in the file lists is joined too",
    )
    parser.add_argument(
        "--label",
        metavar="NAME=VALUE",
        action="append",
        help="what services can ask for by constraints, over `labels` of the file; may "
        "be repeated (VEO_LABELS: several, between commas or spaces)",
    )
    _add_switch(
        parser,
        "--recover",
        "VEO_RECOVER",
        "set a state file aside that cannot be loaded, and begin with what other nodes "
        "and the engine know",
    )
    _add_switch(
        parser,
        "--dns-optional",
        "VEO_DNS_OPTIONAL",
        "run without DNS while its port cannot be had, and try again",
    )
    _add_switch(
        parser,
        "--detach",
        "VEO_DETACH",
        "run in the background; returns when the node is up",
    )


def _add_switch(
    parser: argparse.ArgumentParser, flag: str, variable: str, says: str
) -> None:
    parser.add_argument(flag, action="store_true", help=f"{says} ({variable})")


def _is_on(variable: str) -> bool:
    """Tell whether a variable that stands for a switch is set to on."""
    given = env(variable) or OFF[0]
    if given.lower() not in ON + OFF:
        raise UsageError(f"{variable}={given}: one of {', '.join(ON + OFF)}")
    return given.lower() in ON


def _words(*names: str) -> list[str]:
    """Return what stands between commas or spaces in the first of these that is set."""
    return (env(*names) or "").replace(",", " ").split()


def _start(arguments: argparse.Namespace, run_dir: str) -> int:
    from veo_shell import daemon
    from veo_shell.options import Options

    options = Options(
        name=arguments.name,
        address=arguments.address,
        address6=arguments.address6,
        config=arguments.config,
        join=arguments.join or _words("VEO_JOIN", "JOIN"),
        label=arguments.label or _words("VEO_LABELS"),
        cluster=arguments.cluster,
        cookie_file=arguments.cookie_file,
        dns_port=arguments.dns_port,
        resolv_conf=arguments.resolv_conf,
        mesh_port=arguments.mesh_port,
        data_dir=arguments.data_dir,
        run_dir=Path(run_dir),
        docker=arguments.docker,
        log_level=arguments.log_level,
        accept_cookie_file=arguments.accept_cookie_file,
        recover=arguments.recover or _is_on("VEO_RECOVER"),
        dns_optional=arguments.dns_optional or _is_on("VEO_DNS_OPTIONAL"),
    )
    if arguments.detach or _is_on("VEO_DETACH"):
        from veo_shell.console.client import answers

        return daemon.detach(options, answers)
    return daemon.run(options)
