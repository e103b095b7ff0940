"""cluster.yml -> records. Every error names file, line and path; all are told at once.

The format is that of VEO's Erlang original, and files written for it load unchanged.
"""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from veo_shell.core import address, resolvers, scalars
from veo_shell.core.fields import (
    Fields,
    attempt,
    distinct,
    fields,
    scalar,
    several,
    unique,
    whole,
)
from veo_shell.core.model import (
    GroupPolicy,
    GroupRole,
    HealthCheck,
    HealthKind,
    Mode,
    Mount,
    NodeEntry,
    OnPartition,
    OnUnhealthy,
    OnUpdateFailure,
    Placement,
    Restart,
    Service,
    UpdateConfig,
    UpdateOrder,
)
from veo_shell.core.parse_files import complain_of_files, files
from veo_shell.core.parse_ports import ports
from veo_shell.core.scalars import Wrong, one_of
from veo_shell.core.tree import Tree, from_plain, load, no_file
from veo_shell.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from veo_shell.core.dns_config import DnsConfig

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class ClusterFile:
    """What a cluster.yml says, in its order. A service's name may stand twice."""

    nodes: tuple[NodeEntry, ...] = ()
    services: tuple[Service, ...] = ()
    dns: DnsConfig | None = None


def parse(
    text: str | bytes, filename: str, read: Callable[[str], str] = no_file
) -> ClusterFile:
    """Read a cluster.yml; raise `ConfigError` with all that is wrong in it.

    `read` returns what stands in a file that it names; it may raise `Wrong`.
    """
    return whole(load(text, filename, read), _cluster)


def parse_service(
    mapping: Mapping[str, Any], read: Callable[[str], str] = no_file
) -> Service:
    """Read one service from plain data: `{name: spec}` or `{"name": name, …}`."""
    if not isinstance(mapping, Mapping):
        raise ConfigError(problems=["a service is a mapping, like {'web': {…}}"])
    if len(mapping) == 1 and isinstance(next(iter(mapping.values())), Mapping):
        [(name, spec)] = mapping.items()
    else:
        spec = dict(mapping)
        name = spec.pop("name", None)
    if not isinstance(name, str):
        raise ConfigError(problems=["name: is missing, or not a text"])
    return whole(from_plain({name: dict(spec)}, read=read), _services)[0]


def _cluster(tree: Tree) -> ClusterFile:
    # As in Compose, keys that start with x- are a place to keep YAML anchors.
    pairs = [pair for pair in tree.pairs() if not pair[0].startswith("x-")]
    return ClusterFile(**fields(pairs, CLUSTER))


# --- nodes


def _nodes(tree: Tree) -> tuple[NodeEntry, ...]:
    found = [(item, attempt(item, _node)) for item in tree.items()]
    entries = [(item, entry) for item, entry in found if entry]
    distinct(entries, lambda entry: entry.node, lambda entry: f'"{entry.node}"')
    return tuple(entry for _, entry in entries)


def _node(tree: Tree) -> NodeEntry | None:
    if tree.kind == "scalar":
        return NodeEntry(node=scalars.node_name(tree.text()))
    values = fields(tree.pairs(), NODE)
    if "node" not in values:
        tree.complain("is missing", at="node")
    return NodeEntry(**values) if values.get("node") else None


def _node_labels(tree: Tree) -> tuple[str, ...]:
    labels = _entries(scalars.node_label)(tree)
    names = [label.partition("=")[0] for label in labels]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise Wrong(f"{scalars.quoted(twice[0])} is given twice")
    return labels


def _address(text: str) -> str:
    try:
        address.split(text, scalars.quoted(text))
    except UsageError as exc:
        raise Wrong(str(exc)) from exc
    return text


# --- services


def _services(tree: Tree) -> tuple[Service, ...]:
    # Not `unique`: two services may have one name.
    read = [(value, read_service(name, value)) for name, value in tree.pairs()]
    first: dict[tuple[str, str], Tree] = {}
    for value, service in read:
        if service is None or not service.variant:
            continue
        taken = first.setdefault((service.name, service.variant), value)
        if taken is not value:
            text = (
                f"{scalars.quoted(service.variant)} is that of another {service.name}"
            )
            line = f" (on line {taken.line})" if taken.line else ""
            value.complain(f"{text}{line}", at="variant")
    return tuple(service for _, service in read if service)


def read_service(name: str, tree: Tree) -> Service | None:
    """Read one service from its spec; what is wrong is noted in the tree's log."""
    attempt(tree, lambda _: scalars.service_name(name))
    return attempt(tree, lambda tree: _spec(name, tree))


