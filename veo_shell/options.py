"""What `veo start` is told, as text, and the configuration that it amounts to."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from veo_shell.core.address import port_number, split
from veo_shell.errors import UsageError

if TYPE_CHECKING:
    from veo_shell.core.model import NodeEntry
    from veo_shell.node import NodeConfig

LEVELS = ("debug", "info", "warning", "error")
CLUSTER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


@attrs.frozen(kw_only=True)
class Options:
    """What the command line says, as text; `configure` makes records of it."""

    name: str | None
    address: str | None
    config: str | None
    join: Sequence[str]
    cluster: str
    cookie_file: str | None
    dns_port: str
    mesh_port: str
    data_dir: str | None
    run_dir: Path
    docker: str | None
    log_level: str
    accept_cookie_file: str | None = None
    label: Sequence[str] = ()
    recover: bool = False
    dns_optional: bool = False
    resolv_conf: str = "/etc/resolv.conf"
    address6: str | None = None


def configure(options: Options) -> NodeConfig:
    """Return what the options say, checked; raise `VeoError`."""
    from veo_shell import settings
    from veo_shell.core.dns_config import DnsConfig
    from veo_shell.edge.host import own_address, primary_address
    from veo_shell.node import NodeConfig

    name = node_name(options.name)
    if not CLUSTER.fullmatch(options.cluster):
        raise UsageError(
            f"--cluster {options.cluster!r}: a cluster's name is of letters, digits, "
            "-, _ and ., at most 63"
        )
    if options.log_level.lower() not in LEVELS:
        raise UsageError(
            f"--log-level {options.log_level!r}: one of {', '.join(LEVELS)}"
        )
    dns_port = port_number(options.dns_port, f"--dns-port {options.dns_port}")
    mesh_port = port_number(
        options.mesh_port, f"--mesh-port {options.mesh_port}", most=65534
    )
    if dns_port in (mesh_port, mesh_port + 1):
        raise UsageError(
            f"--dns-port {dns_port}: the mesh has {mesh_port} and {mesh_port + 1}"
        )
    address = own_address(options.address) if options.address else primary_address()
    joins = dict.fromkeys(split(text, f"--join {text}") for text in options.join)
    config_file = _file_of(options.config)
    told = settings.load(config_file) if config_file else None
    entries = told.nodes if told else ()
    own = next((e for e in entries if e.node == name), None)
    return NodeConfig(
        name=name,
        address=address,
        address6=_second(address, options.address6) if options.address6 else "",
        cluster=options.cluster,
        mesh_port=mesh_port,
        pub_port=mesh_port + 1,
        dns_port=dns_port,
        dns=(told and told.dns) or DnsConfig(),
        role=own.role if own else "",
        labels=_labels(own.labels if own else (), options.label),
        config_file=config_file,
        recover=options.recover,
        dns_optional=options.dns_optional,
        joins=tuple(joins),
        listed=tuple(place for place in _listed(entries, name) if place not in joins),
    )


def node_name(given: str | None) -> str:
    """Return `name@host`; the host's name stands for what is not given.

    >>> node_name("uno@uno")
    'uno@uno'
    """
    from veo_shell.core import scalars

    host = socket.gethostname().partition(".")[0] or "localhost"
    name, _, at = (given or host).partition("@")
    full = f"{name}@{at or host}"
    try:
        return scalars.node_name(full)
    except scalars.Wrong:
        what = (
            f"--name {given!r}" if given else f"this host's name, {host!r}: use --name"
        )
        raise UsageError(
            f"{what}: a node is called name@host, of letters, digits, - and _"
        ) from None


def _second(address: str, given: str) -> str:
    """Return the address of IPv6 that is given beside one of IPv4."""
    from veo_shell.edge.host import own_address

    second = own_address(given, "--address6")
    if ":" not in second:
        raise UsageError(f"--address6 {given}: {second} is not of IPv6")
    if ":" in address:
        raise UsageError(
            f"--address6 {given}: --address is of IPv6 already, {address}: give the "
            "one of IPv4 there"
        )
    return second


def _labels(listed: Iterable[str], given: Iterable[str]) -> tuple[str, ...]:
    """Return the labels of the file, and over these the ones that were given."""
    from veo_shell.core import scalars

    for text in given:
        try:
            scalars.node_label(text)
        except scalars.Wrong as wrong:
            raise UsageError(f"--label: {wrong}") from wrong
    values = dict(label.split("=", 1) for label in (*listed, *given))
    return tuple(f"{name}={value}" for name, value in sorted(values.items()))


def _listed(entries: Iterable[NodeEntry], me: str) -> Iterator[tuple[str, int]]:
    """Return where the others of the file are to be found, as far as it tells."""
    for entry in entries:
        name, _, host = entry.node.partition("@")
        # The part of a name that is the host's may be any word.
        with contextlib.suppress(UsageError):
            if entry.node != me:
                yield split(entry.address or host, name)


def _file_of(given: str | None) -> Path | None:
    """Return the node's own file: the one named, else a usual one if there is any."""
    from veo_shell import settings

    if given is not None:
        return Path(given).absolute()
    # os.path: it takes a folder that may not be looked into for one without the file.
    found = [name for name in settings.DEFAULT_FILES if os.path.exists(name)]  # noqa: PTH110
    return Path(found[0]).absolute() if found else None


def data_dir_of(options: Options) -> Path:
    if options.data_dir:
        return Path(options.data_dir).absolute()
    if os.geteuid() == 0:
        return Path("/var/lib/veo")
    try:
        return Path.home() / ".veo" / "data"
    except RuntimeError:
        raise UsageError(
            "no home directory to keep state in: give --data-dir"
        ) from None
