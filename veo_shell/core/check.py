"""What is wrong with a `Service` made by hand: attrs checks neither types nor values.

There is one place for each rule, the parser. A service is written as a file has it and
read back: it is good if the parser takes that and makes the same service of it.
"""

from __future__ import annotations

import enum
import functools
import itertools
import types
import typing
from collections.abc import Iterator
from typing import Any

import attrs

from veo_shell.core.fields import whole
from veo_shell.core.model import (
    File,
    HealthCheck,
    HealthKind,
    Mode,
    Mount,
    Port,
    Service,
    UpdateConfig,
)
from veo_shell.core.parse import HEALTH_CHECK, MOUNT, SERVICE, UPDATE, read_service
from veo_shell.core.scalars import shown
from veo_shell.core.tree import from_plain
from veo_shell.errors import ConfigError

# Stands in for a field of a wrong type, so that the others are checked all the same.
SOUND = Service(name="service", image="image", group="group")
# Made by hand, a service has its fields' names, not those of the file's keys.
NAMES = {
    key: attribute
    for table in (SERVICE, MOUNT, HEALTH_CHECK, UPDATE)
    for key, (attribute, _) in table.items()
}
CALLED: dict[Any, str] = {
    str: "a text",
    bool: "True or False",
    int: "a whole number",
    float: "a number",
}


def problems(service: Service) -> list[str]:
    """Return what is wrong with the service, a line each; whatever it is, never raise.

    A field with a wrong type in it has that told alone.

    >>> problems(Service(name="web", image="nginx", restart_count=-1))
    ['web.restart_count: "-1" is not a whole number (0–2147483647)']
    """
    if type(service) is not Service:
        return list(_misfits(service, Service, "service"))
    is_named = type(service.name) is str and service.name
    path = shown(service.name) if is_named else "service"
    misfits = {
        name: list(_misfits(getattr(service, name), hint, f"{path}.{name}"))
        for name, hint in _hints(Service).items()
    }
    sound = {name: getattr(SOUND, name) for name, lines in misfits.items() if lines}
    typed = attrs.evolve(service, **sound)
    return [*itertools.chain(*misfits.values()), *_refusals(typed, path)]


def to_mapping(service: Service) -> dict[str, Any]:
    """Write the service as plain data: `parse_service` makes the same service of it.

    Numbers are written as texts, as they are: the parser tells which are wrong.
    """
    check = service.health_check
    is_counted = service.mode is not Mode.GLOBAL or service.replicas != 1
    return {
        "name": service.name,
        "image": service.image,
        "variant": service.variant or None,
        "mode": service.mode.value,
        "replicas": _number(service.replicas) if is_counted else None,
        "on_partition": service.on_partition.value,
        "restart": service.restart.value,
        "restart_count": _number(service.restart_count),
        "stop_timeout": _number(service.stop_timeout_s),
        "privileged": service.privileged,
        "network_mode": service.network_mode,
        "pid_mode": service.pid_mode,
        "dns": list(service.dns),
        "dns_search": list(service.dns_search),
        "dns_opt": list(service.dns_options),
        "cpus": _number(service.cpus),
        "memory": _number(service.memory_bytes),
        "disk": _number(service.disk_bytes),
        "roles": list(service.roles),
        "hosts": list(service.hosts),
        "constraints": [asked.text for asked in service.constraints],
        "placement": service.placement.value,
        "max_per_node": _number(service.max_per_node),
        "environment": list(service.environment),
        "labels": list(service.labels),
        "volumes": [_volume(mount) for mount in service.mounts],
        "sticky": service.sticky,
        "args": list(service.args),
        "auto_remove": service.auto_remove,
        "group": service.group,
        "group_role": service.group_role and service.group_role.value,
        "group_policy": service.group_policy and service.group_policy.value,
        "health_check": check and _health_check(check),
        "on_unhealthy": service.on_unhealthy and service.on_unhealthy.value,
        "files": [_file(file) for file in service.files],
        "ports": [_port(port) for port in service.ports],
        "update": _update(service.update),
    }


def _number(value: float) -> str:
    # Python writes no decimal number of over 4,300 digits, and no rule takes hex.
    if isinstance(value, int) and value.bit_length() > 64:
        return hex(value)
    return repr(value)