def _spec(name: str, tree: Tree) -> Service | None:
    values = fields(tree.pairs(), SERVICE)
    if "image" not in values:
        tree.complain("is missing", at="image")
    for key in ("group_role", "group_policy"):
        if values.get(key) and "group" not in values:
            tree.complain("needs a `group`", at=key)
    is_once = values.get("restart", Restart.NEVER) is Restart.NEVER
    if values.get("on_unhealthy") is OnUnhealthy.RESTART and is_once:
        tree.complain("needs `restart: on-failure` or `always`", at="on_unhealthy")
    if values.get("mode") is Mode.GLOBAL:
        _complain_of_numbers(tree, values)
    complain_of_files(tree, values.get("files") or (), values.get("mounts") or ())
    network = values.get("network_mode") or ""
    if network.startswith("container:"):
        mode = scalars.quoted(network)
        if values.get("ports"):
            tree.complain(f"cannot be published with network_mode {mode}", at="ports")
        for key in ("dns", "dns_search", "dns_options"):
            if values.get(key):
                at = key.replace("options", "opt")
                tree.complain(f"cannot be with network_mode {mode}", at=at)
    return Service(name=name, **values) if "image" in values else None


def _complain_of_numbers(tree: Tree, values: Mapping[str, Any]) -> None:
    """Refuse what says how many instances there are, and a group, in mode global."""
    for key in ("replicas", "max_per_node", "group"):
        if values.get(key):
            tree.complain(
                "cannot be with `mode: global`, which runs one on every fitting node",
                at=key,
            )


def _entries(reader: Callable[[str], str]) -> Callable[[Tree], tuple[str, ...]]:
    """Return a reader of a list of `NAME=value`, or of a mapping."""

    def read(tree: Tree) -> tuple[str, ...]:
        if tree.kind != "map":
            return several(scalar(reader))(tree)
        found = [attempt(value, entry(name)) for name, value in unique(tree.pairs())]
        return tuple(text for text in found if text is not None)

    def entry(name: str) -> Callable[[Tree], str]:
        return lambda tree: reader(_entry(name, tree))

    return read


def _entry(name: str, tree: Tree) -> str:
    if "=" in name:
        raise Wrong('has a "=" in its name')
    return name if tree.is_empty else f"{name}={tree.text()}"


def _one_or_more(reader: Callable[[str], T]) -> Callable[[Tree], tuple[T, ...]]:
    def read(tree: Tree) -> tuple[T, ...]:
        if tree.kind == "scalar":
            return (reader(tree.text()),)
        return several(scalar(reader))(tree)

    return read


# --- volumes


def _mounts(tree: Tree) -> tuple[Mount, ...]:
    found = [(item, attempt(item, _mount)) for item in tree.items()]
    mounts = [(item, mount) for item, mount in found if mount]
    distinct(
        mounts,
        lambda mount: posixpath.normpath(mount.target),
        lambda mount: f"the target {scalars.quoted(mount.target)}",
    )
    return tuple(mount for _, mount in mounts)


def _mount(tree: Tree) -> Mount | None:
    if tree.kind == "scalar":
        return scalars.short_mount(tree.text())
    values = fields(tree.pairs(), MOUNT)
    if "target" not in values:
        tree.complain("is missing", at="target")
    if "target" not in values or None in values.values():
        return None
    return scalars.mount(
        values.get("kind"),
        values.get("source", ""),
        values["target"],
        read_only=values.get("read_only", False),
        propagation=values.get("bind", {}).get("propagation", ""),
    )


def _bind(tree: Tree) -> dict[str, Any]:
    return fields(tree.pairs(), BIND)


# --- health check


def _health_check(tree: Tree) -> HealthCheck | None:
    values = fields(tree.pairs(), HEALTH_CHECK)
    if "cmd" not in values:
        tree.complain("is missing", at="cmd")
    cmd, shell = values.pop("cmd", None), values.pop("shell", False)
    if cmd is None or shell is None:
        return None
    try:
        kind, words = _test(cmd, shell)
    except Wrong as wrong:
        tree.complain(str(wrong), at="cmd")
        return None
    return HealthCheck(kind=kind, cmd=words, **values)


def _cmd(tree: Tree) -> str | tuple[str, ...]:
    if tree.kind == "seq":
        return several(scalar(str))(tree)
    return scalars.word(tree.text())


def _test(
    cmd: str | tuple[str, ...], shell: bool
) -> tuple[HealthKind, tuple[str, ...]]:
    """Return what Docker's `Healthcheck.Test` should be."""
    kind, words = _kind_and_words(cmd, shell)
    if kind in (HealthKind.CMD, HealthKind.SHELL) and not "".join(words[:1]).strip():
        raise Wrong("is empty")
    return kind, words


def _kind_and_words(
    cmd: str | tuple[str, ...], shell: bool
) -> tuple[HealthKind, tuple[str, ...]]:
    match cmd:
        case "inherit":
            return HealthKind.INHERIT, ()
        case "none" | ("NONE",):
            return HealthKind.NONE, ()
        case ("CMD", _, *_) if not shell:
            return HealthKind.CMD, cmd[1:]
        case ("CMD-SHELL", line):
            return HealthKind.SHELL, (line,)
        case str(line):
            return (HealthKind.SHELL, (line,)) if shell else _split(line)
        case (line,) if shell:
            return HealthKind.SHELL, (line,)
    if shell and cmd:
        raise Wrong("is a list, but `shell: true` takes one line of text")
    return HealthKind.CMD, cmd