def _volume(mount: Mount) -> dict[str, Any]:
    return {
        "type": mount.kind.value,
        "source": mount.source or None,
        "target": mount.target,
        "read_only": mount.read_only,
        "bind": {"propagation": mount.propagation or None},
    }


def _health_check(check: HealthCheck) -> dict[str, Any]:
    return {
        **_test(check),
        "interval": f"{_number(check.interval_ns)}ns",
        "timeout": f"{_number(check.timeout_ns)}ns",
        "start_period": f"{_number(check.start_period_ns)}ns",
        "retries": _number(check.retries),
    }


def _update(update: UpdateConfig) -> dict[str, Any]:
    return {
        "parallelism": _number(update.parallelism),
        "order": update.order and update.order.value,
        "delay": f"{_number(update.delay_ns)}ns",
        "monitor": f"{_number(update.monitor_ns)}ns",
        "on_failure": update.on_failure.value,
    }


def _test(check: HealthCheck) -> dict[str, Any]:
    if check.kind in (HealthKind.NONE, HealthKind.INHERIT):
        return {"cmd": check.kind.value.lower()}
    if check.kind is HealthKind.SHELL and len(check.cmd) != 1:
        return {"cmd": list(check.cmd), "shell": True}
    return {"cmd": [check.kind.value, *check.cmd] if check.cmd else []}


def _file(file: File) -> dict[str, Any]:
    mode = f"{file.mode:04o}" if 0 <= file.mode <= 0o777 else _number(file.mode)
    return {"target": file.target, "content": file.content, "mode": mode}


def _port(port: Port) -> dict[str, Any]:
    return {
        "name": port.name,
        "container_port": _number(port.container_port),
        "host_port": _number(port.host_port),
        "protocol": port.protocol.value,
    }


# --- types


@functools.cache
def _hints(record: type) -> dict[str, Any]:
    return typing.get_type_hints(record)


def _misfits(value: Any, hint: Any, path: str) -> Iterator[str]:
    """Tell which values in this one are not of the types that the records declare."""
    if isinstance(hint, types.UnionType):
        if value is None:
            return
        [hint] = (kind for kind in typing.get_args(hint) if kind is not types.NoneType)
    kind = typing.get_origin(hint) or hint
    # Exactly the type: True is no port, and a subclass would not come back as it went.
    if type(value) is not kind and not (kind is float and type(value) is int):
        given = "None" if value is None else type(value).__name__
        yield f"{path}: takes {_called(kind)}, not {shown(given)}"
    elif kind is tuple:
        for index, item in enumerate(value):
            yield from _misfits(item, typing.get_args(hint)[0], f"{path}[{index}]")
    elif attrs.has(kind):
        for name, of in _hints(kind).items():
            yield from _misfits(getattr(value, name), of, f"{path}.{name}")


def _called(kind: type) -> str:
    if issubclass(kind, enum.Enum):
        return " or ".join(str(member) for member in kind)
    return CALLED.get(kind, f"a {kind.__name__}")


# --- rules


def _refusals(service: Service, path: str) -> list[str]:
    """Return what the parser says to a service whose types are right."""
    spec = to_mapping(service)
    name = spec.pop("name")
    tree = from_plain(spec, path=path, names=NAMES)
    try:
        read = whole(tree, lambda tree: read_service(name, tree))
    except ConfigError as exc:
        return exc.problems
    return list(_differences(service, read, path))


def _differences(given: Any, read: Any, path: str) -> Iterator[str]:
    """Tell where the two differ: what one writes otherwise to mean the same."""
    if given == read:
        return
    if attrs.has(type(given)) and type(given) is type(read):
        for field in attrs.fields(type(given)):
            yield from _differences(
                getattr(given, field.name),
                getattr(read, field.name),
                f"{path}.{field.name}",
            )
    elif isinstance(given, tuple) and len(given) == len(read):
        for index, pair in enumerate(zip(given, read, strict=True)):
            yield from _differences(*pair, f"{path}[{index}]")
    else:
        yield f"{path}: {shown(repr(given))} is read as {shown(repr(read))}: give that"