def _split(line: str) -> tuple[HealthKind, tuple[str, ...]]:
    # veo: the original gave Docker the whole line as the name of one program.
    try:
        return HealthKind.CMD, tuple(shlex.split(line))
    except ValueError as exc:
        raise Wrong(f"{scalars.quoted(line)}: {str(exc).lower()}") from exc


# --- update


def _update(tree: Tree) -> UpdateConfig | None:
    values = fields(tree.pairs(), UPDATE)
    return None if None in values.values() else UpdateConfig(**values)


# --- DNS


def _dns(tree: Tree) -> DnsConfig | None:
    # dnspython takes longer to import than all the rest.
    from veo_shell.core.parse_dns import read_dns

    return read_dns(tree)


# --- the keys of each mapping

CLUSTER: Fields = {
    "nodes": ("nodes", _nodes),
    "services": ("services", _services),
    "dns": ("dns", _dns),
}
NODE: Fields = {
    "node": ("node", scalar(scalars.node_name)),
    "role": ("role", scalar(scalars.role)),
    "labels": ("labels", _node_labels),
    "address": ("address", scalar(_address)),
}
BIND: Fields = {"propagation": ("propagation", scalar(scalars.propagation))}
MOUNT: Fields = {
    "type": ("kind", scalar(scalars.mount_kind)),
    "source": ("source", scalar(scalars.word)),
    "target": ("target", scalar(scalars.word)),
    "read_only": ("read_only", scalar(scalars.boolean)),
    "bind": ("bind", _bind),
}
HEALTH_CHECK: Fields = {
    "cmd": ("cmd", _cmd),
    "shell": ("shell", scalar(scalars.boolean)),
    "interval": ("interval_ns", scalar(scalars.duration_ns)),
    "timeout": ("timeout_ns", scalar(scalars.duration_ns)),
    "start_period": ("start_period_ns", scalar(scalars.duration_ns)),
    "retries": ("retries", scalar(scalars.count)),
}
UPDATE: Fields = {
    "parallelism": ("parallelism", scalar(scalars.replicas)),
    "order": ("order", scalar(one_of({o.value: o for o in UpdateOrder}))),
    "delay": ("delay_ns", scalar(scalars.duration_ns)),
    "monitor": ("monitor_ns", scalar(scalars.duration_ns)),
    "on_failure": ("on_failure", scalar(one_of({a.value: a for a in OnUpdateFailure}))),
}
SERVICE: Fields = {
    "image": ("image", scalar(scalars.image)),
    "variant": ("variant", scalar(scalars.variant)),
    "mode": ("mode", scalar(one_of({m.value: m for m in Mode}))),
    "replicas": ("replicas", scalar(scalars.replicas)),
    "on_partition": ("on_partition", scalar(one_of({p.value: p for p in OnPartition}))),
    "restart": ("restart", scalar(scalars.restart)),
    "restart_count": ("restart_count", scalar(scalars.count)),
    "stop_timeout": ("stop_timeout_s", scalar(scalars.stop_timeout_s)),
    "privileged": ("privileged", scalar(scalars.boolean)),
    "network_mode": ("network_mode", scalar(scalars.network_mode)),
    "pid_mode": ("pid_mode", scalar(scalars.pid_mode)),
    "dns": ("dns", _one_or_more(resolvers.server)),
    "dns_search": ("dns_search", _one_or_more(resolvers.domain)),
    "dns_opt": ("dns_options", _one_or_more(resolvers.option)),
    "cpus": ("cpus", scalar(scalars.cpus)),
    "memory": ("memory_bytes", scalar(scalars.size_bytes)),
    "disk": ("disk_bytes", scalar(scalars.size_bytes)),
    "roles": ("roles", _one_or_more(scalars.role)),
    "role": ("roles", _one_or_more(scalars.role)),
    "hosts": ("hosts", _one_or_more(scalars.node_name)),
    "constraints": ("constraints", _one_or_more(scalars.constraint)),
    "placement": ("placement", scalar(one_of({p.value: p for p in Placement}))),
    "max_per_node": ("max_per_node", scalar(scalars.per_node)),
    "environment": ("environment", _entries(scalars.variable)),
    "labels": ("labels", _entries(scalars.docker_label)),
    "volumes": ("mounts", _mounts),
    "sticky": ("sticky", scalar(scalars.boolean)),
    "args": ("args", several(scalar(str))),
    "auto_remove": ("auto_remove", scalar(scalars.boolean)),
    "group": ("group", scalar(scalars.group)),
    "group_role": ("group_role", scalar(one_of({r.value: r for r in GroupRole}))),
    "group_policy": ("group_policy", scalar(one_of({p.value: p for p in GroupPolicy}))),
    "health_check": ("health_check", _health_check),
    "healthcheck": ("health_check", _health_check),
    "on_unhealthy": ("on_unhealthy", scalar(one_of({o.value: o for o in OnUnhealthy}))),
    "files": ("files", files),
    "ports": ("ports", ports),
    "update": ("update", _update),
}
